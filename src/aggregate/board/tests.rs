use serde_json::json;

use super::*;
use crate::aggregate::change::SilenceReason;
use crate::aggregate::sample::{at, bad, good, service};

const ID: ServiceId = ServiceId(1);

fn board(fields: serde_json::Value) -> Board {
    let board = Board::default();
    board.replace_services(&[service(fields)], at(0));
    board
}

fn heard(board: &Board, results: &[CheckResult]) -> Folded {
    let now = results.iter().map(|result| result.started_at).max().unwrap();
    board.fold(results, now)
}

fn verdict_of(board: &Board, seconds: u64) -> Verdict {
    board.service(ID, at(seconds)).unwrap().verdict
}

fn turns(changes: &[VerdictChange]) -> Vec<(Verdict, Verdict)> {
    changes.iter().map(|change| (change.from, change.to)).collect()
}

#[test]
fn a_silent_region_has_no_vote_until_it_is_back() {
    let board = board(json!({}));
    heard(&board, &[good("a", 0), bad("b", 0), bad("c", 1)]);
    assert_eq!(verdict_of(&board, 1), Verdict::Down);
    let silence = Silence { reason: SilenceReason::Lost, since: at(2) };
    let changes = board.set_silent(&"b".into(), Some(silence), at(3));
    assert_eq!(turns(&changes), [(Verdict::Down, Verdict::Degraded)]);
    let states = board.service(ID, at(3)).unwrap().regions;
    assert_eq!((states[1].status, states[1].since, states[1].silence), (RegionStatus::Unknown, at(2), Some(silence)));
    // It has no vote either while results of before are still coming in.
    assert!(heard(&board, &[bad("b", 4)]).is_empty());
    assert_eq!(turns(&board.set_silent(&"b".into(), None, at(5))), [(Verdict::Degraded, Verdict::Down)]);
    for region in ["a", "b", "c"] {
        board.set_silent(&region.into(), Some(silence), at(6));
    }
    assert_eq!(verdict_of(&board, 6), Verdict::Unknown);
}

#[test]
fn what_a_blind_region_says_is_counted_and_moves_nothing() {
    let board = board(json!({}));
    heard(&board, &[good("a", 0), bad("b", 0)]);
    let blind = |region: &str, on: bool, seconds: u64| {
        let silence = on.then(|| Silence { reason: SilenceReason::Blind, since: at(seconds) });
        turns(&board.set_silent(&region.into(), silence, at(seconds)))
    };
    // b is down since long before it was blind, a turned down just then.
    assert_eq!(turns(&heard(&board, &[bad("a", 58)]).verdicts), [(Verdict::Degraded, Verdict::Down)]);
    assert_eq!(blind("a", true, 60), []);
    assert_eq!(blind("b", true, 61), [(Verdict::Down, Verdict::Unknown)]);
    assert!(heard(&board, &[bad("a", 62), bad("b", 62)]).is_empty());
    assert_eq!(board.fold_snapshot(&[bad("a", 63)], at(63)), []);
    let ratio = |seconds| board.service(ID, at(seconds)).unwrap().uptime.ratio;
    assert_eq!(ratio(63), Some(0.2), "all five are counted, one was good");
    assert_eq!(blind("a", false, 64), [], "that it was down is not believed");
    assert_eq!(blind("b", false, 65), [(Verdict::Unknown, Verdict::Down)], "this is");
    assert_eq!(turns(&heard(&board, &[good("a", 66)]).verdicts), [(Verdict::Down, Verdict::Degraded)]);
    assert_eq!(turns(&heard(&board, &[good("b", 67)]).verdicts), [(Verdict::Degraded, Verdict::Up)]);
}

#[test]
fn after_three_intervals_without_a_result_a_region_is_unknown() {
    let board = board(json!({"interval_s": 10}));
    heard(&board, &[good("a", 0), bad("b", 0), bad("c", 0)]);
    heard(&board, &[good("a", 30)]);
    assert_eq!(board.expire(at(35)), []);
    assert_eq!(turns(&board.expire(at(36))), [(Verdict::Down, Verdict::Up)]);
    assert_eq!(board.expire(at(36)), []);
    assert_eq!(turns(&board.expire(at(66))), [(Verdict::Up, Verdict::Unknown)]);
}

#[test]
fn a_late_result_counts_but_changes_no_newer_state() {
    let board = board(json!({}));
    heard(&board, &[good("a", 100)]);
    let folded = board.fold(&[bad("a", 40)], at(101));
    assert!(folded.is_empty(), "{folded:?}");
    let state = board.service(ID, at(101)).unwrap();
    assert_eq!((state.verdict, state.uptime.ratio), (Verdict::Up, Some(0.5)));
}

#[test]
fn a_snapshot_moves_the_verdict_and_counts_when_the_record_comes() {
    let board = board(json!({}));
    heard(&board, &[good("a", 0)]);
    assert_eq!(turns(&board.fold_snapshot(&[bad("a", 120)], at(121))), [(Verdict::Up, Verdict::Down)]);
    assert_eq!(board.service(ID, at(121)).unwrap().uptime.ratio, Some(1.0));
    let folded = board.fold(&[good("a", 60), bad("a", 120)], at(122));
    assert!(folded.is_empty(), "{folded:?}");
    assert_eq!(board.service(ID, at(122)).unwrap().uptime.ratio, Some(2.0 / 3.0));
    assert_eq!(turns(&heard(&board, &[good("a", 180)]).verdicts), [(Verdict::Down, Verdict::Up)]);
}

#[test]
fn only_the_first_failure_of_an_episode_asks_the_others() {
    let board = board(json!({}));
    let firsts = |results: &[CheckResult]| -> Vec<String> {
        heard(&board, results).first_failures.iter().map(|first| first.region.to_string()).collect()
    };
    assert_eq!(firsts(&[good("a", 0), good("b", 0), good("c", 0)]), [""; 0]);
    assert_eq!(firsts(&[bad("b", 60)]), ["b"]);
    // What the others then see, and what follows, asks nobody again.
    assert_eq!(firsts(&[bad("a", 61), good("c", 61), bad("b", 120), bad("c", 121)]), [""; 0]);
    assert_eq!(firsts(&[good("a", 180), good("b", 180), good("c", 180), bad("c", 240)]), ["c"]);
}

#[test]
fn a_change_names_its_cause_and_how_the_regions_stand() {
    let board = board(json!({"incident_on_degraded": true}));
    heard(&board, &[good("a", 0), good("b", 0), good("c", 0)]);
    let folded = heard(&board, &[bad("a", 60), bad("b", 61), bad("c", 62)]);
    assert_eq!(turns(&folded.verdicts), [(Verdict::Up, Verdict::Degraded), (Verdict::Degraded, Verdict::Down)]);
    let down = &folded.verdicts[1];
    assert_eq!((down.at, down.cause.as_ref().map(|cause| cause.id.clone())), (at(61), Some(bad("b", 61).id)));
    assert!(down.incident_on_degraded);
    let stand: Vec<RegionStatus> = down.regions.iter().map(|state| state.status).collect();
    assert_eq!(stand, [RegionStatus::Down, RegionStatus::Down, RegionStatus::Up]);
    // The third turns without the verdict.
    assert_eq!(folded.regions.iter().map(|change| (&*change.region.0, change.to)).collect::<Vec<_>>(), [("c", RegionStatus::Down)]);
}

#[test]
fn the_first_region_heard_does_not_pass_for_all() {
    // Two services, so that the regions are known from the one when the other begins.
    let board = Board::default();
    let known = service(json!({}));
    let other = Service { id: ServiceId(2), ..known.clone() };
    board.replace_services(std::slice::from_ref(&known), at(0));
    heard(&board, &[good("a", 0), good("b", 0), good("c", 0)]);
    board.replace_services(&[known, other], at(10));
    let of_other = |result: CheckResult| CheckResult { service: ServiceId(2), ..result };
    assert_eq!(heard(&board, &[of_other(bad("a", 11))]).verdicts, []);
    let changes = heard(&board, &[of_other(good("b", 12)), of_other(good("c", 12))]).verdicts;
    assert_eq!(turns(&changes), [(Verdict::Unknown, Verdict::Degraded)]);
    // Should the others stay silent, it is told all the same.
    board.replace_services(&[], at(20));
    board.replace_services(&[service(json!({}))], at(30));
    assert_eq!(heard(&board, &[bad("a", 31)]).verdicts, []);
    assert_eq!(board.expire(at(44)), []);
    assert_eq!(turns(&board.expire(at(45))), [(Verdict::Unknown, Verdict::Down)]);
}

#[test]
fn slow_is_degraded_and_disabled_is_said_so() {
    let board = board(json!({"degraded_after_ms": 10}));
    heard(&board, &[good("a", 0)]);
    assert_eq!(verdict_of(&board, 0), Verdict::Degraded);
    board.replace_services(&[service(json!({"enabled": false}))], at(1));
    assert_eq!(verdict_of(&board, 1), Verdict::Disabled);
}
