//! A target that notes which checks asked, and fails for whom it is told to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::background::Background;

/// Node, boot and seq of a check → how often its first attempt came.
pub type Asked = HashMap<(String, u64, u64), u32>;

/// For whom the target answers 503; `/fail` fails always.
#[derive(Clone, Debug, Default)]
pub enum Failing {
    #[default]
    Nobody,
    Everybody,
    /// The node of this name.
    Node(String),
}

#[derive(Default)]
struct Shared {
    asked: Mutex<Asked>,
    paths: Mutex<Vec<(String, String)>>,
    failing: Mutex<Failing>,
}

pub struct Target {
    pub port: u16,
    shared: Arc<Shared>,
    _background: Background,
}

impl Target {
    /// On a thread of its own, so that a busy test does not make it slow.
    pub fn start() -> Target {
        let background = Background::start();
        let shared: Arc<Shared> = Arc::default();
        let answering = shared.clone();
        let port = background.listen(|listener| async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, answering.clone()));
            }
        });
        Target { port, shared, _background: background }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn fail(&self, failing: Failing) {
        *self.shared.failing.lock().unwrap() = failing;
    }

    pub fn asked(&self) -> Asked {
        self.shared.asked.lock().unwrap().clone()
    }

    /// How many checks a node has made so far.
    pub fn asked_by(&self, node: &str) -> usize {
        self.shared.asked.lock().unwrap().keys().filter(|(by, ..)| by == node).count()
    }

    /// Which nodes asked for a path, once for each time.
    pub fn askers_of(&self, path: &str) -> Vec<String> {
        self.shared.paths.lock().unwrap().iter().filter(|(asked, _)| asked == path).map(|(_, node)| node.clone()).collect()
    }
}

async fn answer(mut stream: TcpStream, shared: Arc<Shared>) {
    let mut buffer = [0u8; 4096];
    let mut filled = 0;
    while !buffer[..filled].windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut buffer[filled..]).await {
            Ok(0) | Err(_) => return,
            Ok(count) => filled += count,
        }
    }
    let head = String::from_utf8_lossy(&buffer[..filled]);
    let mut by = String::new();
    for line in head.lines() {
        let Some((name, value)) = line.split_once(':') else { continue };
        if !name.eq_ignore_ascii_case("x-probemesh-check") {
            continue;
        }
        if let [node, boot, seq, attempt] = value.trim().split('/').collect::<Vec<_>>()[..] {
            by = node.to_owned();
            if attempt == "1" {
                let check = (by.clone(), boot.parse().unwrap(), seq.parse().unwrap());
                *shared.asked.lock().unwrap().entry(check).or_default() += 1;
            }
        }
    }
    let path = head.split(' ').nth(1).unwrap_or("").to_owned();
    if path.starts_with("/noted") {
        shared.paths.lock().unwrap().push((path.clone(), by.clone()));
    }
    let fails = match &*shared.failing.lock().unwrap() {
        _ if path.starts_with("/fail") => true,
        Failing::Nobody => false,
        Failing::Everybody => true,
        Failing::Node(node) => *node == by,
    };
    let reply: &[u8] = if fails {
        b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\nconnection: close\r\n\r\nfull"
    } else {
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"
    };
    let _ = stream.write_all(reply).await;
}
