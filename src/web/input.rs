//! A field of a form as it is drawn: what was typed, what may be chosen, what is wrong with it; and the way from a form to the
//! document the API takes.
//!
//! A field is named by the path of what it fills in such a document, so that a mistake finds its field.

use std::cell::RefCell;
use std::collections::BTreeSet;

use askama::Template;
use serde_json::{Map, Number, Value};

use crate::api::error::FieldError;
use crate::web::text::Text;
use crate::web::visit::Fields;

#[derive(Template)]
#[template(path = "parts/input.html")]
pub struct Input {
    pub name: String,
    pub label: String,
    pub help: String,
    pub kind: Kind,
    pub value: String,
    pub placeholder: String,
    pub wrong: Vec<String>,
    /// How much of a row it takes: nothing, `half`, `wide` or `whole`.
    pub width: &'static str,
    pub required: bool,
    /// `name=value` of a choice with which alone it is shown, where a script may.
    pub when: &'static str,
    /// Which keyboard a phone shows.
    pub mode: &'static str,
    /// The list of what may be typed, by its id.
    pub list: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `dir` of its text.
    Line(&'static str),
    /// A moment: in UTC as it stands, in the viewer's zone where a script may.
    Instant,
    Secret,
    /// Never filled in.
    Password,
    /// A secret that is kept is filled in with its mask.
    Kept,
    Area(u8),
    /// Lines that run from left to right in every language.
    Code(u8),
    Choice(Vec<Choice>),
    Several(Vec<Choice>),
    Flag,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    pub value: String,
    pub label: String,
    pub chosen: bool,
}

impl Input {
    pub fn help(self, help: impl Into<String>) -> Input {
        Input { help: help.into(), ..self }
    }

    pub fn placeholder(self, placeholder: impl Into<String>) -> Input {
        Input { placeholder: placeholder.into(), ..self }
    }

    pub fn width(self, width: &'static str) -> Input {
        Input { width, ..self }
    }

    pub fn when(self, when: &'static str) -> Input {
        Input { when, ..self }
    }

    pub fn mode(self, mode: &'static str) -> Input {
        Input { mode, ..self }
    }

    pub fn list(self, list: &'static str) -> Input {
        Input { list, ..self }
    }

    /// What its element carries when something is wrong: that it is, and where that is told. Safe as it is.
    pub fn marks(&self) -> String {
        match self.wrong.is_empty() {
            true => String::new(),
            false => format!(" aria-invalid=\"true\" aria-describedby=\"{}-wrong\"", self.id()),
        }
    }

    pub fn required(self) -> Input {
        Input { required: true, ..self }
    }

    pub fn is_line(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Line(dir) => Some(dir),
            _ => None,
        }
    }

    /// In ids of elements, which must not hold everything a name may.
    pub fn id(&self) -> String {
        let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '-' };
        format!("f-{}", self.name.chars().map(plain).collect::<String>())
    }
}

/// A part of a form.
pub struct Group {
    pub legend: &'static str,
    pub inputs: Vec<Input>,
}

/// What was sent and what is wrong with it, from which fields are made.
pub struct Sheet<'a> {
    pub t: Text,
    pub fields: &'a Fields,
    errors: &'a [FieldError],
    placed: RefCell<BTreeSet<usize>>,
}

impl<'a> Sheet<'a> {
    pub fn new(t: Text, fields: &'a Fields, errors: &'a [FieldError]) -> Sheet<'a> {
        Sheet { t, fields, errors, placed: RefCell::default() }
    }

    pub fn line(&self, name: &str, label: &'static str) -> Input {
        self.input(name, self.t.s(label), Kind::Line("auto"))
    }

    /// One that runs from left to right in every language: numbers, times, addresses.
    pub fn code(&self, name: &str, label: &'static str) -> Input {
        self.input(name, self.t.s(label), Kind::Line("ltr"))
    }

    /// A span as [`seconds`] reads it. Whoever checks it counts seconds; what is wrong is told in the words it is typed in.
    pub fn span(&self, name: &str, label: &'static str) -> Input {
        let input = self.code(name, label);
        let typed = self.fields.text(name).unwrap_or_default();
        let plain = |message: &String| match seconds(typed).is_number() {
            _ if typed.is_empty() => message.clone(),
            true => in_spans(message).map_or_else(
                || message.clone(),
                |(least, most)| self.t.with("edit.span_range", &[("least", &least), ("most", &most), ("typed", typed)]),
            ),
            false => self.t.one("edit.no_span", typed),
        };
        Input { wrong: input.wrong.iter().map(plain).collect(), ..input }
    }

    pub fn instant(&self, name: &str, label: &'static str) -> Input {
        self.input(name, self.t.s(label), Kind::Instant)
    }

    pub fn area(&self, name: &str, label: &'static str, rows: u8) -> Input {
        self.input(name, self.t.s(label), Kind::Area(rows)).width("whole")
    }

    pub fn flag(&self, name: &str, label: &'static str) -> Input {
        self.input(name, self.t.s(label), Kind::Flag).width("whole")
    }

    pub fn choice(&self, name: &str, label: &'static str, choices: Vec<(String, String)>) -> Input {
        let kind = Kind::Choice(self.choices(name, choices));
        self.input(name, self.t.s(label), kind)
    }

    pub fn several(&self, name: &str, label: &'static str, choices: Vec<(String, String)>) -> Input {
        let kind = Kind::Several(self.choices(name, choices));
        self.input(name, self.t.s(label), kind).width("whole")
    }

    pub fn input(&self, name: &str, label: &str, kind: Kind) -> Input {
        Input {
            name: name.to_owned(),
            label: label.to_owned(),
            help: String::new(),
            kind,
            value: self.fields.get(name).unwrap_or_default().to_owned(),
            placeholder: String::new(),
            wrong: self.wrong(name),
            width: "",
            required: false,
            when: "",
            mode: "",
            list: "",
        }
    }

    pub fn choices(&self, name: &str, choices: Vec<(String, String)>) -> Vec<Choice> {
        let chosen = |value: &str| self.fields.all(name).any(|one| one == value);
        choices.into_iter().map(|(value, label)| Choice { chosen: chosen(&value), value, label }).collect()
    }

    /// The mistakes of a field and of what is within it.
    fn wrong(&self, name: &str) -> Vec<String> {
        let mut placed = self.placed.borrow_mut();
        let mut told = Vec::new();
        for (place, error) in self.errors.iter().enumerate() {
            let Some(rest) = error.field.strip_prefix(name) else { continue };
            match rest.chars().next() {
                None => told.push(error.message.clone()),
                Some('[') => told.push(self.of_piece(name, rest, &error.message)),
                Some('.') => told.push(format!("{}: {}", rest.trim_start_matches('.'), error.message)),
                _ => continue,
            }
            placed.insert(place);
        }
        told
    }

    /// A mistake of one of several values, which people know by what they typed and not by its place.
    fn of_piece(&self, name: &str, place: &str, message: &str) -> String {
        let index = place.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).and_then(|index| index.parse::<usize>().ok());
        match index.and_then(|index| self.fields.all(name).flat_map(parts).nth(index)) {
            Some(piece) if message.contains(piece) => message.to_owned(),
            Some(piece) => format!("{piece}: {message}"),
            None => format!("{place}: {message}"),
        }
    }

    /// The mistakes no field was made for, to be asked for when all fields are.
    pub fn rest(&self) -> Vec<String> {
        let placed = self.placed.borrow();
        let left = self.errors.iter().enumerate().filter(|(place, _)| !placed.contains(place)).map(|(_, error)| error);
        left.map(|error| if error.field.is_empty() { error.message.clone() } else { format!("{}: {}", error.field, error.message) })
            .collect()
    }
}

/// A document that is filled from a form, field by field; what was left empty is left out.
pub struct Document<'a> {
    fields: &'a Fields,
    pub made: Map<String, Value>,
}

impl<'a> Document<'a> {
    pub fn of(fields: &'a Fields) -> Document<'a> {
        Document { fields, made: Map::new() }
    }

    pub fn text(&mut self, name: &str) -> &mut Self {
        let value = self.fields.text(name).map(Value::from);
        self.set(name, value)
    }

    /// A number, or what was typed instead: whoever checks the document says what is wrong with it.
    pub fn number(&mut self, name: &str) -> &mut Self {
        let value = self.fields.text(name).map(number);
        self.set(name, value)
    }

    /// A box that is not ticked is not sent.
    pub fn flag(&mut self, name: &str) -> &mut Self {
        let value = Value::from(self.fields.get(name) == Some("true"));
        self.set(name, Some(value))
    }

    /// Texts parted by commas or lines, one field or several of the same name.
    pub fn texts(&mut self, name: &str) -> &mut Self {
        let value = self.parts(name).map(Value::from).collect();
        self.set(name, Some(Value::Array(value)))
    }

    pub fn numbers(&mut self, name: &str) -> &mut Self {
        let value = self.parts(name).map(number).collect();
        self.set(name, Some(Value::Array(value)))
    }

    fn parts(&self, name: &str) -> impl Iterator<Item = &'a str> {
        let fields = self.fields;
        let name = name.to_owned();
        fields.0.iter().filter(move |(other, _)| *other == name).flat_map(|(_, value)| parts(value))
    }

    fn set(&mut self, name: &str, value: Option<Value>) -> &mut Self {
        if let Some(value) = value {
            self.made.insert(name.to_owned(), value);
        }
        self
    }
}

/// The pieces of a text parted by commas or lines.
pub fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', '\n']).map(str::trim).filter(|part| !part.is_empty())
}

pub fn number(text: &str) -> Value {
    let plain = plain_digits(text.trim());
    if let Ok(whole) = plain.parse::<u64>() {
        return Value::from(whole);
    }
    if let Ok(whole) = plain.parse::<i64>() {
        return Value::from(whole);
    }
    plain.parse::<f64>().ok().and_then(Number::from_f64).map_or_else(|| Value::from(text), Value::Number)
}

/// Digits and decimal points as keyboards of Persian and Arabic write them, as a parser knows them.
fn plain_digits(text: &str) -> String {
    let plain = |letter: char| match letter {
        '\u{6f0}'..='\u{6f9}' => char::from_digit(u32::from(letter) - 0x6f0, 10).unwrap_or(letter),
        '\u{660}'..='\u{669}' => char::from_digit(u32::from(letter) - 0x660, 10).unwrap_or(letter),
        '\u{66b}' => '.',
        other => other,
    };
    text.chars().map(plain).collect()
}

/// A value as it is typed: texts of a list in lines.
pub fn typed(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(typed).collect::<Vec<_>>().join("\n"),
        Value::Number(number) => number.as_f64().map_or_else(|| number.to_string(), |number| format!("{number}")),
        other => other.to_string(),
    }
}

/// Seconds as people write spans: `90`, `15 min`, `2 h`, `1 d`; what is none of these as it was typed.
pub fn seconds(text: &str) -> Value {
    let text = text.trim();
    let plain = plain_digits(text);
    let digits = plain.trim_end_matches(|letter: char| letter.is_alphabetic()).trim_end();
    let unit = plain[digits.len()..].trim().to_lowercase();
    let factor = UNITS.iter().find(|(names, _)| names.contains(&unit.as_str())).map(|(_, factor)| *factor);
    match (digits.parse::<f64>(), factor) {
        (Ok(count), Some(factor)) => Number::from_f64(count * factor).map_or_else(|| Value::from(text), Value::Number),
        _ => Value::from(text),
    }
}

/// The ends of a range that is told in seconds.
fn in_spans(message: &str) -> Option<(String, String)> {
    let range = message.strip_prefix("must be a number from ").or_else(|| message.strip_prefix("must be from "))?;
    let (range, _) = range.split_once(", not ")?;
    let (least, most) = range.trim_end_matches(" seconds").split_once(" to ")?;
    Some((typed_seconds(least.parse().ok()?), typed_seconds(most.parse().ok()?)))
}

const UNITS: [(&[&str], f64); 4] = [
    (&["", "s", "sec", "second", "seconds"], 1.0),
    (&["m", "min", "minute", "minutes"], 60.0),
    (&["h", "hour", "hours"], 3_600.0),
    (&["d", "day", "days"], 86_400.0),
];

/// The same the other way round, in the largest unit that leaves no rest.
pub fn typed_seconds(seconds: f64) -> String {
    for (name, factor) in [("d", 86_400.0), ("h", 3_600.0), ("min", 60.0)] {
        if seconds >= factor && seconds % factor == 0.0 {
            return format!("{} {name}", seconds / factor);
        }
    }
    format!("{seconds} s")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn spans_are_read_as_people_write_them_and_written_as_they_read_them() {
        for (text, value) in [("90", 90.0), ("15 min", 900.0), ("2h", 7_200.0), ("1.5 d", 129_600.0), (" 7 s ", 7.0)] {
            assert_eq!(seconds(text).as_f64(), Some(value), "{text}");
        }
        assert_eq!(seconds("soon"), json!("soon"));
        assert_eq!(seconds("5 parsecs"), json!("5 parsecs"));
        for (value, text) in [(90.0, "90 s"), (900.0, "15 min"), (7_200.0, "2 h"), (172_800.0, "2 d"), (0.5, "0.5 s")] {
            assert_eq!(typed_seconds(value), text);
            assert_eq!(seconds(text).as_f64(), Some(value));
        }
    }

    #[test]
    fn numbers_are_read_in_the_digits_of_every_keyboard() {
        for (text, value) in [("۵", json!(5)), (" ٤٢ ", json!(42)), ("۱۲٫۵", json!(12.5)), ("-۱", json!(-1)), ("7", json!(7))] {
            assert_eq!(number(text), value, "{text}");
        }
        assert_eq!(number("پنج"), json!("پنج"));
        assert_eq!(seconds("۱۵ min").as_f64(), Some(900.0));
    }

    #[test]
    fn a_span_that_is_wrong_is_told_as_it_is_typed() {
        let error = |message: &str| [FieldError { field: "for_s".to_owned(), message: message.to_owned() }];
        let told = |typed: &str, message: &str| {
            let (mut fields, errors) = (Fields::default(), error(message));
            fields.set("for_s", typed);
            Sheet::new(Text(crate::web::text::Lang::English), &fields, &errors).span("for_s", "edit.name").wrong
        };
        assert_eq!(told("soon", "must be a number, not \"soon\""), ["must be a span such as 90 s, 15 min, 2 h or 1 d, not “soon”"]);
        assert_eq!(told("5", "must be a number from 60 to 604800, not 5.0"), ["must be from 1 min to 7 d, not 5"]);
        assert_eq!(told("5 s", "must be from 10 to 2592000 seconds, not 5"), ["must be from 10 s to 30 d, not 5 s"]);
        assert_eq!(told("", "is required"), ["is required"]);
    }

    #[test]
    fn a_mistake_stands_at_its_field_and_every_other_one_is_told_on_top() {
        let fields = Fields::parse(b"name=Shop&quiet.from=late&tags=a%0Ab");
        let error = |field: &str| FieldError { field: field.to_owned(), message: "is wrong".to_owned() };
        let errors = [error("quiet.from"), error("channels[1]"), error("tags[1]"), error("colour"), error("")];
        let sheet = Sheet::new(Text(crate::web::text::Lang::English), &fields, &errors);
        let from = sheet.code("quiet.from", "edit.name");
        assert_eq!((from.value.as_str(), from.wrong.as_slice()), ("late", ["is wrong".to_owned()].as_slice()));
        assert_eq!(sheet.several("channels", "edit.name", Vec::new()).wrong, ["[1]: is wrong"]);
        assert_eq!(sheet.area("tags", "edit.name", 2).wrong, ["b: is wrong"]);
        assert!(sheet.line("name", "edit.name").wrong.is_empty());
        assert_eq!(sheet.rest(), ["colour: is wrong", "is wrong"]);
    }
}
