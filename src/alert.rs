//! Telling people: what a message says, and the channels it goes through.

pub mod advice;
pub mod channel;
pub mod message;
