//! Telling people: what a message says, and the channels it goes through.
//!
//! ```text
//! incidents, verdicts, findings, certificates, nodes ─ causes ─▶ dispatcher ─ rows ─▶ deliverer ─▶ channels
//! ```
//!
//! The [`dispatcher`] hears of causes, holds them against the rules and writes what is to be told as rows; the [`deliverer`] reads the
//! rows and sends. They meet in the store alone: whatever dies between them, each telling is written once and sent at least once.
//! [`rule`], [`quiet`], [`plan`] and [`collapse`] are what is decided, pure; the others carry it out.

pub mod advice;
pub mod channel;
pub mod collapse;
pub mod deliverer;
pub mod desk;
pub mod dispatcher;
pub mod drill;
pub mod exit;
pub mod inbox;
pub mod lane;
pub mod message;
pub mod plan;
pub mod quiet;
pub mod rule;
pub mod sources;
