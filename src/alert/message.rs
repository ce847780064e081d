//! What a message says, part by part, before it takes the form of any medium: the first line says what broke and where,
//! the parts below it the rest, in the order a person on call asks for them.
//!
//! **Invariants.** No text here holds a line break or another control character, so none can end a header or a line of a
//! form. What is left out is said to be left out.

pub mod card;
pub mod html;
pub mod plain;
pub mod text;

use std::time::Duration;

use crate::alert::message::text::{clean, cut};
use crate::digest::words::{counted, grouped, list, span};
use crate::model::alert::{Message, RegionLine, Telling};
use crate::model::incident::Severity;
use crate::model::time::Timestamp;

/// Regions that are shown; the others are counted.
const REGIONS: usize = 12;
/// Services named among the consequences; the others are counted.
const NAMES: usize = 10;
const HEADLINE: usize = 400;
const TEXT: usize = 600;

/// A message, ready to be put into a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// What broke and where.
    pub first_line: String,
    pub mood: Mood,
    /// In the order they are read in.
    pub parts: Vec<Part>,
    /// Why this was told, in small print.
    pub footer: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    Fact {
        label: &'static str,
        text: String,
    },
    /// What each region saw, and how many more there are.
    Regions {
        lines: Vec<RegionLine>,
        more: usize,
    },
    Link {
        url: String,
    },
}

/// How bad the news are; media with colours show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Bad,
    Warning,
    Good,
    Neutral,
}

impl Mood {
    fn of(message: &Message) -> Mood {
        match (message.telling, message.severity) {
            (Telling::Recovered, _) if message.recovered_at.is_some() => Mood::Good,
            (Telling::Recovered, _) => Mood::Neutral,
            (Telling::Acknowledged | Telling::Word | Telling::Test, _) => Mood::Neutral,
            (_, Severity::Critical) => Mood::Bad,
            (_, Severity::Warning) => Mood::Warning,
        }
    }

    /// As `0xRRGGBB`.
    pub fn colour(self) -> u32 {
        match self {
            Mood::Bad => 0x00c6_2828,
            Mood::Warning => 0x00e0_8e00,
            Mood::Good => 0x002e_7d32,
            Mood::Neutral => 0x0054_6e7a,
        }
    }
}

impl Parts {
    /// `now` is what "ago" is counted to.
    pub fn of(message: &Message, now: Timestamp) -> Parts {
        let mut parts = Vec::new();
        let mut fact = |label, text: String| parts.push(Part::Fact { label, text: cut(&clean(&text), TEXT) });
        match message.recovered_at {
            Some(at) => {
                fact("Recovered", moment(at));
                fact("Lasted", format!("{}, since {}", span(at.since(message.since)), moment(message.since)));
            }
            None if message.telling == Telling::Word => fact("When", ago(message.since, now)),
            None => fact("Since", ago(message.since, now)),
        }
        // What regions saw while it lasted is not how they see it now.
        if !message.regions.is_empty() && message.telling != Telling::Recovered {
            let lines = message.regions.iter().take(REGIONS).map(clean_region).collect();
            parts.push(Part::Regions { lines, more: message.regions.len().saturating_sub(REGIONS) });
        }
        let mut fact = |label, text: String| parts.push(Part::Fact { label, text: cut(&clean(&text), TEXT) });
        if let (Some(at), None) = (message.last_good, message.recovered_at) {
            fact("Last good", ago(at, now));
        }
        if !message.consequences.is_empty() {
            let count = message.consequences.len() as u64;
            let names: Vec<String> = message.consequences.iter().map(|name| cut(&clean(name), 60)).collect();
            let verb = if count == 1 { "fails" } else { "fail" };
            fact("Also affected", format!("{} {verb} because of it: {}", counted(count, "service", "services"), named(&names)));
        }
        if let Some(link) = &message.link {
            parts.push(Part::Link { url: clean(link) });
        }
        let mut fact = |label, text: &str| parts.push(Part::Fact { label, text: cut(&clean(text), TEXT) });
        if let Some(step) = message.next_step.as_ref().filter(|_| message.recovered_at.is_none()) {
            fact("Next step", step);
        }
        if let Some(who) = &message.acknowledged_by {
            fact("Acknowledged by", who);
        }
        Parts { first_line: first_line(message), mood: Mood::of(message), parts, footer: footer(message) }
    }
}

/// The one line that must be enough: what happened to what, and where.
fn first_line(message: &Message) -> String {
    let headline = cut(&clean(&message.headline), HEADLINE);
    let headline = match &message.service {
        Some(service) if !headline.contains(service.as_str()) => format!("{}: {headline}", cut(&clean(service), 100)),
        _ => headline,
    };
    let line = match (message.telling, message.recovered_at) {
        (Telling::Raised | Telling::Word, _) => headline,
        (Telling::Repeated, _) => format!("Still: {headline}"),
        (Telling::Escalated, _) => format!("Escalated: {headline}"),
        (Telling::Acknowledged, _) => format!("Acknowledged: {headline}"),
        (Telling::Recovered, Some(at)) => format!("Recovered: {headline} (lasted {})", span(at.since(message.since))),
        (Telling::Recovered, None) => format!("No longer watched: {headline}"),
        (Telling::Test, _) => format!("Test: {headline}"),
    };
    if message.drill { format!("[DRILL] {line}") } else { line }
}

fn footer(message: &Message) -> String {
    let what = match message.telling {
        Telling::Test => "A test of this channel".to_owned(),
        Telling::Word => "For you: you are told what is assigned to you and where you are mentioned".to_owned(),
        telling => format!("Told ({}, {}) by rule {}", telling.name(), message.severity.name(), cut(&clean(&message.rule), 100)),
    };
    match message.drill {
        true => format!("{what}. This is a drill: nothing is broken."),
        false => format!("{what}."),
    }
}

fn clean_region(line: &RegionLine) -> RegionLine {
    RegionLine { region: cut(&clean(&line.region), 64), status: cut(&clean(&line.status), 20), text: cut(&clean(&line.text), 300) }
}

fn named(names: &[String]) -> String {
    if names.len() <= NAMES {
        return list(names, NAMES);
    }
    format!("{} and {} more", names[..NAMES].join(", "), grouped((names.len() - NAMES) as u64))
}

/// Such as `2026-11-22 08:14:05 UTC`.
pub fn moment(at: Timestamp) -> String {
    at.datetime().format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn ago(at: Timestamp, now: Timestamp) -> String {
    let passed = now.since(at);
    match passed < Duration::from_secs(1) {
        true => format!("{}, just now", moment(at)),
        false => format!("{}, {} ago", moment(at), span(passed)),
    }
}

#[cfg(test)]
pub mod tests;
