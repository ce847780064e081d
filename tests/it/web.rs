//! The pages over the API's world: who gets in, what they may do, what they see, and what never leaves.

mod alerts;
mod browser;
mod forms;
mod issues;
mod login;
mod pages;
mod status;
mod system;
mod thousand;
