//! The link between machines: ractor_cluster over connections of our own making.
//!
//! ractor_cluster carries messages between the gateways of two processes and knows nothing of who may connect, whether the
//! other end still lives, or what was lost. So connections are opened, authenticated and bounded here, by mutual TLS, and
//! only then handed to it; and whether anybody is there is found out by heartbeats of our own.
//!
//! | module | what it is |
//! |---|---|
//! | [`identity`] | who a node is, as its certificate says |
//! | [`joining`] | how a machine becomes a node, over the same port |
//! | [`token`] | what a person carries from the hub to a machine that is to join |
//! | [`node_files`] | what a joined node keeps |
//! | [`authority`] | the hub's own certificate authority |
//! | [`gateway`] | the one actor of a process that others can reach |
//! | [`cluster`] | ractor_cluster's node server, and what it tells of its sessions |
//! | [`stream`] | a connection as it is handed over, its name checked before |
//! | [`dialer`] | a node's side: connects to the hub, again and again |
//! | [`uplink`] | a node's side of one session |
//! | [`hub_lost`] | a node's own alert when its hub is lost |
//!
//! **Invariants.** A process has one remotable actor, the gateway. No connection reaches ractor_cluster before its peer's
//! certificate and the name it goes by there are known to be one. Every wait for a peer has an end.

pub mod identity;
pub mod joining;
pub mod node_files;
pub mod private_file;
pub mod token;

#[cfg(feature = "hub")]
pub mod authority;
#[cfg(feature = "hub")]
pub mod token_issuer;

pub mod cluster;
pub mod gateway;
pub mod stream;

pub mod dialer;
pub mod hub_lost;
pub mod uplink;
