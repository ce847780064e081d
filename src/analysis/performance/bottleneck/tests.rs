use super::*;
use crate::analysis::performance::sample::{At, Check, Sample, healthy};

const DNS: usize = 0;
const FIRST_BYTE: usize = 3;

fn with(at: At, phase: usize, ms: f64) -> Check {
    let mut check = healthy(at);
    check.phases[phase] = ms;
    check
}

fn find(found: &[Bottleneck], service: u32, phase: Phase) -> Option<&Bottleneck> {
    let wanted = |place: &Place| matches!(place, Place::Phase { service: of, phase: which, .. } if of.0 == service && *which == phase);
    found.iter().find(|one| wanted(&one.place))
}

#[test]
fn places_are_ranked_by_the_seconds_a_day_they_cost() {
    let sample = Sample::new(24);
    // One check in two of api-2 waits 400 ms more; api-4 resolves names in 100 ms, from ap alone.
    let analysis = sample.analyse(|at| match (at.service, at.region) {
        (2, _) => with(at, FIRST_BYTE, if at.index % 2 == 0 { 440.0 } else { 40.0 }),
        (4, "ap") => with(at, DNS, 100.0),
        _ => healthy(at),
    });
    let found = bottlenecks(&analysis, &sample.settings);
    assert_eq!(found[0].place, Place::Phase { service: ServiceId(2), region: None, phase: Phase::FirstByte }, "{found:#?}");
    // 864 checks a day, half of them 400 ms above the floor.
    assert!((found[0].cost - 172.8).abs() < 4.0 && (found[0].per_day - 864.0).abs() < 2.0, "{:?}", found[0]);
    assert!((found[0].mean_us - found[0].floor_us - 200_000.0).abs() < 4_000.0, "{:?}", found[0]);
    let dns = find(&found, 4, Phase::Dns).unwrap();
    assert!(matches!(&dns.place, Place::Phase { region: Some(region), .. } if &*region.0 == "ap"), "{dns:?}");
    // Always slow is no excuse: the other regions resolve it in 3 ms.
    assert!((dns.cost - 0.097 * 288.0).abs() < 1.0 && dns.floor_of == "the median of the other regions", "{dns:?}");
    assert!(found.windows(2).all(|pair| pair[0].cost >= pair[1].cost));
    assert!(find(&found, 1, Phase::Dns).is_none() && found.iter().all(|one| one.cost >= LEAST_COST));
}

#[test]
fn timeouts_retries_and_own_endpoints_cost_their_waits() {
    let mut sample = Sample::new(24);
    sample.endpoint("/api/v1/slow", 200, 50, 900);
    sample.endpoint("/api/v1/slow", 200, 650, 100);
    let analysis = sample.analyse(|at| match (at.service, at.index % 24) {
        (1, 0) => Check { failure: Some(Reason::Timeout), attempts: 2, ..healthy(at) },
        (3, 0) => Check { attempts: 2, ..healthy(at) },
        _ => healthy(at),
    });
    let found = bottlenecks(&analysis, &sample.settings);
    // 36 timeouts of two tries of 10 s.
    assert_eq!(found[0].place, Place::Timeouts { service: ServiceId(1) });
    assert!((found[0].cost - 720.0).abs() < 2.0, "{:?}", found[0]);
    let endpoint = found.iter().find(|one| matches!(one.place, Place::Endpoint { .. })).unwrap();
    assert!((endpoint.cost - 60.0).abs() < 1.0, "{endpoint:?}");
    let retries = found.iter().find(|one| one.place == Place::Retries { service: ServiceId(3) }).unwrap();
    assert!((retries.cost - 36.0 * 0.073).abs() < 0.1, "{retries:?}");
}

#[test]
fn where_no_check_passes_nothing_is_said_to_be_possible() {
    let sample = Sample::new(24);
    let analysis = sample.analyse(|at| match at.service {
        1 => Check { failure: Some(Reason::Timeout), attempts: 2, ..healthy(at) },
        _ => healthy(at),
    });
    let found = bottlenecks(&analysis, &sample.settings);
    assert_eq!((&found[0].place, found[0].floor_of), (&Place::Timeouts { service: ServiceId(1) }, NONE_PASSED));
}

#[test]
fn where_there_is_nothing_nothing_costs() {
    let sample = Sample { regions: Vec::new(), ..Sample::new(24) };
    let analysis = sample.analyse(healthy);
    assert!(bottlenecks(&analysis, &sample.settings).is_empty() && analysis.whole.checks == 0 && analysis.whole.latency.is_none());
}
