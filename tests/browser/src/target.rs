//! What is watched: a server that is well until it is told not to be.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

pub struct Target {
    pub port: u16,
    broken: Arc<AtomicBool>,
    delay_ms: Arc<AtomicU64>,
}

impl Target {
    pub fn start() -> Target {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("it has one").port();
        let (broken, delay_ms) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (state, wait) = (broken.clone(), delay_ms.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (state, wait) = (state.clone(), wait.clone());
                std::thread::spawn(move || serve(stream, &state, &wait));
            }
        });
        Target { port, broken, delay_ms }
    }

    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn set_broken(&self, broken: bool) {
        self.broken.store(broken, Ordering::Relaxed);
    }

    pub fn set_delay_ms(&self, delay: u64) {
        self.delay_ms.store(delay, Ordering::Relaxed);
    }
}

fn serve(mut stream: std::net::TcpStream, broken: &AtomicBool, delay_ms: &AtomicU64) {
    let mut request = [0; 4096];
    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    if !matches!(stream.read(&mut request), Ok(read) if read > 0) {
        return;
    }
    std::thread::sleep(Duration::from_millis(delay_ms.load(Ordering::Relaxed)));
    let (status, body) = match broken.load(Ordering::Relaxed) {
        true => ("503 Service Unavailable", "{\"status\": \"the database does not answer\"}"),
        false => ("200 OK", "{\"status\": \"ok\"}"),
    };
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
}
