use super::trying::TriedAt;
use super::*;

struct World {
    membership: Membership,
    silences: Arc<Mutex<Vec<String>>>,
    nodes: Arc<Mutex<Vec<String>>>,
}

fn world(services: u32) -> World {
    let silences = Arc::new(Mutex::new(Vec::new()));
    let nodes = Arc::new(Mutex::new(Vec::new()));
    let (told, heard) = (silences.clone(), nodes.clone());
    let hooks = Hooks {
        silence: Box::new(move |region, silence| told.lock().unwrap().push(format!("{region} {silence:?}"))),
        node: Box::new(move |change| {
            let reason = change.reason.map_or_else(String::new, |reason| format!(": {reason}"));
            heard.lock().unwrap().push(format!("{} {} {}{reason}", change.node, change.region, change.what.name()));
        }),
        last_round: Box::new(|service, _| (service == ServiceId(1)).then(|| (NodeName::from("eu-1"), Timestamp(77)))),
    };
    let membership = Membership::new(Clock::manual(Timestamp(5_000_000)), hooks);
    membership.set_services((1..=services).map(|id| service(id, None)).collect());
    World { membership, silences, nodes }
}

fn service(id: u32, regions: Option<&[&str]>) -> Assignable {
    let regions = regions.map(|regions| regions.iter().map(|region| (*region).to_owned()).collect());
    Assignable { id: ServiceId(id), revision: 1, document: "{}".into(), enabled: true, regions }
}

impl World {
    fn join(&self, node: &str, region: &str) -> Seat {
        let (node, region) = (NodeName::from(node), RegionName::from(region));
        self.membership.join(Arrival { node, region, local: false, address: None, build: None, boot: None, clock_offset_us: Some(7) })
    }

    fn told(&self) -> Vec<String> {
        std::mem::take(&mut *self.silences.lock().unwrap())
    }
}

fn share(seat: &Seat) -> Vec<u32> {
    seat.assignments.borrow().services.iter().map(|service| service.id.0).collect()
}

#[test]
fn nodes_of_a_region_share_its_services_and_a_lost_one_s_share_alone_moves() {
    let world = world(300);
    let seats: Vec<Seat> = ["eu-1", "eu-2", "eu-3"].into_iter().map(|node| world.join(node, "eu")).collect();
    let before: Vec<Vec<u32>> = seats.iter().map(share).collect();
    let mut all: Vec<u32> = before.concat();
    all.sort_unstable();
    assert_eq!(all, (1..=300).collect::<Vec<u32>>());
    assert!(before.iter().all(|share| share.len() > 70), "{:?}", before.iter().map(Vec::len).collect::<Vec<_>>());
    world.membership.leave(&NodeName::from("eu-2"), seats[1].session, "cut");
    let (first, third) = (share(&seats[0]), share(&seats[2]));
    assert!(before[0].iter().all(|id| first.contains(id)) && before[2].iter().all(|id| third.contains(id)));
    assert_eq!(first.len() + third.len(), 300);
    let back = world.join("eu-2", "eu");
    assert_eq!(share(&back), before[1]);
    assert_eq!(share(&seats[0]), before[0]);
}

#[test]
fn a_service_goes_to_the_regions_it_names_or_to_all() {
    let world = world(0);
    let (eu, us) = (world.join("eu-1", "eu"), world.join("us-1", "us"));
    world.membership.set_services(vec![service(1, None), service(2, Some(&["us"])), service(3, Some(&["elsewhere"]))]);
    assert_eq!((share(&eu), share(&us)), (vec![1], vec![1, 2]));
    // The round another node has checked goes with the service; its own it knows itself.
    let until = |seat: &Seat| seat.assignments.borrow().services[0].checked_until;
    assert_eq!((until(&eu), until(&us)), (None, Some(Timestamp(77))));
}

#[test]
fn generations_rise_and_a_node_whose_share_stays_hears_nothing() {
    let world = world(3);
    let eu = world.join("eu-1", "eu");
    let first = eu.assignments.borrow().generation;
    let _us = world.join("us-1", "us");
    assert_eq!(eu.assignments.borrow().generation, first);
    world.membership.set_services(vec![service(9, None)]);
    assert!(eu.assignments.borrow().generation > first);
}

#[test]
fn a_region_is_silent_when_none_of_its_nodes_is_there_or_sees() {
    let world = world(1);
    world.membership.expect(NodeName::from("eu-1"), RegionName::from("eu"));
    assert_eq!(world.told(), ["eu Some(Lost)"]);
    let (one, two) = (world.join("eu-1", "eu"), world.join("eu-2", "eu"));
    assert_eq!(world.told(), ["eu None"]);
    let blind = |blind: bool| NodeStatus { blind: blind.then(|| "no witness answers".to_owned()), ..NodeStatus::default() };
    world.membership.heard_status(&NodeName::from("eu-1"), one.session, blind(true));
    assert_eq!((share(&one), share(&two)), (vec![], vec![1]), "whoever sees checks");
    assert!(world.told().is_empty());
    world.membership.heard_status(&NodeName::from("eu-2"), two.session, blind(true));
    assert_eq!(world.told(), ["eu Some(Blind)"]);
    world.membership.heard_status(&NodeName::from("eu-1"), one.session, blind(false));
    assert_eq!(world.told(), ["eu None"]);
    world.membership.leave(&NodeName::from("eu-1"), one.session, "cut");
    assert_eq!(world.told(), ["eu Some(Blind)"]);
    world.membership.leave(&NodeName::from("eu-2"), two.session, "cut");
    assert_eq!(world.told(), ["eu Some(Lost)"]);
}

#[test]
fn one_event_is_told_of_a_node_whatever_it_checks() {
    let world = world(50);
    let told = || std::mem::take(&mut *world.nodes.lock().unwrap());
    let one = world.join("eu-1", "eu");
    assert_eq!(told(), ["eu-1 eu joined"]);
    let name = NodeName::from("eu-1");
    let blind = |blind: Option<&str>| NodeStatus { blind: blind.map(str::to_owned), ..NodeStatus::default() };
    world.membership.heard_status(&name, one.session, blind(None));
    assert!(told().is_empty(), "a first word that it sees is no news");
    world.membership.heard_status(&name, one.session, blind(Some("no witness answers")));
    world.membership.heard_status(&name, one.session, blind(Some("no witness answers yet")));
    assert_eq!(told(), ["eu-1 eu blind: no witness answers"]);
    world.membership.leave(&name, one.session, "silent for 8000 ms");
    assert_eq!((told(), world.told().pop()), (vec!["eu-1 eu lost: silent for 8000 ms".to_owned()], Some("eu Some(Lost)".to_owned())));
    // One that was blind has no vote for having connected again, before it has said that it sees.
    let back = world.join("eu-1", "eu");
    assert_eq!((told(), world.told()), (vec!["eu-1 eu joined".to_owned()], vec!["eu Some(Blind)".to_owned()]));
    world.membership.heard_status(&name, back.session, blind(None));
    assert_eq!((told(), world.told()), (vec!["eu-1 eu sees".to_owned()], vec!["eu None".to_owned()]));
    world.membership.remove(&name, "the node was revoked");
    assert_eq!(told(), ["eu-1 eu lost: the node was revoked"]);
}

#[test]
fn a_node_that_comes_anew_takes_the_place_of_its_old_session() {
    let world = world(1);
    let old = world.join("eu-1", "eu");
    let new = world.join("eu-1", "eu");
    assert_eq!(old.cut.borrow().as_deref(), Some("the node has connected anew"));
    world.membership.leave(&NodeName::from("eu-1"), old.session, "late word of the old one");
    assert_eq!(share(&new), [1]);
    assert!(world.membership.nodes()[0].1.connected);
    assert_eq!(world.membership.nodes()[0].1.sessions, 2);
}

#[test]
fn the_fastest_of_the_last_round_trips_tells_the_offset_of_a_clock() {
    let world = world(1);
    let seat = world.join("eu-1", "eu");
    let node = NodeName::from("eu-1");
    assert_eq!(world.membership.clock_offset_us(&node), Some(7), "as its first words told");
    for (round_trip, offset) in [(900, 5_000), (200, 100), (5_000, -3_000)] {
        world.membership.heard_pong(&node, seat.session, round_trip, offset);
    }
    assert_eq!(world.membership.clock_offset_us(&node), Some(100));
}

#[test]
fn a_region_tries_a_service_by_a_node_that_sees_and_the_hub_s_own_by_the_hub() {
    let world = world(1);
    let document: Arc<str> = "{}".into();
    let (mut blind, mut seeing) = (world.join("eu-1", "eu"), world.join("eu-2", "eu"));
    let status = NodeStatus { blind: Some("none of 2 witnesses answers".to_owned()), ..NodeStatus::default() };
    world.membership.heard_status(&NodeName::from("eu-1"), blind.session, status);
    let asked = world.membership.try_out("eu", &document);
    assert!(matches!(&asked, TriedAt::Node { node, .. } if *node == NodeName::from("eu-2")), "{asked:?}");
    assert!(seeing.tries.try_recv().is_ok() && blind.tries.try_recv().is_err());
    world.membership.leave(&NodeName::from("eu-2"), seeing.session, "cut");
    assert!(matches!(world.membership.try_out("eu", &document), TriedAt::Node { .. }), "who is blind is better than nobody");
    // One that takes nothing off the queue is not waited for.
    let full = (0..=trying::WAITING).map(|_| world.membership.try_out("eu", &document)).find(|asked| matches!(asked, TriedAt::Nowhere(_)));
    assert!(matches!(full, Some(TriedAt::Nowhere(reason)) if reason.contains("too many services at once")));
    let (node, region) = (NodeName::from("hub-1"), RegionName::from("local"));
    world.membership.join(Arrival { node, region, local: true, address: None, build: None, boot: None, clock_offset_us: None });
    assert!(matches!(world.membership.try_out("local", &document), TriedAt::Hub));
    assert_eq!(world.membership.regions(), ["eu", "local"]);
}
