//! What joins regions on other machines to their hub.

pub mod identity;
pub mod joining;
pub mod node_files;
pub mod private_file;
pub mod token;

#[cfg(feature = "hub")]
pub mod authority;
#[cfg(feature = "hub")]
pub mod token_issuer;
