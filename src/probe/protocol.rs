//! Conversations with servers that speak no HTTP: a connection, TLS where it is wanted, and words for how far it came.
//!
//! A protocol is a file with one function: it is given a [`Line`] or makes one, says at each [`Step`] where it stands, and gives
//! the version the server tells. [`within`] bounds the whole of it.
//!
//! **Invariant.** No [`Trouble`] holds a password or a key: what a server answers is quoted only where it cannot be one.

pub mod mongodb;
pub mod redis;
pub mod scram;
pub mod smtp;

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::model::check::Reason;
use crate::model::service::{IpFamily, TlsOptions};
use crate::probe::classify::{certificate_message, span, tls_message};
use crate::probe::network::BlockedNetworks;
use crate::probe::recorder::{self, Hop};
use crate::probe::resolve::Lookup;
use crate::probe::tls::TlsGround;

/// The longest line of a server that is read, and the longest message.
const LONGEST_LINE: usize = 16 << 10;
pub const LARGEST_MESSAGE: usize = 1 << 20;

/// How far a conversation came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Step {
    Dns,
    Connect,
    Tls,
    Auth,
    Protocol,
    /// It lies in a network no check may reach.
    Blocked,
}

impl Step {
    const ALL: [Step; 6] = [Step::Dns, Step::Connect, Step::Tls, Step::Auth, Step::Protocol, Step::Blocked];

    pub fn name(self) -> &'static str {
        match self {
            Step::Dns => "dns",
            Step::Connect => "connect",
            Step::Tls => "tls",
            Step::Auth => "auth",
            Step::Protocol => "protocol",
            Step::Blocked => "blocked",
        }
    }
}

/// Why a server is not there or not well.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", self.phase())]
pub struct Trouble {
    pub step: Step,
    pub timed_out: bool,
    /// One line for a person.
    pub message: String,
}

impl Trouble {
    pub fn new(step: Step, message: impl Into<String>) -> Trouble {
        Trouble { step, timed_out: false, message: message.into() }
    }

    pub fn auth(message: impl Into<String>) -> Trouble {
        Trouble::new(Step::Auth, message)
    }

    pub fn protocol(message: impl Into<String>) -> Trouble {
        Trouble::new(Step::Protocol, message)
    }

    /// Such as `connect`; `timeout` where the time was up.
    pub fn phase(&self) -> &'static str {
        if self.timed_out { "timeout" } else { self.step.name() }
    }
}

/// Where a conversation stands, for whoever ends it.
#[derive(Debug, Default)]
pub struct Steps(AtomicU8);

impl Steps {
    pub fn reach(&self, step: Step) {
        self.0.store(step as u8, Ordering::Relaxed);
    }

    pub fn reached(&self) -> Step {
        Step::ALL[usize::from(self.0.load(Ordering::Relaxed)).min(Step::ALL.len() - 1)]
    }
}

/// Ends a conversation that takes too long.
pub async fn within<T>(limit: Duration, steps: &Steps, work: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
    match tokio::time::timeout(limit, work).await {
        Ok(outcome) => outcome,
        Err(_) => {
            let step = steps.reached();
            let doing = match step {
                Step::Dns => "resolving the name",
                Step::Connect => "connecting",
                Step::Tls => "in the TLS handshake",
                Step::Auth => "logging in",
                Step::Protocol | Step::Blocked => "waiting for the server's word",
            };
            Err(Trouble { step, timed_out: true, message: format!("no answer within {} ({doing})", span(limit)) })
        }
    }
}

/// A server and how it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub host: String,
    pub port: u16,
    /// `None`: in the clear.
    pub tls: Option<TlsOptions>,
    pub family: IpFamily,
}

/// Who logs in; nobody where there is no password.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Login {
    pub user: Option<String>,
    pub password: Option<String>,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Login({:?})", self.user)
    }
}

/// What all conversations of a process share. What each step takes, the recorder of the running attempt is told, if there is one.
pub struct Dialer {
    lookup: Arc<dyn Lookup>,
    ground: Arc<TlsGround>,
    blocked: Arc<BlockedNetworks>,
}

impl Dialer {
    pub fn new(lookup: Arc<dyn Lookup>, ground: Arc<TlsGround>, blocked: Arc<BlockedNetworks>) -> Dialer {
        Dialer { lookup, ground, blocked }
    }

    /// The addresses of a server that may be reached.
    pub async fn resolve(&self, server: &Server, steps: &Steps) -> Result<Vec<IpAddr>, Trouble> {
        let host = server.host.trim_matches(['[', ']']);
        let found = match host.parse() {
            Ok(literal) => vec![literal],
            Err(_) => {
                steps.reach(Step::Dns);
                mark(|hop, now| hop.dns_start = Some(now));
                let found = self.lookup.lookup(host, server.family).await;
                mark(|hop, now| hop.dns_end = Some(now));
                found.map_err(|message| Trouble::new(Step::Dns, message))?
            }
        };
        mark(|hop, _| hop.addresses.clone_from(&found));
        let usable: Vec<IpAddr> = found.into_iter().filter(|address| server.family.allows(*address)).collect();
        let Some(first) = usable.first().copied() else {
            return Err(Trouble::new(Step::Dns, format!("{host} has no address of the family asked for")));
        };
        let reachable: Vec<IpAddr> = usable.into_iter().filter(|address| !self.blocked.holds(*address)).collect();
        if reachable.is_empty() {
            return Err(Trouble::new(Step::Blocked, format!("{host} is {first}, in a network that checks may not reach")));
        }
        Ok(reachable)
    }

    /// A TCP connection to the first address that takes one.
    pub async fn connect(&self, server: &Server, steps: &Steps) -> Result<TcpStream, Trouble> {
        let addresses = self.resolve(server, steps).await?;
        steps.reach(Step::Connect);
        mark(|hop, now| hop.connect_start = Some(now));
        let mut failed = None;
        for address in addresses {
            let place = SocketAddr::new(address, server.port);
            match TcpStream::connect(place).await {
                Ok(stream) => {
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(err) => failed = Some(Trouble::new(Step::Connect, connect_words(&err, place))),
            }
        }
        Err(failed.unwrap_or_else(|| Trouble::new(Step::Connect, "there is no address to connect to")))
    }

    /// A connection on which the server can be talked to, through TLS where it is wanted from the first byte.
    pub async fn line(&self, server: &Server, steps: &Steps) -> Result<Line, Trouble> {
        let stream = self.connect(server, steps).await?;
        let pipe: Box<dyn Pipe> = match &server.tls {
            Some(options) => self.secure(Box::new(stream), &server.host, options, steps).await?,
            None => Box::new(stream),
        };
        mark(|hop, now| hop.connected = Some(now));
        Ok(Line { pipe, waiting: Vec::new() })
    }

    /// The TLS handshake over a connection.
    pub async fn secure(&self, pipe: Box<dyn Pipe>, host: &str, options: &TlsOptions, steps: &Steps) -> Result<Box<dyn Pipe>, Trouble> {
        steps.reach(Step::Tls);
        let failed = |message: String| Trouble::new(Step::Tls, message);
        let config = self.ground.config(options, &[]).map_err(|message| {
            // What the check itself was given cannot be used: that says nothing of the server.
            mark(|hop, _| hop.refusal = Some((Reason::Internal, message.clone())));
            failed(message)
        })?;
        let name = options.server_name.as_deref().unwrap_or(host).trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(name).map_err(|_| failed("the host is no name a certificate can be for".to_owned()))?;
        match TlsConnector::from(Arc::new(config)).connect(name.clone(), pipe).await {
            Ok(secured) => Ok(Box::new(secured)),
            Err(err) => Err(failed(match err.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(tls @ rustls::Error::InvalidCertificate(_)) => {
                    // The verifier has seen the certificate.
                    let said = recorder::current().and_then(|recorder| recorder.hop().refusal.clone());
                    said.map_or_else(|| certificate_message(tls, &name, None), |(_, message)| message)
                }
                Some(tls) => tls_message(tls),
                None => "the server closed the connection during the TLS handshake".to_owned(),
            })),
        }
    }
}

fn mark(write: impl FnOnce(&mut Hop, Duration)) {
    if let Some(recorder) = recorder::current() {
        recorder.mark(write);
    }
}

/// Anything bytes go through.
pub trait Pipe: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Pipe for T {}

/// A connection to a server, read by lines or by counted bytes.
pub struct Line {
    pub pipe: Box<dyn Pipe>,
    /// Read and not yet asked for.
    waiting: Vec<u8>,
}

impl Line {
    pub fn over(pipe: Box<dyn Pipe>) -> Line {
        Line { pipe, waiting: Vec::new() }
    }

    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        let sent = async {
            self.pipe.write_all(bytes).await?;
            self.pipe.flush().await
        };
        sent.await.map_err(|err| Trouble::protocol(broken_words(&err)))
    }

    /// The next line, without its end.
    pub async fn line(&mut self) -> Result<String, Trouble> {
        loop {
            if let Some(end) = self.waiting.iter().position(|byte| *byte == b'\n') {
                let rest = self.waiting.split_off(end + 1);
                let mut line = std::mem::replace(&mut self.waiting, rest);
                while matches!(line.last(), Some(b'\n' | b'\r')) {
                    line.pop();
                }
                return Ok(String::from_utf8_lossy(&line).into_owned());
            }
            if self.waiting.len() > LONGEST_LINE {
                return Err(Trouble::protocol("the server sends a line without end"));
            }
            self.more().await?;
        }
    }

    /// Exactly so many bytes.
    pub async fn bytes(&mut self, count: usize) -> Result<Vec<u8>, Trouble> {
        while self.waiting.len() < count {
            self.more().await?;
        }
        let rest = self.waiting.split_off(count);
        Ok(std::mem::replace(&mut self.waiting, rest))
    }

    /// What came first, if anything has come.
    pub fn first_words(&self) -> String {
        excerpt(&String::from_utf8_lossy(&self.waiting))
    }

    async fn more(&mut self) -> Result<(), Trouble> {
        let mut buffer = [0; 4096];
        match self.pipe.read(&mut buffer).await {
            Ok(0) if self.waiting.is_empty() => Err(Trouble::protocol("the server closed the connection without an answer")),
            Ok(0) => Err(Trouble::protocol(format!("the server closed the connection in mid-answer, after {:?}", self.first_words()))),
            Ok(count) => {
                self.waiting.extend_from_slice(&buffer[..count]);
                Ok(())
            }
            Err(err) => Err(Trouble::protocol(broken_words(&err))),
        }
    }
}

/// What a person is shown of something strange: its first line, short and printable.
pub fn excerpt(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().map(|char| if char.is_control() { '.' } else { char }).take(80).collect()
}

/// Why nobody takes a connection at `place`.
pub fn connect_words(err: &std::io::Error, place: SocketAddr) -> String {
    match err.kind() {
        ErrorKind::ConnectionRefused => format!("connection refused by {place}"),
        ErrorKind::HostUnreachable => format!("host {} is unreachable", place.ip()),
        ErrorKind::NetworkUnreachable | ErrorKind::AddrNotAvailable => format!("the network of {} is unreachable", place.ip()),
        ErrorKind::TimedOut => format!("the connection to {place} timed out"),
        _ => format!("cannot connect to {place}: {err}"),
    }
}

pub fn broken_words(err: &std::io::Error) -> String {
    match err.kind() {
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
            "the connection was reset by the server".to_owned()
        }
        ErrorKind::UnexpectedEof => "the server closed the connection in mid-answer".to_owned(),
        _ => format!("the connection broke: {err}"),
    }
}
