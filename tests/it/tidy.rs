//! The invariants a text search can see. Each case names the rule it guards.

use std::path::{Path, PathBuf};

fn sources(below: &str) -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    walk(&root.join(below), &mut found);
    found.into_iter().map(|(path, text)| (path.strip_prefix(root).unwrap().to_owned(), text)).collect()
}

/// Code alone: comments and what stands behind `#[cfg(test)]` are left out.
fn code(text: &str) -> String {
    let code = text.split("\n#[cfg(test)]").next().unwrap();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn is_test(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "tests.rs")
}

/// No file below `folder`, but for those in `except`, holds any of `words`.
fn without(folder: &str, except: &[&str], words: &[&str]) {
    let mut broken = Vec::new();
    for (path, text) in sources(folder) {
        let shown = path.display().to_string();
        if is_test(&path) || except.iter().any(|allowed| shown.starts_with(allowed)) {
            continue;
        }
        let code = code(&text);
        broken.extend(words.iter().filter(|word| code.contains(**word)).map(|word| format!("{shown} holds {word}")));
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn only_config_reads_the_environment() {
    without("src", &["src/config"], &["env::var", "env::vars", "env::set_var"]);
}

#[test]
fn only_clock_asks_for_the_time_or_sets_a_timer() {
    let words = [
        "SystemTime::now",
        "Instant::now",
        "Utc::now",
        "Local::now",
        "tokio::time::sleep",
        "tokio::time::interval",
        "send_after(",
        "send_interval(",
    ];
    without("src", &["src/clock.rs"], &words);
}

#[test]
fn only_the_store_holds_surrealql() {
    // Telemetry names the engine's log targets; databases others depend on are asked for their version.
    without(
        "src",
        &["src/store", "src/telemetry.rs", "src/system/dependency"],
        &["SELECT ", "INSERT INTO", "DELETE FROM", "DEFINE TABLE", "surrealdb::"],
    );
}

#[test]
fn probe_and_region_know_nothing_of_the_hub() {
    let words = ["crate::hub", "crate::store", "crate::api", "crate::dashboard"];
    let mut broken = Vec::new();
    for (path, text) in sources("src") {
        let shown = path.display().to_string();
        if ["src/probe", "src/region"].iter().any(|place| shown.starts_with(place)) && !is_test(&path) {
            let code = code(&text);
            broken.extend(words.iter().filter(|word| code.contains(**word)).map(|word| format!("{shown} holds {word}")));
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn the_readme_has_no_blanks_left() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    assert!(!readme.contains("MEASURED") && !readme.contains("TBD"));
}

#[test]
fn the_nouns_are_plain_data() {
    without(
        "src/model",
        &[],
        &["crate::api", "crate::store", "crate::hub", "crate::region", "crate::probe", "tokio::", "ractor::", "std::fs", "async fn"],
    );
}

#[test]
fn no_file_holds_two_things() {
    let long: Vec<String> = sources("src")
        .into_iter()
        .filter(|(path, _)| !is_test(path))
        .map(|(path, text)| (text.split("\n#[cfg(test)]").next().unwrap().lines().count(), path))
        .filter(|(lines, _)| *lines > 500)
        .map(|(lines, path)| format!("{} has {lines} lines", path.display()))
        .collect();
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn nothing_is_left_unfinished_or_switched_off() {
    // Put together here, so that this file does not find itself.
    let words = ["todo", "unimplemented"].map(|word| format!("{word}!("));
    let words: Vec<&str> = words.iter().map(String::as_str).chain(["#[allow(", "#![allow("]).collect();
    without("src", &[], &words);
    let ignored = ["#[ig", "nore"].concat();
    without("tests", &[], &[&ignored]);
}

#[test]
fn no_module_hides_behind_a_folder() {
    let hidden: Vec<PathBuf> = sources("src").into_iter().map(|(path, _)| path).filter(|path| path.ends_with("mod.rs")).collect();
    assert!(hidden.is_empty(), "{hidden:?}");
}

#[test]
fn every_module_says_what_it_is_for() {
    let silent: Vec<PathBuf> =
        sources("src").into_iter().filter(|(path, text)| !is_test(path) && !text.starts_with("//!")).map(|(path, _)| path).collect();
    assert!(silent.is_empty(), "{silent:?}");
}

#[test]
fn panics_unwind() {
    let manifest = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    assert!(!manifest.contains("panic = \"abort\""), "supervision catches panics by unwinding");
}
