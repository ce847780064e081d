use std::time::Duration;

use super::*;
use crate::aggregate::rollup::MINUTE;
use crate::analysis::errors::ErrorAssessment;
use crate::analysis::sample::minute;
use crate::analysis::series::Reading;

fn quiet_errors() -> ErrorAssessment {
    ErrorAssessment { checks: 5, failed: 0, habit: 0.001, score: 0.0, odd: false, learning: None }
}

/// Latency, and connect where a second value is given, in milliseconds; 10 and 2 are expected. Those above twice that are odd
/// where `odd` says so.
fn row(region: &str, minutes: u32, latency: f64, connect: Option<f64>, odd: bool) -> Row {
    let reading = |signal, observed: f64, expected: f64| Reading {
        signal,
        observed: observed * 1e3,
        expected: Some(expected * 1e3),
        score: if odd { 0.8 } else { 0.0 },
        odd: odd && (observed > 2.0 * expected || observed < expected / 2.0),
        shape: None,
        learning: None,
    };
    let mut times = vec![reading(Signal::Latency, latency, 10.0)];
    times.extend(connect.map(|connect| reading(Signal::Connect, connect, 2.0)));
    let known = Duration::from_secs(3 * 86_400);
    Row { region: region.into(), at: minute(minutes), span: MINUTE, checks: 12, failed: 0, times, errors: quiet_errors(), known }
}

fn take_with(episodes: &mut Episodes, row: &Row, dismissals: &[Dismissal]) -> Vec<Change> {
    let context = Context { service: ServiceId(7), name: &"shop".into(), dismissals, quiet_samples: 3, least_change: 0.1 };
    episodes.take(row, &context)
}

fn take(episodes: &mut Episodes, row: &Row) -> Vec<Change> {
    take_with(episodes, row, &[])
}

/// What was told, as `opened connect ap-south`.
fn told(changes: &[Change]) -> Vec<String> {
    let place = |finding: &Finding| finding.region.as_ref().map_or("several".to_owned(), ToString::to_string);
    let news = changes.iter().filter(|change| change.what != What::Grown);
    news.map(|change| format!("{} {} {}", change.what.name(), change.finding.signal.name(), place(&change.finding))).collect()
}

#[test]
fn a_shift_of_one_phase_in_one_region_is_one_finding_that_names_both_and_ends() {
    let mut episodes = Episodes::default();
    let mut changes = Vec::new();
    for minutes in 0..60 {
        for region in ["ap-south", "eu-west", "us-east"] {
            let shifted = region == "ap-south" && (20..40).contains(&minutes);
            // The detector is surprised at the first minute alone.
            let of =
                if shifted { row(region, minutes, 16.2, Some(8.2), minutes == 20) } else { row(region, minutes, 10.0, Some(2.0), true) };
            changes.extend(take(&mut episodes, &of));
        }
    }
    assert_eq!(told(&changes), ["opened connect ap-south", "ended connect ap-south"]);
    let ended = &changes.last().unwrap().finding;
    assert_eq!((ended.since, ended.ended, ended.samples, ended.shape), (minute(20), Some(minute(40)), 20, Shape::LevelUp));
    let expected = "connect p50 4.1 × its 12h habit of the last 3 days (8.2 ms instead of 2.0 ms), ap-south only, since 12:20 UTC";
    assert_eq!(ended.summary, expected);
    assert!(ended.evidence.iter().any(|evidence| evidence.what == "latency p50" && evidence.observed == 16_200.0));
    assert!(changes.iter().all(|change| change.finding.id == ended.id));
}

#[test]
fn the_same_in_all_regions_is_one_finding() {
    let mut episodes = Episodes::default();
    let mut changes = Vec::new();
    for minutes in 0..30 {
        for region in ["ap-south", "eu-west", "us-east"] {
            let latency = if (10..20).contains(&minutes) { 35.0 } else { 10.0 };
            changes.extend(take(&mut episodes, &row(region, minutes, latency, None, true)));
        }
    }
    assert_eq!(told(&changes), ["opened latency ap-south", "ended latency several"]);
    let ended = &changes.last().unwrap().finding;
    assert_eq!((ended.regions.len(), ended.ended), (3, Some(minute(20))));
    assert!(ended.summary.contains("in all 3 regions"), "{}", ended.summary);
}

#[test]
fn one_slow_check_is_no_news_and_a_large_spike_of_many_is() {
    let mut episodes = Episodes::default();
    let mut changes = Vec::new();
    for minutes in 0..30 {
        let mut of = row("eu-west", minutes, if minutes == 5 || minutes == 15 { 50.0 } else { 10.0 }, None, true);
        of.checks = if minutes < 10 { 1 } else { 12 };
        changes.extend(take(&mut episodes, &of));
    }
    assert_eq!(told(&changes), ["opened latency eu-west", "ended latency eu-west"]);
    assert_eq!(changes[0].finding.since, minute(15));
}

#[test]
fn a_failure_burst_is_a_finding_of_its_own() {
    let mut episodes = Episodes::default();
    let mut of = row("eu-west", 1, 10.0, None, false);
    of.errors = ErrorAssessment { checks: 60, failed: 20, habit: 0.002, score: 0.7, odd: true, learning: None };
    let changes = take(&mut episodes, &of);
    assert_eq!(told(&changes), ["opened errors eu-west"]);
    let summary = &changes[0].finding.summary;
    assert_eq!(summary, "20 of 60 checks failed, 33 % where 0.2 % is its 12h habit of the last 3 days, since 12:01 UTC");
    let over: Vec<Change> = (2..10).flat_map(|minutes| take(&mut episodes, &row("eu-west", minutes, 10.0, None, false))).collect();
    assert_eq!(told(&over), ["ended errors eu-west"]);
    assert_eq!(over.last().unwrap().finding.ended, Some(minute(2)));
}

#[test]
fn what_is_many_times_as_large_is_sure_before_a_day_is_known() {
    let confidence = |latency: f64| {
        let mut of = row("eu-west", 0, latency, None, true);
        of.times[0].learning = Some(Learning { have: 144, need: 1_440 });
        let mut episodes = Episodes::default();
        take(&mut episodes, &of);
        of.at = minute(1);
        take(&mut episodes, &of)[0].finding.confidence
    };
    // The score is 0.8.
    assert!((confidence(21.0) - 0.08).abs() < 1e-9, "{}", confidence(21.0));
    assert!((confidence(40.0) - 0.4).abs() < 1e-9 && (confidence(200.0) - 0.72).abs() < 1e-9);
}

#[test]
fn what_comes_again_soon_is_the_same_finding_and_what_comes_later_another() {
    let burst = |minutes: u32| minutes < 3 || (15..18).contains(&minutes) || (80..83).contains(&minutes);
    let (mut episodes, mut changes) = (Episodes::default(), Vec::new());
    for minutes in 0..100 {
        let mut of = row("eu-west", minutes, 10.0, None, false);
        if burst(minutes) {
            of.errors = ErrorAssessment { checks: 60, failed: 20, habit: 0.002, score: 0.7, odd: true, learning: None };
        }
        changes.extend(take(&mut episodes, &of));
    }
    let [first, .., last] = &changes[..] else { panic!("{changes:?}") };
    let of_first: Vec<&Finding> = changes.iter().map(|change| &change.finding).filter(|finding| finding.id == first.finding.id).collect();
    assert_eq!(
        told(&changes),
        ["opened errors eu-west", "ended errors eu-west", "ended errors eu-west", "opened errors eu-west", "ended errors eu-west"]
    );
    assert!(of_first.iter().any(|finding| finding.ended.is_none() && finding.last == minute(15)), "it is open again");
    assert_eq!(of_first.last().map(|finding| (finding.since, finding.ended, finding.samples)), Some((minute(0), Some(minute(18)), 6)));
    assert_eq!((last.finding.since, last.finding.samples), (minute(80), 3));
}

#[test]
fn a_restart_goes_on_with_what_was_open_and_tells_nothing_twice() {
    let (mut whole, mut changes) = (Episodes::default(), Vec::new());
    let rows: Vec<Row> =
        (0..30).map(|minutes| row("eu-west", minutes, if (10..20).contains(&minutes) { 40.0 } else { 10.0 }, None, true)).collect();
    rows[..15].iter().for_each(|row| changes.extend(take(&mut whole, row)));
    let open = changes.last().unwrap().finding.clone();
    let mut again = Episodes::restore(std::slice::from_ref(&open));
    // The rows of the last ten minutes come again.
    let replayed: Vec<Change> = rows[5..].iter().flat_map(|row| take(&mut again, row)).collect();
    assert_eq!(told(&replayed), ["ended latency eu-west"]);
    let ended = replayed.last().unwrap().finding.clone();
    assert_eq!((&ended.id, ended.samples, ended.since), (&open.id, 10, minute(10)));
    // And once more, after it has ended.
    let mut later = Episodes::restore(&[ended]);
    let twice: Vec<Change> = rows.iter().flat_map(|row| take(&mut later, row)).collect();
    assert_eq!(told(&twice), Vec::<String>::new());
}

#[test]
fn what_a_person_called_none_is_told_again_only_when_it_is_larger() {
    let mut changes = Vec::new();
    let mut episodes = Episodes::default();
    (0..3).for_each(|minutes| changes.extend(take(&mut episodes, &row("eu-west", minutes, 40.0, None, true))));
    let finding = changes[0].finding.clone();
    let dismissal = Dismissal {
        finding: finding.id.clone(),
        region: finding.region.clone(),
        signal: finding.signal,
        shape: finding.shape,
        size: finding.size(),
        at: minute(3),
    };
    let said = std::slice::from_ref(&dismissal);
    let like: Vec<Change> = (3..9).flat_map(|minutes| take_with(&mut episodes, &row("eu-west", minutes, 45.0, None, true), said)).collect();
    assert_eq!(told(&like), Vec::<String>::new());
    // That it is in another region, too, is news.
    let elsewhere = take_with(&mut episodes, &row("us-east", 9, 45.0, None, true), said);
    assert_eq!(told(&elsewhere), ["opened latency several"]);
    let mut fresh = Episodes::default();
    let elsewhere = take_with(&mut fresh, &row("us-east", 9, 45.0, None, true), said);
    assert_eq!(told(&elsewhere), ["opened latency us-east"]);
    let mut fresh = Episodes::default();
    assert_eq!(told(&take_with(&mut fresh, &row("eu-west", 10, 60.0, None, true), said)), ["opened latency eu-west"]);
    let mut month = Episodes::default();
    let later = take_with(&mut month, &row("eu-west", 31 * 1440, 40.0, None, true), said);
    assert_eq!(told(&later), ["opened latency eu-west"]);
}

#[test]
fn silence_and_long_duration_end_a_finding() {
    let context = Context { service: ServiceId(7), name: &"shop".into(), dismissals: &[], quiet_samples: 3, least_change: 0.1 };
    let mut episodes = Episodes::default();
    (0..3).for_each(|minutes| drop(take(&mut episodes, &row("eu-west", minutes, 40.0, None, true))));
    assert_eq!(told(&episodes.expire(minute(20), &context)), Vec::<String>::new());
    assert_eq!(told(&episodes.expire(minute(60), &context)), ["ended latency eu-west"]);
    let mut lasting = Episodes::default();
    let changes: Vec<Change> =
        (0..1500).flat_map(|minutes| take(&mut lasting, &row("eu-west", minutes, 40.0, None, minutes == 0))).collect();
    assert_eq!(told(&changes), ["opened latency eu-west", "ended latency eu-west"]);
    assert_eq!(changes.last().unwrap().finding.ended, Some(minute(1441)));
}

#[test]
fn a_phase_alone_counts_where_it_matters_to_the_whole() {
    let mut episodes = Episodes::default();
    // Latency itself is within its habit; connecting takes 0.6 of 10 ms more.
    let small = Row { times: row("eu-west", 0, 10.4, Some(2.6), true).times, ..row("eu-west", 0, 10.4, Some(2.6), true) };
    assert_eq!(take(&mut episodes, &small).len(), 0);
    let changes: Vec<Change> = (1..4).flat_map(|minutes| take(&mut episodes, &row("eu-west", minutes, 14.0, Some(6.0), true))).collect();
    assert_eq!(told(&changes), ["opened connect eu-west"]);
}

#[test]
fn what_lasts_for_moments_is_no_news_and_a_moment_before_a_trouble_is_not_its_beginning() {
    let second = |seconds: i64, odd: bool| {
        let latency = if odd { 40.0 } else { 10.0 };
        Row { at: Timestamp(minute(0).0 + seconds * 1_000_000), span: 1_000_000, ..row("eu", 0, latency, None, odd) }
    };
    let mut episodes = Episodes::default();
    let moments = (0..60).flat_map(|seconds| take(&mut episodes, &second(seconds, seconds % 7 < 3)));
    assert_eq!(told(&moments.collect::<Vec<_>>()), Vec::<String>::new());
    let mut episodes = Episodes::default();
    let lasting: Vec<Change> = (0..30).flat_map(|seconds| take(&mut episodes, &second(seconds, seconds == 8 || seconds >= 10))).collect();
    assert_eq!(told(&lasting), ["opened latency eu"]);
    assert_eq!(lasting[0].finding.since, Timestamp(minute(0).0 + 10_000_000));
}
