//! ractor_cluster's node server, kept to what is wanted of it: it carries sessions over connections handed to it, and
//! tells of them. Its own listener cannot be left out; it is bound to a loopback port nobody is told of, and whoever finds
//! it does not know the cookie.

use std::net::{IpAddr, Ipv4Addr};

use ractor::{Actor, ActorCell, ActorRef};
use ractor_cluster::node::{NodeConnectionMode, NodeServerSessionInformation};
use ractor_cluster::{ClusterBidiStream, IncomingEncryptionMode, NodeEventSubscription, NodeServer};
use ractor_cluster::{NodeServerMessage, NodeSessionMessage};
use tokio::sync::mpsc;

use crate::wire::envelope::FRAME_AT_MOST;

/// A session, as the node server tells of it. `label` is that of the stream handed over.
#[derive(Clone, Debug)]
pub struct Link {
    pub label: String,
    pub node_id: u64,
    pub session: ActorRef<NodeSessionMessage>,
}

#[derive(Clone, Debug)]
pub enum LinkEvent {
    Opened(Link),
    Ready(Link),
    Gone(Link),
}

/// How a process goes by towards ractor_cluster: both halves are its name, since two that share the second are taken for one.
pub fn cluster_name(name: &str) -> String {
    format!("{name}@{name}")
}

pub struct Cluster {
    server: ActorRef<NodeServerMessage>,
}

impl Cluster {
    /// Starts the node server under `supervisor`; what happens to its sessions comes out of the receiver.
    pub async fn start(
        name: &str,
        cookie: &str,
        supervisor: ActorCell,
    ) -> anyhow::Result<(Cluster, ActorCell, mpsc::UnboundedReceiver<LinkEvent>)> {
        let server = NodeServer::new(
            0,
            cookie.to_owned(),
            name.to_owned(),
            name.to_owned(),
            Some(IncomingEncryptionMode::Raw),
            Some(NodeConnectionMode::Isolated),
        );
        let server = server.with_listen_addr(IpAddr::V4(Ipv4Addr::LOCALHOST)).with_max_inbound_frame_size(4 * FRAME_AT_MOST as u64);
        let (server, _) = Actor::spawn_linked(None, server, (), supervisor).await?;
        // At most two events a connection, and connections are bounded where they are made.
        let (events, received) = mpsc::unbounded_channel();
        let subscription = Box::new(Events(events));
        server.cast(NodeServerMessage::SubscribeToEvents { id: "links".to_owned(), subscription })?;
        let cell = server.get_cell();
        Ok((Cluster { server }, cell, received))
    }

    pub fn hand_over(&self, stream: Box<dyn ClusterBidiStream>, is_server: bool) {
        let _ = self.server.cast(NodeServerMessage::ConnectionOpenedExternal { stream, is_server });
    }
}

struct Events(mpsc::UnboundedSender<LinkEvent>);

impl NodeEventSubscription for Events {
    fn node_session_opened(&self, session: NodeServerSessionInformation) {
        let _ = self.0.send(LinkEvent::Opened(link(session)));
    }

    fn node_session_authenticated(&self, _: NodeServerSessionInformation) {}

    fn node_session_ready(&self, session: NodeServerSessionInformation) {
        let _ = self.0.send(LinkEvent::Ready(link(session)));
    }

    fn node_session_disconnected(&self, session: NodeServerSessionInformation) {
        let _ = self.0.send(LinkEvent::Gone(link(session)));
    }
}

fn link(session: NodeServerSessionInformation) -> Link {
    Link { label: session.peer_addr, node_id: session.node_id, session: session.actor }
}
