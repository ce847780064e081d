//! The line between a node and its hub: a TCP proxy that can be cut, stalled or made to work one way only.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;

use crate::background::Background;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Open,
    /// Connections are closed, and new ones too.
    Cut,
    /// Connections stay open and nothing passes, neither way.
    Stalled,
    /// What the node says passes, what the hub says does not.
    UpOnly,
    /// What the hub says passes, what the node says does not.
    DownOnly,
}

pub struct Line {
    pub port: u16,
    mode: watch::Sender<Mode>,
    _background: Background,
}

impl Line {
    pub fn to(hub_port: u16) -> Line {
        let background = Background::start();
        let (mode, modes) = watch::channel(Mode::Open);
        let port = background.listen(move |listener| async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, hub_port, modes.clone()));
            }
        });
        Line { port, mode, _background: background }
    }

    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

async fn carry(near: TcpStream, hub_port: u16, mut modes: watch::Receiver<Mode>) {
    if *modes.borrow() == Mode::Cut {
        return;
    }
    let Ok(far) = TcpStream::connect(("127.0.0.1", hub_port)).await else { return };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let (from_node, to_node) = near.into_split();
    let (from_hub, to_hub) = far.into_split();
    let (mut up, mut down) = (modes.clone(), modes.clone());
    tokio::select! {
        () = pump(from_node, to_hub, &mut up, Mode::DownOnly) => {}
        () = pump(from_hub, to_node, &mut down, Mode::UpOnly) => {}
        _ = modes.wait_for(|mode| *mode == Mode::Cut) => {}
    }
}

/// Until either end closes; `against` is the mode in which this direction is shut.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, modes: &mut watch::Receiver<Mode>, against: Mode) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = match from.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(count) => count,
        };
        if modes.wait_for(|mode| *mode != Mode::Stalled && *mode != against).await.is_err() {
            return;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
