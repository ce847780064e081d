use super::*;

fn thresholds() -> Thresholds {
    Thresholds {
        disk_days: 7.0,
        disk_free_percent: 10.0,
        lag_p99: Duration::from_secs(1),
        outbox_age: Duration::from_secs(300),
        store_write: Duration::from_millis(500),
        descriptors_percent: 80.0,
        quarantined: true,
        node_certificate_days: 7.0,
        authority_days: 60.0,
        api_p95: Duration::from_secs(2),
    }
}

fn state(figure: Figure, value: f64, watched: &str) -> State {
    // Days until a disk is full mean nothing where the disk is not known.
    let figures = Figures::from([(Figure::DiskFreeBytes, 1e9), (figure, value)]);
    let found = judge(&thresholds(), &figures, &Circumstances::default(), Duration::ZERO);
    found.into_iter().find(|finding| finding.watched == watched).unwrap().state
}

#[test]
fn each_threshold_has_its_place_its_gap_and_its_critical_end() {
    use State::{Between, Well, Wrong};
    let (warning, critical) = (Wrong(Severity::Warning), Wrong(Severity::Critical));
    let table = [
        (Figure::StoreWriteMs, "store_write", [(400.0, Well), (480.0, Between), (501.0, warning), (2501.0, critical)]),
        (Figure::DiskFreePercent, "disk_free", [(11.1, Well), (10.5, Between), (9.9, warning), (2.4, critical)]),
        (Figure::DiskFullDays, "disk_days", [(8.0, Well), (7.5, Between), (6.9, warning), (0.9, critical)]),
        (Figure::LagP99Ms, "schedule_lag", [(250.0, Well), (950.0, Between), (5000.0, warning), (10_001.0, critical)]),
        (Figure::OutboxAge, "outbox_age", [(10.0, Well), (290.0, Between), (301.0, warning), (3601.0, critical)]),
        (Figure::DescriptorsPercent, "descriptors", [(50.0, Well), (75.0, Between), (81.0, warning), (91.0, critical)]),
        (Figure::NodeCertificateDays, "node_certificate", [(20.0, Well), (7.2, Between), (6.9, warning), (0.5, critical)]),
        (Figure::AuthorityDays, "authority", [(3000.0, Well), (61.0, Between), (59.0, warning), (5.0, critical)]),
        (Figure::ApiP95Ms, "api_p95", [(100.0, Well), (1900.0, Between), (2001.0, warning), (10_001.0, critical)]),
        (Figure::Quarantined, "quarantined", [(0.0, Well), (0.0, Well), (1.0, warning), (9.0, warning)]),
    ];
    for (figure, watched, steps) in table {
        for (value, expected) in steps {
            assert_eq!(state(figure, value, watched), expected, "{watched} at {value}");
        }
    }
}

#[test]
fn what_is_not_known_is_no_alarm_and_ends_none() {
    let found = judge(&thresholds(), &Figures::new(), &Circumstances::default(), Duration::ZERO);
    assert!(found.iter().all(|finding| matches!(finding.state, State::Unknown | State::Well)), "{found:?}");
}

fn finding(state: State) -> Vec<Finding> {
    vec![Finding { watched: "x".to_owned(), state, text: "it is so".to_owned(), next_step: None, hold: Duration::from_secs(120) }]
}

#[test]
fn a_figure_that_wobbles_is_one_alarm_and_a_short_one_is_none() {
    let mut alarms = Alarms::default();
    let (wrong, well) = (State::Wrong(Severity::Warning), State::Well);
    // A state for each minute.
    let course = [
        (wrong, 0),
        (wrong, 0),
        (well, 0), // Not long enough.
        (wrong, 0),
        (wrong, 0),
        (wrong, 1), // Two minutes on end: raised.
        (State::Between, 1),
        (well, 1),
        (well, 1),
        (wrong, 1), // Not over.
        (State::Unknown, 1),
        (well, 1),
        (well, 1),
        (well, 2), // Over.
        (well, 2),
    ];
    let mut told = 0;
    for (minute, (state, expected)) in course.into_iter().enumerate() {
        let steady = Duration::from_secs(minute as u64 * 60);
        told += alarms.take(finding(state), Timestamp(0).plus(steady), steady).len();
        assert_eq!(told, expected, "minute {minute}");
    }
    assert_eq!(alarms.raised().count(), 0);
}

#[test]
fn an_alarm_keeps_its_key_over_a_restart_and_another_severity() {
    let mut alarms = Alarms::default();
    let at = |seconds| (Timestamp(1_700_000_000_000_000).plus(Duration::from_secs(seconds)), Duration::from_secs(seconds));
    let take = |alarms: &mut Alarms, state, seconds| {
        let (now, steady) = at(seconds);
        alarms.take(finding(state), now, steady)
    };
    take(&mut alarms, State::Wrong(Severity::Warning), 0);
    let raised = take(&mut alarms, State::Wrong(Severity::Warning), 120);
    let [Turn::Holds(first)] = raised.as_slice() else { panic!("{raised:?}") };
    // It is since it was first seen, not since it was believed.
    assert_eq!((first.cause.as_str(), first.since), ("system-x-1700000000000", at(0).0));
    let worse = take(&mut alarms, State::Wrong(Severity::Critical), 180);
    let [Turn::Holds(second)] = worse.as_slice() else { panic!("{worse:?}") };
    assert_eq!((&second.cause, second.severity), (&first.cause, Severity::Critical));
    assert!(take(&mut alarms, State::Wrong(Severity::Critical), 240).is_empty());
    let kept: Vec<Alarm> = alarms.raised().cloned().collect();
    let mut alarms = Alarms::default();
    alarms.resume(kept);
    let again = take(&mut alarms, State::Wrong(Severity::Critical), 0);
    assert!(matches!(again.as_slice(), [Turn::Holds(again)] if again.cause == first.cause), "{again:?}");
    assert!(take(&mut alarms, State::Wrong(Severity::Critical), 0).is_empty(), "once is enough");
    assert!(take(&mut alarms, State::Well, 0).is_empty());
    assert!(matches!(take(&mut alarms, State::Well, 120).as_slice(), [Turn::Over(over)] if over.cause == first.cause));
}

#[test]
fn what_is_watched_no_longer_is_over() {
    let mut alarms = Alarms::default();
    let now = Timestamp(0);
    alarms.take(finding(State::Wrong(Severity::Warning)), now, Duration::ZERO);
    alarms.take(finding(State::Wrong(Severity::Warning)), now, Duration::from_secs(120));
    assert!(matches!(alarms.take(Vec::new(), now, Duration::from_secs(121)).as_slice(), [Turn::Over(_)]));
}

#[test]
fn sizes_and_spans_are_short() {
    let sizes: Vec<String> = [0.0, 999.0, 1_500.0, 12_345_678.0, 512e9].into_iter().map(size).collect();
    assert_eq!(sizes, ["0 B", "999 B", "1.5 kB", "12.3 MB", "512 GB"]);
    let spans: Vec<String> = [5.0, 300.0, 7_200.0, 400_000.0].into_iter().map(span).collect();
    assert_eq!(spans, ["5 s", "5 min", "2.0 h", "4.6 days"]);
}
