//! A node that does not keep to the protocol: it has real papers and says what it likes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use probemesh::mesh::cluster::{Cluster, LinkEvent};
use probemesh::mesh::gateway::{Gateway, GatewayMsg, Received, Sessions, remote};
use probemesh::mesh::node_files::NodeFiles;
use probemesh::mesh::stream::{Carried, end_switch, introduce};
use probemesh::wire::envelope::{Choice, Hello, OPENING, SessionToken, Up, frames, session_of};
use ractor::{Actor, ActorRef};
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The papers of a node that has joined.
pub fn papers(folder: &Path, region: &str) -> NodeFiles {
    let written = std::fs::read_dir(folder.join("data")).unwrap().flatten().map(|entry| entry.path());
    let folders = written.chain([folder.join("data"), folder.join(format!("data/{region}"))]);
    let mut found = folders.filter_map(|folder| NodeFiles::load(&folder.join("mesh")).unwrap());
    found.next().expect("the node has joined")
}

pub async fn connect(port: u16, tls: Arc<ClientConfig>) -> Result<TlsStream<TcpStream>, String> {
    let tcp = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    TlsConnector::from(tls).connect(NodeFiles::hub_name(), tcp).await.map_err(|err| err.to_string())
}

/// A session with the hub, up to where the node would say hello.
pub struct Rogue {
    pub gateway: ActorRef<GatewayMsg>,
    pub token: SessionToken,
    _received: Received,
    supervisor: ActorRef<GatewayMsg>,
    events: mpsc::UnboundedReceiver<LinkEvent>,
    _cluster: Cluster,
    _end: Arc<watch::Sender<bool>>,
}

impl Rogue {
    pub async fn connect(port: u16, files: &NodeFiles) -> Rogue {
        let name = files.identity().node.to_string();
        let sessions: Arc<Sessions> = Arc::default();
        let (supervisor, _) = Actor::spawn(None, Gateway, sessions.clone()).await.unwrap();
        let (cluster, _, mut events) = Cluster::start(&name, &files.cookie, supervisor.get_cell()).await.unwrap();
        let mut stream = connect(port, files.client_config()).await.unwrap();
        introduce(&mut stream, &name).await.unwrap();
        let mut offers = sessions.await_offer();
        let (end, ended) = end_switch();
        cluster.hand_over(Box::new(Carried { head: Vec::new(), stream, label: "rogue".to_owned(), ended }), false);
        let node_id = loop {
            match tokio::time::timeout(Duration::from_secs(20), events.recv()).await.unwrap().unwrap() {
                LinkEvent::Ready(link) => break link.node_id,
                LinkEvent::Gone(_) => panic!("the hub closed the link"),
                LinkEvent::Opened(_) => {}
            }
        };
        let offer = tokio::time::timeout(Duration::from_secs(20), offers.recv()).await.unwrap().unwrap();
        let (_, token) = session_of(&offer).unwrap();
        let received = sessions.open(token);
        let gateway = remote(node_id).expect("the hub has a gateway");
        let rogue = Rogue { gateway, token, _received: received, supervisor, events, _cluster: cluster, _end: end };
        rogue.say(OPENING, &Choice::Version(1));
        rogue
    }

    /// Says hello as whoever.
    pub fn hello(&self, node: &str, region: &str) {
        let hello =
            Hello { node: node.to_owned(), region: region.to_owned(), boot: 1, build: "rogue".to_owned(), generation: 0, now_us: 0 };
        self.say(1, &Up::Hello(hello));
    }

    pub fn say<T: serde::Serialize>(&self, version: u8, message: &T) {
        for frame in frames(version, &self.token, message) {
            self.send(frame);
        }
    }

    pub fn send(&self, frame: Vec<u8>) {
        let _ = self.gateway.cast(GatewayMsg::Frame(frame));
    }

    /// Until the hub has ended the link.
    pub async fn ended(mut self) {
        let gone = async { while !matches!(self.events.recv().await, Some(LinkEvent::Gone(_)) | None) {} };
        tokio::time::timeout(Duration::from_secs(30), gone).await.expect("the hub ends the link");
        self.supervisor.stop(None);
    }
}

impl Drop for Rogue {
    fn drop(&mut self) {
        self.supervisor.stop(None);
    }
}
