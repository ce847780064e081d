use serde_json::json;

use super::*;
use crate::aggregate::board::Board;
use crate::aggregate::change::{Silence, SilenceReason};
use crate::aggregate::sample::{at, bad, good, service};
use crate::model::check::CheckResult;

/// A service, its open incident and everything that was ever told of incidents.
struct Story {
    board: Board,
    open: Option<Incident>,
    seen: Vec<IncidentId>,
    told: Vec<String>,
}

impl Story {
    fn new(fields: serde_json::Value) -> Story {
        let board = Board::default();
        board.replace_services(&[service(fields)], at(0));
        Story { board, open: None, seen: Vec::new(), told: Vec::new() }
    }

    fn hear(&mut self, result: CheckResult) {
        let folded = self.board.fold(std::slice::from_ref(&result), result.started_at);
        folded.verdicts.iter().for_each(|change| self.take(change));
        for change in &folded.regions {
            let step = self.open.as_ref().and_then(|open| region_step(open, change));
            self.apply(step);
        }
    }

    fn take(&mut self, change: &VerdictChange) {
        let step = step(self.open.as_ref(), change, |id| self.seen.contains(id));
        self.apply(step);
    }

    fn apply(&mut self, step: Option<Step>) {
        let Some(step) = step else { return };
        for entry in &step.entries {
            let after = entry.at.since(at(0)).as_secs();
            self.told.push(format!("{after} {} {} {}", step.kind.name(), entry.kind.name(), entry.text));
        }
        self.seen.push(step.incident.id.clone());
        self.open = (step.kind != StepKind::Closed).then_some(step.incident);
    }
}

#[test]
fn an_incident_goes_from_down_to_up() {
    let mut story = Story::new(json!({}));
    for result in [good("a", 0), good("b", 0), good("c", 0), bad("a", 60), bad("b", 61)] {
        story.hear(result);
    }
    let open = story.open.clone().expect("two of three are a majority");
    assert_eq!((open.severity, open.opened_at, open.first_line.as_str()), (Severity::Critical, at(61), "status 503 in 2 of 3 regions"));
    assert_eq!(open.id.to_string(), ResultId::of(&bad("b", 61)).to_string());
    story.hear(bad("c", 62));
    let now = story.open.clone().unwrap();
    assert_eq!((now.first_line.as_str(), now.regions.len()), ("status 503 in 3 of 3 regions", 3));
    for result in [good("a", 120), good("b", 121), good("c", 122)] {
        story.hear(result);
    }
    assert_eq!(
        story.told,
        [
            "61 opened opened status 503 in 2 of 3 regions",
            "62 updated region c is down: status 503",
            "120 updated region a is up",
            "121 updated degraded degraded: only c: status 503",
            "122 closed closed up again after 1 min 1 s",
        ]
    );
    assert_eq!(story.open, None);
}

#[test]
fn a_region_heard_of_late_is_told_though_its_check_began_before_the_incident() {
    let mut story = Story::new(json!({}));
    for result in [good("a", 0), good("b", 0), good("c", 0), bad("a", 60), bad("b", 62), bad("c", 61)] {
        story.hear(result);
    }
    assert_eq!(story.open.as_ref().map(|open| open.first_line.as_str()), Some("status 503 in 3 of 3 regions"));
    assert_eq!(story.told, ["62 opened opened status 503 in 2 of 3 regions", "62 updated region c is down: status 503"]);
}

#[test]
fn one_region_alone_opens_one_only_where_it_is_asked_for() {
    let mut story = Story::new(json!({}));
    [good("a", 0), good("b", 0), good("c", 0), bad("a", 60)].into_iter().for_each(|result| story.hear(result));
    assert_eq!((&story.open, story.told.len()), (&None, 0));
    let mut story = Story::new(json!({"incident_on_degraded": true}));
    [good("a", 0), good("b", 0), good("c", 0), bad("a", 60)].into_iter().for_each(|result| story.hear(result));
    assert_eq!(story.open.as_ref().map(|open| open.severity), Some(Severity::Warning));
    story.hear(bad("b", 61));
    assert_eq!(story.open.as_ref().map(|open| open.severity), Some(Severity::Critical));
    assert_eq!(story.told, ["60 opened opened only a: status 503", "61 updated down down: status 503 in 2 of 3 regions"]);
}

#[test]
fn unknown_keeps_it_open_and_says_so() {
    let mut story = Story::new(json!({}));
    [good("a", 0), bad("a", 60)].into_iter().for_each(|result| story.hear(result));
    let silence = Silence { reason: SilenceReason::Blind, since: at(70) };
    let changes = story.board.set_silent(&"a".into(), Some(silence), at(71));
    changes.iter().for_each(|change| story.take(change));
    assert!(story.open.is_some());
    let changes = story.board.set_silent(&"a".into(), None, at(80));
    changes.iter().for_each(|change| story.take(change));
    story.hear(good("a", 120));
    assert_eq!(
        story.told,
        ["60 opened opened status 503 in a", "71 updated unknown unknown: a is blind", "120 closed closed up again after 1 min",]
    );
}

#[test]
fn what_was_told_before_is_not_told_again() {
    let board = Board::default();
    board.replace_services(&[service(json!({}))], at(0));
    let down = board.fold(&[bad("a", 60)], at(60)).verdicts.remove(0);
    let opened = step(None, &down, |_| false).unwrap();
    assert_eq!(step(Some(&opened.incident), &down, |_| true), None);
    // Closed meanwhile, the same cause opens nothing.
    assert_eq!(step(None, &down, |id| *id == opened.incident.id), None);
    let up = board.fold(&[good("a", 120)], at(120)).verdicts.remove(0);
    assert_eq!(step(None, &up, |_| true), None);
    assert_eq!(step(Some(&opened.incident), &up, |_| true).unwrap().incident.closed_at, Some(at(120)));
}

#[test]
fn spans_are_told_as_people_do() {
    let table = [(0, "0 s"), (59, "59 s"), (60, "1 min"), (125, "2 min 5 s"), (3600, "1 h"), (7260, "2 h 1 min"), (187_200, "2 d 4 h")];
    for (seconds, expected) in table {
        assert_eq!(span(Duration::from_secs(seconds)), expected);
    }
}
