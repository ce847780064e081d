//! The issue tracker: what people and the program report, and how it is worked off.
//!
//! [`desk`] is the one way issues are changed, whoever changes them: it checks, writes, and tells those who listen and those
//! who are meant. [`workflow`], [`statistics`], [`mention`] and [`evidence`] are pure. [`opener`] opens issues for what the
//! monitor itself saw, and [`copies`] takes issues out of one hub and into another.
//!
//! **Invariant.** One cause has one issue, whatever is repeated, killed or read again: the store refuses to be told twice.

pub mod copies;
pub mod desk;
pub mod evidence;
pub mod mention;
pub mod notify;
pub mod opener;
pub mod rounds;
pub mod statistics;
pub mod workflow;
