//! What to look at next: each suggestion follows from a fact and is silent without it.

use crate::digest::facts::causes::Cause;
use crate::digest::facts::{Change, Facts};
use crate::digest::local::NAMES;
use crate::digest::words::{day, list, moment, number};
use crate::model::check::{Phase, Reason};
use crate::model::finding::Signal;

/// More would not be read.
const MOST: usize = 5;

pub fn suggestions(facts: &Facts) -> Vec<String> {
    let mut found: Vec<String> = facts.causes.iter().map(of_cause).collect();
    found.extend(facts.flapping.iter().map(|flapping| {
        format!(
            "Find out what happens each time {} goes down (a restart, a job, a limit that is reached) before its failure threshold is \
             raised: that would only hide it.",
            flapping.service
        )
    }));
    found.extend(of_certificates(facts));
    found.extend(facts.changes.iter().filter(|change| change.worse).map(|change| of_change(change, facts)));
    found.extend(of_finding(facts));
    found.extend(of_silence(facts));
    let mut told: Vec<String> = Vec::new();
    for suggestion in found {
        if !told.contains(&suggestion) {
            told.push(suggestion);
        }
    }
    told.truncate(MOST);
    told
}

fn of_cause(cause: &Cause) -> String {
    let name = &cause.longest.service;
    let at = moment(cause.longest.opened);
    if cause.together {
        let shared = match cause.kind.reason {
            Some(Reason::Dns) => "the name servers and the zone they depend on",
            Some(Reason::Connect) => "the network, the load balancer and the hosts in front of them",
            Some(Reason::Tls | Reason::Certificate) => "the certificate and the TLS terminator in front of them",
            Some(Reason::Timeout) => "the network, the database and whatever else all of them wait for",
            Some(Reason::Status | Reason::Body | Reason::Json | Reason::Header) => {
                "the gateway, the database and what was deployed just before"
            }
            _ => "the network, the database and what was deployed just before",
        };
        let place = cause.kind.only.as_ref().map(|region| format!(" on the way from {region}")).unwrap_or_default();
        return format!("Look first at what these services share{place}: {shared}, around {}.", moment(cause.first));
    }
    if let Some(region) = &cause.kind.only {
        return format!(
            "Follow the way from {region} to {name}: routing, firewall, CDN and DNS there. The service itself answered the other regions at \
             the same time ({at})."
        );
    }
    match (cause.kind.reason, cause.kind.phase) {
        (Some(Reason::Dns), _) => format!("Check the zone and the name servers of {name} for changes around {at}."),
        (Some(Reason::Connect), _) if cause.line.contains("refused") => {
            format!(
                "See why nothing listened for {name} at {at}: a crash, a restart or a deployment. The host itself was there and refused."
            )
        }
        (Some(Reason::Connect), _) => format!("Check host, firewall and network of {name} around {at}: no connection came about."),
        (Some(Reason::Certificate), _) => format!("Renew or correct the certificate of {name}, and see why nobody was told before {at}."),
        (Some(Reason::Tls), _) => format!("Check the TLS settings of {name} for a change around {at}: the handshake itself fails."),
        (Some(Reason::Timeout), Some(Phase::Dns)) => {
            format!("Check the resolver and the name servers of {name}: resolving its name took too long.")
        }
        (Some(Reason::Timeout), Some(Phase::Connect)) => {
            format!("Check firewall, routing and backlog of {name}: connections were neither taken nor refused around {at}.")
        }
        (Some(Reason::Timeout), _) => {
            format!(
                "See what {name} waited for around {at} (database, queue, another service): it took the request and did not answer in time."
            )
        }
        (Some(Reason::Status), _) => match cause.kind.status {
            Some(401 | 403) => format!("Check the credentials {name} is asked with: it answered and refused them."),
            Some(404 | 410) => format!("Check whether the address of {name} has moved: it answered that there is nothing there."),
            Some(429) => format!("Check the limits of {name}: it answered that it is asked too often."),
            Some(status @ 500..) => format!("Read the logs of {name} around {at}: it answered, but with status {status}."),
            Some(status) => format!("See why {name} answers with status {status}: the expectation or the service has changed."),
            None => format!("Read the logs of {name} around {at}: it answered with another status than expected."),
        },
        (Some(Reason::Body | Reason::Json | Reason::Header), _) => {
            format!("Compare what {name} answers with what is expected of it: it answers, but not the same as before {at}.")
        }
        (Some(Reason::TooLarge), _) => format!("See why the answer of {name} has grown beyond its limit."),
        (Some(Reason::Redirect), _) => format!("Check where {name} redirects to: it leads on too often or elsewhere."),
        (Some(Reason::Blocked), _) => {
            format!("The address of {name} lies in a network no check may reach: correct the address or the setting.")
        }
        (Some(Reason::Protocol), _) => format!("See what answers in place of {name}: what came was not valid HTTP."),
        (Some(Reason::Internal), _) => format!("The check of {name} itself failed: see the monitor's log around {at}."),
        (None, _) if cause.degraded => format!("See what slows {name} down; its threshold is what it was asked to keep."),
        (None, _) => format!("Look into {name} around {at}."),
    }
}

fn of_certificates(facts: &Facts) -> Option<String> {
    let first = facts.certificates.first()?;
    let names: Vec<String> = facts.certificates.iter().map(|expiring| expiring.service.to_string()).collect();
    Some(match (names.len(), first.days) {
        (1, ..0) => format!("Renew the certificate of {}: clients that check it refuse the service now.", first.service),
        (1, _) => {
            format!("Renew the certificate of {} before {}, and see why that was not done by itself.", first.service, day(first.ends))
        }
        _ => format!("Renew the certificates of {}; the first of them ends on {}.", list(&names, NAMES), day(first.ends)),
    })
}

fn of_change(change: &Change, facts: &Facts) -> String {
    let name = &change.service;
    if change.signal == Signal::Errors {
        return format!("See which checks of {name} fail and why: short failures open no incident, but there are more of them.");
    }
    let others = facts.regions.len() > 1;
    if let Some(region) = change.region.as_ref().filter(|_| others) {
        return format!("Compare the way from {region} to {name} with that of the other regions: only there it has become slower.");
    }
    match change.phase {
        Some(Signal::Dns) => format!("Check the resolver in use and the lifetime (TTL) of the name of {name}: resolving it takes longer."),
        Some(Signal::Connect) => format!("Check the network to {name} and how soon it takes connections: connecting takes longer."),
        Some(Signal::Tls) => format!("Check the chain and the session resumption of {name}: the TLS handshake takes longer."),
        Some(Signal::FirstByte) => {
            format!("Look at the backend of {name} (queries, cache, load): it takes the request as before and thinks longer.")
        }
        Some(Signal::Transfer) => {
            format!("See whether the answer of {name} has grown, or its compression was lost: the transfer takes longer.")
        }
        _ => format!("Look at what was changed in {name} since {}.", moment(facts.period.since)),
    }
}

/// Where something was odd and nothing else about that service has been suggested.
fn of_finding(facts: &Facts) -> Option<String> {
    let told = |name: &str| {
        facts.causes.iter().any(|cause| cause.services.iter().any(|service| **service == *name))
            || facts.changes.iter().any(|change| change.worse && *change.service == *name)
    };
    let finding = facts.findings.iter().find(|finding| finding.is_firm() && !told(&finding.name))?;
    let (name, since) = (&finding.name, moment(finding.since));
    let place = finding.region.as_ref().map(|region| format!(", on the way from {region}")).unwrap_or_default();
    let what = match finding.signal {
        Signal::Dns => "its name servers and the resolver in use",
        Signal::Connect => "the network to it and how soon it takes connections",
        Signal::Tls => "what ends TLS in front of it",
        Signal::FirstByte => "its backend (queries, cache, load)",
        Signal::Transfer => "the size of its answers and the bandwidth",
        Signal::Errors => "the checks that failed",
        Signal::Latency | Signal::Pattern => "what ran and what was deployed",
    };
    Some(format!("See what was different for {name} around {since}{place}: look at {what}."))
}

fn of_silence(facts: &Facts) -> Option<String> {
    let silent = facts.unmeasured.len() + facts.partly.len();
    if silent == 0 || facts.services.is_empty() {
        return None;
    }
    let whose = match facts.unmeasured.first().or(facts.partly.first().map(|(name, _)| name)) {
        Some(name) if silent == 1 => format!("of {name}"),
        _ => format!("of {} services", number(silent as u64)),
    };
    Some(format!("See with `probemesh inspect` whether all nodes are linked and checking: results {whose} are missing."))
}
