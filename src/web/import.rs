//! Many services at once, from a services.json, a backup or what another monitor keeps: first what would happen, then it happens.
//! A mask in a backup stands for the secret that is kept here.

use askama::Template;
use rocket::http::Status;
use rocket::response::Redirect;
use rocket::{Either, State, get, post};
use serde_json::Value;

use crate::api::error::ApiError;
use crate::api::mask::unmask;
use crate::api::state::ApiState;
use crate::config::foreign::{self, Left};
use crate::config::mistake::Mistake;
use crate::config::service::ServiceDocument;
use crate::config::services_file::parse_services;
use crate::store::users::Role;
use crate::web::frame::{Frame, Section};
use crate::web::html::Html;
use crate::web::login::Refusal;
use crate::web::text::Text;
use crate::web::visit::{OwnForm, Visit};

/// What mistakes call the text.
const NAME: &str = "services.json";

#[derive(Template)]
#[template(path = "import.html")]
struct ImportPage {
    frame: Frame,
    text: String,
    update: bool,
    mistakes: Vec<String>,
    /// The monitor whose file it is, if it is not our own.
    from: Option<&'static str>,
    /// What of that file is not taken over.
    left: Vec<Left>,
    /// What would happen; `None` before anything was given.
    plan: Option<Vec<Line>>,
}

struct Line {
    name: String,
    url: String,
    what: &'static str,
}

#[get("/services/import")]
pub fn page(visit: Visit) -> Result<Html, ApiError> {
    visit.need(Role::Operator)?;
    let frame = Frame::new(&visit, Section::Overview, Text(visit.look.lang).s("import.title"));
    Html::of(&ImportPage { frame, text: String::new(), update: false, mistakes: Vec::new(), from: None, left: Vec::new(), plan: None })
}

#[post("/services/import", data = "<form>")]
pub async fn take(visit: Visit, form: OwnForm, state: &State<ApiState>) -> Result<Either<Refusal, Redirect>, ApiError> {
    visit.need(Role::Operator)?;
    let t = Text(visit.look.lang);
    let text = form.0.get("text").unwrap_or_default().to_owned();
    let update = form.0.get("update") == Some("true");
    let frame = Frame::new(&visit, Section::Overview, t.s("import.title"));
    let (mut from, mut left) = (None, Vec::new());
    let read = match foreign::read(&text, &state.default_schedule) {
        Some(Ok(foreign)) => {
            (from, left) = (Some(foreign.from), foreign.left);
            Ok(foreign.documents)
        }
        Some(Err(words)) => Err(vec![Mistake::new("", words)]),
        None => {
            let list = services_of_backup(&text);
            let read = parse_services(std::path::Path::new(NAME), list.as_deref().unwrap_or(&text), &state.default_schedule, false);
            read.and_then(|documents| unmasked(state, documents))
        }
    };
    let (status, page) = match read {
        Err(mistakes) => {
            let mistakes = mistakes.iter().map(Mistake::to_string).collect();
            (Status::UnprocessableEntity, ImportPage { frame, text, update, mistakes, from, left, plan: None })
        }
        Ok(documents) if form.0.get("do") == Some("import") => {
            state.services.seed(documents, update).await?;
            (state.services_changed)();
            return Ok(Either::Right(Redirect::to("/")));
        }
        Ok(documents) => {
            let plan = documents.iter().map(|document| line(t, state, document, update)).collect();
            (Status::Ok, ImportPage { frame, text, update, mistakes: Vec::new(), from, left, plan: Some(plan) })
        }
    };
    Ok(Either::Left(Refusal(status, Html::of(&page)?)))
}

/// The services of a backup, as a services.json would have them.
fn services_of_backup(text: &str) -> Option<String> {
    let whole: Value = serde_json::from_str(text.trim_start_matches('\u{feff}')).ok()?;
    whole.get("services").filter(|services| services.is_array()).map(|services| format!("{services:#}"))
}

/// Documents with what is kept here in the place of every mask.
fn unmasked(state: &ApiState, mut documents: Vec<ServiceDocument>) -> Result<Vec<ServiceDocument>, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    for (place, document) in documents.iter_mut().enumerate() {
        let kept = document.name.as_deref().and_then(|name| state.services.find_by_name(name.trim()));
        let wrong = unmask(document, kept.as_ref().map(|kept| &kept.document));
        mistakes.extend(wrong.into_iter().map(|mistake| mistake.inside(&format!("[{place}]"))));
    }
    if mistakes.is_empty() { Ok(documents) } else { Err(mistakes) }
}

fn line(t: Text, state: &ApiState, document: &ServiceDocument, update: bool) -> Line {
    let name = document.name.clone().unwrap_or_default();
    let what = match state.services.find_by_name(name.trim()) {
        None => "import.new",
        Some(kept) if kept.document == *document => "import.same",
        Some(_) if update => "import.change",
        Some(_) => "import.stays",
    };
    Line { name, url: document.base_url.clone().unwrap_or_default(), what: t.s(what) }
}
