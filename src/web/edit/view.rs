//! What the form of a service and the question before its end show.

use std::collections::BTreeMap;
use std::time::Duration;

use askama::Template;

use crate::web::edit::tried::TriedPart;
use crate::web::frame::Frame;
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

    /// `path` is the field of the document, named where the form's field is not it.
    pub fn add(&mut self, field: Option<&str>, path: &str, message: &str) {
        let exact = field == Some(path) || path.is_empty();
        let text = if exact { message.to_owned() } else { format!("{path}: {message}") };
        self.0.entry(field.unwrap_or_default().to_owned()).or_default().push(text);
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
