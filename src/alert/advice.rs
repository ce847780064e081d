//! The step that is suggested next: worked out from what the regions saw, the same for the same sight.
//!
//! It says where to look first, not what is wrong; what all regions share weighs more than what one of them saw.

use crate::model::check::{Failure, Phase, Reason};
use crate::model::incident::Sighting;

/// `None`: no region saw a failure.
pub fn next_step(regions: &[Sighting]) -> Option<String> {
    let voters: Vec<&Sighting> = regions.iter().filter(|sighting| sighting.status != "unknown").collect();
    let failing: Vec<(&Sighting, &Failure)> = voters
        .iter()
        .filter(|sighting| sighting.status == "down")
        .filter_map(|sighting| Some((*sighting, sighting.failure.as_ref()?)))
        .collect();
    let (first, failure) = failing.first()?;
    if failing.len() < voters.len() && !tells_of_itself(failure.reason) {
        let places: Vec<&str> = failing.iter().map(|(sighting, _)| &*sighting.region.0).collect();
        return Some(match places.as_slice() {
            [one] => format!(
                "Look at the path from {one}: routing, firewall, CDN and DNS there. The service answers {}.",
                if voters.len() == 2 { "the other region" } else { "the other regions" }
            ),
            many => format!(
                "Compare {} with the regions that still get an answer: what those have in common is the path, a site or a CDN.",
                list(many)
            ),
        });
    }
    let one_reason = failing.iter().all(|(_, other)| other.reason == failure.reason);
    if !one_reason {
        return Some("The regions fail in different ways: look at the host itself first, then at what stands before it.".to_owned());
    }
    Some(of_failure(failure, first.status_code))
}

/// Failures that are the service's own wherever they are seen from.
fn tells_of_itself(reason: Reason) -> bool {
    matches!(reason, Reason::Certificate | Reason::Blocked | Reason::Internal)
}

fn of_failure(failure: &Failure, status: Option<u16>) -> String {
    match (failure.reason, failure.phase) {
        (Reason::Dns, _) => "Check the zone and its name servers: a change, an expired domain, a name server that is away.".to_owned(),
        (Reason::Connect, _) if failure.message.contains("refused") => {
            "See why nothing listens there: a crash, a restart or a deployment. The host itself is there and refuses.".to_owned()
        }
        (Reason::Connect, _) => "Check host, firewall and network: no connection comes about.".to_owned(),
        (Reason::Certificate, _) => of_certificate(&failure.message),
        (Reason::Tls, _) => "Check the TLS settings for a change: the handshake itself fails, not the certificate's dates.".to_owned(),
        (Reason::Timeout, Phase::Dns) => "Check the resolvers and the zone's name servers: resolving the name takes too long.".to_owned(),
        (Reason::Timeout, Phase::Connect | Phase::Tls) => {
            "Check firewall, routing and the listener's backlog: connections are neither taken nor refused.".to_owned()
        }
        (Reason::Timeout, _) => {
            "See what it waits for (database, queue, another service): it takes the request and does not answer in time.".to_owned()
        }
        (Reason::Status, _) => match status {
            Some(401 | 403) => "Check the credentials it is asked with: it answers and refuses them.".to_owned(),
            Some(404 | 410) => "Check whether the address has moved: it answers that there is nothing there.".to_owned(),
            Some(429) => "Check its limits: it answers that it is asked too often.".to_owned(),
            Some(502..=504) => "Look behind the proxy or load balancer: it answers, what it passes requests to does not.".to_owned(),
            Some(code @ 500..) => format!("Read its logs and look at what was deployed last: it answers, but with {code}."),
            _ => "Compare the status it answers with what is expected: one of the two has changed.".to_owned(),
        },
        (Reason::Header | Reason::Body | Reason::Json, _) => {
            "Compare what it answers with what is expected of it: it answers, but not the right thing.".to_owned()
        }
        (Reason::TooLarge, _) => "See why its answer has grown beyond the limit.".to_owned(),
        (Reason::Redirect, _) => "Check where it redirects to: it leads on too often or elsewhere.".to_owned(),
        (Reason::Blocked, _) => "Correct the address or the setting: it lies in a network no check may reach.".to_owned(),
        (Reason::Protocol, _) => "See what answers in its place: what came was not valid HTTP.".to_owned(),
        (Reason::Internal, _) => "The check itself failed: see the monitor's own log.".to_owned(),
    }
}

/// With the date, where the message tells it behind one of its own phrases.
fn of_certificate(message: &str) -> String {
    let date = |mark: &str| message.split_once(mark).map(|(_, date)| date.trim().trim_end_matches('.').to_owned());
    if let Some(date) = date("valid until ") {
        return format!("Renew the certificate: it was valid until {date}. See why its renewal did not run.");
    }
    if let Some(date) = date("begins on ") {
        return format!("Put a certificate in place that is valid now: this one begins on {date}. Check the host's clock, too.");
    }
    if message.contains("wrong name") {
        return "Correct the names of the certificate, or the server that answers for this name: they do not fit.".to_owned();
    }
    if message.contains("expired") {
        return "Renew the certificate: it has expired. See why its renewal did not run.".to_owned();
    }
    "Check the certificate and its whole chain: it is not one the regions trust.".to_owned()
}

fn list(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    crate::digest::words::list(&names, 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::check::Phases;
    use crate::model::id::RegionName;
    use crate::model::time::Timestamp;

    fn saw(region: &str, failure: Option<(Reason, Phase, &str)>, status_code: Option<u16>) -> Sighting {
        Sighting {
            region: RegionName::from(region),
            status: if failure.is_some() { "down" } else { "up" }.to_owned(),
            since: Timestamp(0),
            result: String::new(),
            checked_at: Timestamp(0),
            status_code,
            latency_us: 0,
            phases: Phases::default(),
            address: None,
            failure: failure.map(|(reason, phase, message)| Failure { reason, phase, message: message.to_owned() }),
        }
    }

    #[test]
    fn each_sight_leads_somewhere_else() {
        let dns = Some((Reason::Dns, Phase::Dns, "no such name"));
        let expired = Some((Reason::Certificate, Phase::Tls, "the certificate expired: shop.example was valid until 2026-11-20"));
        let status = Some((Reason::Status, Phase::Expect, "expected 200-299, got 503"));
        let refused = Some((Reason::Connect, Phase::Connect, "connection refused"));
        let cases = [
            (vec![saw("eu", dns, None), saw("us", dns, None)], "Check the zone and its name servers"),
            (vec![saw("eu", expired, None), saw("us", None, Some(200))], "Renew the certificate: it was valid until 2026-11-20"),
            (vec![saw("eu", refused, None), saw("us", None, Some(200))], "Look at the path from eu"),
            (vec![saw("eu", refused, None), saw("us", refused, None), saw("ap", None, None)], "Compare eu and us with the regions"),
            (vec![saw("eu", status, Some(503))], "Look behind the proxy"),
            (vec![saw("eu", status, Some(500))], "Read its logs and look at what was deployed last: it answers, but with 500."),
            (vec![saw("eu", dns, None), saw("us", refused, None)], "The regions fail in different ways"),
        ];
        for (regions, begins) in cases {
            let step = next_step(&regions).expect("something fails");
            assert!(step.starts_with(begins), "{step}");
        }
        assert_eq!(next_step(&[saw("eu", None, Some(200))]), None);
        assert_eq!(next_step(&[]), None);
    }
}
