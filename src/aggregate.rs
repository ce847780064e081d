//! Results → what is known of each service now.

#[cfg(feature = "hub")]
pub mod board;
pub mod verdict;
