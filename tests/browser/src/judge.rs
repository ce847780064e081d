//! What is asked of every page: nothing goes wrong unseen, and everybody can use it.

use serde_json::Value;

use crate::driver::Page;
use crate::named;

pub fn nothing_is_wrong_with(page: &Page) {
    assert_eq!(page.complaints(), Vec::<String>::new(), "on {}", page.address());
}

/// What axe-core calls serious or critical on this page.
pub fn is_usable_by_all(page: &Page) {
    let axe = std::fs::read_to_string(named("TEST_AXE")).expect("axe is there; tests/run fetches it");
    page.run(&axe);
    let found =
        page.run_async("const done = arguments[arguments.length - 1]; axe.run(document).then(done, (error) => done(String(error)));");
    let violations = found["violations"].as_array().unwrap_or_else(|| panic!("axe ran: {found}"));
    let bad = |violation: &&Value| matches!(violation["impact"].as_str(), Some("serious" | "critical"));
    let told: Vec<String> = violations
        .iter()
        .filter(bad)
        .flat_map(|violation| {
            let nodes = violation["nodes"].as_array().cloned().unwrap_or_default();
            nodes.into_iter().take(3).map(move |node| format!("{}: {} {}", violation["id"], node["html"], node["failureSummary"]))
        })
        .collect();
    assert!(told.is_empty(), "on {}: {told:#?}", page.address());
    assert!(found["passes"].as_array().is_some_and(|passes| passes.len() > 5), "axe looked at something");
}
