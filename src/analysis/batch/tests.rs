use super::*;
use crate::aggregate::rollup::{DAY, HOUR, MINUTE, Rollup};
use crate::analysis::features::RegionSummary;
use crate::model::check::Reason;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::time::Duration;

const START: i64 = 1_760_000_400_000_000 / HOUR * HOUR;
const SETTINGS: BatchSettings = BatchSettings { trees: 100, sample_size: 256, contamination: 0.01, seed: 1 };

/// A service as services are: daily and weekly load, slow checks now and then, failures in clumps, regions that differ.
struct Synthetic {
    rng: StdRng,
    regions: usize,
    base: [f64; 5],
    daily: f64,
    weekly: f64,
    noise: f64,
    fails: f64,
    slow: f64,
    load: f64,
    clump: bool,
}

/// What is wrong in a bucket.
#[derive(Clone, Copy, PartialEq)]
enum Trouble {
    None,
    /// Connecting takes what the first byte took, and the other way round; the whole stays.
    PhasesSwap,
    /// The median falls by little while the slowest rise by little, and the first byte's share with them.
    Stretched,
    /// A little of everything: slower by a little, more failures, more attempts, regions farther apart.
    LittleOfAll,
}

impl Synthetic {
    fn new(seed: u64) -> Synthetic {
        let mut rng = StdRng::seed_from_u64(seed);
        let scale = rng.random_range(3f64..6.5).exp() * 100.0;
        Synthetic {
            regions: 1 + (seed as usize) % 4,
            base: [0.03, 0.2, 0.27, 0.45, 0.05].map(|share| share * scale * rng.random_range(0.6..1.5)),
            daily: rng.random_range(0.0..0.5),
            weekly: rng.random_range(0.0..0.2),
            noise: rng.random_range(0.05..0.3),
            fails: [0.0, 0.0005, 0.003, 0.01][rng.random_range(0..4)],
            slow: rng.random_range(0.0..0.03),
            load: 0.0,
            clump: false,
            rng,
        }
    }

    fn normal(&mut self) -> f64 {
        (0..6).map(|_| self.rng.random_range(-1.0..1.0)).sum::<f64>() / 2f64.sqrt()
    }

    fn observe(&mut self, start: i64, checks: usize, trouble: Trouble) -> Observation {
        let hour = (start as f64 / HOUR as f64) % 24.0;
        let weekend = (start.div_euclid(DAY) + 3) % 7 >= 5;
        self.load = 0.9 * self.load + 0.06 * self.normal();
        let season = self.daily * ((hour - 14.0) * std::f64::consts::TAU / 24.0).cos() - if weekend { self.weekly } else { 0.0 };
        let mut regions = Vec::new();
        for region in 0..self.regions {
            let mut rollup = Rollup::default();
            for _ in 0..checks {
                self.clump = self.rng.random_bool(if self.clump { 0.5 } else { self.fails.max(1e-9) });
                let more = if trouble == Trouble::LittleOfAll { 0.06 } else { 0.0 };
                rollup.checks += 1;
                rollup.attempts += 1 + u64::from(self.rng.random_bool(self.fails + more));
                if self.clump || self.rng.random_bool(more) {
                    *rollup.failures.entry(if self.rng.random_bool(0.8) { Reason::Timeout } else { Reason::Status }).or_default() += 1;
                    continue;
                }
                let far = 1.0 + region as f64 * 0.8;
                let mut phases = self.base;
                for (index, phase) in phases.iter_mut().enumerate() {
                    let wobble = self.noise * self.normal();
                    let load = if index >= 3 { season + self.load } else { 0.2 * season };
                    *phase *= far * (load + wobble).exp();
                }
                if self.rng.random_bool(0.1) {
                    phases[0] *= 6.0;
                }
                if self.rng.random_bool(self.slow) {
                    phases[3] *= self.rng.random_range(3.0..12.0);
                }
                match trouble {
                    Trouble::None => {}
                    Trouble::PhasesSwap => phases.swap(1, 3),
                    Trouble::Stretched => {
                        let slow = self.rng.random_bool(0.3);
                        phases[3] *= if slow { 2.2 } else { 1.0 };
                        phases[1] *= 0.45;
                        phases[2] *= 0.6;
                    }
                    Trouble::LittleOfAll => phases.iter_mut().for_each(|phase| *phase *= 1.15 + 0.12 * region as f64),
                }
                rollup.latency.add(Duration::from_micros(phases.iter().sum::<f64>() as u64));
                for (sketch, phase) in rollup.phases.iter_mut().zip(phases) {
                    sketch.add(Duration::from_micros(phase as u64));
                }
            }
            regions.push(RegionSummary::of(["ap-south", "eu-west", "us-east", "us-west"][region].into(), &rollup));
        }
        Observation { start: Timestamp(start), regions }
    }

    /// Buckets of a quarter of an hour, with trouble in those of a window.
    fn history(seed: u64, buckets: usize, trouble: Trouble, window: std::ops::Range<usize>) -> Vec<Observation> {
        let mut service = Synthetic::new(seed);
        let of = |index: usize| if window.contains(&index) { trouble } else { Trouble::None };
        (0..buckets).map(|index| service.observe(START + index as i64 * LENGTH, 12, of(index))).collect()
    }
}

const LENGTH: i64 = 15 * MINUTE;

fn findings(observations: &[Observation], from: usize, covered: &[Span], seed: u64) -> Vec<BatchFinding> {
    let settings = BatchSettings { seed, ..SETTINGS };
    match judge(observations, LENGTH, observations[from].start, covered, &settings).unwrap() {
        Outcome::Judged { findings, .. } => findings,
        Outcome::Learning(learning) => panic!("{learning:?}"),
    }
}

/// How many findings there are in the healthy histories of some services, in how many months.
fn healthy(seeds: std::ops::Range<u64>) -> (usize, f64) {
    let mut called = 0;
    let months = (seeds.end - seeds.start) as f64 * 2016.0 * LENGTH as f64 / MONTH;
    for seed in seeds {
        for finding in findings(&Synthetic::history(1000 + seed, 2016, Trouble::None, 0..0), 0, &[], seed) {
            called += 1;
            println!("of {seed}: {finding:?}");
        }
    }
    (called, months)
}

#[test]
fn healthy_services_are_seldom_called_odd() {
    let (called, months) = healthy(0..10);
    println!("{called} findings in {months:.1} healthy service-months");
    assert!(called as f64 <= months, "{called} findings in {months:.1} months");
}

#[test]
fn what_is_odd_together_is_found_and_its_features_are_named() {
    use Feature::{Attempts, ConnectShare, Errors, FirstByteShare, P50, P95, P99, RegionSpread, TlsShare};
    let cases: [(Trouble, &str, &[Feature], usize); 3] = [
        (Trouble::PhasesSwap, "phases swap", &[ConnectShare, FirstByteShare], 3),
        (Trouble::Stretched, "stretched", &[ConnectShare, FirstByteShare, TlsShare], 5),
        (Trouble::LittleOfAll, "a little of all", &[P50, P95, P99, RegionSpread, Attempts, Errors], 2),
    ];
    for (trouble, name, named, least) in cases {
        let (mut hits, mut others, runs) = (0, 0, 6);
        for seed in 0..runs {
            let observations = Synthetic::history(2000 + seed, 1440, trouble, 1400..1408);
            let span = Span { from: observations[1400].start, to: Timestamp(observations[1407].start.0 + LENGTH) };
            for finding in findings(&observations, 1400 - 24, &[], seed) {
                let hit = finding.span.from < span.to && finding.span.to > span.from;
                (hits, others) = (hits + usize::from(hit), others + usize::from(!hit));
                assert!(!hit || finding.features.iter().any(|of| named.contains(&of.feature)), "{name} of {seed}: {finding:?}");
            }
        }
        println!("{name}: {hits} of {runs} found, {others} others");
        assert!(hits >= least && others == 0, "{name}: {hits} of {runs} found, {others} others");
    }
}

#[test]
fn what_a_finding_covers_is_not_found_again_and_teaches_nothing() {
    let observations = Synthetic::history(2002, 1440, Trouble::Stretched, 1400..1408);
    let found = findings(&observations, 1376, &[], 1);
    assert_eq!(found.len(), 1, "{found:?}");
    let covered = Span { from: observations[1398].start, to: Timestamp(observations[1407].start.0 + LENGTH) };
    assert_eq!(findings(&observations, 1376, &[covered], 1), Vec::new());
}

#[test]
fn the_same_history_gives_the_same_findings_and_the_share_that_may_be_odd_is_kept_to() {
    let observations = Synthetic::history(2002, 1440, Trouble::Stretched, 1400..1408);
    assert_eq!(findings(&observations, 0, &[], 5), findings(&observations, 0, &[], 5));
    let none = BatchSettings { contamination: 0.0, ..SETTINGS };
    let judged = judge(&observations, LENGTH, observations[0].start, &[], &none).unwrap();
    assert_eq!(judged, Outcome::Judged { buckets: 1440, findings: Vec::new() });
}

#[test]
fn a_short_history_is_said_to_be_one_and_a_constant_one_is_as_usual() {
    let short = Synthetic::history(2000, 120, Trouble::Stretched, 100..108);
    let outcome = judge(&short, LENGTH, short[0].start, &[], &SETTINGS).unwrap();
    assert_eq!(outcome, Outcome::Learning(Learning { have: 120, need: 500 }));
    assert_eq!(judge(&[], LENGTH, Timestamp(0), &[], &SETTINGS).unwrap(), Outcome::Learning(Learning { have: 0, need: 500 }));
    let one = Synthetic::history(2000, 1, Trouble::None, 0..0).remove(0);
    let constant: Vec<Observation> =
        (0..600).map(|index| Observation { start: Timestamp(START + index * LENGTH), ..one.clone() }).collect();
    assert_eq!(findings(&constant, 0, &[], 1), Vec::new());
}
