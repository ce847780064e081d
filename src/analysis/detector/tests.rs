use super::*;

const MINUTE: i64 = 60_000_000;

#[test]
fn a_spike_stands_out_of_noise() {
    let mut detector = Detector::new(&DetectorSettings::default());
    for i in 0..500 {
        let value = 100.0 + f64::from((i * 37) % 11);
        assert!(!is_anomaly(detector.observe(Timestamp(i64::from(i) * MINUTE), value).score, &DetectorSettings::default()) || i < 100);
    }
    let spike = detector.observe(Timestamp(500 * MINUTE), 400.0);
    assert!(is_anomaly(spike.score, &DetectorSettings::default()), "{spike:?}");
    assert_eq!(spike.kind, Some(Kind::Spike));
}
