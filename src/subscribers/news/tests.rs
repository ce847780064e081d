use super::*;
use crate::model::subscriber::Choice;

const START: i64 = 1_795_341_600_000_000;

/// So many seconds after the beginning.
fn at(seconds: i64) -> Timestamp {
    Timestamp(START + seconds * 1_000_000)
}

fn incident(id: &str, service: u32, seconds: i64) -> OpenIncident {
    OpenIncident {
        id: IncidentId(id.into()),
        service: ServiceId(service),
        severity: Severity::Critical,
        reasons: vec![Reason::Status],
        opened_at: at(seconds),
        worked_on_at: None,
    }
}

/// The world as it is told to the public, moved by hand.
struct Watch {
    public: BTreeMap<ServiceId, String>,
    open: Vec<OpenIncident>,
    closed: BTreeMap<IncidentId, Timestamp>,
    covered: BTreeSet<ServiceId>,
    windows: Vec<WindowSeen>,
    told: BTreeMap<String, Arc<News>>,
}

impl Watch {
    fn new() -> Watch {
        let public = [(1, "shop"), (2, "cart"), (3, "pay")].map(|(id, name)| (ServiceId(id), name.to_owned()));
        Watch {
            public: public.into(),
            open: Vec::new(),
            closed: BTreeMap::new(),
            covered: BTreeSet::new(),
            windows: Vec::new(),
            told: BTreeMap::new(),
        }
    }

    fn close(&mut self, id: &str, seconds: i64) {
        self.open.retain(|incident| *incident.id.0 != *id);
        self.closed.insert(IncidentId(id.into()), at(seconds));
    }

    /// What is told at an instant, in short, and remembered.
    fn look(&mut self, seconds: i64) -> Vec<String> {
        let present = Present {
            now: at(seconds),
            name: &|incident| incident.to_string(),
            public: &self.public,
            open: self.open.clone(),
            closed: self.closed.clone(),
            covered: self.covered.clone(),
            windows: Some(self.windows.clone()),
        };
        let patience = Patience { hold: Duration::from_secs(5), settle: Duration::from_secs(30) };
        let told: Vec<Arc<News>> = self.told.values().cloned().collect();
        let found = look(&told, &present, patience);
        assert_eq!(found, look(&told, &present, patience), "asked again it says the same");
        let shown = found.iter().map(shown).collect();
        self.told.extend(found.into_iter().map(|news| (news.subject.clone(), Arc::new(news))));
        shown
    }
}

/// Such as `outage-a.1 shop resolved*, cart open`, a star at what is new.
fn shown(news: &News) -> String {
    let what = match &news.matter {
        Matter::Outage(hurts) => {
            let hurt = |hurt: &Hurt| {
                let state = match (hurt.closed_at, hurt.worked_on_at) {
                    (Some(_), _) => "resolved",
                    (None, Some(_)) => "worked on",
                    (None, None) => "open",
                };
                format!("{} {state}{}", hurt.name, if hurt.fresh { "*" } else { "" })
            };
            hurts.iter().map(hurt).collect::<Vec<_>>().join(", ")
        }
        Matter::Maintenance(time) => {
            let names: Vec<&str> = time.services.iter().map(|(_, name)| name.as_str()).collect();
            format!("{} {}", time.step.name(), names.join(", "))
        }
    };
    format!("{} {what}{}", news.id(), if news.passed_on { " (silent)" } else { "" })
}

#[test]
fn an_outage_is_told_when_it_opens_is_worked_on_and_is_over_and_once_each() {
    let mut watch = Watch::new();
    watch.open.push(incident("a", 1, 0));
    assert_eq!(watch.look(4), [""; 0], "what comes with it is waited for");
    assert_eq!(watch.look(5), ["outage-a.0 shop open*"]);
    assert_eq!(watch.look(6), [""; 0]);
    watch.open[0].worked_on_at = Some(at(60));
    assert_eq!(watch.look(60), ["outage-a.1 shop worked on*"]);
    watch.close("a", 90);
    assert_eq!(watch.look(90), ["outage-a.2 shop resolved*"]);
    assert_eq!(watch.look(91), [""; 0]);
}

#[test]
fn what_fails_together_is_told_together_and_what_is_well_again_too() {
    let mut watch = Watch::new();
    watch.open.extend([incident("a", 1, 0), incident("b", 2, 3), incident("c", 3, 5)]);
    assert_eq!(watch.look(5), ["outage-a.0 shop open*, cart open*, pay open*"]);
    watch.close("b", 60);
    assert_eq!(watch.look(61), [""; 0], "others may follow");
    watch.close("a", 80);
    assert_eq!(watch.look(90), ["outage-a.1 shop resolved*, cart resolved*, pay open"]);
    watch.close("c", 100);
    assert_eq!(watch.look(100), ["outage-a.2 shop resolved, cart resolved, pay resolved*"], "the end is not waited with");
}

#[test]
fn one_who_asked_for_one_service_hears_of_that_alone() {
    let mut watch = Watch::new();
    watch.open.extend([incident("a", 1, 0), incident("b", 2, 0)]);
    watch.look(5);
    watch.close("a", 60);
    watch.look(100);
    let last = watch.told["outage-a"].clone();
    let choice = |service: u32| Choice { services: Some([ServiceId(service)].into()), lang: "en".to_owned() };
    let mine = last.for_one(&choice(1)).expect("theirs is new");
    assert_eq!((shown(&mine).as_str(), mine.is_last()), ("outage-a.1 shop resolved*", true));
    assert_eq!(last.for_one(&choice(2)), None, "nothing is new of theirs");
    assert_eq!(last.for_one(&choice(3)), None);
    assert!(!last.for_one(&Choice { services: None, lang: "en".to_owned() }).expect("it is of all").is_last());
}

#[test]
fn a_service_that_flaps_is_told_of_thrice_and_then_only_when_it_stays_down() {
    let mut watch = Watch::new();
    let mut told = 0;
    for round in 0..20 {
        let (begin, id) = (round * 60, format!("i{round}"));
        watch.open.push(incident(&id, 1, begin));
        told += watch.look(begin + 5).len();
        watch.close(&id, begin + 30);
        told += watch.look(begin + 30).len();
    }
    assert_eq!(told, 2 * MOST_AN_HOUR);
    watch.open.push(incident("long", 1, 1_300));
    assert_eq!(watch.look(1_300 + 599), [""; 0]);
    assert_eq!(watch.look(1_300 + 600), ["outage-long.0 shop open*"]);
    let Matter::Outage(hurts) = &watch.told["outage-long"].matter else { panic!("it is an outage") };
    assert_eq!(hurts[0].before, 3);
    // An hour later it is as good as any.
    watch.close("long", 2_000);
    watch.look(2_000);
    watch.open.push(incident("later", 1, 6_000));
    assert_eq!(watch.look(6_005), ["outage-later.0 shop open*"]);
}

#[test]
fn nothing_is_told_of_what_is_not_public_or_in_maintenance() {
    let mut watch = Watch::new();
    watch.open.extend([incident("a", 9, 0), incident("b", 2, 0)]);
    watch.covered.insert(ServiceId(2));
    assert_eq!(watch.look(10), [""; 0]);
    // What outlasts its window is told then.
    watch.covered.clear();
    assert_eq!(watch.look(11), ["outage-b.0 cart open*"]);
    // Of what is no longer public nothing more is said, not even that it is over.
    watch.public.remove(&ServiceId(2));
    watch.close("b", 20);
    assert_eq!(watch.look(20), ["outage-b.1  (silent)"]);
    assert_eq!(watch.look(21), [""; 0]);
}

#[test]
fn a_service_that_is_no_longer_public_is_in_no_later_news_also_where_it_is_well_again() {
    let mut watch = Watch::new();
    watch.open.extend([incident("a", 1, 0), incident("b", 2, 0)]);
    watch.look(5);
    watch.close("a", 20);
    assert_eq!(watch.look(60), ["outage-a.1 shop resolved*, cart open"]);
    watch.public.remove(&ServiceId(1));
    assert_eq!(watch.look(61), [""; 0]);
    watch.close("b", 80);
    assert_eq!(watch.look(80), ["outage-a.2 cart resolved*"]);
}

#[test]
fn a_service_that_was_degraded_and_is_down_is_told_of_again_at_once() {
    let mut watch = Watch::new();
    watch.open.push(OpenIncident { severity: Severity::Warning, reasons: vec![Reason::Timeout], ..incident("a", 1, 0) });
    watch.open.push(incident("b", 2, 0));
    assert_eq!(watch.look(5), ["outage-a.0 shop open*, cart open*"]);
    // Another reason alone is no news, and is in the next.
    watch.open[0].reasons = vec![Reason::Status];
    assert_eq!(watch.look(10), [""; 0]);
    watch.open[0].severity = Severity::Critical;
    assert_eq!(watch.look(11), ["outage-a.1 shop open*, cart open"]);
    let Matter::Outage(hurts) = &watch.told["outage-a"].matter else { panic!("it is an outage") };
    assert_eq!((hurts[0].severity, &hurts[0].reasons), (Severity::Critical, &vec![Reason::Status]));
    assert_eq!(watch.look(12), [""; 0]);
    // Better again within the same incident is none.
    watch.open[0].severity = Severity::Warning;
    assert_eq!(watch.look(13), [""; 0]);
}

#[test]
fn what_happened_while_nobody_was_there_is_no_news_a_day_later() {
    let mut watch = Watch::new();
    watch.open.push(incident("a", 1, 0));
    watch.look(5);
    watch.close("a", 10);
    watch.open.push(incident("b", 2, 10));
    assert_eq!(watch.look(2 * 86_400), ["outage-a.1 shop resolved* (silent)"]);
}

fn window(id: u32, from: i64, until: i64, recurring: bool) -> WindowSeen {
    let services = vec![ServiceId(1), ServiceId(9)];
    WindowSeen { window: WindowId(id), title: "work".to_owned(), from: at(from), until: at(until), recurring, services }
}

#[test]
fn a_window_is_announced_begins_and_ends() {
    let mut watch = Watch::new();
    let name = |number: u32, from: i64| format!("window-1-{}.{number}", at(from).0);
    watch.windows.push(window(1, 100_000, 103_600, false));
    assert_eq!(watch.look(0), [format!("{} announced shop", name(0, 100_000))], "and nothing of what is not public");
    assert_eq!(watch.look(1), [""; 0]);
    assert_eq!(watch.look(100_000), [format!("{} begun shop", name(1, 100_000))]);
    // Ended early by a person.
    watch.windows.clear();
    assert_eq!(watch.look(101_000), [format!("{} ended shop", name(2, 100_000))]);
    let Matter::Maintenance(time) = &watch.told[&format!("window-1-{}", at(100_000).0)].matter else { panic!("it is a window") };
    assert_eq!(time.until, at(101_000));
    assert_eq!(watch.look(104_000), [""; 0]);
}

#[test]
fn a_window_that_is_taken_back_is_told_and_one_that_recurs_a_day_ahead() {
    let mut watch = Watch::new();
    watch.windows.push(window(1, 200_000, 203_600, false));
    watch.windows.push(window(2, 100_000, 100_600, true));
    assert_eq!(watch.look(0).len(), 1);
    watch.windows.remove(0);
    assert_eq!(watch.look(10), [format!("window-1-{}.1 cancelled shop", at(200_000).0)]);
    assert_eq!(watch.look(100_000 - 86_401), [""; 0]);
    assert_eq!(watch.look(100_000 - 86_400), [format!("window-2-{}.0 announced shop", at(100_000).0)]);
}

#[test]
fn a_window_that_is_moved_is_announced_anew_and_not_taken_back() {
    let mut watch = Watch::new();
    watch.windows.push(window(1, 200_000, 203_600, false));
    watch.windows.push(window(2, 80_000, 80_600, true));
    assert_eq!(watch.look(0).len(), 2);
    (watch.windows[0].from, watch.windows[0].until) = (at(300_000), at(303_600));
    // Of one that recurs, another time takes the place of none.
    (watch.windows[1].from, watch.windows[1].until) = (at(85_000), at(85_600));
    assert_eq!(
        watch.look(10),
        [
            format!("window-1-{}.1 cancelled shop (silent)", at(200_000).0),
            format!("window-2-{}.1 cancelled shop", at(80_000).0),
            format!("window-1-{}.0 announced shop", at(300_000).0),
            format!("window-2-{}.0 announced shop", at(85_000).0),
        ]
    );
    assert_eq!(watch.look(11), [""; 0]);
    // And back to where it was.
    (watch.windows[0].from, watch.windows[0].until) = (at(200_000), at(203_600));
    assert_eq!(
        watch.look(12),
        [format!("window-1-{}.1 cancelled shop (silent)", at(300_000).0), format!("window-1-{}.2 announced shop", at(200_000).0)]
    );
    assert_eq!(watch.look(13), [""; 0]);
}

#[test]
fn an_end_that_is_moved_is_told_before_and_while_a_window_is_on() {
    let mut watch = Watch::new();
    let name = |number: u32| format!("window-1-{}.{number}", at(100_000).0);
    watch.windows.push(window(1, 100_000, 103_600, false));
    watch.look(0);
    watch.windows[0].until = at(105_000);
    assert_eq!(watch.look(10), [format!("{} changed shop", name(1))]);
    assert_eq!(watch.look(11), [""; 0]);
    assert_eq!(watch.look(100_000), [format!("{} begun shop", name(2))]);
    watch.windows[0].until = at(107_000);
    assert_eq!(watch.look(100_010), [format!("{} changed shop", name(3))]);
    let Matter::Maintenance(time) = &watch.told[&format!("window-1-{}", at(100_000).0)].matter else { panic!("it is a window") };
    assert_eq!(time.until, at(107_000));
    assert_eq!(watch.look(100_011), [""; 0], "it began only once");
    watch.windows.clear();
    assert_eq!(watch.look(101_000), [format!("{} ended shop", name(4))]);
    // One that is taken back after its end was moved does not take place.
    watch.windows.push(window(3, 200_000, 203_600, false));
    watch.look(150_000);
    watch.windows[0].until = at(204_000);
    watch.look(150_001);
    watch.windows.clear();
    assert_eq!(watch.look(150_002), [format!("window-3-{}.2 cancelled shop", at(200_000).0)]);
}
