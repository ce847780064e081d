//! services.json: the services a hub watches on its first start, and what `seed` reads.

use std::collections::HashMap;
use std::path::Path;

use serde_json::Value;

use crate::config::dependencies::{self, Dependencies};
use crate::config::locate::{json_position, line_column, repeated_keys};
use crate::config::mistake::Mistake;
use crate::config::service::ServiceDocument;
use crate::model::id::ServiceId;
use crate::model::service::Schedule;

/// Reads and checks a list of services. Either every entry is right, or every mistake is told with its line. `alone`: there are no
/// other services than these, so none of them can depend on another.
pub fn read_services(path: &Path, default_schedule: &Schedule, alone: bool) -> Result<Vec<ServiceDocument>, Vec<Mistake>> {
    let text = std::fs::read_to_string(path).map_err(|err| vec![at(path, None, Mistake::new("", format!("cannot be read: {err}")))])?;
    parse_services(path, &text, default_schedule, alone)
}

/// The same of a text; mistakes name `path`.
pub fn parse_services(path: &Path, text: &str, default_schedule: &Schedule, alone: bool) -> Result<Vec<ServiceDocument>, Vec<Mistake>> {
    let text = text.trim_start_matches('\u{feff}');
    let value: Value = serde_json::from_str(text).map_err(|err| {
        // serde_json ends its words with the place, which is told apart here; its columns count bytes.
        let words = err.to_string();
        let words = words.split(" at line ").next().unwrap_or_default();
        let line_start = text.split_inclusive('\n').take(err.line().saturating_sub(1)).map(str::len).sum::<usize>();
        let position = line_column(text, line_start + err.column().saturating_sub(1));
        vec![at(path, Some(position), Mistake::new("", format!("is not JSON: {words}")))]
    })?;
    let Value::Array(entries) = value else {
        return Err(vec![at(path, json_position(text, ""), Mistake::new("", "must be a list of services, [ … ]"))]);
    };
    let mut documents = Vec::with_capacity(entries.len());
    let mut mistakes = Vec::new();
    let mut names: HashMap<String, usize> = HashMap::new();
    for (index, entry) in entries.iter().enumerate() {
        let outer = format!("[{index}]");
        let checked = ServiceDocument::read(entry).and_then(|document| {
            // The number is given later, by the store; the check only carries it.
            document.check_written(ServiceId(0), default_schedule)?;
            Ok(document)
        });
        if let Some(name) = entry.get("name").and_then(Value::as_str) {
            match names.get(name.trim()) {
                Some(first) => {
                    mistakes.push(Mistake::new("name", format!("{name:?} is the name of entry [{first}] already")).inside(&outer))
                }
                None => {
                    names.insert(name.trim().to_owned(), index);
                }
            }
        }
        match checked {
            Ok(document) => documents.push(document),
            Err(wrong) => mistakes.extend(wrong.into_iter().map(|mistake| mistake.inside(&outer))),
        }
    }
    let lists = entries.iter().map(names_of);
    let all: Dependencies = lists.clone().flatten().collect();
    for (index, (name, _)) in lists.enumerate().filter_map(|(index, entry)| Some((index, entry?))) {
        let wrong = dependencies::check(&all, &name, alone);
        mistakes.extend(wrong.into_iter().map(|mistake| mistake.inside(&format!("[{index}]"))));
    }
    let mut mistakes: Vec<Mistake> = mistakes.into_iter().map(|mistake| at(path, json_position(text, &mistake.path), mistake)).collect();
    let twice = |(key, position)| at(path, Some(position), Mistake::new(key, "is given twice"));
    mistakes.extend(repeated_keys(text).into_iter().map(twice));
    mistakes.sort_by_key(|mistake| mistake.position);
    if mistakes.is_empty() { Ok(documents) } else { Err(mistakes) }
}

/// An entry's name and those it depends on, as far as they are texts.
fn names_of(entry: &Value) -> Option<(String, Vec<String>)> {
    let name = entry.get("name")?.as_str()?.trim().to_owned();
    let names = entry.get("depends_on").and_then(Value::as_array).into_iter().flatten();
    Some((name, names.filter_map(Value::as_str).map(str::to_owned).collect()))
}

fn at(path: &Path, position: Option<(usize, usize)>, mistake: Mistake) -> Mistake {
    Mistake { file: Some(path.to_owned()), position, ..mistake }
}
