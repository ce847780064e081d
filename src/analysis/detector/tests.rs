use super::*;

const MINUTE: i64 = 60_000_000;
const DAY: i64 = 1440 * MINUTE;

/// A fresh detector and, for samples five minutes apart, a value that looks like noise without chance in the test.
fn noise(row: i64) -> f64 {
    let mut bits = (row as u64).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    bits ^= bits >> 31;
    bits = bits.wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits ^= bits >> 27;
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

fn all(values: impl IntoIterator<Item = f64>) -> Vec<Assessment> {
    let mut detector = Detector::new(&DetectorSettings::default());
    values.into_iter().enumerate().map(|(row, value)| detector.observe(Timestamp(row as i64 * 5 * MINUTE), value)).collect()
}

fn told(assessments: &[Assessment]) -> Vec<(usize, Kind)> {
    let settings = DetectorSettings::default();
    let odd = assessments.iter().enumerate().filter(|(_, assessment)| is_anomaly(assessment.score, &settings));
    odd.map(|(row, assessment)| (row, assessment.kind.expect("what is odd is odd in some way"))).collect()
}

/// The first thing told from `row` on.
fn first(assessments: &[Assessment], row: usize) -> Option<(usize, Kind)> {
    told(assessments).into_iter().find(|(at, _)| *at >= row)
}

#[test]
fn a_spike_is_told_once_and_the_way_back_is_not() {
    let answers = all((0..2000).map(|row| if row == 1500 { 400.0 } else { 100.0 + 10.0 * noise(row) }));
    assert_eq!(told(&answers[600..]), [(900, Kind::Spike)]);
    assert!((100.0..110.0).contains(&answers[1500].expected.unwrap()), "{:?}", answers[1500]);
    assert!((0.5..10.0).contains(&answers[1500].scale.unwrap()), "{:?}", answers[1500]);
}

#[test]
fn a_jump_in_the_first_hours_is_told() {
    let mut detector = Detector::new(&DetectorSettings::default());
    let mut score = |row: i64, value: f64| detector.observe(Timestamp(row * MINUTE), value).score;
    let worst = (0..240).map(|row| score(row, 8.0 + 0.8 * noise(row))).skip(60).fold(0.0, f64::max);
    let jumped = score(240, 93.0);
    assert!(worst < 0.9 && jumped > 0.9, "{worst} {jumped}");
}

#[test]
fn a_dip_is_a_dip() {
    let answers = all((0..2000).map(|row| if row == 1500 { 5.0 } else { 100.0 + 10.0 * noise(row) }));
    assert_eq!(first(&answers, 600), Some((1500, Kind::Dip)));
}

#[test]
fn a_level_held_higher_is_told_at_its_beginning_and_not_for_days() {
    // Within the range of lone excursions: only the mean of hours has never been there.
    let value = |row: i64| match row % 120 {
        0 => 100.0,
        60 => 0.0,
        _ => 20.0 * noise(row) + if row < 2500 { 40.0 } else { 70.0 },
    };
    let answers = all((0..4000).map(value));
    let told = told(&answers[1000..]);
    let (row, kind) = told.first().copied().expect("a new level is told");
    assert!((1500..1548).contains(&row) && kind == Kind::LevelUp, "{told:?}");
    assert!(told.iter().all(|(row, _)| *row < 1500 + 288) && told.len() <= 6, "{told:?}");
}

#[test]
fn a_level_reached_over_days_is_drift() {
    let answers = all((0..6000).map(|row| 100.0 + 20.0 * noise(row) + (row - 4000).max(0) as f64 * 0.05));
    assert!(told(&answers[2000..]).iter().any(|(row, kind)| *row > 2000 && *kind == Kind::Drift), "{:?}", told(&answers[2000..]));
}

#[test]
fn standing_still_is_told_of_a_series_that_moves_and_not_of_a_constant() {
    let answers = all((0..2000).map(|row| if row >= 1500 { 104.0 } else { 100.0 + 10.0 * noise(row) }));
    let (row, kind) = first(&answers, 1000).unwrap();
    assert!((1500..1540).contains(&row) && kind == Kind::Flatline, "{row} {kind:?}");
    assert_eq!(told(&all(std::iter::repeat_n(7.0, 5000))), []);
}

#[test]
fn what_leaves_a_constant_is_told() {
    let answers = all((0..1000).map(|row| if row == 700 { 8.0 } else { 7.0 }));
    assert_eq!(told(&answers), [(700, Kind::Spike)]);
}

#[test]
fn restlessness_within_the_known_range_is_told() {
    // Calm noise with a lone excursion now and then; later the excursions are all there is.
    let value = |row: i64| if row < 3000 && row % 200 != 0 { 100.0 + noise(row) } else { 100.0 + 12.0 * (noise(row) - 0.5) };
    let answers = all((0..4000).map(value));
    assert!(told(&answers[3000..]).iter().any(|(_, kind)| *kind == Kind::Volatility), "{:?}", told(&answers[3000..]));
}

/// Quiet nights, a steep rise at nine, a fall at six.
fn office(row: i64) -> f64 {
    let open = (108..216).contains(&(row % 288));
    if open { 300.0 + 20.0 * noise(row) } else { 100.0 + 20.0 * noise(row) }
}

#[test]
fn a_daily_peak_is_no_anomaly_in_week_two() {
    let answers = all((0..14 * 288).map(office));
    assert_eq!(told(&answers[7 * 288..]), []);
    // The steps at nine and six are foretold and hardly scored at all.
    let worst = answers[7 * 288..].iter().map(|answer| answer.score).fold(0.0, f64::max);
    assert!(worst < 0.4, "{worst}");
    let at_noon = &answers[13 * 288 + 144];
    assert!((300.0..320.0).contains(&at_noon.expected.unwrap()), "{at_noon:?}");
}

#[test]
fn a_peak_that_does_not_come_is_told() {
    let value = |row: i64| if row / 288 == 12 { 100.0 + 20.0 * noise(row) } else { office(row) };
    let answers = all((0..14 * 288).map(value));
    let (row, kind) = first(&answers, 11 * 288).unwrap();
    assert!((12 * 288 + 108..12 * 288 + 132).contains(&row) && kind == Kind::Rhythm, "{row} {kind:?}");
}

#[test]
fn unit_and_offset_of_the_values_change_no_score() {
    let value = |row: i64| office(row) + if row % 700 == 650 { 400.0 * noise(row + 1) } else { 0.0 };
    let plain = all((0..4000).map(value));
    let mapped = all((0..4000).map(|row| 250.0 * value(row) - 4096.0));
    for (row, (plain, mapped)) in plain.iter().zip(&mapped).enumerate() {
        assert!((plain.score - mapped.score).abs() < 1e-6, "row {row}: {} {}", plain.score, mapped.score);
    }
}

#[test]
fn values_that_are_no_numbers_change_nothing() {
    let settings = DetectorSettings::default();
    let (mut clean, mut dirty) = (Detector::new(&settings), Detector::new(&settings));
    for row in 0..1000 {
        let at = Timestamp(row * 5 * MINUTE);
        for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(dirty.observe(at, odd).score, 0.0);
        }
        assert_eq!(clean.observe(at, office(row)), dirty.observe(at, office(row)));
    }
}

#[test]
fn huge_values_and_wild_times_leave_a_sound_detector() {
    let mut detector = Detector::new(&DetectorSettings::default());
    let times = [0, 0, i64::MAX, i64::MIN, 5, -5, i64::MAX, 0];
    for row in 0..800 {
        let value = [f64::MAX, f64::MIN, 0.0, f64::MIN_POSITIVE, -1.0][row % 5];
        let answer = detector.observe(Timestamp(times[row % 8]), value);
        assert!((0.0..=1.0).contains(&answer.score), "{answer:?}");
        assert!(answer.expected.is_none_or(f64::is_finite) && answer.scale.is_none_or(f64::is_finite), "{answer:?}");
    }
}

#[test]
fn a_gap_of_days_a_clock_put_back_and_repeated_samples_are_no_anomalies() {
    let mut detector = Detector::new(&DetectorSettings::default());
    let mut worst: f64 = 0.0;
    for row in 0..6000_i64 {
        let shift = match row {
            0..3000 => 0,
            3000..4000 => 5 * DAY,
            4000..5000 => 4 * DAY,
            _ => 5 * DAY,
        };
        let answer = detector.observe(Timestamp(row / 2 * 2 * 5 * MINUTE + shift), 100.0 + 10.0 * noise(row));
        if row > 2000 {
            worst = worst.max(answer.score);
        }
    }
    assert!(worst < 0.5, "{worst}");
}

#[test]
fn it_says_that_it_is_learning_until_it_has_seen_a_day() {
    let answers = all((0..400).map(office));
    assert_eq!(answers[0].learning.unwrap().have, 1);
    assert_eq!((answers[0].score, answers[0].expected, answers[0].kind), (0.0, None, None));
    assert_eq!(answers[100].learning, Some(Learning { have: 101, need: 288 }));
    assert_eq!(answers[300].learning, None);
}

#[test]
fn a_restart_forgets_nothing_and_the_state_stays_small() {
    let settings = DetectorSettings::default();
    let (mut running, mut restarted) = (Detector::new(&settings), Detector::new(&settings));
    let mut largest = 0;
    for row in 0..5000 {
        let (at, value) = (Timestamp(row * 5 * MINUTE + 1_800_000_000_000_000), office(row) * (1.0 + noise(row + 7)));
        assert_eq!(running.observe(at, value), restarted.observe(at, value));
        if row % 500 == 0 {
            let state = postcard::to_allocvec(&restarted).unwrap();
            largest = largest.max(state.len());
            restarted = postcard::from_bytes(&state).unwrap();
        }
    }
    assert!(largest <= 4096, "{largest} bytes");
}

#[test]
fn sensitivity_moves_what_is_told_and_not_the_score() {
    let settings = |sensitivity| DetectorSettings { sensitivity };
    assert!(is_anomaly(0.4, &settings(2.0)) && !is_anomaly(0.4, &settings(1.0)));
    assert!(!is_anomaly(0.6, &settings(0.5)) && is_anomaly(1.0, &settings(0.5)));
    assert!(!is_anomaly(0.0, &settings(1000.0)));
}
