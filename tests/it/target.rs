//! A server to be checked: it does in each phase what the test says, and remembers what it was asked.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    /// Sent instead of all that, and then the connection is closed.
    pub raw: Option<Vec<u8>>,
}

impl Reply {
    pub fn text(status: u16, body: &str) -> Reply {
        Reply { status, headers: Vec::new(), body: body.as_bytes().to_vec(), raw: None }
    }

    pub fn raw(bytes: &[u8]) -> Reply {
        Reply { raw: Some(bytes.to_vec()), ..Reply::text(200, "") }
    }

    pub fn redirect(status: u16, location: impl Into<String>) -> Reply {
        Reply::text(status, "").with("location", location)
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Reply {
        self.headers.push((name, value.into()));
        self
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Delays {
    pub tls: Duration,
    pub head: Duration,
    /// Between the two halves of the body.
    pub body: Duration,
}

pub type Answers = Arc<dyn Fn(&Asked) -> Reply + Send + Sync>;

#[derive(Clone)]
pub struct Target {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    connections: Arc<AtomicUsize>,
}

impl Target {
    pub async fn plain(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Target {
        Target::start("127.0.0.1".parse().expect("an address"), None, Delays::default(), Arc::new(answer)).await
    }

    pub async fn tls(tls: ServerConfig, answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Target {
        Target::start("127.0.0.1".parse().expect("an address"), Some(tls), Delays::default(), Arc::new(answer)).await
    }

    pub async fn start(on: IpAddr, tls: Option<ServerConfig>, delays: Delays, answer: Answers) -> Target {
        let listener = TcpListener::bind((on, 0)).await.expect("a free port");
        let target = Target { address: listener.local_addr().expect("it is bound"), asked: Arc::default(), connections: Arc::default() };
        let acceptor = tls.map(|tls| TlsAcceptor::from(Arc::new(tls)));
        let serving = target.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                serving.connections.fetch_add(1, Ordering::Relaxed);
                let (serving, acceptor, answer) = (serving.clone(), acceptor.clone(), answer.clone());
                tokio::spawn(async move {
                    match acceptor {
                        None => serving.talk(stream, delays, answer).await,
                        Some(acceptor) => {
                            tokio::time::sleep(delays.tls).await;
                            if let Ok(stream) = acceptor.accept(stream).await {
                                if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                                    serving.talk_http2(stream, answer).await;
                                } else {
                                    serving.talk(stream, delays, answer).await;
                                }
                            }
                        }
                    }
                });
            }
        });
        target
    }

    /// A server that speaks HTTP/2 from the first byte, over plain TCP.
    pub async fn http2(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Target {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let target = Target { address: listener.local_addr().expect("it is bound"), asked: Arc::default(), connections: Arc::default() };
        let serving = target.clone();
        let answer: Answers = Arc::new(answer);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (serving, answer) = (serving.clone(), answer.clone());
                tokio::spawn(async move { serving.talk_http2(stream, answer).await });
            }
        });
        target
    }

    pub fn url(&self, scheme: &str, host: &str) -> String {
        format!("{scheme}://{host}:{}", self.address.port())
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no holder panics").clone()
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    async fn talk<S: AsyncRead + AsyncWrite + Unpin>(self, mut stream: S, delays: Delays, answer: Answers) {
        while let Some(asked) = read_request(&mut stream).await {
            self.asked.lock().expect("no holder panics").push(asked.clone());
            let reply = answer(&asked);
            tokio::time::sleep(delays.head).await;
            if let Some(raw) = &reply.raw {
                let _ = stream.write_all(raw).await;
                let _ = stream.shutdown().await;
                return;
            }
            let mut head = format!("HTTP/1.1 {} Said So\r\ncontent-length: {}\r\n", reply.status, reply.body.len());
            for (name, value) in &reply.headers {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
            head.push_str("\r\n");
            let body: &[u8] = if asked.method == "HEAD" { &[] } else { &reply.body };
            let (first, second) = body.split_at(body.len() / 2);
            let sent = stream.write_all(&[head.as_bytes(), first].concat()).await.and(stream.flush().await);
            tokio::time::sleep(delays.body).await;
            if sent.and(stream.write_all(second).await).and(stream.flush().await).is_err() {
                return;
            }
        }
    }

    async fn talk_http2<S: AsyncRead + AsyncWrite + Unpin>(self, stream: S, answer: Answers) {
        let Ok(mut connection) = h2::server::handshake(stream).await else { return };
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let asked = Asked {
                method: request.method().to_string(),
                path: request.uri().path().to_owned(),
                headers: request
                    .headers()
                    .iter()
                    .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
                    .collect(),
                body: String::new(),
            };
            self.asked.lock().expect("no holder panics").push(asked.clone());
            let reply = answer(&asked);
            let response = http::Response::builder().status(reply.status).body(()).expect("a valid answer");
            if let Ok(mut stream) = respond.send_response(response, false) {
                let _ = stream.send_data(Bytes::from(reply.body), true);
            }
        }
    }
}

pub async fn read_request<S: AsyncRead + Unpin>(stream: &mut S) -> Option<Asked> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    let head = loop {
        let count = stream.read(&mut chunk).await.ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&chunk[..count]);
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
    };
    let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
    let mut lines = text.lines();
    let mut first = lines.next()?.split(' ');
    let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: Vec<(String, String)> =
        lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let length = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length: usize = length.map_or(0, |(_, value)| value.parse().expect("a length"));
    let mut body = bytes[head + 4..].to_vec();
    while body.len() < length {
        let count = stream.read(&mut chunk).await.ok().filter(|count| *count > 0)?;
        body.extend_from_slice(&chunk[..count]);
    }
    Some(Asked { method, path, headers, body: String::from_utf8_lossy(&body).into_owned() })
}

/// An authority of the test's own, and what it signs.
pub struct Authority {
    params: CertificateParams,
    key: KeyPair,
    pub pem: String,
}

impl Authority {
    pub fn new() -> Authority {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "Test Authority");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Authority { params, key, pem }
    }

    /// A certificate for `name`, valid from 2020 to the first day of `until`, and its key, both in PEM form.
    pub fn issue(&self, name: &str, until: i32) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let certificate = params.signed_by(&key, &Issuer::from_params(&self.params, &self.key)).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }

    /// What a server shows itself with as `name`.
    pub fn server(&self, name: &str, until: i32) -> ServerConfig {
        let (certificate, key) = self.issue(name, until);
        server(&certificate, &key, None)
    }

    /// The same, and the client must show a certificate of this authority.
    pub fn demanding_server(&self, name: &str) -> ServerConfig {
        let (certificate, key) = self.issue(name, 2090);
        server(&certificate, &key, Some(&self.pem))
    }
}

/// As plain tools make them: the server's own certificate says that it is an authority. With its PEM.
pub fn self_signed_authority(name: &str) -> (ServerConfig, String) {
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).expect("a name");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key).expect("a certificate").pem();
    (server(&pem, &key.serialize_pem(), None), pem)
}

pub fn self_signed(name: &str) -> ServerConfig {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("a certificate");
    server(&made.cert.pem(), &made.signing_key.serialize_pem(), None)
}

fn server(certificate: &str, key: &str, clients: Option<&str>) -> ServerConfig {
    use rustls::pki_types::pem::PemObject;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate")];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().expect("the versions");
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(pem) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate")).expect("a root");
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().expect("a verifier");
            builder.with_client_cert_verifier(verifier)
        }
    };
    builder.with_single_cert(chain, key).expect("the key fits")
}
