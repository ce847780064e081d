//! The only SurrealQL of the program.
pub mod connection;

pub mod audit;
pub mod secrets;
pub mod services;
pub mod sessions;
pub mod users;
