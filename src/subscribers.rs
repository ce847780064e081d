//! Telling the public: people and programs who asked on the status page to be told what it tells.
//!
//! ```text
//! incidents, windows ─ herald ─▶ news ─▶ a delivery for each subscriber ─ the lanes of alerts ─▶ post ─▶ mail, webhook
//! status page ─ desk ─▶ requests, confirmations, ends
//! ```
//!
//! [`news`] decides what there is to tell, pure; the [`herald`] writes it down and makes deliveries of it, which are durable, tried
//! again and counted as those of alerts are; [`post`] is where they leave. Mails share a few lanes of their own and every webhook has
//! one, so nobody here is waited for by a channel of alerts, or by another webhook.
//!
//! **Invariants.** What is told is what the status page shows anyone. Nothing but the request to confirm goes to an address nobody
//! has confirmed. No request goes to a network that is not public, unless a setting says so.

pub mod desk;
pub mod herald;
pub mod mail;
pub mod names;
pub mod news;
pub mod post;
pub mod webhook;
pub mod words;
