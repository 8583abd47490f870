//! The origin as a program, for trying the examples by hand: `cargo run -p host-tests --bin origin [ADDRESS]`.

use host_tests::origin::Origin;

fn main() {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let address = address.parse().expect("an address such as 127.0.0.1:8080");
    let origin = Origin::listen(address);
    println!("origin listens on {}", origin.address());
    loop {
        std::thread::park();
    }
}
