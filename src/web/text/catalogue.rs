//! Every text: its key, in English, in Persian. A new page adds its own file here.

mod alerts;
mod edit;
mod frame;
mod issues;
mod lists;
mod overview;
mod public;
mod service;
mod system;
mod words;

/// `{}` and `{name}` are filled in.
pub type Entry = (&'static str, &'static str, &'static str);

pub const TEXTS: [&[Entry]; 10] = [
    words::TEXTS,
    frame::TEXTS,
    overview::TEXTS,
    service::TEXTS,
    edit::TEXTS,
    lists::TEXTS,
    public::TEXTS,
    issues::TEXTS,
    alerts::TEXTS,
    system::TEXTS,
];
