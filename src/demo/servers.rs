//! The demo's services: real sockets on loopback, http and https, each as quick and as sound as the plan says it is at the time.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::clock::Clock;
use crate::demo::names::DOMAIN;
use crate::demo::plan::{Answer, LocalService, Plan, REGIONS};
use crate::mesh::identity::set_validity;
use crate::supervise::Task;

const HALF_A_BODY: [u8; 1024] = [b'x'; 1024];
/// A head longer than this is none of a check.
const LONGEST_HEAD: usize = 16 << 10;
const DAY: Duration = Duration::from_secs(86_400);

/// Where the plan is played: all servers look at the same clock.
pub struct Stage {
    pub plan: Plan,
    clock: Clock,
    /// Steady time at which the run began; before that all is as at its first instant.
    began: Mutex<Option<Duration>>,
    dice: Mutex<StdRng>,
}

/// A service that listens.
pub struct Listening {
    pub address: SocketAddr,
    /// Its certificate, in PEM form.
    pub certificate: Option<String>,
    _task: Task,
}

impl Stage {
    pub fn new(plan: Plan, clock: Clock) -> Stage {
        let dice = Mutex::new(StdRng::seed_from_u64(plan.seed));
        Stage { plan, clock, began: Mutex::default(), dice }
    }

    pub fn begin(&self) {
        *self.began.lock().expect("no holder panics") = Some(self.clock.steady());
    }

    /// Since the run began.
    pub fn elapsed(&self) -> Duration {
        let began = *self.began.lock().expect("no holder panics");
        began.map_or(Duration::ZERO, |began| self.clock.steady().saturating_sub(began))
    }

    pub fn service(&self, name: &str) -> Option<usize> {
        self.plan.services.iter().position(|service| service.name == name)
    }

    pub async fn pause_resolving(&self, index: usize) {
        let pause = self.draw(|service, at, dice| service.resolving(at, dice), index);
        self.clock.sleep(pause).await;
    }

    async fn pause_handshake(&self, index: usize) {
        let pause = self.draw(|service, at, dice| service.handshake(at, dice), index);
        self.clock.sleep(pause).await;
    }

    fn answer(&self, index: usize, region: Option<&str>) -> Answer {
        self.draw(|service, at, dice| service.answer(at, region, dice), index)
    }

    fn draw<T>(&self, what: impl FnOnce(&LocalService, Duration, &mut StdRng) -> T, index: usize) -> T {
        let at = self.elapsed();
        what(&self.plan.services[index], at, &mut self.dice.lock().expect("no holder panics"))
    }
}

/// Opens all services of the plan, in its order.
pub async fn open(stage: &Arc<Stage>) -> anyhow::Result<Vec<Listening>> {
    let mut all = Vec::new();
    for (index, service) in stage.plan.services.iter().enumerate() {
        let listener = TcpListener::bind("127.0.0.1:0").await.with_context(|| format!("no port for service {}", service.name))?;
        let address = listener.local_addr()?;
        let (acceptor, certificate) = if service.tls {
            let (config, pem) = identity(service, &stage.clock).with_context(|| format!("no certificate for {}", service.name))?;
            (Some(TlsAcceptor::from(Arc::new(config))), Some(pem))
        } else {
            (None, None)
        };
        let stage = stage.clone();
        let task = Task::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let _ = stream.set_nodelay(true);
                let (stage, acceptor) = (stage.clone(), acceptor.clone());
                tokio::spawn(async move {
                    match acceptor {
                        None => talk(stream, &stage, index).await,
                        Some(acceptor) => {
                            stage.pause_handshake(index).await;
                            if let Ok(stream) = acceptor.accept(stream).await {
                                talk(stream, &stage, index).await;
                            }
                        }
                    }
                });
            }
        });
        all.push(Listening { address, certificate, _task: task });
    }
    Ok(all)
}

/// What the hub is told of a service.
pub fn document(service: &LocalService, listening: &Listening, interval: Duration) -> Value {
    let scheme = if service.tls { "https" } else { "http" };
    let mut document = json!({
        "name": service.name,
        "base_url": format!("{scheme}://{}.{DOMAIN}:{}", service.name, listening.address.port()),
        "interval_s": interval.as_secs_f64(),
        "timeout_s": 5,
        "retries": 0,
        "ip_family": "4",
    });
    if let Some(certificate) = &listening.certificate {
        document["tls"] = json!({"ca": certificate});
    }
    document
}

/// A certificate of its own making, which is its own authority.
fn identity(service: &LocalService, clock: &Clock) -> anyhow::Result<(ServerConfig, String)> {
    let key = KeyPair::generate()?;
    let name = format!("{}.{DOMAIN}", service.name);
    let mut params = CertificateParams::new(vec![name.clone()])?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // The day that has begun counts whole.
    let ends = clock.now().plus(DAY * service.certificate_days + Duration::from_secs(1800));
    set_validity(&mut params, clock.now().minus(30 * DAY), ends);
    let pem = params.self_signed(&key)?.pem();
    let chain = vec![CertificateDer::from_pem_slice(pem.as_bytes())?];
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes())?;
    let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    Ok((builder.with_safe_default_protocol_versions()?.with_no_client_auth().with_single_cert(chain, key)?, pem))
}

async fn talk(mut stream: impl AsyncRead + AsyncWrite + Unpin, stage: &Stage, index: usize) {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read_buf(&mut head).await {
            Ok(count) if count > 0 && head.len() <= LONGEST_HEAD => {}
            _ => return,
        }
    }
    let answer = stage.answer(index, region(&head));
    stage.clock.sleep(answer.first_byte).await;
    let length = 2 * HALF_A_BODY.len();
    let head =
        format!("HTTP/1.1 {} Answer\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n", answer.status);
    let sent = stream.write_all(&[head.as_bytes(), &HALF_A_BODY].concat()).await.and(stream.flush().await);
    stage.clock.sleep(answer.transfer).await;
    if sent.and(stream.write_all(&HALF_A_BODY).await).is_ok() {
        let _ = stream.shutdown().await;
    }
}

/// Which region a check is from: its node says who it is in each request.
fn region(head: &[u8]) -> Option<&'static str> {
    let head = String::from_utf8_lossy(head);
    let (_, check) =
        head.lines().filter_map(|line| line.split_once(':')).find(|(name, _)| name.eq_ignore_ascii_case("x-probemesh-check"))?;
    let node = check.trim().split('/').next()?;
    REGIONS.into_iter().find(|region| node.strip_prefix(region).is_some_and(|rest| rest.starts_with('-')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_says_which_region_it_is_from() {
        let from = |header: &str| region(format!("GET / HTTP/1.1\r\nhost: a\r\n{header}\r\n\r\n").as_bytes());
        assert_eq!(from("X-Probemesh-Check: ap-south-1/3/42/1"), Some("ap-south"));
        assert_eq!(from("x-probemesh-check: eu-west-1/3/42/1"), Some("eu-west"));
        assert_eq!((from("x-probemesh-check: eu-west2/3/42/1"), from("accept: */*")), (None, None));
    }
}
