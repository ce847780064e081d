//! A finding in one line: what, how large against which habit, where, since when.

use std::time::Duration;

use crate::analysis::episode::Episode;
use crate::model::finding::Signal;
use crate::model::id::RegionName;
use crate::model::time::Timestamp;

/// A mean of a minute of fewer checks is called by no percentile.
const FEW: u32 = 3;

pub fn summary(episode: &Episode, regions_heard: usize) -> String {
    let what = match episode.signal {
        Signal::Errors => failures(episode),
        signal => time(episode, signal),
    };
    let learning = match episode.learning {
        Some(learning) => format!(" (still learning: has {} samples, needs {})", learning.have, learning.need),
        None => String::new(),
    };
    format!("{what}, {}since {}{learning}", place(episode, regions_heard), clock(episode.since))
}

/// What is slow for many services at once. Times in microseconds.
pub struct Shared<'a> {
    pub signal: Signal,
    pub observed: f64,
    pub expected: f64,
    pub services: usize,
    /// In the region in which most were heard of.
    pub heard: usize,
    pub regions: &'a [RegionName],
    pub regions_heard: usize,
    pub since: Timestamp,
}

pub fn shared(shared: &Shared) -> String {
    let Shared { signal, observed, expected, services, heard, regions, regions_heard, since } = *shared;
    let title = title(signal);
    let ratio = factor(observed / expected.max(1.0));
    let place = places(regions, regions_heard);
    format!(
        "{title} {ratio} × as long for {services} of {heard} services at once, {place}since {}: something they share is slow",
        clock(since)
    )
}

fn time(episode: &Episode, signal: Signal) -> String {
    let name = if episode.checks >= FEW { format!("{} p50", title(signal)) } else { title(signal).to_owned() };
    let observed = millis(episode.observed);
    let Some(expected) = episode.expected else { return format!("{name} is {observed}") };
    let ratio = episode.observed / expected.max(1.0);
    let habit = habit(episode.known, episode.worst_at);
    format!("{name} {} × {habit} ({observed} instead of {})", factor(ratio), millis(expected))
}

fn failures(episode: &Episode) -> String {
    let (failed, checks) = episode.counts;
    let habit = habit(episode.known, episode.worst_at);
    format!(
        "{failed} of {checks} checks failed, {} where {} is {habit}",
        percent(episode.observed),
        percent(episode.expected.unwrap_or(0.0))
    )
}

fn place(episode: &Episode, regions_heard: usize) -> String {
    places(&episode.regions().cloned().collect::<Vec<_>>(), regions_heard)
}

fn places(regions: &[RegionName], regions_heard: usize) -> String {
    let names: Vec<String> = regions.iter().map(ToString::to_string).collect();
    match names.as_slice() {
        [one] if regions_heard > 1 => format!("{one} only, "),
        [_] => String::new(),
        names if names.len() >= regions_heard => format!("in all {} regions, ", names.len()),
        names => format!("in {} of {regions_heard} regions ({}), ", names.len(), names.join(", ")),
    }
}

/// From two days on a time is held against the same time of the days before.
fn habit(known: Duration, at: Timestamp) -> String {
    let hours = known.as_secs() / 3600;
    match hours {
        0..2 => format!("its habit of the last {} minutes", (known.as_secs() / 60).max(1)),
        2..48 => format!("its habit of the last {hours} hours"),
        _ => format!("its {}h habit of the last {} days", at.datetime().format("%H"), (hours / 24).min(7)),
    }
}

fn title(signal: Signal) -> &'static str {
    match signal {
        Signal::Dns => "DNS",
        Signal::Tls => "TLS",
        Signal::FirstByte => "first byte",
        other => other.name(),
    }
}

fn factor(ratio: f64) -> String {
    match ratio {
        ratio if ratio >= 10.0 => format!("{ratio:.0}"),
        ratio if ratio >= 0.1 => format!("{ratio:.1}"),
        ratio => format!("{ratio:.2}"),
    }
}

fn millis(us: f64) -> String {
    let ms = us / 1e3;
    match ms {
        ms if ms >= 10_000.0 => format!("{:.1} s", ms / 1e3),
        ms if ms >= 100.0 => format!("{ms:.0} ms"),
        ms if ms >= 1.0 => format!("{ms:.1} ms"),
        ms => format!("{ms:.2} ms"),
    }
}

fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent >= 10.0 { format!("{percent:.0} %") } else { format!("{percent:.1} %") }
}

fn clock(at: Timestamp) -> String {
    at.datetime().format("%H:%M UTC").to_string()
}
