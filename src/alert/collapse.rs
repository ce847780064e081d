//! What depends on what, and which failure another one follows from. Pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::model::id::ServiceId;
use crate::model::time::Timestamp;

/// Services and those they depend on. It has no loops where it was checked; one that has them is walked all the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Graph {
    parents: BTreeMap<ServiceId, Vec<ServiceId>>,
    depended_on: BTreeSet<ServiceId>,
}

/// A failure that goes on: its cause, and since when.
pub type Failing = BTreeMap<ServiceId, (Timestamp, String)>;

impl Graph {
    /// `services` with the names of those they depend on; a name that is nobody's is left out.
    pub fn new<'a>(services: impl Iterator<Item = (ServiceId, &'a str, &'a [String])> + Clone) -> Graph {
        let ids: BTreeMap<&str, ServiceId> = services.clone().map(|(id, name, _)| (name, id)).collect();
        let mut graph = Graph::default();
        for (id, _, names) in services {
            let parents: Vec<ServiceId> = names.iter().filter_map(|name| ids.get(name.as_str()).copied()).collect();
            graph.depended_on.extend(parents.iter().copied());
            if !parents.is_empty() {
                graph.parents.insert(id, parents);
            }
        }
        graph
    }

    /// Whether it depends on another, or another on it.
    pub fn has_relatives(&self, service: ServiceId) -> bool {
        self.parents.contains_key(&service) || self.depended_on.contains(&service)
    }

    pub fn has_parents(&self, service: ServiceId) -> bool {
        self.parents.contains_key(&service)
    }

    /// All it depends on, directly or through others, the nearest first.
    pub fn ancestors(&self, service: ServiceId) -> Vec<ServiceId> {
        let mut found = Vec::new();
        let mut seen = BTreeSet::from([service]);
        let mut queue: VecDeque<ServiceId> = VecDeque::from([service]);
        while let Some(next) = queue.pop_front() {
            for parent in self.parents.get(&next).into_iter().flatten() {
                if seen.insert(*parent) {
                    found.push(*parent);
                    queue.push_back(*parent);
                }
            }
        }
        found
    }

    /// All that depend on it, directly or through others, by number.
    pub fn descendants(&self, service: ServiceId) -> Vec<ServiceId> {
        if !self.depended_on.contains(&service) {
            return Vec::new();
        }
        self.parents.keys().copied().filter(|other| *other != service && self.ancestors(*other).contains(&service)).collect()
    }

    /// The failure that a failure of this service follows from: of a failing one it depends on that itself follows from none;
    /// of several the one that has failed longest.
    pub fn root(&self, failing: &Failing, service: ServiceId) -> Option<String> {
        let failing_above = self.ancestors(service).into_iter().filter(|ancestor| failing.contains_key(ancestor));
        let roots = failing_above.filter(|ancestor| !self.ancestors(*ancestor).iter().any(|above| failing.contains_key(above)));
        roots.filter_map(|root| failing.get(&root)).min().map(|(_, key)| key.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(lines: &[(&'static str, &[&str])]) -> Graph {
        let services: Vec<(ServiceId, &str, Vec<String>)> = lines
            .iter()
            .enumerate()
            .map(|(index, (name, parents))| (ServiceId(index as u32), *name, parents.iter().map(|name| (*name).to_owned()).collect()))
            .collect();
        Graph::new(services.iter().map(|(id, name, parents)| (*id, *name, parents.as_slice())))
    }

    fn failing(services: &[(u32, i64)]) -> Failing {
        services.iter().map(|(id, since)| (ServiceId(*id), (Timestamp(*since), format!("cause-{id}")))).collect()
    }

    #[test]
    fn the_root_is_the_topmost_failure_even_past_one_that_is_up() {
        let chain = graph(&[("database", &[]), ("users", &["database"]), ("shop", &["users"]), ("blog", &["nobody"])]);
        let table = [
            (&[(0, 5), (2, 1)][..], 2, Some("cause-0")),
            (&[(0, 5), (1, 3), (2, 1)][..], 2, Some("cause-0")),
            (&[(1, 3), (2, 1)][..], 2, Some("cause-1")),
            (&[(2, 1)][..], 2, None),
            (&[(0, 5), (3, 1)][..], 3, None),
            (&[(0, 5), (2, 1)][..], 0, None),
        ];
        for (failures, service, root) in table {
            assert_eq!(chain.root(&failing(failures), ServiceId(service)).as_deref(), root, "{failures:?}, {service}");
        }
        assert_eq!(chain.descendants(ServiceId(0)), [ServiceId(1), ServiceId(2)]);
        assert!(chain.has_relatives(ServiceId(0)) && !chain.has_relatives(ServiceId(3)));
    }

    #[test]
    fn of_two_roots_the_one_that_failed_first_counts() {
        let two = graph(&[("database", &[]), ("queue", &[]), ("shop", &["database", "queue"])]);
        assert_eq!(two.root(&failing(&[(0, 9), (1, 4), (2, 5)]), ServiceId(2)).as_deref(), Some("cause-1"));
    }

    #[test]
    fn a_loop_that_slipped_in_is_walked_once() {
        let ring = graph(&[("a", &["b"]), ("b", &["a"])]);
        assert_eq!(ring.ancestors(ServiceId(0)), [ServiceId(1)]);
        // Each follows from the other, so neither: both are told.
        assert_eq!(ring.root(&failing(&[(0, 1), (1, 2)]), ServiceId(0)), None);
    }
}
