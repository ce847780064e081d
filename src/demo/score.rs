//! What was told, held against what was done. Pure.
//!
//! A finding **names** a trouble if all of it is right: the service; the phase (the finding's signal); the region, which is the one
//! region alone where only one is troubled, and otherwise the most of them; and the time, that is it begins while the trouble is
//! there, or within two samples of it. Everything else that was told is false, with the reason why: a finding of the right service at
//! the right time with the wrong phase is false, too. A trouble that is named more than once counts once, and the repeats are counted.
//!
//! - precision: findings that name a trouble, of all findings;
//! - recall: troubles that were named, of all that were injected. A certificate that is about to end is no anomaly of anything that is
//!   measured: it is named if the digest tells of it, and left out of recall where there was no digest.

use std::time::Duration;

use serde::Serialize;

use crate::model::finding::Signal;
use crate::model::time::Timestamp;

/// A trouble as it was injected.
#[derive(Clone, Debug, PartialEq)]
pub struct Injected {
    pub service: String,
    pub what: String,
    /// `None`: the digest's to tell.
    pub signal: Option<Signal>,
    /// The only region; `None`: all.
    pub region: Option<String>,
    pub begins: Timestamp,
    pub ends: Timestamp,
}

/// A finding as the API told it.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    pub id: String,
    pub service: String,
    pub signal: String,
    pub regions: Vec<String>,
    pub since: Timestamp,
    pub ended: Option<Timestamp>,
    /// When the API told it first.
    pub seen: Timestamp,
    pub summary: String,
}

/// What else told of a trouble; `None`: there was no such text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    pub digest: Option<bool>,
    pub recommendations: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Score {
    pub troubles: Vec<Outcome>,
    pub findings: Vec<Judged>,
    /// `None`: nothing was told.
    pub precision: Option<f64>,
    pub recall: Option<f64>,
    pub median_delay_s: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    pub service: String,
    pub what: String,
    pub signal: Option<&'static str>,
    pub region: Option<String>,
    pub begins: String,
    pub ends: String,
    /// The finding that named it first.
    pub finding: Option<String>,
    /// From its beginning until the finding could be read.
    pub delay_s: Option<f64>,
    /// Further findings that name it.
    pub repeats: usize,
    /// All findings that name it have ended.
    pub finding_ended: Option<bool>,
    pub in_digest: Option<bool>,
    pub in_recommendations: Option<bool>,
    /// `None`: nothing was there that could name it.
    pub named: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Judged {
    pub id: String,
    pub service: String,
    pub summary: String,
    /// The trouble it names, by its place in the list.
    pub names: Option<usize>,
    /// Why it names none.
    pub why_false: Option<String>,
}

/// `regions` are so many altogether; `sample` is the span of one.
pub fn score(injected: &[Injected], told: &[Told], texts: &[Texts], regions: usize, sample: Duration) -> Score {
    let judged: Vec<Judged> = told
        .iter()
        .map(|told| {
            let verdict = judge(injected, told, regions, sample);
            let (id, service, summary) = (told.id.clone(), told.service.clone(), told.summary.clone());
            Judged { id, service, summary, names: verdict.as_ref().ok().copied(), why_false: verdict.err() }
        })
        .collect();
    let outcome = |(index, injected): (usize, &Injected)| {
        let mut naming: Vec<&Told> =
            told.iter().zip(&judged).filter(|(_, judged)| judged.names == Some(index)).map(|(told, _)| told).collect();
        naming.sort_by_key(|told| told.seen);
        let Texts { digest, recommendations } = texts.get(index).copied().unwrap_or_default();
        Outcome {
            service: injected.service.clone(),
            what: injected.what.clone(),
            signal: injected.signal.map(Signal::name),
            region: injected.region.clone(),
            begins: injected.begins.rfc3339(),
            ends: injected.ends.rfc3339(),
            finding: naming.first().map(|told| told.id.clone()),
            delay_s: naming.first().map(|told| told.seen.since(injected.begins).as_secs_f64()),
            repeats: naming.len().saturating_sub(1),
            finding_ended: (!naming.is_empty()).then(|| naming.iter().all(|told| told.ended.is_some())),
            in_digest: digest,
            in_recommendations: recommendations,
            named: if injected.signal.is_some() { Some(!naming.is_empty()) } else { digest },
        }
    };
    let troubles: Vec<Outcome> = injected.iter().enumerate().map(outcome).collect();
    let right = judged.iter().filter(|judged| judged.names.is_some()).count();
    let named: Vec<bool> = troubles.iter().filter_map(|outcome| outcome.named).collect();
    let share = |part: usize, whole: usize| (whole > 0).then(|| part as f64 / whole as f64);
    let mut delays: Vec<f64> = troubles.iter().filter_map(|outcome| outcome.delay_s).collect();
    Score {
        precision: share(right, judged.len()),
        recall: share(named.iter().filter(|named| **named).count(), named.len()),
        median_delay_s: median(&mut delays),
        troubles,
        findings: judged,
    }
}

/// The trouble a finding names, or why it names none.
fn judge(injected: &[Injected], told: &Told, regions: usize, sample: Duration) -> Result<usize, String> {
    let mut of_service = injected.iter().enumerate().filter(|(_, trouble)| trouble.service == told.service && trouble.signal.is_some());
    let Some((index, trouble)) = of_service.next() else { return Err("nothing was done to this service".to_owned()) };
    if told.since < trouble.begins.minus(sample) {
        return Err("begins before the trouble".to_owned());
    }
    if told.since > trouble.ends.plus(2 * sample) {
        return Err("begins after the trouble".to_owned());
    }
    if trouble.signal.map(Signal::name) != Some(told.signal.as_str()) {
        return Err(format!("the wrong phase: {} instead of {}", told.signal, trouble.signal.map_or("", Signal::name)));
    }
    let right = match &trouble.region {
        Some(region) => told.regions.as_slice() == std::slice::from_ref(region),
        None => told.regions.len() * 2 > regions,
    };
    if !right {
        let meant = trouble.region.as_deref().unwrap_or("all regions");
        return Err(format!("the wrong place: {} instead of {meant}", told.regions.join(", ")));
    }
    Ok(index)
}

fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp(1_795_348_800_000_000 + seconds * 1_000_000)
    }

    fn trouble(service: &str, signal: Option<Signal>, region: Option<&str>) -> Injected {
        let (service, region) = (service.to_owned(), region.map(str::to_owned));
        Injected { service, what: "trouble".to_owned(), signal, region, begins: at(100), ends: at(200) }
    }

    fn told(service: &str, signal: &str, regions: &[&str], since: i64) -> Told {
        Told {
            id: format!("{service}-{signal}-{since}"),
            service: service.to_owned(),
            signal: signal.to_owned(),
            regions: regions.iter().map(|region| (*region).to_owned()).collect(),
            since: at(since),
            ended: Some(at(since + 50)),
            seen: at(since + 4),
            summary: String::new(),
        }
    }

    fn check(told: Told, expect: Result<(), &str>) {
        let injected = [
            trouble("search", Some(Signal::Dns), None),
            trouble("login", Some(Signal::FirstByte), Some("ap-south")),
            trouble("mail", None, None),
        ];
        let judged = judge(&injected, &told, 3, Duration::from_secs(1));
        assert_eq!(judged.map(|_| ()), expect.map_err(str::to_owned), "{told:?}");
    }

    #[test]
    fn service_phase_place_and_time_must_all_be_right() {
        const ALL: [&str; 3] = ["ap-south", "eu-west", "us-east"];
        check(told("search", "dns", &ALL, 101), Ok(()));
        check(told("search", "dns", &ALL[..2], 99), Ok(()));
        check(told("search", "dns", &ALL, 202), Ok(()));
        check(told("search", "dns", &ALL, 98), Err("begins before the trouble"));
        check(told("search", "dns", &ALL, 203), Err("begins after the trouble"));
        check(told("search", "latency", &ALL, 101), Err("the wrong phase: latency instead of dns"));
        check(told("search", "dns", &["eu-west"], 101), Err("the wrong place: eu-west instead of all regions"));
        check(told("login", "first_byte", &["ap-south"], 150), Ok(()));
        check(told("login", "first_byte", &ALL, 150), Err("the wrong place: ap-south, eu-west, us-east instead of ap-south"));
        check(told("docs", "dns", &ALL, 150), Err("nothing was done to this service"));
        check(told("mail", "tls", &ALL, 150), Err("nothing was done to this service"));
    }

    #[test]
    fn what_is_told_twice_counts_once_and_what_is_missed_or_false_counts_against() {
        let injected = [trouble("search", Some(Signal::Dns), None), trouble("images", Some(Signal::Transfer), None)];
        let findings = [
            told("search", "dns", &["eu-west", "us-east"], 160),
            told("search", "dns", &["eu-west", "us-east"], 110),
            told("docs", "latency", &["eu-west"], 120),
            told("feed", "latency", &["eu-west"], 120),
        ];
        let score = score(&injected, &findings, &[], 3, Duration::from_secs(1));
        assert_eq!((score.precision, score.recall, score.median_delay_s), (Some(0.5), Some(0.5), Some(14.0)));
        assert_eq!((score.troubles[0].repeats, score.troubles[0].finding.as_deref()), (1, Some("search-dns-110")));
        assert_eq!((score.troubles[1].finding.clone(), score.troubles[1].named), (None, Some(false)));
        assert_eq!(score.findings.iter().filter(|judged| judged.why_false.is_some()).count(), 2);
    }

    #[test]
    fn a_certificate_is_the_digests_to_name() {
        let injected = [trouble("mail", None, None)];
        let recall = |digest| score(&injected, &[], &[Texts { digest, recommendations: None }], 3, Duration::from_secs(1)).recall;
        assert_eq!((recall(Some(true)), recall(Some(false)), recall(None)), (Some(1.0), Some(0.0), None));
    }

    #[test]
    fn nothing_told_is_no_precision() {
        let score = score(&[trouble("search", Some(Signal::Dns), None)], &[], &[], 3, Duration::from_secs(1));
        assert_eq!((score.precision, score.recall, score.median_delay_s), (None, Some(0.0), None));
    }
}
