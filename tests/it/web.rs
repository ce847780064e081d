//! The pages over the API's world: who gets in, what they may do, what they see, and what never leaves.

mod alerts;
pub mod browser;
mod digests;
mod findings;
mod forms;
mod issues;
mod login;
mod oidc;
mod pages;
mod performance;
mod slos;
mod status;
mod system;
mod thousand;
mod zoom;
