//! The mesh as it is run: real processes of the real binary, and what may go wrong between them.
//!
//! Each test starts a hub and some nodes in folders of their own, each node behind a line (a TCP proxy) that can be cut,
//! stalled or made to work one way only; a target on this machine notes each check that asks, so that in the end the
//! store is held against it: every check made is there exactly once. Heartbeat and deadline are shortened to 0.3 s and 1.5 s.
//!
//! `cargo test --test cluster -- --nocapture` shows what happens and how long it takes. With `CLUSTER_LONG=1` cuts are
//! longer, loads higher, kills more, heartbeat and deadline the usual ones. `TEST_PROBEMESH` names another build of the
//! program, such as an optimised one.
//!
//! Times are measured and told; what is asserted of them has slack for a slow machine that does other things as well.

mod alerts;
mod assignments;
mod background;
mod bad;
#[path = "../it/binary.rs"]
#[expect(dead_code, reason = "some of it is for the other test program")]
mod binary;
mod catch_up;
mod cut;
mod demo;
mod kills;
mod ledger;
mod line;
mod regions;
mod rogue;
mod shares;
mod stalls;
mod target;
mod trying;
mod world;

/// Whether the long form of a test is wanted.
fn long() -> bool {
    std::env::var_os("CLUSTER_LONG").is_some()
}
