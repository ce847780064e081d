//! Everything the hub runs by, and where each of it came from. Read only: what it says how to change is changed there.

use std::collections::BTreeMap;

use askama::Template;
use rocket::{State, get};

use crate::api::error::ApiError;
use crate::api::state::ApiState;
use crate::config::effective::{Origin, Setting};
use crate::store::users::Role;
use crate::web::alerts::Tab;
use crate::web::frame::{Frame, Section};
use crate::web::html::Html;
use crate::web::system::tabs;
use crate::web::text::Text;
use crate::web::visit::Visit;

#[derive(Template)]
#[template(path = "system_settings.html")]
struct SettingsPage {
    frame: Frame,
    tabs: Vec<Tab>,
    sections: Vec<(String, Vec<Line>)>,
}

struct Line {
    key: String,
    value: String,
    origin: String,
    given: bool,
    variable: String,
}

#[get("/system/settings")]
pub fn page(visit: Visit, state: &State<ApiState>) -> Result<Html, ApiError> {
    visit.need(Role::Admin)?;
    let t = Text(visit.look.lang);
    let mut sections: BTreeMap<&str, Vec<Line>> = BTreeMap::new();
    for setting in state.effective.iter() {
        let (section, key) = setting.path.split_once('.').unwrap_or(("", &setting.path));
        sections.entry(section).or_default().push(Line::new(t, key, setting));
    }
    Html::of(&SettingsPage {
        frame: Frame::new(&visit, Section::System, t.s("system.tab_settings")),
        tabs: tabs(&visit, "/system/settings"),
        sections: sections.into_iter().map(|(section, lines)| (section.to_owned(), lines)).collect(),
    })
}

impl Line {
    fn new(t: Text, key: &str, setting: &Setting) -> Line {
        Line {
            key: key.to_owned(),
            value: setting.value.clone(),
            origin: match &setting.origin {
                Origin::Default => t.s("setting.default").to_owned(),
                Origin::File(path) => path.display().to_string(),
                Origin::Variable(name) => name.clone(),
            },
            given: setting.origin != Origin::Default,
            variable: setting.variable.clone(),
        }
    }
}
