//! Results → what is known of each service now, what it came to over time, and where it broke.

#[cfg(feature = "hub")]
pub mod board;
#[cfg(feature = "hub")]
pub mod broke;
#[cfg(feature = "hub")]
pub mod change;
#[cfg(feature = "hub")]
pub mod endpoint;
#[cfg(feature = "hub")]
pub mod incident;
#[cfg(feature = "hub")]
pub mod ledger;
#[cfg(feature = "hub")]
pub mod rollup;
#[cfg(all(test, feature = "hub"))]
pub(crate) mod sample;
#[cfg(feature = "hub")]
pub mod sketch;
#[cfg(feature = "hub")]
pub mod strip;
pub mod verdict;
