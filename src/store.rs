//! The only SurrealQL of the program.
pub mod connection;
