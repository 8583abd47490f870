//! A server that is no cache: what it takes on this machine to send a herd its answers and to read them, whoever has them.

use crate::measure::Server;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::time::sleep_until;

/// One thread that holds requests for a time from the first one on, and then answers all of them.
pub struct Crowd {
    address: SocketAddr,
    _runtime: Runtime,
}

impl Crowd {
    /// Answers have `size` bytes.
    pub fn start(time: Duration, size: usize) -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"));
        let listener = listener.expect("a port");
        let address = listener.local_addr().expect("an address");
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n");
        let answer: Arc<[u8]> = [head.into_bytes(), vec![b'x'; size]].concat().into();
        runtime.spawn(async move {
            let due = Arc::new(Mutex::new(Instant::now()));
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&due), time, Arc::clone(&answer)));
            }
        });
        Self {
            address,
            _runtime: runtime,
        }
    }
}

impl Server for Crowd {
    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn pid(&self) -> u32 {
        std::process::id()
    }
}

async fn serve(
    mut stream: TcpStream,
    due: Arc<Mutex<Instant>>,
    time: Duration,
    answer: Arc<[u8]>,
) -> std::io::Result<()> {
    // A request of a herd is short enough to come in one piece.
    let mut request = [0; 1024];
    while stream.read(&mut request).await? > 0 {
        let until = {
            let mut due = due.lock().expect("no thread has failed");
            if *due < Instant::now() {
                *due = Instant::now() + time;
            }
            *due
        };
        sleep_until(until.into()).await;
        stream.write_all(&answer).await?;
    }
    Ok(())
}
