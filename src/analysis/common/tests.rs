use super::*;

const SPAN: i64 = 60_000_000;
const SERVICES: u32 = 10;

fn at(minute: i64) -> Timestamp {
    Timestamp(1_800_000_000_000_000 + minute * SPAN)
}

fn steady(minute: i64) -> Duration {
    Duration::from_secs(60 * minute as u64)
}

fn opened(service: u32, region: &str, minute: i64, signal: Signal, ratio: f64) -> Change {
    let finding = Finding {
        id: FindingId(format!("{service}-{}", signal.name()).into()),
        service: Some(ServiceId(service)),
        name: format!("s{service}").into(),
        region: Some(region.into()),
        regions: vec![region.into()],
        signal,
        shape: Shape::Spike,
        since: at(minute),
        last: at(minute),
        ended: None,
        observed: 10_000.0 * ratio,
        expected: Some(10_000.0),
        score: 0.9,
        confidence: 0.9,
        samples: 2,
        learning: None,
        summary: String::new(),
        evidence: Vec::new(),
        feedback: None,
    };
    Change { what: What::Opened, finding }
}

fn ended(mut change: Change, minute: i64) -> Change {
    change.what = What::Ended;
    change.finding.ended = Some(at(minute));
    change
}

/// Every service of a region is heard of in a minute; those named are slow.
fn hear(common: &mut Common, region: &str, minute: i64, slow: impl Fn(u32) -> Option<(Signal, f64)>) {
    for service in 1..=SERVICES {
        let slow = slow(service).map(|(signal, ratio)| SlowTime { signal, observed: 10_000.0 * ratio, expected: 10_000.0 });
        let name = format!("s{service}").into();
        common.see(Seen { service: ServiceId(service), name, region: region.into(), at: at(minute), span: SPAN, slow });
    }
}

fn told(changes: &[Change]) -> Vec<String> {
    let name = |finding: &Finding| finding.service.map_or(format!("all of {}", finding.name), |service| format!("s{service}"));
    changes.iter().map(|Change { what, finding }| format!("{} {} {}", what.name(), name(finding), finding.signal.name())).collect()
}

#[test]
fn what_is_slow_for_most_services_of_a_region_is_one_finding_and_theirs_are_kept_back() {
    let mut common = Common::default();
    hear(&mut common, "eu", 0, |_| None);
    hear(&mut common, "us", 0, |_| None);
    let slow = |service| (service <= 6).then_some((Signal::Dns, 3.0));
    hear(&mut common, "eu", 1, slow);
    hear(&mut common, "us", 1, |_| None);
    let changes = (1..=6).map(|service| opened(service, "eu", 1, Signal::Dns, 3.0)).collect();
    let news = common.pass(changes, steady(1));
    assert_eq!(told(&news), ["opened all of eu dns"]);
    let Finding { service, region, summary, evidence, .. } = &news[0].finding;
    assert_eq!((service, region.as_ref().map(|region| &*region.0), evidence.len()), (&None, Some("eu"), 6));
    assert!(summary.starts_with("DNS 3.0 × as long for 6 of 10 services at once, eu only, since "), "{summary}");
    // They end with it: nothing more is told of them, and the common finding ends once the time in which it counts is over.
    let mut news = common.pass((1..=6).map(|service| ended(opened(service, "eu", 1, Signal::Dns, 3.0), 3)).collect(), steady(3));
    for minute in 2..=12 {
        hear(&mut common, "eu", minute, |_| None);
        news.extend(common.pass(Vec::new(), steady(minute)));
    }
    assert_eq!(told(&news), ["ended all of eu dns"]);
    assert!(!common.is_waiting());
}

#[test]
fn a_service_that_is_slow_by_itself_is_told_after_a_moment() {
    let mut common = Common::default();
    hear(&mut common, "eu", 1, |service| (service == 3).then_some((Signal::Tls, 3.0)));
    assert_eq!(told(&common.pass(vec![opened(3, "eu", 1, Signal::Tls, 3.0)], steady(1))), Vec::<String>::new());
    assert_eq!(told(&common.pass(Vec::new(), steady(1) + MOST_HOLD)), ["opened s3 tls"]);
    assert_eq!(told(&common.pass(vec![ended(opened(3, "eu", 1, Signal::Tls, 3.0), 9)], steady(9))), ["ended s3 tls"]);
}

#[test]
fn what_came_and_went_while_it_was_held_is_told_with_its_end() {
    let mut common = Common::default();
    hear(&mut common, "eu", 1, |service| (service == 3).then_some((Signal::Tls, 3.0)));
    common.pass(vec![opened(3, "eu", 1, Signal::Tls, 3.0)], steady(1));
    common.pass(vec![ended(opened(3, "eu", 1, Signal::Tls, 3.0), 2)], steady(1) + LEAST_HOLD);
    assert_eq!(told(&common.pass(Vec::new(), steady(1) + MOST_HOLD)), ["opened s3 tls", "ended s3 tls"]);
}

#[test]
fn failures_and_what_became_faster_are_told_at_once() {
    let mut common = Common::default();
    let faster = opened(4, "eu", 1, Signal::Latency, 0.4);
    let failing = opened(5, "eu", 1, Signal::Errors, 3.0);
    assert_eq!(told(&common.pass(vec![faster, failing], steady(1))), ["opened s4 latency", "opened s5 errors"]);
}

#[test]
fn what_is_much_larger_than_for_the_others_or_outlasts_them_is_told_for_itself() {
    let mut common = Common::default();
    hear(&mut common, "eu", 1, |service| (service <= 5).then_some((Signal::FirstByte, if service == 1 { 30.0 } else { 2.0 })));
    let changes = (1..=5).map(|service| opened(service, "eu", 1, Signal::FirstByte, if service == 1 { 30.0 } else { 2.0 })).collect();
    assert_eq!(told(&common.pass(changes, steady(1))), ["opened all of eu first_byte"]);
    assert_eq!(told(&common.pass(Vec::new(), steady(1) + MOST_HOLD)), ["opened s1 first_byte"]);
    // Of four that were kept back three end, one goes on.
    let ends = (2..=4).map(|service| ended(opened(service, "eu", 1, Signal::FirstByte, 2.0), 3)).collect();
    assert_eq!(told(&common.pass(ends, steady(3))), Vec::<String>::new());
    let mut news = Vec::new();
    for minute in 2..=20 {
        hear(&mut common, "eu", minute, |service| (service == 5).then_some((Signal::FirstByte, 2.0)));
        news.extend(common.pass(Vec::new(), steady(minute)));
    }
    assert_eq!(told(&news), ["ended all of eu first_byte", "opened s5 first_byte"]);
}

#[test]
fn troubles_of_different_kinds_of_some_services_are_no_common_cause() {
    let mut common = Common::default();
    let signals = [Signal::Dns, Signal::Tls, Signal::FirstByte, Signal::Transfer];
    let slow = |service: u32| signals.get(service as usize).map(|signal| (*signal, 3.0));
    hear(&mut common, "eu", 1, slow);
    let changes: Vec<Change> =
        (1..4).filter_map(|service| slow(service).map(|(signal, ratio)| opened(service, "eu", 1, signal, ratio))).collect();
    common.pass(changes, steady(1));
    assert_eq!(told(&common.pass(Vec::new(), steady(2))), ["opened s1 tls", "opened s2 first_byte", "opened s3 transfer"]);
}

#[test]
fn after_a_restart_it_goes_on_under_its_name_while_it_holds_and_is_not_ended_for_want_of_news() {
    let mut common = Common::default();
    let slow = |service| (service <= 6).then_some((Signal::Dns, 3.0));
    hear(&mut common, "eu", 1, slow);
    let finding = common.pass(vec![opened(1, "eu", 1, Signal::Dns, 3.0)], steady(1)).remove(0).finding;
    let mut again = Common::default();
    again.restore(finding.clone());
    assert_eq!(told(&again.pass(Vec::new(), steady(1))), Vec::<String>::new());
    hear(&mut again, "eu", 2, |service| (service <= 7).then_some((Signal::Dns, 3.0)));
    let news = again.pass(Vec::new(), steady(2));
    assert_eq!((told(&news), &news[0].finding.id), (vec!["updated all of eu dns".to_owned()], &finding.id));
}
