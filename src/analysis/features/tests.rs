use super::*;
use crate::aggregate::rollup::DAY;
use crate::model::check::Reason;

const START: i64 = 1_760_000_400_000_000 / DAY * DAY;

/// What one region's checks came to: so many of this latency, a fifth of it connecting, the rest first byte.
fn region(name: &str, latency_us: f64, checks: u64, failed: u64) -> RegionSummary {
    let mut rollup = Rollup { checks, attempts: checks, ..Rollup::default() };
    if failed > 0 {
        rollup.failures.insert(Reason::Timeout, failed);
    }
    for check in 0..checks - failed {
        let wobble = 1.0 + 0.001 * check as f64;
        rollup.latency.add(Duration::from_micros((latency_us * wobble) as u64));
        rollup.phases[1].add(Duration::from_micros((latency_us * wobble * 0.2) as u64));
        rollup.phases[3].add(Duration::from_micros((latency_us * wobble * 0.8) as u64));
    }
    RegionSummary::of(name.into(), &rollup)
}

fn observations(hours: i64, of: impl Fn(i64) -> Vec<RegionSummary>) -> Vec<Observation> {
    (0..hours).map(|hour| Observation { start: Timestamp(START + hour * HOUR), regions: of(hour) }).collect()
}

/// A little to and fro, the same in every run.
fn wobble(hour: i64) -> f64 {
    1.0 + 0.04 * ((hour * 37 % 101) as f64 / 50.0 - 1.0)
}

#[test]
fn buckets_are_as_long_as_a_dozen_checks_unless_the_history_is_short() {
    let length = |interval_s: u64, days: u64| bucket_length(Duration::from_secs(interval_s), Duration::from_secs(days * 86_400)) / MINUTE;
    assert_eq!(length(30, 30), 10);
    assert_eq!(length(60, 30), 15);
    assert_eq!(length(300, 60), 60);
    assert_eq!(length(300, 15), 30);
    assert_eq!(length(300, 3), 5);
    assert_eq!(length(60, 1), 2);
    assert_eq!(length(1, 30), 1);
    // Not enough however it is cut: the length that will do later.
    assert_eq!(length(3600, 3), 60);
}

#[test]
fn the_rhythm_of_the_day_is_taken_away_and_what_breaks_it_stays() {
    let daily = |hour: i64| 50_000.0 * (1.0 + 0.6 * ((hour % 24) as f64 * std::f64::consts::TAU / 24.0).sin()) * wobble(hour);
    let odd = 20 * 24 + 18;
    // At its lowest hour it is what it is at its highest: usual as a figure, odd as this hour's.
    let seen = observations(24 * 28, |hour| vec![region("eu", if hour == odd { 80_000.0 } else { daily(hour) }, 12, 0)]);
    let table = Table::new(&seen, HOUR, 1);
    let p50 = table.features.iter().position(|feature| *feature == Feature::P50).unwrap();
    let (observed, expected) = table.figures(odd as usize, p50).unwrap();
    assert!((observed - 80.0).abs() < 2.0 && (expected - daily(odd) / 1e3).abs() < 4.0, "{observed} {expected}");
    let others = (48..24 * 28).filter(|row| *row != odd as usize).map(|row| table.rows[[row, p50]].abs()).fold(0.0, f64::max);
    assert!(table.rows[[odd as usize, p50]] > 3.0 * others, "{} {others}", table.rows[[odd as usize, p50]]);
}

#[test]
fn a_slow_region_that_is_away_changes_nothing_and_one_that_turns_slow_is_seen_in_the_spread() {
    let (away, slow) = (500, 501);
    let seen = observations(600, |hour| {
        let mut regions = vec![region("eu", 50_000.0 * wobble(hour), 12, 0), region("us", 60_000.0 * wobble(hour + 7), 12, 0)];
        if hour != away {
            let factor = if hour == slow { 3.0 } else { 1.0 };
            regions.push(region("ap", 300_000.0 * factor * wobble(hour + 3), 12, 0));
        }
        regions
    });
    let table = Table::new(&seen, HOUR, 1);
    let row = |row: usize| -> BTreeMap<Feature, f64> { table.features.iter().copied().zip(table.rows.row(row).to_vec()).collect() };
    assert!(row(away as usize)[&Feature::P50].abs() < 3.5, "{:?}", row(away as usize));
    assert!(row(slow as usize)[&Feature::RegionSpread] > 10.0, "{:?}", row(slow as usize));
    let spread = table.features.iter().position(|feature| *feature == Feature::RegionSpread).unwrap();
    let (observed, expected) = table.figures(slow as usize, spread).unwrap();
    assert!((2.5..3.5).contains(&observed) && (0.9..1.2).contains(&expected), "{observed} {expected}");
    assert!(!table.features.contains(&Feature::DnsShare) && !table.features.contains(&Feature::Errors), "what never moved has no column");
}

#[test]
fn one_failure_after_weeks_of_none_is_chance_and_a_burst_is_not() {
    let seen = observations(700, |hour| {
        let failed = match hour {
            300 => 1,
            600 => 9,
            _ => 0,
        };
        vec![region("eu", 50_000.0 * wobble(hour), 12, failed)]
    });
    let table = Table::new(&seen, HOUR, 1);
    let errors = table.features.iter().position(|feature| *feature == Feature::Errors).unwrap();
    let scatters = table.rows.column(errors);
    // The noise that stands for chance is on top.
    assert!(scatters[300] < 5.0 && scatters[600] > 1.5 * scatters[300], "{} {}", scatters[300], scatters[600]);
    let (observed, expected) = table.figures(600, errors).unwrap();
    assert!(observed > 0.3 && expected < 0.01, "{observed} {expected}");
}

#[test]
fn figures_nobody_knows_are_as_expected() {
    let seen = observations(600, |hour| match hour {
        400 => vec![region("eu", 50_000.0, 12, 12)],
        401 => Vec::new(),
        _ => vec![region("eu", 50_000.0 * wobble(hour), 12, 0)],
    });
    let table = Table::new(&seen, HOUR, 1);
    assert!(table.rows.iter().all(|value| value.is_finite()));
    let p50 = table.features.iter().position(|feature| *feature == Feature::P50).unwrap();
    assert_eq!((table.figures(400, p50), table.figures(401, p50)), (None, None));
    assert!(table.rows[[400, p50]].abs() < 0.01 && table.rows[[401, p50]].abs() < 0.01);
    assert!(Table::new(&[], HOUR, 1).features.is_empty());
}

#[test]
fn figures_are_written_as_a_person_reads_them() {
    assert_eq!(Feature::P95.written(340.4), "340 ms");
    assert_eq!(Feature::P50.written(0.87), "0.87 ms");
    assert_eq!(Feature::TlsShare.written(0.1234), "12.3 %");
    assert_eq!(Feature::RegionSpread.written(2.5), "2.50 ×");
    assert_eq!(Feature::Attempts.written(1.25), "1.25");
}
