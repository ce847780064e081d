//! Every text: its key, in English, in Persian. A new page adds its own file here.

mod alerts;
mod digests;
mod edit;
mod findings;
mod frame;
mod issues;
mod lists;
mod oidc;
mod overview;
mod performance;
mod public;
mod service;
mod slos;
mod subscribe;
mod system;
mod words;

/// `{}` and `{name}` are filled in.
pub type Entry = (&'static str, &'static str, &'static str);

pub const TEXTS: [&[Entry]; 15] = [
    words::TEXTS,
    frame::TEXTS,
    overview::TEXTS,
    service::TEXTS,
    edit::TEXTS,
    lists::TEXTS,
    public::TEXTS,
    issues::TEXTS,
    alerts::TEXTS,
    digests::TEXTS,
    findings::TEXTS,
    performance::TEXTS,
    slos::TEXTS,
    subscribe::TEXTS,
    system::TEXTS,
    oidc::TEXTS,
];
