//! The form of an issue, new or there already.

use askama::Template;

use crate::api::error::{ApiError, FieldError};
use crate::api::markdown::plain;
use crate::api::query::Query;
use crate::api::state::ApiState;
use crate::model::finding::FindingId;
use crate::model::incident::{IncidentId, Severity};
use crate::model::issue::{Issue, IssueType, Priority};
use crate::web::frame::{Frame, Section};
use crate::web::input::{Group, Sheet};
use crate::web::text::Text;
use crate::web::visit::{Fields, Visit};

#[derive(Template)]
#[template(path = "form.html")]
pub struct FormPage {
    pub frame: Frame,
    /// Where it came from: path and name.
    pub back: (String, String),
    pub action: String,
    pub save: &'static str,
    pub intro: String,
    pub hidden: Vec<(&'static str, String)>,
    pub groups: Vec<Group>,
    /// Mistakes of no field.
    pub rest: Vec<String>,
    pub any_wrong: bool,
    /// Further buttons: what they send as `do`, and what they say.
    pub also: Vec<(&'static str, &'static str)>,
    /// What became of one of them.
    pub outcome: Option<Outcome>,
}

pub struct Outcome {
    pub good: bool,
    pub text: String,
    /// The words of someone else.
    pub quoted: String,
}

pub fn new_page(visit: &Visit, state: &ApiState, fields: &Fields, errors: &[FieldError]) -> FormPage {
    let t = Text(visit.look.lang);
    let page = page(visit, state, fields, errors, None);
    FormPage { action: "/issues/new".to_owned(), save: t.s("issue.make"), ..page }
}

pub fn edit_page(visit: &Visit, state: &ApiState, issue: &Issue, fields: &Fields, errors: &[FieldError]) -> FormPage {
    let page = page(visit, state, fields, errors, Some(issue));
    FormPage { action: format!("/issues/{}/edit", issue.id), back: (format!("/issues/{}", issue.id), format!("#{}", issue.id)), ..page }
}

fn page(visit: &Visit, state: &ApiState, fields: &Fields, errors: &[FieldError], issue: Option<&Issue>) -> FormPage {
    let t = Text(visit.look.lang);
    let sheet = Sheet::new(t, fields, errors);
    let named = |group: &'static str, names: &[&'static str]| -> Vec<(String, String)> {
        names.iter().map(|name| ((*name).to_owned(), t.word(group, name).to_owned())).collect()
    };
    let none = || vec![(String::new(), "–".to_owned())];
    let users = state.users.list();
    let people = none().into_iter().chain(users.iter().map(|user| (user.username.clone(), user.username.clone())));
    let list = state.services.list();
    let services = none().into_iter().chain(list.iter().map(|service| (service.id.to_string(), service.name().to_owned())));
    let mut what = vec![
        sheet.line("title", "issue.title").width("whole").required(),
        sheet.choice("issue_type", "issue.type", named("issue_type", &IssueType::ALL.map(IssueType::name))),
        sheet.choice("priority", "issue.priority", named("priority", &Priority::ALL.map(Priority::name))),
        sheet.choice("assignee", "issue.assignee", people.collect()),
        sheet.line("labels", "issue.labels").placeholder("backend, customer").help(t.s("issue.labels_help")),
        sheet.area("description", "issue.description", 10).help(t.s("issue.markdown_help")),
    ];
    if issue.is_some() {
        what.push(sheet.line("reason", "issue.reason").width("whole").help(t.s("issue.reason_help")));
    }
    let about = vec![
        sheet.choice("service", "overview.service", services.collect()),
        sheet.code("incident", "issue.incident"),
        sheet.code("finding", "issue.finding"),
    ];
    let title = issue.map_or_else(|| t.s("issue.new").to_owned(), |issue| t.one("issue.edit_title", issue.id));
    FormPage {
        frame: Frame::new(visit, Section::Issues, title),
        back: ("/issues".to_owned(), t.s("nav.issues").to_owned()),
        action: String::new(),
        save: t.s("edit.save"),
        intro: String::new(),
        hidden: vec![("revision", fields.get("revision").unwrap_or_default().to_owned())],
        groups: vec![Group { legend: t.s("edit.what"), inputs: what }, Group { legend: t.s("issue.about"), inputs: about }],
        rest: sheet.rest(),
        any_wrong: !errors.is_empty(),
        also: Vec::new(),
        outcome: None,
    }
}

/// What a new issue begins with: of an incident, a finding or a service that the address names.
pub async fn begun(query: &Query, state: &ApiState) -> Result<Fields, ApiError> {
    let mut fields = Fields::default();
    fields.set("issue_type", IssueType::Bug.name());
    fields.set("priority", Priority::Medium.name());
    if let Some(service) = query.text("service") {
        fields.set("service", service);
    }
    if let Some(id) = query.text("incident")
        && let Some((stored, _)) = state.incidents.one(&IncidentId(id.into())).await?
    {
        let incident = &stored.incident;
        fields.set("title", &short(&format!("{}: {}", incident.name, incident.first_line)));
        fields.set("issue_type", IssueType::Incident.name());
        let priority = if incident.severity == Severity::Critical { Priority::High } else { Priority::Medium };
        fields.set("priority", priority.name());
        fields.set("service", &incident.service.to_string());
        fields.set("incident", id);
        let since = incident.opened_at.rfc3339();
        fields.set("description", &format!("{} ([{since}](/incidents/{id}))\n", plain(&incident.first_line)));
    }
    if let Some(id) = query.text("finding")
        && let Some(finding) = state.findings.one(&FindingId(id.into())).await?
    {
        fields.set("title", &short(&finding.summary));
        fields.set("finding", id);
        fields.set("description", &format!("{}\n", plain(&finding.summary)));
        if let Some(service) = finding.service {
            fields.set("service", &service.to_string());
        }
    }
    Ok(fields)
}

/// Cut to what a title may have.
fn short(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(crate::tracker::desk::checks::LONGEST_TITLE).collect()
}

/// An issue as the form shows it.
pub async fn kept(state: &ApiState, issue: &Issue) -> Result<Fields, ApiError> {
    let text = |value: Option<String>| value.unwrap_or_default();
    let pairs = [
        ("title", issue.title.clone()),
        ("issue_type", issue.issue_type.name().to_owned()),
        ("priority", issue.priority.name().to_owned()),
        ("assignee", text(issue.assignee.clone())),
        ("labels", issue.labels.join(", ")),
        ("description", state.tracker.issues.description(issue.id).await?),
        ("service", text(issue.service.as_ref().map(|service| service.id.to_string()))),
        ("incident", text(issue.incident.as_ref().map(ToString::to_string))),
        ("finding", text(issue.finding.as_ref().map(ToString::to_string))),
        ("revision", issue.revision.to_string()),
    ];
    Ok(Fields(pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()))
}
