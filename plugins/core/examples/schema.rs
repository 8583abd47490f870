//! Prints the JSON Schema of the rate-limit policy; `envoy-config/schemas/` holds it.

fn main() {
    print!("{}", sluice_core::policy::schema::rate_limit());
}
