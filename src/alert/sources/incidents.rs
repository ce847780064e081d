//! An incident as a cause: where it broke, what each region saw, what to look at next. Pure.

use crate::alert::advice::next_step;
use crate::model::alert::{Cause, CauseKind, RegionLine};
use crate::model::check::Failure;
use crate::model::incident::{Incident, IncidentId, Sighting};

pub fn key_of(id: &IncidentId) -> String {
    format!("incident-{id}")
}

/// The incident a cause is of; `None`: it is of something else.
pub fn id_of(key: &str) -> Option<IncidentId> {
    key.strip_prefix("incident-").map(|id| IncidentId(id.into()))
}

pub fn cause_of(incident: &Incident) -> Cause {
    Cause {
        key: key_of(&incident.id),
        kind: CauseKind::Incident,
        severity: incident.severity,
        drill: false,
        service: Some(incident.service),
        region: None,
        node: None,
        headline: incident.first_line.clone(),
        since: incident.opened_at,
        regions: incident.regions.iter().map(line).collect(),
        last_good: None,
        next_step: next_step(&incident.regions),
        path: Some(format!("/incidents/{}", incident.id)),
    }
}

fn line(seen: &Sighting) -> RegionLine {
    let text = match &seen.failure {
        Some(Failure { phase, message, .. }) => {
            let address = seen.address.as_ref().map(|address| format!(" ({address})")).unwrap_or_default();
            format!("{}: {message}{address}", phase.name())
        }
        None => {
            let status = seen.status_code.map(|code| format!("{code} in ")).unwrap_or_default();
            format!("{status}{:.0} ms", seen.latency_us as f64 / 1e3)
        }
    };
    RegionLine { region: seen.region.to_string(), status: seen.status.clone(), text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::check::{Phase, Phases, Reason};
    use crate::model::id::{RegionName, ServiceId};
    use crate::model::incident::Severity;
    use crate::model::time::Timestamp;

    #[test]
    fn a_cause_says_what_each_region_saw_and_what_most_of_them_suffer_from() {
        let seen = |region: &str, failure: Option<(Reason, Phase, &str)>| Sighting {
            region: RegionName::from(region),
            status: if failure.is_some() { "down" } else { "up" }.to_owned(),
            since: Timestamp(0),
            result: String::new(),
            checked_at: Timestamp(0),
            status_code: failure.is_none().then_some(200),
            latency_us: 12_400,
            phases: Phases::default(),
            address: Some("192.0.2.1".to_owned()),
            failure: failure.map(|(reason, phase, message)| Failure { reason, phase, message: message.to_owned() }),
        };
        let incident = Incident {
            id: IncidentId("n.1.2".into()),
            service: ServiceId(7),
            name: "shop".into(),
            severity: Severity::Critical,
            opened_at: Timestamp(5),
            closed_at: None,
            unwatched: false,
            first_line: "connect refused in 2 of 3 regions".to_owned(),
            regions: vec![
                seen("ap", Some((Reason::Connect, Phase::Connect, "connection refused"))),
                seen("eu", Some((Reason::Connect, Phase::Connect, "connection refused"))),
                seen("us", None),
            ],
        };
        let cause = cause_of(&incident);
        assert_eq!((cause.key.as_str(), id_of(&cause.key)), ("incident-n.1.2", Some(incident.id.clone())));
        let lines: Vec<String> = cause.regions.iter().map(|line| format!("{} {}: {}", line.region, line.status, line.text)).collect();
        assert_eq!(
            lines,
            ["ap down: connect: connection refused (192.0.2.1)", "eu down: connect: connection refused (192.0.2.1)", "us up: 200 in 12 ms"]
        );
        assert!(cause.next_step.is_some());
    }
}
