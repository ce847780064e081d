//! The monitor's own health: looked at on a schedule, kept, and told of where a threshold is crossed.
//!
//! [`look`] reads what the process, the store, the cluster and the API are like now, [`dependency`] talks to the servers people
//! depend on, [`threshold`] decides what of it is wrong, [`desk`] puts one look together and keeps it, and [`monitor`] is the actor
//! that has it done in time.
//!
//! **Invariants.** [`threshold`], [`growth`] and [`trend`] are pure. A look never holds up a check: what blocks runs on threads for
//! that, what waits has a limit.

pub mod dependency;
pub mod desk;
pub mod folder;
pub mod growth;
pub mod look;
pub mod monitor;
pub mod process;
pub mod threshold;
pub mod trend;
