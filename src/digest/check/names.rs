//! The names of a text: those of the facts are put out of the way before figures are read, and what looks like a name and is
//! none is found. Pure.

use std::sync::LazyLock;

use regex::Regex;

use crate::digest::facts::Facts;
use crate::digest::prompt::safe_name;

/// Stands in a masked text for a name or a line of the facts.
const MASK: &str = "¤";

/// Capital letters within a sentence that are no name of a service.
const ORDINARY: [&str; 62] = [
    "UTC",
    "DNS",
    "TLS",
    "SSL",
    "TCP",
    "HTTP",
    "HTTPS",
    "API",
    "APIs",
    "CDN",
    "TTL",
    "IP",
    "URL",
    "SLA",
    "SLO",
    "CPU",
    "JSON",
    "HTML",
    "CA",
    "ISP",
    "BGP",
    "VPN",
    "MTU",
    "IPv4",
    "IPv6",
    "OCSP",
    "SNI",
    "ALPN",
    "SQL",
    "OK",
    "I",
    "CI",
    "OS",
    "GC",
    "LB",
    "RTT",
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
    "Anomalies",
    "Certificates",
    "Internet",
    "P50",
    "P95",
    "P99",
    "Let",
];
/// First parts of what regions are usually called.
const PLACES: [&str; 14] = ["ap", "eu", "us", "sa", "af", "me", "ca", "cn", "il", "mx", "north", "south", "east", "west"];
/// What stands before "service" and is no name.
const BEFORE_SERVICE: [&str; 44] = [
    "the",
    "a",
    "an",
    "this",
    "that",
    "each",
    "every",
    "no",
    "one",
    "any",
    "other",
    "another",
    "same",
    "affected",
    "slow",
    "slowest",
    "failing",
    "whole",
    "single",
    "web",
    "upstream",
    "downstream",
    "backend",
    "front",
    "dependent",
    "shared",
    "monitored",
    "watched",
    "remaining",
    "its",
    "their",
    "of",
    "which",
    "either",
    "second",
    "first",
    "last",
    "in",
    "to",
    "and",
    "or",
    "out",
    "both",
    "named",
];

static WORDS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"[\p{L}\p{N}_][\p{L}\p{N}_.\-/’']*").expect("the pattern is fixed and right"));
static QUOTED: LazyLock<Regex> = LazyLock::new(|| Regex::new("[\"“”`]([^\"“”`]{1,80})[\"“”`]").expect("the pattern is fixed and right"));
static BEGINNING: LazyLock<Regex> = LazyLock::new(|| {
    let text = r"(?:^|[.!?:;]\s+)(\p{Lu}[\p{L}\p{N}_\-]*) (?:was|were|is|are|has|had|have|went|failed|fails|did|answered|answers|stayed|became|took|takes)\b";
    Regex::new(text).expect("the pattern is fixed and right")
});
static BEFORE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\b[Tt]he ([\p{L}\p{N}_\-]+) (?:service|API|region)\b").expect("the pattern is fixed and right"));

/// What a sentence may begin with before it says what that did, and is no name.
const BEGINNINGS: [&str; 60] = [
    "It",
    "This",
    "That",
    "There",
    "They",
    "These",
    "Those",
    "Nothing",
    "Everything",
    "Each",
    "All",
    "Both",
    "One",
    "None",
    "Neither",
    "Either",
    "What",
    "Which",
    "Uptime",
    "Latency",
    "Coverage",
    "Availability",
    "Checks",
    "Services",
    "Regions",
    "Incidents",
    "Anomalies",
    "Certificates",
    "Performance",
    "Connections",
    "Requests",
    "Answers",
    "Responses",
    "Failures",
    "Errors",
    "Resolution",
    "Recovery",
    "Service",
    "Monitoring",
    "Measurements",
    "DNS",
    "TLS",
    "HTTP",
    "Connecting",
    "Transfer",
    "Traffic",
    "Others",
    "Two",
    "Three",
    "Four",
    "Five",
    "Six",
    "Seven",
    "Eight",
    "Nine",
    "Ten",
    "Eleven",
    "Twelve",
    "Many",
    "Most",
];

/// The text with every name and line of the facts put out of the way, the longest first.
pub fn mask(text: &str, facts: &Facts) -> String {
    let mut known: Vec<String> = names(facts);
    known.extend(facts.causes.iter().map(|cause| cause.line.clone()));
    known.sort_by_key(|known| std::cmp::Reverse(known.len()));
    known.dedup();
    let mut masked = text.to_owned();
    for known in known.iter().filter(|known| !known.is_empty()) {
        masked = replace_whole(&masked, known);
    }
    masked
}

/// What looks like the name of a service or region and is none of the facts.
pub fn strange_name(masked: &str, facts: &Facts) -> Option<String> {
    let known: Vec<String> = names(facts).iter().map(|name| name.to_lowercase()).collect();
    for quoted in QUOTED.captures_iter(masked) {
        let inner = quoted[1].replace(MASK, "");
        // A command of our own is a fair suggestion.
        let command = inner.starts_with("probemesh ") && inner.chars().all(|letter| letter.is_ascii_lowercase() || letter == ' ');
        if inner.chars().any(char::is_alphanumeric) && !command && !known.contains(&quoted[1].to_lowercase()) {
            return Some(quoted[1].to_owned());
        }
    }
    if let Some(before) = BEFORE.captures_iter(masked).find(|before| !BEFORE_SERVICE.contains(&before[1].to_lowercase().as_str())) {
        return Some(before[1].to_owned());
    }
    if let Some(begins) = BEGINNING.captures_iter(masked).find(|begins| !BEGINNINGS.contains(&&begins[1])) {
        return Some(begins[1].to_owned());
    }
    let regions: Vec<&str> = facts.regions.iter().filter_map(|region| region.0.split('-').next()).collect();
    for word in WORDS.find_iter(masked) {
        let begins = masked[..word.start()].trim_end().chars().next_back().is_none_or(|letter| ".!?:;–—(".contains(letter));
        let word = word.as_str().trim_end_matches(['.', '-', '\'', '’', '/']);
        let bare = word.trim_end_matches("'s").trim_end_matches("’s");
        let first = bare.split('-').next().unwrap_or_default().to_lowercase();
        let hyphened = bare.contains('-');
        let region_like = hyphened && (regions.contains(&first.as_str()) || PLACES.contains(&first.as_str()));
        let digits = bare.chars().any(|letter| letter.is_ascii_digit());
        let letters = bare.chars().any(char::is_alphabetic);
        let spelt = bare.split_once('-').is_some_and(|(count, unit)| count.parse::<u64>().is_ok() && unit.chars().all(char::is_alphabetic));
        let version = ["http/", "tls"].iter().any(|protocol| bare.to_lowercase().starts_with(protocol));
        let mixed = digits && letters && bare.contains(['-', '_', '.', '/']) && !spelt && !version;
        let parts = bare.split('.').filter(|part| part.len() > 1 && part.chars().all(char::is_alphabetic)).count();
        let joined = bare.contains('_') || parts > 1;
        let capital = bare.chars().next().is_some_and(char::is_uppercase) && !begins;
        let inner_capital = bare.chars().skip(1).any(char::is_uppercase) && bare.chars().any(char::is_lowercase);
        let ordinary = ORDINARY.iter().any(|ordinary| bare.split('/').all(|part| part == *ordinary || ORDINARY.contains(&part)));
        if region_like || mixed || joined || (capital || inner_capital) && !ordinary {
            return Some(bare.to_owned());
        }
    }
    None
}

fn names(facts: &Facts) -> Vec<String> {
    let services = facts.services.iter().chain(&facts.service).chain(facts.causes.iter().flat_map(|cause| &cause.services));
    let findings = facts.findings.iter().map(|finding| safe_name(&finding.name));
    services.map(|name| safe_name(name)).chain(findings).chain(facts.regions.iter().map(|region| safe_name(&region.0))).collect()
}

/// Replaces whole occurrences, whatever their case: `api` is not replaced within `capital`.
fn replace_whole(text: &str, name: &str) -> String {
    let pattern = format!("(?i){}", regex::escape(name));
    let Ok(pattern) = Regex::new(&pattern) else { return text.to_owned() };
    let part_of_word = |letter: Option<char>| letter.is_some_and(|letter| letter.is_alphanumeric() || letter == '_' || letter == '-');
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for found in pattern.find_iter(text) {
        let glued = part_of_word(text[..found.start()].chars().next_back()) || part_of_word(text[found.end()..].chars().next());
        if !glued {
            out.push_str(&text[at..found.start()]);
            out.push_str(MASK);
            at = found.end();
        }
    }
    out.push_str(&text[at..]);
    out
}
