//! probemesh watches APIs from many places at once.
//!
//! ```text
//! region:  schedule → prober → CheckResult → outbox (disk) → courier ──batches──▶ hub: ingest → journal → board
//! hub:     board → verdicts → aggregator → incidents;  journal → sealer → blocks → rollups;  store → API
//! ```
//!
//! The modules, in reading order:
//!
//! | module | what it is |
//! |---|---|
//! | [`model`] | the nouns, plain data |
//! | [`config`] | files and environment → one checked `Config`; the service document |
//! | [`clock`] | the only wall clock and the only timers |
//! | [`telemetry`] | the only logging set-up: `logs/monitor.log` and `logs/health.log` |
//! | [`supervise`] | the restart policy, shared by region and hub |
//! | [`probe`] | one check of one service → `CheckResult` |
//! | [`caller`] | calls the addresses a person named for the monitor's own word |
//! | [`wire`] | what crosses from region to hub, with its version |
//! | [`mesh`] | the link between machines: ractor_cluster over mutual TLS, joining, one session a node |
//! | [`region`] | wires a region's process: supervisor, probers, outbox, courier |
//! | [`node`] | wires a region's process on a machine of its own: region and mesh |
//! | [`store`] | the only SurrealQL: journal, blocks, rollups, details, incidents, services, users |
//! | [`aggregate`] | results → region states, verdicts, incidents with where it broke, and rollups |
//! | [`analysis`] | rollups → findings; what performance costs and why |
//! | [`alert`] | what people are told, and by which channels |
//! | [`subscribers`] | those who asked on the status page to be told its news, and telling them |
//! | [`maintenance`] | windows in which nobody is told and nothing counts |
//! | [`slo`] | objectives: attained, error budget, how fast it burns |
//! | [`digest`] | a period → facts → a text by the local writer or a language model |
//! | [`tracker`] | issues: what people and the program report, and how it is worked off |
//! | [`system`] | the monitor's own health: figures, dependencies, thresholds that are told of |
//! | [`oidc`] | who people are by an identity provider |
//! | [`api`] | JSON under Rocket, one file a resource |
//! | [`web`] | the pages people look at, one file a page |
//! | [`hub`] | wires the central process: ingest, verdicts, aggregator, sealer, assignments and Rocket |
//! | [`demo`] | local services with injected trouble, and what was told of it held against what was done |
//! | [`cli`] | the command line, one file a subcommand |
//!
//! Invariants, watched by `tests/it/tidy.rs` where a text search can see them:
//! - `model`, `wire::batch`, `aggregate` and `analysis` (but for its actor) do no I/O and read no clock.
//! - `probe` and `region` import nothing of `hub`, `store` or `api`, and build without them (`--no-default-features`).
//! - Only `config` reads the environment, only `store` holds SurrealQL, only `clock` asks for the time or sets a timer.
//! - A check is made when its result is committed to the outbox; the hub acknowledges what its store has committed.

pub mod model;

pub mod config;

pub mod clock;
pub mod telemetry;

pub mod supervise;

pub mod probe;

pub mod caller;

pub mod wire;

pub mod mesh;

pub mod region;

pub mod node;

#[cfg(feature = "hub")]
pub mod store;

pub mod aggregate;

#[cfg(feature = "hub")]
pub mod analysis;

#[cfg(feature = "hub")]
pub mod maintenance;

#[cfg(feature = "hub")]
pub mod slo;

#[cfg(feature = "hub")]
pub mod digest;

#[cfg(feature = "hub")]
pub mod alert;

#[cfg(feature = "hub")]
pub mod subscribers;

#[cfg(feature = "hub")]
pub mod system;

#[cfg(feature = "hub")]
pub mod tracker;

#[cfg(feature = "hub")]
pub mod oidc;

#[cfg(feature = "hub")]
pub mod api;

#[cfg(feature = "hub")]
pub mod web;

#[cfg(feature = "hub")]
pub mod hub;

#[cfg(feature = "hub")]
pub mod demo;

pub mod cli;
