//! What the fields of an issue may hold. Each check gives the mistake, or the value as it is kept.

use std::collections::BTreeSet;

use crate::config::mistake::Mistake;
use crate::config::nearest::suggestion;
use crate::model::finding::FindingId;
use crate::model::id::ServiceId;
use crate::model::incident::IncidentId;
use crate::model::issue::{IssueStatus, IssueType, LinkedService, Priority};
use crate::tracker::desk::Tracker;

/// Characters.
pub const LONGEST_TITLE: usize = 200;
const LONGEST_REASON: usize = 1_000;
const LONGEST_LABEL: usize = 50;
const LONGEST_NAME: usize = 100;
const MOST_LABELS: usize = 20;
/// Bytes of a description or a comment.
pub const LONGEST_TEXT: usize = 64 << 10;

pub fn title(given: &str) -> Result<String, Mistake> {
    let title = given.trim();
    if !(1..=LONGEST_TITLE).contains(&title.chars().count()) || title.chars().any(char::is_control) {
        return Err(Mistake::new("title", format!("must be one line of 1 to {LONGEST_TITLE} characters")));
    }
    Ok(title.to_owned())
}

pub fn description(given: &str) -> Result<String, Mistake> {
    match given.len() > LONGEST_TEXT {
        true => Err(Mistake::new("description", format!("must have at most {LONGEST_TEXT} bytes, not {}", given.len()))),
        false => Ok(given.to_owned()),
    }
}

/// What is wrong with the text of a comment, if anything.
pub fn body_mistake(body: &str) -> Option<Mistake> {
    match (body.trim().is_empty(), body.len() > LONGEST_TEXT) {
        (true, _) => Some(Mistake::new("body", "must not be empty")),
        (_, true) => Some(Mistake::new("body", format!("must have at most {LONGEST_TEXT} bytes, not {}", body.len()))),
        _ => None,
    }
}

/// What is wrong with the reason of a change, if anything.
pub fn reason_mistake(reason: &str) -> Option<Mistake> {
    let fits = (1..=LONGEST_REASON).contains(&reason.trim().chars().count());
    (!fits).then(|| Mistake::new("reason", format!("must say why, in 1 to {LONGEST_REASON} characters")))
}

pub fn issue_type(given: &str) -> Result<IssueType, Mistake> {
    IssueType::from_name(given).ok_or_else(|| one_of("issue_type", given, &IssueType::ALL.map(IssueType::name)))
}

pub fn priority(given: &str) -> Result<Priority, Mistake> {
    Priority::from_name(given).ok_or_else(|| one_of("priority", given, &Priority::ALL.map(Priority::name)))
}

pub fn status(given: &str) -> Result<IssueStatus, Mistake> {
    IssueStatus::from_name(given).ok_or_else(|| one_of("status", given, &IssueStatus::ALL.map(IssueStatus::name)))
}

fn one_of(field: &str, given: &str, names: &[&str]) -> Mistake {
    let hint = suggestion(given, names.iter().copied());
    let given: String = given.chars().take(40).collect();
    Mistake::new(field, format!("must be one of {}, not {given:?}{hint}", names.join(", ")))
}

/// In order, each once.
pub fn labels(given: &[String]) -> Result<Vec<String>, Mistake> {
    let mut labels = BTreeSet::new();
    for (index, label) in given.iter().enumerate() {
        let label = label.trim();
        let fits =
            (1..=LONGEST_LABEL).contains(&label.chars().count()) && !label.chars().any(|letter| letter.is_control() || letter == ',');
        if !fits {
            return Err(Mistake::new(format!("labels[{index}]"), format!("must have 1 to {LONGEST_LABEL} characters and no comma")));
        }
        labels.insert(label.to_owned());
    }
    match labels.len() > MOST_LABELS {
        true => Err(Mistake::new("labels", format!("must be at most {MOST_LABELS}"))),
        false => Ok(labels.into_iter().collect()),
    }
}

/// Who reported an issue: not always someone who may log in.
pub fn reporter(given: &str) -> Result<String, Mistake> {
    let name = given.trim();
    let fits = (1..=LONGEST_NAME).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    if fits { Ok(name.to_owned()) } else { Err(Mistake::new("reporter", format!("must have 1 to {LONGEST_NAME} characters"))) }
}

impl Tracker {
    pub fn assignee(&self, given: &str) -> Result<String, Mistake> {
        match self.users.get(given) {
            Some(user) => Ok(user.username),
            None => Err(Mistake::new("assignee", format!("there is no user {given:?}"))),
        }
    }

    pub fn service(&self, id: u32) -> Result<LinkedService, Mistake> {
        match self.services.get(ServiceId(id)) {
            Some(service) => Ok(LinkedService { id: service.id, name: service.name().to_owned() }),
            None => Err(Mistake::new("service", format!("there is no service {id}"))),
        }
    }

    pub fn incident(&self, id: &str) -> Result<IncidentId, Mistake> {
        let id = IncidentId(id.into());
        match self.incidents.contains(&id) {
            true => Ok(id),
            false => Err(Mistake::new("incident", format!("there is no incident {id}"))),
        }
    }

    pub fn finding(&self, id: &str) -> Result<FindingId, Mistake> {
        let id = FindingId(id.into());
        match self.findings.contains(&id) {
            true => Ok(id),
            false => Err(Mistake::new("finding", format!("there is no finding {id}"))),
        }
    }
}
