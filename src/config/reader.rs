//! Asks the merged sources for one checked value after another, and collects what is wrong with each.
//!
//! Each question names its path, so that in the end the questions are the list of all keys there are: what a file or a variable
//! gave beyond them is refused by name. A value that is wrong is answered with the default, so that reading goes on.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use figment::Figment;
use figment::providers::{Format, Serialized, Toml};
use figment::value::Value;

use crate::config::effective::{Origin, Setting};
use crate::config::file::TomlFile;
use crate::config::mistake::Mistake;
use crate::config::nearest::{nearest, suggestion};
use crate::config::sources::{Sources, Variables};

/// The section whose tables have names of their own.
const NAMED: &str = "dependencies";

pub struct Reader<'a> {
    sources: &'a Sources,
    file: Option<&'a TomlFile>,
    variables: &'a Variables,
    merged: Figment,
    asked: BTreeSet<String>,
    mistakes: Vec<Mistake>,
    /// What was answered, in the order of the questions.
    answers: Vec<Setting>,
}

/// What a key's number counts; its name ends in the unit.
#[derive(Clone, Copy)]
pub enum Unit {
    Milliseconds,
    Seconds,
    Minutes,
    Hours,
    Days,
}

impl Unit {
    fn seconds(self) -> f64 {
        match self {
            Unit::Milliseconds => 1e-3,
            Unit::Seconds => 1.0,
            Unit::Minutes => 60.0,
            Unit::Hours => 3_600.0,
            Unit::Days => 86_400.0,
        }
    }
}

impl<'a> Reader<'a> {
    /// `tables` are those of the file that are read; others in it are refused by `finish`, and do not count before.
    pub fn new(sources: &'a Sources, file: Option<&'a TomlFile>, variables: &'a Variables, tables: &[&str]) -> Reader<'a> {
        let mut merged = Figment::new();
        if let Some(file) = file {
            let given = Figment::from(Toml::string(&file.text));
            for table in tables {
                if let Ok(value) = given.find_value(table) {
                    merged = merged.merge(Serialized::default(table, value));
                }
            }
        }
        for (path, variable) in variables.iter() {
            // Read as figment reads variables: a number, a boolean, a list, or else a text.
            let value: Value = match variable.text.parse() {
                Ok(value) => value,
                Err(never) => match never {},
            };
            merged = merged.merge(Serialized::default(path, value));
        }
        Reader { sources, file, variables, merged, asked: BTreeSet::new(), mistakes: Vec::new(), answers: Vec::new() }
    }

    pub fn whole(&mut self, path: &str, default: u64, range: RangeInclusive<u64>) -> u64 {
        let answer = self.whole_of(path, default, range);
        self.answered(path, answer);
        answer
    }

    fn whole_of(&mut self, path: &str, default: u64, range: RangeInclusive<u64>) -> u64 {
        let Some(value) = self.value(path) else { return default };
        let Some(number) = whole_number(&value) else {
            self.wrong(path, format!("must be a whole number, not {}", written(&value)));
            return default;
        };
        match u64::try_from(number) {
            Ok(number) if range.contains(&number) => number,
            _ => {
                self.wrong(path, outside(&range, "", number));
                default
            }
        }
    }

    /// A span, written as a number of `unit`; the range is in that unit too.
    pub fn span(&mut self, path: &str, unit: Unit, default: f64, range: RangeInclusive<f64>) -> Duration {
        let name = unit_name(path.rsplit('_').next().unwrap_or_default());
        let answer = self.number_of(path, name, default, range);
        self.answered(path, answer);
        Duration::from_secs_f64(answer * unit.seconds())
    }

    /// A number that counts nothing.
    pub fn number(&mut self, path: &str, default: f64, range: RangeInclusive<f64>) -> f64 {
        let answer = self.number_of(path, "", default, range);
        self.answered(path, answer);
        answer
    }

    fn number_of(&mut self, path: &str, unit: &str, default: f64, range: RangeInclusive<f64>) -> f64 {
        let Some(value) = self.value(path) else { return default };
        match value.to_f64().or_else(|| whole_number(&value).map(|number| number as f64)) {
            Some(number) if range.contains(&number) => number,
            Some(number) => {
                self.wrong(path, outside(&range, unit, number));
                default
            }
            None => {
                self.wrong(path, format!("must be a number, not {}", written(&value)));
                default
            }
        }
    }

    pub fn flag(&mut self, path: &str, default: bool) -> bool {
        let answer = self.flag_of(path, default);
        self.answered(path, answer);
        answer
    }

    fn flag_of(&mut self, path: &str, default: bool) -> bool {
        let Some(value) = self.value(path) else { return default };
        value.to_bool().unwrap_or_else(|| {
            self.wrong(path, format!("must be true or false, not {}", written(&value)));
            default
        })
    }

    pub fn text(&mut self, path: &str) -> Option<String> {
        let answer = self.text_of(path);
        self.answered(path, answer.as_deref().unwrap_or_default());
        answer
    }

    fn text_of(&mut self, path: &str) -> Option<String> {
        let value = self.value(path)?;
        // A password of digits is a text all the same.
        if let Some(variable) = self.variables.get(path) {
            return Some(variable.text.clone());
        }
        match value {
            Value::String(_, text) => Some(text),
            // The value is not repeated: it may be meant as a password.
            other => {
                self.wrong(path, format!("must be a text in quotes, not {}", kind(&other)));
                None
            }
        }
    }

    pub fn path(&mut self, path: &str) -> Option<PathBuf> {
        let text = self.text(path)?;
        if text.is_empty() {
            self.wrong(path, "must not be empty");
            return None;
        }
        Some(self.sources.resolve(text))
    }

    /// A list of texts; a variable may also part them by commas.
    pub fn list(&mut self, path: &str) -> Vec<String> {
        let answer = self.list_of(path);
        self.answered(path, answer.join(", "));
        answer
    }

    fn list_of(&mut self, path: &str) -> Vec<String> {
        match self.value(path) {
            None => Vec::new(),
            Some(Value::Array(_, entries)) => {
                let mut texts = Vec::with_capacity(entries.len());
                for (index, entry) in entries.into_iter().enumerate() {
                    match entry {
                        Value::String(_, text) => texts.push(text),
                        other => self.wrong(&format!("{path}[{index}]"), format!("must be a text in quotes, not {}", written(&other))),
                    }
                }
                texts
            }
            Some(_) if self.variables.get(path).is_some() => {
                let text = self.variables.get(path).map(|variable| variable.text.clone()).unwrap_or_default();
                text.split(',').map(|entry| entry.trim().to_owned()).filter(|entry| !entry.is_empty()).collect()
            }
            Some(other) => {
                self.wrong(path, format!("must be a list of texts, not {}", written(&other)));
                Vec::new()
            }
        }
    }

    /// All that was asked for with what was answered and where it came from; of a key that was asked for twice, the first.
    pub fn answers(&mut self) -> Vec<Setting> {
        std::mem::take(&mut self.answers)
    }

    fn answered(&mut self, path: &str, answer: impl Display) {
        if self.answers.iter().any(|other| other.path == path) {
            return;
        }
        let origin = match (self.variables.get(path), self.file) {
            (Some(variable), _) => Origin::Variable(variable.name.clone()),
            (None, Some(file)) if file.contains(path) => Origin::File(file.path.clone()),
            _ => Origin::Default,
        };
        self.answers.push(Setting::new(path, answer, origin, variable_name(path)));
    }

    /// Adds a mistake at a path, with the variable or the file that gave the value.
    pub fn wrong(&mut self, path: &str, message: impl Into<String>) {
        let whole = path.split('[').next().unwrap_or(path);
        let mistake = match (self.variables.get(whole), self.file) {
            (Some(variable), _) => Mistake::new(format!("{}{}", variable.name, &path[whole.len()..]), message),
            (None, Some(file)) => file.locate(Mistake::new(path, message)),
            (None, None) => Mistake::new(path, message),
        };
        self.mistakes.push(mistake);
    }

    /// All mistakes, those of unknown keys among them. Call it when everything has been asked for.
    pub fn finish(mut self, tables: &[&str]) -> Vec<Mistake> {
        let tables: Vec<String> = tables.iter().flat_map(|table| self.with_keys(table)).collect();
        let unknown: Vec<(String, String)> = self
            .file
            .iter()
            .flat_map(|file| tables.iter().flat_map(|table| file.keys_of(table).into_iter().map(move |key| (table.clone(), key))))
            .filter(|(table, key)| !self.asked.contains(format!("{table}.{key}").as_str()))
            .collect();
        for (table, key) in unknown {
            let siblings = self.asked.iter().filter_map(|path| path.strip_prefix(table.as_str())?.strip_prefix('.'));
            let message = format!("is not a key of [{table}]{}", suggestion(&key, siblings));
            self.wrong(&format!("{table}.{key}"), message);
        }
        for (path, variable) in self.variables.iter() {
            if !self.asked.contains(path) {
                let hint = self.meant(path).map_or_else(String::new, |meant| format!("; did you mean {}?", variable_name(meant)));
                self.mistakes.push(Mistake::new(variable.name.as_str(), format!("is not a setting{hint}")));
            }
        }
        self.mistakes
    }

    /// The names of the tables below `path`, of a section in which each has a name its writer chose.
    pub fn tables_below(&mut self, path: &str) -> Vec<String> {
        let Some(Value::Dict(_, named)) = self.merged.find_value(path).ok() else { return Vec::new() };
        let mut names = Vec::with_capacity(named.len());
        for (name, value) in named {
            match value {
                Value::Dict(..) => names.push(name),
                _ => self.wrong(&format!("{path}.{name}"), "must be a table"),
            }
        }
        names
    }

    /// A table as it stands in the file, or those below it where they have names of their own.
    fn with_keys(&self, table: &str) -> Vec<String> {
        match (table == NAMED, self.file) {
            (true, Some(file)) => file.keys_of(table).into_iter().map(|name| format!("{table}.{name}")).collect(),
            _ => vec![table.to_owned()],
        }
    }

    /// The path that was probably meant: a key like it in its section, or the same key in a section like it.
    fn meant(&self, path: &str) -> Option<&str> {
        let (section, key) = path.split_once('.')?;
        let siblings = self.asked.iter().filter_map(|path| path.strip_prefix(section)?.strip_prefix('.'));
        let (section, key) = match nearest(key, siblings) {
            Some(key) => (section, key),
            None => (nearest(section, self.asked.iter().filter_map(|path| path.split('.').next()))?, key),
        };
        self.asked.get(format!("{section}.{key}").as_str()).map(String::as_str)
    }

    fn value(&mut self, path: &str) -> Option<Value> {
        self.asked.insert(path.to_owned());
        self.merged.find_value(path).ok()
    }
}

fn whole_number(value: &Value) -> Option<i128> {
    value.to_i128().or_else(|| i128::try_from(value.to_u128()?).ok())
}

fn variable_name(path: &str) -> String {
    format!("PROBEMESH_{}", path.replace('.', "__").to_uppercase())
}

fn outside(range: &RangeInclusive<impl Display>, unit: &str, given: impl Display) -> String {
    format!("must be from {} to {}{unit}, not {given}", range.start(), range.end())
}

fn unit_name(suffix: &str) -> &'static str {
    match suffix {
        "ms" => " milliseconds",
        "s" => " seconds",
        "minutes" => " minutes",
        "hours" => " hours",
        "days" => " days",
        _ => "",
    }
}

/// The value as a person wrote it, if short, else what it is.
fn written(value: &Value) -> String {
    match value {
        Value::String(_, text) if text.chars().count() <= 40 => format!("{text:?}"),
        Value::Bool(_, flag) => flag.to_string(),
        Value::Num(_, number) => {
            whole_number(value).map_or_else(|| number.to_f64().unwrap_or(f64::NAN).to_string(), |number| number.to_string())
        }
        other => kind(other).to_owned(),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(..) | Value::Char(..) => "a text",
        Value::Bool(..) => "a boolean",
        Value::Num(..) => "a number",
        Value::Array(..) => "a list",
        Value::Dict(..) => "a table",
        Value::Empty(..) => "nothing",
    }
}
