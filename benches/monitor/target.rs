//! A target that costs as little as it can: a child process of its own, so that its CPU is not the monitor's, answering
//! each connection once. It notes which checks asked, so that its log can be held against the store.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::Context;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

const OK: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 15\r\nconnection: close\r\n\r\n{\"status\":\"UP\"}";
const FAILING: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 11\r\nconnection: close\r\n\r\noverloaded!";

/// What was asked: for each node and boot the seqs of its checks with how often each came.
#[derive(Debug, Default)]
pub struct Log {
    checks: Mutex<HashMap<(String, u64), HashMap<u64, u32>>>,
    requests: AtomicU64,
}

impl Log {
    fn note(&self, head: &[u8]) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let text = String::from_utf8_lossy(head);
        let header = text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("x-probemesh-check").then(|| value.trim().to_owned())
        });
        let Some(header) = header else { return };
        // node/boot/seq/attempt; a retry is the same check.
        let mut parts = header.rsplitn(4, '/');
        let (Some(attempt), Some(seq), Some(boot), Some(node)) = (parts.next(), parts.next(), parts.next(), parts.next()) else { return };
        if let (Ok(seq), Ok(boot), "1") = (seq.parse(), boot.parse(), attempt) {
            let mut checks = self.checks.lock().expect("no holder panics");
            *checks.entry((node.to_owned(), boot)).or_default().entry(seq).or_default() += 1;
        }
    }
}

/// Serves until standard input ends, then prints the log: one line `node boot seq times` for each check.
pub async fn run(certificate: Option<(String, String)>) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("target cannot listen")?;
    println!("{}", listener.local_addr().context("target's address")?.port());
    let log = Arc::new(Log::default());
    let acceptor = certificate.map(|(certificate, key)| acceptor(&certificate, &key)).transpose()?;
    let noted = log.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (log, acceptor) = (noted.clone(), acceptor.clone());
            tokio::spawn(async move {
                let _ = stream.set_nodelay(true);
                match acceptor {
                    Some(acceptor) => {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            answer(stream, &log).await;
                        }
                    }
                    None => answer(stream, &log).await,
                }
            });
        }
    });
    let mut rest = Vec::new();
    tokio::io::stdin().read_to_end(&mut rest).await.context("standard input")?;
    let mut out = String::new();
    for ((node, boot), seqs) in log.checks.lock().expect("no holder panics").iter() {
        for (seq, times) in seqs {
            out.push_str(&format!("{node} {boot} {seq} {times}\n"));
        }
    }
    tokio::io::stdout().write_all(out.as_bytes()).await.context("standard output")?;
    tokio::io::stdout().flush().await.context("standard output")
}

async fn answer<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, log: &Log) {
    let mut buffer = [0u8; 2048];
    let mut filled = 0;
    while filled < buffer.len() {
        match stream.read(&mut buffer[filled..]).await {
            Ok(0) | Err(_) => return,
            Ok(count) => filled += count,
        }
        if buffer[..filled].windows(4).any(|window| window == b"\r\n\r\n") {
            break;
        }
    }
    log.note(&buffer[..filled]);
    let reply = if buffer.starts_with(b"GET /fail") { FAILING } else { OK };
    let _ = stream.write_all(reply).await;
    let _ = stream.shutdown().await;
}

fn acceptor(certificate: &str, key: &str) -> anyhow::Result<tokio_rustls::TlsAcceptor> {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let chain = CertificateDer::pem_file_iter(certificate).context("certificate")?.collect::<Result<Vec<_>, _>>().context("certificate")?;
    let key = PrivateKeyDer::from_pem_file(key).context("key")?;
    let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).context("certificate and key")?;
    Ok(tokio_rustls::TlsAcceptor::from(Arc::new(config)))
}
