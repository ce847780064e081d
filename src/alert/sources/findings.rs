//! Findings of the analyst: those that are firm, and that nobody has called none.

use std::time::Duration;

use crate::alert::sources::{AllHeld, Seen, open_of};
use crate::model::alert::{Cause, CauseKind};
use crate::model::finding::{Finding, FindingId};
use crate::model::incident::Severity;
use crate::model::time::Timestamp;
use crate::store::connection::StoreError;
use crate::store::findings::{FindingQuery, Findings};

/// A finding is written some time after the sample it speaks of.
const LATE: Duration = Duration::from_secs(600);
/// More than so many at once are not looked at; the newest come first.
const MOST: usize = 500;

/// Those that went on since `last`, and what became of those that are held.
pub async fn look(findings: &Findings, held: &AllHeld, last: Timestamp) -> Result<Vec<Seen>, StoreError> {
    let query = FindingQuery { since: Some(last.minus(LATE)), dismissed: None, size: MOST, ..FindingQuery::default() };
    // Counting asks the store for nothing.
    let open = open_of(held, CauseKind::Finding).count();
    if open == 0 && findings.count(&query) == 0 {
        return Ok(Vec::new());
    }
    let mut found = findings.list(&query).await?.findings;
    for held in open_of(held, CauseKind::Finding) {
        let id = FindingId(held.cause.key.trim_start_matches("finding-").into());
        if !found.iter().any(|finding| finding.id == id) {
            found.extend(findings.one(&id).await?);
        }
    }
    let mut seen = Vec::new();
    for finding in &found {
        let key = format!("finding-{}", finding.id);
        let known = held.get(&key);
        let told = finding.is_firm() && !finding.dismissed();
        if told && (known.is_some() || finding.ended.is_none_or(|ended| ended > last)) {
            seen.push(Seen::Holds { cause: cause(&key, finding), not_after: None, size: Some(finding.size()) });
        }
        if let (Some(at), true) = (finding.ended, told || known.is_some()) {
            seen.push(Seen::Over { key, at });
        }
    }
    Ok(seen)
}

fn cause(key: &str, finding: &Finding) -> Cause {
    Cause {
        key: key.to_owned(),
        kind: CauseKind::Finding,
        severity: Severity::Warning,
        drill: false,
        service: finding.service,
        region: finding.region.clone(),
        node: None,
        headline: finding.summary.clone(),
        since: finding.since,
        regions: Vec::new(),
        last_good: None,
        next_step: Some("see what changed at that time; if it is as it should be, say so on the finding".to_owned()),
        path: Some(format!("/findings/{}", finding.id)),
    }
}
