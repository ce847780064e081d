//! A TOML file with the place of each of its keys.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml_edit::{ImDocument, Item, TableLike, Value};

use crate::config::locate::line_column;
use crate::config::mistake::Mistake;

#[derive(Debug)]
pub struct TomlFile {
    pub path: PathBuf,
    pub text: String,
    document: ImDocument<String>,
}

impl TomlFile {
    /// Reads and parses a file; `Ok(None)` where there is none.
    pub fn read(path: &Path) -> Result<Option<TomlFile>, Mistake> {
        let wrong = |position, message| Mistake { file: Some(path.to_owned()), position, path: String::new(), message };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(err) => return Err(wrong(None, format!("cannot be read: {err}"))),
        };
        match ImDocument::parse(text.clone()) {
            Ok(document) => Ok(Some(TomlFile { path: path.to_owned(), text, document })),
            Err(err) => {
                let position = err.span().map(|span| line_column(&text, span.start));
                let message = err.message().lines().collect::<Vec<_>>().join(", ");
                Err(wrong(position, format!("is not TOML: {message}")))
            }
        }
    }

    /// The mistake with this file, and the place of its path where that is known.
    pub fn locate(&self, mistake: Mistake) -> Mistake {
        let position = self.span(&mistake.path).map(|span| line_column(&self.text, span.start));
        Mistake { file: Some(self.path.clone()), position, ..mistake }
    }

    pub fn contains(&self, path: &str) -> bool {
        let segments: Vec<&str> = path.split('.').collect();
        let mut table: &dyn TableLike = self.document.as_table();
        for (index, segment) in segments.iter().enumerate() {
            let Some(item) = table.get(segment) else { return false };
            match item.as_table_like() {
                Some(inner) => table = inner,
                None => return index + 1 == segments.len(),
            }
        }
        true
    }

    /// The keys at the top, with whether each is a table.
    pub fn top(&self) -> Vec<(&str, bool)> {
        self.document.as_table().iter().map(|(key, item)| (key, item.is_table_like())).collect()
    }

    /// The keys of the table at a path.
    pub fn keys_of(&self, path: &str) -> Vec<String> {
        let mut table: &dyn TableLike = self.document.as_table();
        for name in path.split('.') {
            let Some(inner) = table.get(name).and_then(Item::as_table_like) else { return Vec::new() };
            table = inner;
        }
        table.iter().map(|(key, _)| key.to_owned()).collect()
    }

    /// The span of the key at a path such as `probe.blocked_networks[0]`, or of the innermost that exists on the way to it.
    fn span(&self, path: &str) -> Option<Range<usize>> {
        let mut table: &dyn TableLike = self.document.as_table();
        let mut found = None;
        for segment in path.split('.') {
            let (name, index) = match segment.split_once('[') {
                Some((name, index)) => (name, index.trim_end_matches(']').parse::<usize>().ok()),
                None => (segment, None),
            };
            let Some((key, item)) = table.get_key_value(name) else { break };
            // A table's header has no span of its own key where other tables stand between; the item's then serves.
            found = key.span().or_else(|| item.span()).or(found);
            if let Some(entry) = index.and_then(|index| item.as_array()?.get(index)) {
                found = Value::span(entry).or(found);
            }
            match item.as_table_like() {
                Some(inner) => table = inner,
                None => break,
            }
        }
        found
    }
}
