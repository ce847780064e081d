//! The nouns, as plain data. Nothing here reads a clock, a file or a socket, and nothing here is what leaves the process:
//! the wire, the API and the store each have their own structs, so that these stay free to change.

pub mod alert;
pub mod check;
pub mod digest;
pub mod finding;
pub mod held;
pub mod id;
pub mod incident;
pub mod issue;
pub mod rule;
pub mod schedule;
pub mod service;
pub mod slo;
pub mod span;
pub mod subscriber;
pub mod system;
pub mod time;
pub mod window;
