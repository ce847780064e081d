//! What the detector says when nothing is wrong, and what it costs.
//!
//! A healthy service: a daily season, lognormal noise, a slow drift, no trouble. Every word about it is a false alarm.

use std::fmt::Write as _;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::analysis::detector::{Detector, DetectorSettings, is_anomaly};
use crate::clock::Clock;
use crate::model::time::Timestamp;

const SERVICES: u32 = 20;
const WEEK_SECONDS: u32 = 7 * 86_400;
/// Sigma of the logarithm of the noise: steady, common and wild services.
const NOISES: [f64; 3] = [0.1, 0.3, 0.6];
const PACES: [u32; 2] = [60, 300];

/// False alarms per service-week in the first week and after it, for each kind of service; cost and size of a detector.
pub fn report(weeks: u32, clock: &Clock) -> String {
    let settings = DetectorSettings::default();
    let mut text = format!("{SERVICES} healthy services of each kind, {weeks} weeks, false alarms per service-week:\n");
    let (mut samples, mut bytes) = (0_u64, 0);
    let mut spent = std::time::Duration::ZERO;
    for pace in PACES {
        for noise in NOISES {
            let (mut first, mut later) = (0_u32, 0_u32);
            for service in 0..SERVICES {
                let series = series(weeks, pace, noise, u64::from(service));
                let mut detector = Detector::new(&settings);
                let start = clock.steady();
                for (second, value) in &series {
                    let at = Timestamp(i64::from(*second) * 1_000_000);
                    if is_anomaly(detector.observe(at, *value).score, &settings) {
                        *(if *second < WEEK_SECONDS { &mut first } else { &mut later }) += 1;
                    }
                }
                spent += clock.steady().saturating_sub(start);
                samples += series.len() as u64;
                bytes = bytes.max(postcard::to_allocvec(&detector).map_or(0, |state| state.len()));
            }
            let first = f64::from(first) / f64::from(SERVICES);
            let later = f64::from(later) / f64::from(SERVICES * weeks.saturating_sub(1).max(1));
            let later = if weeks > 1 { format!("{later:.2}") } else { "-".into() };
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  a value each {pace:>3} s, noise {noise:.1}:  first week {first:.2}, later {later}");
        }
    }
    let micros = spent.as_secs_f64() * 1e6 / samples.max(1) as f64;
    let _ = writeln!(text, "{micros:.3} µs a sample over {samples} samples, state {bytes} bytes");
    text
}

/// Seconds and latencies of one service: the seed makes its level, season and drift.
fn series(weeks: u32, pace: u32, noise: f64, seed: u64) -> Vec<(u32, f64)> {
    let mut chance = StdRng::seed_from_u64(seed);
    let level = 50.0 * (2.0 * chance.random::<f64>()).exp();
    let (swing, peak) = (0.4 * chance.random::<f64>(), chance.random::<f64>());
    let mut drift = 0.0;
    let mut all = Vec::new();
    for second in (0..weeks * WEEK_SECONDS).step_by(pace as usize) {
        // About 3 % a day, as a random walk.
        drift += 0.03 * normal(&mut chance) * (f64::from(pace) / 86_400.0).sqrt();
        let day = f64::from(second) / 86_400.0;
        let season = 1.0 + swing * (std::f64::consts::TAU * (day - peak)).cos();
        all.push((second, level * season * (drift + noise * normal(&mut chance)).exp()));
    }
    all
}

/// Box and Muller's way to a normal number.
fn normal(chance: &mut StdRng) -> f64 {
    let (radius, angle): (f64, f64) = (chance.random(), chance.random());
    (-2.0 * (1.0 - radius).ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}
