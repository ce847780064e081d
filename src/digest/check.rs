//! Whether what a language model wrote may be shown: its form, its length, every figure, every name, and that it does not say
//! the opposite of the facts. Pure. What does not pass is refused as a whole, with the reason; nothing is mended.
//!
//! This is also what makes an instruction hidden in a service's answer harmless: whatever it talks the model into, only what the
//! facts say comes through.
//!
//! **Invariant.** What passes holds no figure that the facts do not hold, within the tolerances of [`figures`], no address, and
//! no name of a service or region that is not watched.

pub mod figures;
pub mod known;
pub mod names;

use serde::Deserialize;

use crate::digest::check::figures::figures;
use crate::digest::check::known::Known;
use crate::digest::check::names::{mask, strange_name};
use crate::digest::facts::Facts;
use crate::digest::prompt::safe_name;
use crate::model::digest::DigestText;

/// Letters of each part, and how many parts.
const LONGEST_HEADLINE: usize = 200;
const LONGEST_PARAGRAPH: usize = 1_200;
const LONGEST_SUGGESTION: usize = 400;
const MOST_PARAGRAPHS: usize = 8;
const MOST_SUGGESTIONS: usize = 6;

/// Said of a period in which not all was well, these are false.
const ALL_WELL: [&str; 22] = [
    "all is well",
    "all was well",
    "all well",
    "all good",
    "all clear",
    "everything is fine",
    "everything was fine",
    "everything is well",
    "everything was well",
    "everything works",
    "everything worked",
    "everything is operational",
    "fully operational",
    "all systems",
    "no incident",
    "no outage",
    "no problem",
    "no issue",
    "no trouble",
    "no downtime",
    "nothing happened",
    "nothing to report",
];
/// Said of a period without incidents, these are false.
const DOWN: [&str; 10] =
    ["was down", "were down", "went down", "is down", "are down", "been down", "an outage", "outages", "suffered", "unavailable"];
const STILL: [&str; 13] = [
    "still",
    "since",
    "open",
    "ongoing",
    "not back",
    "remain",
    "continu",
    "current",
    "unresolved",
    "not recovered",
    "not yet",
    "so far",
    "to this moment",
];
const UNKNOWN: [&str; 8] = ["measured", "known", "unknown", "no data", "no result", "missing", "not checked", "no check"];

#[derive(Deserialize)]
struct Answer {
    headline: String,
    paragraphs: Vec<String>,
    suggestions: Vec<String>,
}

/// The text of an answer, or why it is refused.
pub fn check(answer: &str, facts: &Facts) -> Result<DigestText, String> {
    let text = read(answer)?;
    let parts: Vec<&str> = std::iter::once(&text.headline).chain(&text.paragraphs).chain(&text.suggestions).map(String::as_str).collect();
    let known = Known::of(facts);
    for part in &parts {
        form(part)?;
        let masked = mask(part, facts);
        figures(&masked, &known)?;
        if let Some(name) = strange_name(&masked, facts) {
            return Err(format!("{name:?} is no service or region of the facts"));
        }
    }
    contradiction(&parts.join("\n").to_lowercase(), facts)?;
    Ok(text)
}

/// The form: what was asked for, within bounds.
fn read(answer: &str) -> Result<DigestText, String> {
    let trimmed = answer.trim();
    // Some servers put a fence round JSON.
    let inner = trimmed.strip_prefix("```json").or(trimmed.strip_prefix("```")).and_then(|rest| rest.strip_suffix("```"));
    let Answer { headline, paragraphs, suggestions } = serde_json::from_str(inner.unwrap_or(trimmed))
        .map_err(|error| format!("the answer is not the JSON that was asked for: {error}"))?;
    let tidy = |text: String| text.trim().to_owned();
    let of_some = |texts: Vec<String>| -> Vec<String> { texts.into_iter().map(tidy).filter(|text| !text.is_empty()).collect() };
    let text = DigestText { headline: tidy(headline), paragraphs: of_some(paragraphs), suggestions: of_some(suggestions) };
    if text.headline.is_empty() {
        return Err("the headline is empty".to_owned());
    }
    if text.paragraphs.len() > MOST_PARAGRAPHS || text.suggestions.len() > MOST_SUGGESTIONS {
        return Err(format!("there are {} paragraphs and {} suggestions, too many", text.paragraphs.len(), text.suggestions.len()));
    }
    let long = |text: &str, most: usize| text.chars().count() > most;
    let too_long = long(&text.headline, LONGEST_HEADLINE)
        || text.paragraphs.iter().any(|paragraph| long(paragraph, LONGEST_PARAGRAPH))
        || text.suggestions.iter().any(|suggestion| long(suggestion, LONGEST_SUGGESTION));
    if too_long {
        return Err("a part is too long".to_owned());
    }
    Ok(text)
}

/// Plain text without addresses.
fn form(part: &str) -> Result<(), String> {
    if part.chars().any(|letter| letter.is_control()) {
        return Err("the text holds control characters".to_owned());
    }
    let lower = part.to_lowercase();
    if lower.contains("://") || lower.contains("www.") || lower.contains("](") {
        return Err("the text holds an address".to_owned());
    }
    if part.contains(['<', '>', '{', '}']) {
        return Err("the text holds markup".to_owned());
    }
    Ok(())
}

/// Whether it says the opposite of the facts, or keeps quiet about what matters most.
fn contradiction(text: &str, facts: &Facts) -> Result<(), String> {
    let says = |words: &[&str]| words.iter().find(|words| text.contains(**words)).map(|words| (*words).to_owned());
    let troubled = facts.incidents > 0 || facts.uptime.is_some_and(|uptime| uptime < 0.999);
    if let Some(words) = says(&ALL_WELL).filter(|_| troubled) {
        return Err(format!("it says {words:?} of a period in which not all was well"));
    }
    if facts.incidents == 0
        && let Some(words) = says(&DOWN)
    {
        return Err(format!("it says {words:?} of a period without incidents"));
    }
    if !facts.findings.is_empty()
        && let Some(words) = says(&["no anomal", "no finding", "nothing unusual", "nothing out of the ordinary"])
    {
        return Err(format!("it says {words:?} though there are anomalies"));
    }
    if let Some(first) = facts.causes.first() {
        let named = |name: &std::sync::Arc<str>| text.contains(&safe_name(name).to_lowercase());
        if !first.services.iter().any(named) && facts.service.is_none() {
            return Err(format!("it does not name {}, where the most happened", first.services[0]));
        }
    }
    if facts.open > 0 && says(&STILL).is_none() {
        return Err("it does not say that an incident is still open".to_owned());
    }
    if let Some(first) = facts.certificates.first().filter(|first| first.days <= 7)
        && !text.contains("certificate")
    {
        return Err(format!("it does not tell of the certificate of {}", first.service));
    }
    if facts.coverage < 0.5 && says(&UNKNOWN).is_none() {
        return Err("it does not say how little was measured".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
