use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::catalogue::TEXTS;
use super::{BY_KEY, Lang, Text};
use crate::aggregate::verdict::Verdict;
use crate::alert::channel::KINDS;
use crate::analysis::trend::Direction;
use crate::model::check::{Phase, Reason};
use crate::model::digest::Writer;
use crate::model::finding::{Shape, Signal};
use crate::model::incident::EntryKind;
use crate::model::slo::CalendarUnit;
use crate::model::subscriber::{SubscriberKind, SubscriberState};
use crate::model::system::Figure;
use crate::slo::budget::Standing;
use crate::store::api_keys::Scope;
use crate::store::users::Role;

/// Files of the pages, handlers and templates, and of what is sent in their words.
fn sources() -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<(String, String)>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if !path.to_string_lossy().contains("text/catalogue") && !path.ends_with("text/tests.rs") {
                found.push((path.display().to_string(), std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    walk(&root.join("templates"), &mut found);
    walk(&root.join("src/web"), &mut found);
    let words = "src/subscribers/words.rs";
    found.push((words.to_owned(), std::fs::read_to_string(root.join(words)).unwrap()));
    found
}

/// What stands in quotes and looks like a key: a known group, a dot, lower-case words.
fn keys(text: &str) -> BTreeSet<String> {
    let groups: BTreeSet<&str> = TEXTS.iter().copied().flatten().map(|(key, ..)| key.split('.').next().unwrap()).collect();
    let quoted = text.split('"').skip(1).step_by(1);
    let plain =
        |part: &&str| part.contains('.') && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._".contains(&b));
    let ending = |part: &&str| [".js", ".css", ".svg", ".html", ".json", ".rs", ".md"].iter().any(|ending| part.ends_with(ending));
    quoted
        .filter(plain)
        .filter(|part| !ending(part))
        .filter(|part| groups.contains(part.split('.').next().unwrap()))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_text_that_is_asked_for_is_there_and_every_one_that_is_there_is_asked_for() {
    let mut asked: BTreeMap<String, String> = BTreeMap::new();
    for (path, text) in sources() {
        asked.extend(keys(&text).into_iter().map(|key| (key, path.clone())));
    }
    assert!(asked.len() > 100, "the search finds next to nothing: {}", asked.len());
    let missing: Vec<_> = asked.iter().filter(|(key, _)| !BY_KEY.contains_key(key.as_str())).collect();
    assert!(missing.is_empty(), "asked for, not there: {missing:#?}");
    let words = [
        "verdict.",
        "reason.",
        "phase.",
        "region_status.",
        "entry.",
        "severity.",
        "role.",
        "node_state.",
        "result_state.",
        "issue_status.",
        "issue_type.",
        "issue_field.",
        "priority.",
        "cause.",
        "telling.",
        "delivery.",
        "weekday.",
        "window_kind.",
        "writer.",
        "signal.",
        "shape.",
        "direction.",
        "place.",
        "slo_state.",
        "slo_kind.",
        "slo_period.",
        "actor_state.",
        "health.",
        "dependency_state.",
        "system_part.",
        "figure.",
        "log.",
        "log_level.",
        "key_state.",
        "scope.",
        "subscriber_state.",
        "subscriber_kind.",
        "channel_field.",
    ];
    let unused: Vec<_> =
        BY_KEY.keys().filter(|key| !asked.contains_key(**key) && !words.iter().any(|group| key.starts_with(group))).collect();
    assert!(unused.is_empty(), "there, not asked for: {unused:#?}");
}

#[test]
fn every_word_of_the_monitor_has_a_text() {
    let verdicts =
        [Verdict::Up, Verdict::Degraded, Verdict::Down, Verdict::Unknown, Verdict::Maintenance, Verdict::Disabled].map(Verdict::name);
    let words = verdicts.map(|name| ("verdict", name)).into_iter();
    let words = words.chain(Reason::ALL.map(|reason| ("reason", reason.name())));
    let words = words.chain(Phase::ALL.map(|phase| ("phase", phase.name())));
    let words = words.chain(EntryKind::ALL.map(|kind| ("entry", kind.name())));
    let words = words.chain(Signal::ALL.map(|signal| ("signal", signal.name()))).chain(Shape::ALL.map(|shape| ("shape", shape.name())));
    let words = words.chain(Writer::ALL.map(|writer| ("writer", writer.name())));
    let words = words.chain(CalendarUnit::ALL.map(|unit| ("slo_period", unit.name())));
    let standings = [Standing::Met, Standing::Missed, Standing::Unknown].map(Standing::name);
    let words = words.chain(standings.map(|name| ("slo_state", name)));
    let unknown = Direction::Unknown { have: 0, need: 1, of: "blocks" };
    let directions = [Direction::Slower, Direction::Faster, Direction::Worse, Direction::Better, Direction::Steady, unknown];
    let words = words.chain(directions.map(|direction| ("direction", direction.name())));
    let words = words.chain(Scope::ALL.map(|scope| ("scope", scope.name())));
    let words = words.chain(Role::ALL.map(|role| ("role", role.name())));
    let words = words.chain(SubscriberKind::ALL.map(|kind| ("subscriber_kind", kind.name())));
    let words = words.chain(SubscriberState::ALL.map(|state| ("subscriber_state", state.name())));
    for figure in Figure::ALL {
        let key = format!("figure.{}", figure.name());
        assert!(BY_KEY.contains_key(key.as_str()), "{key}");
    }
    let fields = KINDS.iter().flat_map(|kind| kind.fields).map(|field| ("channel_field", field.name));
    for (group, name) in words.chain(fields) {
        assert!(BY_KEY.contains_key(format!("{group}.{name}").as_str()), "{group}.{name}");
    }
}

#[test]
fn no_key_is_given_twice_and_both_languages_fill_in_the_same() {
    assert_eq!(BY_KEY.len(), TEXTS.iter().copied().flatten().count(), "a key is given twice");
    let blanks = |text: &str| -> BTreeSet<String> {
        text.split('{').skip(1).filter_map(|part| part.split_once('}')).map(|(name, _)| name.to_owned()).collect()
    };
    for (key, english, persian) in TEXTS.iter().copied().flatten() {
        assert_eq!(blanks(english), blanks(persian), "{key}");
        assert!(!english.is_empty() && !persian.is_empty(), "{key}");
    }
}

#[test]
fn the_language_is_the_one_the_browser_likes_best_of_those_there_are() {
    for (header, lang) in [
        ("fa-IR,fa;q=0.9,en;q=0.8", Lang::Persian),
        ("de-DE,de;q=0.9", Lang::English),
        ("de;q=0.9,fa;q=0.4,en;q=0.3", Lang::Persian),
        ("en;q=0.3,fa;q=0.3", Lang::English),
        ("", Lang::English),
    ] {
        assert_eq!(Lang::of_accept(header), lang, "{header}");
    }
    assert_eq!(Text(Lang::English).with("sentence.all_up", &[("count", "3"), ("where", "x")]), "All 3 services up x");
}
