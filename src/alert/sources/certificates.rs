//! Certificates that end soon. One cause for one certificate of one service, whatever number of days are asked for. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::aggregate::board::ServiceState;
use crate::alert::sources::{AllHeld, Seen, open_of};
use crate::model::alert::{Cause, CauseKind};
use crate::model::check::Certificate;
use crate::model::incident::Severity;
use crate::model::time::Timestamp;

const DAY: Duration = Duration::from_secs(86_400);
/// With fewer days left it is critical.
const CRITICAL_DAYS: u32 = 7;
/// Of a fingerprint, enough to tell two certificates of one service apart.
const FINGERPRINT: usize = 16;

/// `days`: the most that any rule asks for; `None`: nobody asks.
pub fn look(states: &[ServiceState], held: &AllHeld, days: Option<u32>, now: Timestamp) -> Vec<Seen> {
    let mut seen = Vec::new();
    for state in states {
        let mut shown: BTreeMap<String, &Arc<Certificate>> = BTreeMap::new();
        for certificate in state.regions.iter().filter_map(|region| region.latest.certificate.as_ref()) {
            shown.insert(key(state, certificate), certificate);
        }
        for (key, certificate) in &shown {
            if days.is_some_and(|days| now >= certificate.not_after.minus(DAY * days)) {
                let since = held.get(key).map_or(now, |held| held.cause.since);
                seen.push(Seen::Holds {
                    cause: cause(key, state, certificate, since, now),
                    not_after: Some(certificate.not_after),
                    size: None,
                });
            }
        }
        // Another one is shown instead: the old one is over. Nothing shown says nothing.
        let mine = open_of(held, CauseKind::Certificate).filter(|held| held.cause.service == Some(state.id));
        let over = mine.filter(|held| !state.enabled || !shown.is_empty() && !shown.contains_key(&held.cause.key));
        seen.extend(over.map(|held| Seen::Over { key: held.cause.key.clone(), at: now }));
    }
    let gone = open_of(held, CauseKind::Certificate).filter(|held| !states.iter().any(|state| Some(state.id) == held.cause.service));
    seen.extend(gone.map(|held| Seen::Over { key: held.cause.key.clone(), at: now }));
    seen
}

fn key(state: &ServiceState, certificate: &Certificate) -> String {
    format!("certificate-{}-{}", state.id, certificate.fingerprint.chars().take(FINGERPRINT).collect::<String>())
}

fn cause(key: &str, state: &ServiceState, certificate: &Certificate, since: Timestamp, now: Timestamp) -> Cause {
    let left = certificate.days_left(now);
    let day = certificate.not_after.rfc3339().chars().take(10).collect::<String>();
    let when = match left {
        ..0 => format!("has ended on {day}"),
        0 => "ends within a day".to_owned(),
        1 => format!("ends in a day, on {day}"),
        _ => format!("ends in {left} days, on {day}"),
    };
    Cause {
        key: key.to_owned(),
        kind: CauseKind::Certificate,
        severity: if now >= certificate.not_after.minus(DAY * CRITICAL_DAYS) { Severity::Critical } else { Severity::Warning },
        drill: false,
        service: Some(state.id),
        region: None,
        node: None,
        headline: format!("certificate {} {when}", certificate.subject),
        since,
        regions: Vec::new(),
        last_good: None,
        next_step: Some(format!("renew it with its issuer ({}) and see that the server has loaded the new one", certificate.issuer)),
        path: Some(format!("/services/{}", state.id)),
    }
}
