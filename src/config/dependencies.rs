//! What services depend on, by name: names that are nobody's, and loops.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::mistake::Mistake;
use crate::config::nearest::suggestion;

/// Services by name, with the names of those they depend on.
pub type Dependencies = BTreeMap<String, Vec<String>>;

/// All that is wrong with what one service depends on. `unknown`: whether a name that is not among `all` is a mistake.
pub fn check(all: &Dependencies, service: &str, unknown: bool) -> Vec<Mistake> {
    let Some(names) = all.get(service) else { return Vec::new() };
    let mut wrong = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let place = format!("depends_on[{index}]");
        if names[..index].contains(name) {
            wrong.push(Mistake::new(place, format!("{name:?} is named twice")));
        } else if !all.contains_key(name) {
            if unknown {
                let hint = suggestion(name, all.keys().map(String::as_str));
                wrong.push(Mistake::new(place, format!("there is no service {name:?}{hint}")));
            }
        } else if let Some(path) = way(all, name, service) {
            wrong.push(Mistake::new(place, format!("makes a loop: {service} → {}", path.join(" → "))));
        }
    }
    wrong
}

/// The shortest way from one service to another along what they depend on, both ends included.
fn way<'a>(all: &'a Dependencies, from: &'a str, to: &str) -> Option<Vec<&'a str>> {
    let mut seen: BTreeSet<&str> = BTreeSet::from([from]);
    let mut ways: Vec<Vec<&str>> = vec![vec![from]];
    while !ways.is_empty() {
        if let Some(found) = ways.iter().find(|way| way.last().is_some_and(|last| *last == to)) {
            return Some(found.clone());
        }
        let mut longer = Vec::new();
        for way in &ways {
            let ends = way.last().and_then(|last| all.get(*last)).into_iter().flatten();
            for next in ends.filter(|next| all.contains_key(*next)) {
                if seen.insert(next) {
                    longer.push(way.iter().copied().chain([next.as_str()]).collect());
                }
            }
        }
        ways = longer;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_nobody_and_loops_are_told_with_the_way_round() {
        let lines = [
            ("a", &["b"][..]),
            ("b", &["c", "d"]),
            ("c", &["a"]),
            ("d", &[]),
            ("e", &["e"]),
            ("f", &["databse", "d", "d"]),
            ("database", &[]),
        ];
        let all: Dependencies =
            lines.iter().map(|(name, names)| ((*name).to_owned(), names.iter().map(|name| (*name).to_owned()).collect())).collect();
        let table: [(&str, &[&str]); 5] = [
            ("a", &["depends_on[0]: makes a loop: a → b → c → a"]),
            ("b", &["depends_on[0]: makes a loop: b → c → a → b"]),
            ("d", &[]),
            ("e", &["depends_on[0]: makes a loop: e → e"]),
            ("f", &["depends_on[0]: there is no service \"databse\"; did you mean database?", "depends_on[2]: \"d\" is named twice"]),
        ];
        for (service, expected) in table {
            let told: Vec<String> = check(&all, service, true).iter().map(ToString::to_string).collect();
            assert_eq!(told, expected, "{service}");
        }
        assert_eq!(check(&all, "f", false).len(), 1);
    }
}
