//! A period → text: what happened, what changed, what to look at next.
//!
//! ```text
//! store, board ──gather──▶ Inputs ──facts──▶ Facts ──┬──▶ prompt ──▶ language model ──▶ check ──┬──▶ digest
//!                                                    └──▶ local writer ◀── refused, late, away ─┘
//! ```
//!
//! Facts come first, and they are pure: the same inputs give the same facts, and from the same facts the local writer makes
//! the same text. A language model, where one is set, is given the facts and nothing else; what it answers is held against them
//! figure by figure and name by name, and what does not fit is not shown to anyone: the local writer takes over.
//!
//! **Invariant.** `facts`, `local`, `check`, `prompt` and `words` do no I/O and read no clock.

pub mod words;

pub mod facts;

pub mod local;

pub mod prompt;

pub mod check;

pub mod gather;

pub mod openai;

pub mod writing;

pub mod digester;

#[cfg(test)]
mod scenes;
