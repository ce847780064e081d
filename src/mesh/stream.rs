//! A connection as it is handed to ractor_cluster.
//!
//! Before that, a node says who it is and hears whether it may come in: so a refusal has a reason the node can tell.
//!
//! ractor_cluster believes what a peer calls itself. So its first frame is read here, held against the certificate, and
//! played again to ractor_cluster: a peer that claims another's name is refused before the real one can be disturbed.

use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use ractor_cluster::{BoxRead, BoxWrite, ClusterBidiStream};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// A name message is far shorter.
const FIRST_FRAME_AT_MOST: u64 = 4096;

#[derive(Debug, Error)]
pub enum NameError {
    #[error("connection ended before it gave a name")]
    Io(#[source] std::io::Error),
    #[error("first frame has {0} bytes, more than any name takes")]
    TooLarge(u64),
    #[error("first frame is not a name")]
    NotAName,
    #[error("it calls itself {claimed}, its certificate says {certified}")]
    Imposter { claimed: String, certified: String },
}

/// What a node says first on a connection, before anything of the carrier's: `PMESH` and its name.
const GREETING: &[u8; 5] = b"PMESH";
const REASON_AT_MOST: u16 = 1024;
/// How the words of a refused node begin.
pub const REFUSED: &str = "hub refuses this node";

/// A node's part: says who it is, and hears whether it may come in, or why not.
pub async fn introduce(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), name: &str) -> Result<(), String> {
    let broken = |err: std::io::Error| format!("hub closed the connection: {err}");
    let mut greeting = GREETING.to_vec();
    greeting.push(u8::try_from(name.len()).map_err(|_| "name is too long".to_owned())?);
    greeting.extend_from_slice(name.as_bytes());
    stream.write_all(&greeting).await.map_err(broken)?;
    stream.flush().await.map_err(broken)?;
    match stream.read_u16().await.map_err(broken)? {
        0 => Ok(()),
        length if length > REASON_AT_MOST => Err("hub's answer cannot be understood".to_owned()),
        length => {
            let mut reason = vec![0; length.into()];
            stream.read_exact(&mut reason).await.map_err(broken)?;
            Err(format!("{REFUSED}: {}", String::from_utf8_lossy(&reason)))
        }
    }
}

/// The hub's part: the name a node gives.
pub async fn introduction(stream: &mut (impl AsyncRead + Unpin)) -> Result<String, NameError> {
    let mut greeting = [0; GREETING.len()];
    stream.read_exact(&mut greeting).await.map_err(NameError::Io)?;
    if greeting != *GREETING {
        return Err(NameError::NotAName);
    }
    let mut name = vec![0; stream.read_u8().await.map_err(NameError::Io)?.into()];
    stream.read_exact(&mut name).await.map_err(NameError::Io)?;
    String::from_utf8(name).map_err(|_| NameError::NotAName)
}

/// Lets a node in, or says why not.
pub async fn answer_introduction(stream: &mut (impl AsyncWrite + Unpin), refusal: Option<&str>) -> std::io::Result<()> {
    let reason = refusal.map_or(&[][..], |reason| &reason.as_bytes()[..reason.len().min(REASON_AT_MOST.into())]);
    stream.write_u16(reason.len() as u16).await?;
    stream.write_all(reason).await?;
    stream.flush().await
}

/// Reads the first frame of a client and holds the name in it against `certified`; returns the frame's bytes.
pub async fn check_name(stream: &mut (impl AsyncRead + Unpin), certified: &str) -> Result<Vec<u8>, NameError> {
    let length = stream.read_u64().await.map_err(NameError::Io)?;
    if length > FIRST_FRAME_AT_MOST {
        return Err(NameError::TooLarge(length));
    }
    let mut body = vec![0; length as usize];
    stream.read_exact(&mut body).await.map_err(NameError::Io)?;
    let claimed = name_in(&body).ok_or(NameError::NotAName)?;
    if claimed != certified {
        let shown = |name: &str| name.split('@').next().unwrap_or_default().chars().take(64).collect();
        return Err(NameError::Imposter { claimed: shown(claimed), certified: shown(certified) });
    }
    let mut frame = length.to_be_bytes().to_vec();
    frame.append(&mut body);
    Ok(frame)
}

/// `NetworkMessage.auth.name.name` of ractor_cluster's protocol: the first field of each, one within the other.
fn name_in(body: &[u8]) -> Option<&str> {
    let name = field(field(field(body, 1)?, 1)?, 1)?;
    std::str::from_utf8(name).ok()
}

/// A length-delimited field of a protobuf message, by its number.
fn field(bytes: &[u8], number: u64) -> Option<&[u8]> {
    let mut at = 0;
    while at < bytes.len() {
        let key = varint(bytes, &mut at)?;
        match key & 7 {
            0 => {
                varint(bytes, &mut at)?;
            }
            1 => at = at.checked_add(8)?,
            2 => {
                let length = usize::try_from(varint(bytes, &mut at)?).ok()?;
                let value = bytes.get(at..at.checked_add(length)?)?;
                at += length;
                if key >> 3 == number {
                    return Some(value);
                }
            }
            5 => at = at.checked_add(4)?,
            _ => return None,
        }
    }
    None
}

fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 127) << shift;
        if byte < 128 {
            return Some(value);
        }
    }
    None
}

/// A stream with what was read of it ahead, and a switch that ends it whatever its peer does.
pub struct Carried<S> {
    pub head: Vec<u8>,
    pub stream: S,
    /// Told apart by it in what the node server tells.
    pub label: String,
    /// Once true, or dropped, both directions end.
    pub ended: watch::Receiver<bool>,
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> ClusterBidiStream for Carried<S> {
    fn split(self: Box<Self>) -> (BoxRead, BoxWrite) {
        let (read, write) = tokio::io::split(self.stream);
        let read = Cursor::new(self.head).chain(read);
        (Box::new(Ending::new(read, self.ended.clone())), Box::new(Ending::new(write, self.ended)))
    }

    fn peer_label(&self) -> Option<String> {
        Some(self.label.clone())
    }
}

/// One direction, until it is switched off.
struct Ending<T> {
    inner: T,
    over: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>,
    is_over: bool,
}

impl<T> Ending<T> {
    fn new(inner: T, mut ended: watch::Receiver<bool>) -> Ending<T> {
        let over = Box::pin(async move {
            let _ = ended.wait_for(|ended| *ended).await;
        });
        Ending { inner, over, is_over: false }
    }

    fn check(&mut self, context: &mut std::task::Context<'_>) -> std::io::Result<()> {
        self.is_over = self.is_over || self.over.as_mut().poll(context).is_ready();
        if self.is_over { Err(std::io::Error::new(std::io::ErrorKind::ConnectionAborted, "link was ended here")) } else { Ok(()) }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Ending<T> {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        if let Err(err) = self.check(context) {
            return std::task::Poll::Ready(Err(err));
        }
        std::pin::Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Ending<T> {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        buffer: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        if let Err(err) = self.check(context) {
            return std::task::Poll::Ready(Err(err));
        }
        std::pin::Pin::new(&mut self.inner).poll_write(context, buffer)
    }

    fn poll_flush(mut self: std::pin::Pin<&mut Self>, context: &mut std::task::Context<'_>) -> std::task::Poll<std::io::Result<()>> {
        if let Err(err) = self.check(context) {
            return std::task::Poll::Ready(Err(err));
        }
        std::pin::Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: std::pin::Pin<&mut Self>, context: &mut std::task::Context<'_>) -> std::task::Poll<std::io::Result<()>> {
        if self.check(context).is_err() {
            return std::task::Poll::Ready(Ok(()));
        }
        std::pin::Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

/// Small frames at once, and an end to what the other side never acknowledges.
pub fn prepare(tcp: &TcpStream, unacknowledged: Duration) -> std::io::Result<()> {
    tcp.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    {
        use std::os::fd::AsRawFd;
        let ms = u32::try_from(unacknowledged.as_millis()).unwrap_or(u32::MAX);
        // SAFETY: the descriptor is open as long as `tcp` is borrowed, the value is a plain integer of the size given.
        let set = unsafe {
            libc::setsockopt(tcp.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, (&raw const ms).cast(), size_of::<u32>() as u32)
        };
        if set != 0 {
            return Err(std::io::Error::last_os_error());
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = unacknowledged;
    Ok(())
}

/// An end switch for one connection.
pub fn end_switch() -> (Arc<watch::Sender<bool>>, watch::Receiver<bool>) {
    let (end, ended) = watch::channel(false);
    (Arc::new(end), ended)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(name: &str) -> Vec<u8> {
        let wrap = |bytes: &[u8]| [&[0x0A, bytes.len() as u8], bytes].concat();
        let body = wrap(&wrap(&wrap(name.as_bytes())));
        [&(body.len() as u64).to_be_bytes()[..], &body].concat()
    }

    async fn check(bytes: &[u8]) -> String {
        match check_name(&mut &bytes[..], "eu-1@eu-1").await {
            Ok(frame) => {
                assert_eq!(frame, bytes);
                "passed".to_owned()
            }
            Err(err) => err.to_string(),
        }
    }

    #[tokio::test]
    async fn only_the_name_in_the_certificate_passes() {
        insta::assert_snapshot!(check(&frame("eu-1@eu-1")).await, @"passed");
        insta::assert_snapshot!(check(&frame("us-1@us-1")).await, @"it calls itself us-1, its certificate says eu-1");
        insta::assert_snapshot!(check(&[0, 0, 0, 0, 0, 0, 0, 3, 1, 2, 3]).await, @"first frame is not a name");
        insta::assert_snapshot!(check(&u64::MAX.to_be_bytes()).await, @"first frame has 18446744073709551615 bytes, more than any name takes");
        insta::assert_snapshot!(check(&frame("eu-1@eu-1")[..9]).await, @"connection ended before it gave a name");
    }
}
