//! Incidents in prose: who was down, together or alone, once or again and again, since when and for how long, and where it broke.

use std::sync::Arc;
use std::time::Duration;

use crate::digest::facts::Facts;
use crate::digest::facts::causes::Cause;
use crate::digest::local::NAMES;
use crate::digest::words::{between, counted, list, moment, number, sentence, span};
use crate::model::check::Reason;

/// Causes told one by one; the others are counted.
const CAUSES: usize = 4;
/// Openings this close together need no figure.
const AT_ONCE: Duration = Duration::from_secs(60);

/// Of whom the text speaks.
pub enum Subject {
    One(Arc<str>),
    All(u64),
}

impl Subject {
    pub fn of(facts: &Facts) -> Subject {
        match (&facts.service, facts.services.as_slice()) {
            (Some(name), _) | (None, [name]) => Subject::One(name.clone()),
            (None, many) => Subject::All(many.len() as u64),
        }
    }

    /// As what something is said of.
    pub fn object(&self) -> String {
        match self {
            Subject::One(name) => name.to_string(),
            Subject::All(2) => "either service".to_owned(),
            Subject::All(many) => format!("any of the {} services", number(*many)),
        }
    }

    /// All of them.
    pub fn whole(&self) -> String {
        match self {
            Subject::One(name) => name.to_string(),
            Subject::All(2) => "both services".to_owned(),
            Subject::All(many) => format!("all {} services", number(*many)),
        }
    }

    /// That nothing was down, as far as it is true.
    pub fn well(&self, facts: &Facts) -> String {
        let whole = facts.uptime.is_none_or(|uptime| uptime >= 1.0);
        match (self, whole) {
            (Subject::One(name), true) => format!("{name} was up"),
            (Subject::One(name), false) => format!("{name} had no incident"),
            (Subject::All(2), true) => "Both services were up".to_owned(),
            (Subject::All(many), true) => format!("All {} services were up", number(*many)),
            (Subject::All(2), false) => "Neither service had an incident".to_owned(),
            (Subject::All(many), false) => format!("None of the {} services had an incident", number(*many)),
        }
    }
}

/// The headline of a period with incidents.
pub fn headline_of_incidents(facts: &Facts) -> Option<String> {
    let first = facts.causes.first()?;
    let rest = rest(facts);
    let state = if first.degraded { "degraded" } else { "down" };
    if facts.open > 0 {
        return Some(match (facts.open, first.services.as_slice()) {
            (1, [name]) | (1, [name, ..]) => {
                let name = if first.open == 1 && first.incidents > 1 { &first.longest.service } else { name };
                match first.longest.closed {
                    None => format!("{name} has been {state} since {}{rest}.", moment(first.longest.opened)),
                    Some(_) => format!("{name} is still {state}{rest}."),
                }
            }
            (open, _) if first.together && first.open == open => {
                format!(
                    "{} services have been {state} since {}, most likely for one cause{rest}.",
                    sentence(&number(open)),
                    moment(first.first)
                )
            }
            (open, _) => format!("{} incidents are still open{rest}.", sentence(&number(open))),
        });
    }
    let lasted = |cause: &Cause| span(cause.longest.lasted);
    Some(match facts.causes.as_slice() {
        [one] if one.together => format!(
            "A common cause took {} services {}, for up to {}{rest}.",
            number(one.services.len() as u64),
            if one.degraded { "out of shape" } else { "down" },
            lasted(one)
        ),
        [one] if one.incidents == 1 => format!("{} was {state} for {}{rest}.", one.services[0], lasted(one)),
        [one] if one.services.len() == 1 => {
            format!("{} was {state} {} times, for {} in all{rest}.", one.services[0], number(one.incidents), span(one.down))
        }
        [one, ..] if one.together => format!(
            "A common cause took {} services down for up to {}; there were {} in all.",
            number(one.services.len() as u64),
            lasted(one),
            counted(facts.incidents, "incident", "incidents")
        ),
        _ if facts.affected == 1 => format!(
            "{} had {}, the longest of {}{rest}.",
            first.services[0],
            counted(facts.incidents, "incident", "incidents"),
            span(longest(facts))
        ),
        _ => format!(
            "{} in {} services, the longest of {}{rest}.",
            sentence(&counted(facts.incidents, "incident", "incidents")),
            number(facts.affected),
            span(longest(facts))
        ),
    })
}

/// How those without an incident were, where the text speaks of more than one service.
fn rest(facts: &Facts) -> String {
    if facts.service.is_some() {
        return String::new();
    }
    let slow = facts.quietly_degraded();
    let degraded = match slow.as_slice() {
        [] => String::new(),
        [(name, _)] => format!("; {name} was degraded"),
        many => format!("; {} were degraded", counted(many.len() as u64, "service", "services")),
    };
    let up = match facts.well() {
        0 => String::new(),
        1 => "; the other service was up".to_owned(),
        others => format!("; the other {} services were up", number(others)),
    };
    degraded + &up
}

/// A paragraph for each cause that is told, and one for the rest.
pub fn incidents(facts: &Facts) -> Vec<String> {
    let mut paragraphs: Vec<String> = facts.causes.iter().take(CAUSES).map(|cause| tell(cause, facts)).collect();
    if facts.causes.len() > CAUSES {
        let rest = &facts.causes[CAUSES..];
        let count: u64 = rest.iter().map(|cause| cause.incidents).sum();
        let mut names: Vec<String> = rest.iter().flat_map(|cause| cause.services.iter().map(ToString::to_string)).collect();
        names.sort();
        names.dedup();
        let open: u64 = rest.iter().map(|cause| cause.open).sum();
        let open = if open > 0 { format!(", {} of them still open", number(open)) } else { String::new() };
        paragraphs.push(format!(
            "There {} {} besides, of {}, none longer than {}{open}.",
            if count == 1 { "was" } else { "were" },
            counted(count, "incident", "incidents"),
            list(&names, NAMES),
            span(rest.iter().map(|cause| cause.longest.lasted).max().unwrap_or_default())
        ));
    }
    paragraphs
}

fn longest(facts: &Facts) -> Duration {
    facts.causes.iter().map(|cause| cause.longest.lasted).max().unwrap_or_default()
}

fn tell(cause: &Cause, facts: &Facts) -> String {
    if cause.together {
        return together(cause);
    }
    let state = if cause.degraded { "degraded" } else { "down" };
    let name = &cause.services[0];
    let line = broke(cause);
    let mut text = match (cause.incidents, cause.open, cause.longest.closed) {
        (1, 0, Some(closed)) => {
            format!("{name} was {state} for {}, {}: {line}.", span(cause.longest.lasted), between(cause.longest.opened, closed))
        }
        (1, ..) => format!("{name} has been {state} since {}, for {} so far: {line}.", moment(cause.first), span(cause.longest.lasted)),
        (many, 0, _) => format!(
            "{name} went {state} {} times between {} and {}, each time the same way ({line}): {} in all, the longest {}.",
            number(many),
            moment(cause.first),
            moment(cause.last_opened),
            span(cause.down),
            span(cause.longest.lasted)
        ),
        (many, ..) => format!(
            "{name} went {state} {} times since {}, each time the same way ({line}), and is {state} as this is written; {} in all so far.",
            number(many),
            moment(cause.first),
            span(cause.down)
        ),
    };
    if let Some(only) = &cause.kind.only {
        let others: Vec<String> = facts.regions.iter().filter(|region| *region != only).map(ToString::to_string).collect();
        match others.as_slice() {
            [] => {}
            _ => text.push_str(&format!(" From {} it was up all the while.", list(&others, NAMES))),
        }
    }
    text
}

fn together(cause: &Cause) -> String {
    let count = cause.services.len() as u64;
    let state = if cause.degraded { "degraded" } else { "down" };
    let names: Vec<String> = cause.services.iter().map(ToString::to_string).collect();
    let lasted = match (cause.ended, cause.open) {
        (Some(ended), _) => format!("were {state} {}, the longest for {}", between(cause.first, ended), span(cause.longest.lasted)),
        (None, open) if open == cause.incidents => format!("have been {state} since {}", moment(cause.first)),
        (None, open) => format!(
            "went {state} from {} on; {} of them {} not back",
            moment(cause.first),
            number(open),
            if open == 1 { "is" } else { "are" }
        ),
    };
    let apart = cause.last_opened.since(cause.first);
    let within = match apart <= AT_ONCE {
        true => "at once".to_owned(),
        false => format!("within {}", span(apart)),
    };
    format!(
        "{} services {lasted}: {}. They broke {within} and the same way, which points to something they share rather than to each of \
         them. They are {}.",
        sentence(&number(count)),
        broke(cause),
        list(&names, NAMES + 2)
    )
}

/// Where it broke, as the incident has it; of a service that was told by its name alone, in plain words.
fn broke(cause: &Cause) -> String {
    if let Some(only) = &cause.kind.only
        && let Some(rest) = cause.line.strip_prefix(&format!("only {only}: "))
    {
        return format!("{rest}, but only from {only}");
    }
    let plain = format!("{} is ", cause.longest.service);
    if !cause.line.starts_with(&plain) {
        return cause.line.clone();
    }
    let text = match cause.kind.reason {
        Some(Reason::Dns) => "its name could not be resolved",
        Some(Reason::Connect) => "no connection could be made",
        Some(Reason::Tls | Reason::Certificate) => "no secure connection could be made",
        Some(Reason::Timeout) => "it did not answer in time",
        Some(_) => "it did not answer as it should",
        None => "its checks failed",
    };
    text.to_owned()
}
