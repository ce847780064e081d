//! What the form of a service and the question before its end show.

use std::collections::BTreeMap;
use std::time::Duration;

use askama::Template;

use crate::web::edit::tried::TriedPart;
use crate::web::frame::Frame;
use crate::web::input::{Choice, Input, Kind};
use crate::web::moment::{Moment, span};
use crate::web::visit::Fields;

#[derive(Template)]
#[template(path = "edit.html")]
pub struct EditPage {
    pub frame: Frame,
    /// `None`: a new one.
    pub id: Option<u32>,
    pub fields: Fields,
    pub wrong: Wrong,
    pub tried: Option<TriedPart>,
    pub notes: Vec<String>,
    /// Regions there are, and those the service names.
    pub regions: Vec<String>,
    /// Regions it can be tried from, beside the hub itself.
    pub places: Vec<String>,
    pub groups: Vec<String>,
}

/// Mistakes by the field of the form they belong to; those of none under the empty name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wrong(BTreeMap<String, Vec<String>>);

impl Wrong {
    pub fn one(field: &str, message: &str) -> Wrong {
        Wrong(BTreeMap::from([(field.to_owned(), vec![message.to_owned()])]))
    }

    pub fn add(&mut self, field: &str, message: String) {
        self.0.entry(field.to_owned()).or_default().push(message);
    }

    pub fn take(&mut self, more: Wrong) {
        more.0.into_iter().for_each(|(field, messages)| self.0.entry(field).or_default().extend(messages));
    }

    pub fn count(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    fn of(&self, field: &str) -> &[String] {
        self.0.get(field).map_or(&[], Vec::as_slice)
    }

    fn any(&self, fields: &[&str]) -> bool {
        fields.iter().any(|field| self.0.contains_key(*field))
    }
}

impl EditPage {
    fn field(&self, name: &str, label: &'static str, kind: Kind) -> Input {
        Input {
            name: name.to_owned(),
            label: self.frame.t.s(label).to_owned(),
            help: String::new(),
            kind,
            value: self.v(name).to_owned(),
            placeholder: String::new(),
            wrong: self.wrong.of(name).to_vec(),
            width: "",
            required: false,
            when: "",
            mode: "",
            list: "",
        }
    }

    fn line(&self, name: &str, label: &'static str) -> Input {
        self.field(name, label, Kind::Line("auto"))
    }

    /// An address, a time, a name of a protocol.
    fn code(&self, name: &str, label: &'static str, placeholder: &str) -> Input {
        self.field(name, label, Kind::Line("ltr")).placeholder(placeholder)
    }

    fn whole(&self, name: &str, label: &'static str, placeholder: &str) -> Input {
        self.code(name, label, placeholder).mode("numeric")
    }

    fn decimal(&self, name: &str, label: &'static str, placeholder: &str) -> Input {
        self.code(name, label, placeholder).mode("decimal")
    }

    /// Lines of texts people write.
    fn texts(&self, name: &str, label: &'static str) -> Input {
        self.field(name, label, Kind::Area(2)).width("half")
    }

    fn lines(&self, name: &str, label: &'static str, rows: u8, placeholder: &str) -> Input {
        self.field(name, label, Kind::Code(rows)).placeholder(placeholder).width("half")
    }

    fn secret(&self, name: &str, label: &'static str) -> Input {
        self.field(name, label, Kind::Kept)
    }

    fn flag(&self, name: &str, label: &'static str) -> Input {
        self.field(name, label, Kind::Flag)
    }

    /// Values with the keys of their words, or with the words themselves. A value that is none of them is one more, so that it
    /// stays what it is.
    fn choice(&self, name: &str, label: &'static str, known: &[(&str, &'static str)]) -> Input {
        let value = self.v(name);
        let unknown = (!known.iter().any(|(one, _)| *one == value) && !value.is_empty()).then_some((value, value));
        let known = known.iter().map(|(value, word)| (*value, self.frame.t.s(word)));
        let choices =
            known.chain(unknown).map(|(one, word)| Choice { value: one.to_owned(), label: word.to_owned(), chosen: one == value });
        let kind = Kind::Choice(choices.collect());
        self.field(name, label, kind)
    }

    fn method(&self) -> Input {
        self.choice("method", "edit.method", &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"].map(|name| (name, name)))
    }

    fn region_boxes(&self) -> Input {
        let one = |region: &String| Choice { value: region.clone(), label: region.clone(), chosen: self.has("regions", region) };
        self.field("regions", "edit.regions", Kind::Several(self.regions.iter().map(one).collect()))
    }

    fn v(&self, field: &str) -> &str {
        self.fields.get(field).unwrap_or_default()
    }

    fn is(&self, field: &str, value: &str) -> bool {
        self.v(field) == value
    }

    fn has(&self, field: &str, value: &str) -> bool {
        self.fields.all(field).any(|one| one == value)
    }

    /// Whether any of these fields holds something, or something wrong: then its part of the form is open.
    fn used(&self, fields: &[&str]) -> bool {
        self.wrong.any(fields) || fields.iter().any(|field| !self.v(field).trim().is_empty())
    }

    fn action(&self) -> String {
        self.id.map_or_else(|| "/services/new".to_owned(), |id| format!("/services/{id}/edit"))
    }
}

#[derive(Template)]
#[template(path = "delete.html")]
pub struct DeletePage {
    pub frame: Frame,
    pub id: u32,
    pub incidents: u64,
    pub findings: u64,
    pub regions: String,
    /// Services that depend on it, by number and name.
    pub dependents: Vec<(u32, String)>,
    /// It was to be deleted without a word on these.
    pub unsaid: bool,
    /// How much time was measured of it.
    pub measured: Option<Duration>,
    pub since: Moment,
}

impl DeletePage {
    fn measured_text(&self) -> Option<String> {
        self.measured.map(|measured| span(self.frame.t, measured))
    }

    fn counts_text(&self) -> String {
        let t = self.frame.t;
        let incidents = t.count("delete.incident", "delete.incidents", self.incidents);
        format!("{incidents}, {}", t.count("delete.finding", "delete.findings", self.findings))
    }
}
