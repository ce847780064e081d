//! What is the same on every page: head, navigation, who is logged in, the look.

use crate::store::users::Role;
use crate::web::assets;
use crate::web::look::Look;
use crate::web::text::Text;
use crate::web::visit::Visit;

pub struct Frame {
    pub t: Text,
    pub look: Look,
    pub title: String,
    /// The address of this page with its query.
    pub here: String,
    pub form_token: String,
    pub user: Option<UserView>,
    /// The entry of the navigation this page belongs to.
    pub section: Section,
}

pub struct UserView {
    pub name: String,
    pub role: &'static str,
    pub may_operate: bool,
    pub is_admin: bool,
}

/// One entry of the navigation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    Overview,
    Incidents,
    Findings,
    Performance,
    Slos,
    Digests,
    Issues,
    Alerts,
    Regions,
    Results,
    System,
    None,
}

pub struct Entry {
    pub path: &'static str,
    pub label: &'static str,
    pub icon: &'static str,
    pub current: bool,
    /// The first of its kind, set off from those before.
    pub apart: bool,
}

/// An entry as it is listed: path, key of its name, icon.
type Way = (Section, &'static str, &'static str, &'static str);

impl Frame {
    pub fn new(visit: &Visit, section: Section, title: impl Into<String>) -> Frame {
        let user = UserView {
            name: visit.principal.username.clone(),
            role: visit.principal.role.name(),
            may_operate: visit.may_operate(),
            is_admin: visit.principal.role >= Role::Admin,
        };
        Frame {
            t: Text(visit.look.lang),
            look: visit.look,
            title: title.into(),
            here: visit.here.clone(),
            form_token: visit.form_token.clone(),
            user: Some(user),
            section,
        }
    }

    /// Of a page for those who are not logged in.
    pub fn without_user(look: Look, title: impl Into<String>, here: String) -> Frame {
        let t = Text(look.lang);
        Frame { t, look, title: title.into(), here, form_token: String::new(), user: None, section: Section::None }
    }

    pub fn asset(&self, name: &str) -> &'static str {
        assets::path(name)
    }

    pub fn may_operate(&self) -> bool {
        self.user.as_ref().is_some_and(|user| user.may_operate)
    }

    pub fn is_admin(&self) -> bool {
        self.user.as_ref().is_some_and(|user| user.is_admin)
    }

    /// The navigation, in order: how it stands now, how it goes over time, what people do about it, and what it stands on.
    pub fn entries(&self) -> Vec<Entry> {
        let groups: [&[Way]; 4] = [
            &[
                (Section::Overview, "/", "nav.overview", "overview"),
                (Section::Incidents, "/incidents", "nav.incidents", "incidents"),
                (Section::Findings, "/findings", "nav.findings", "spot"),
            ],
            &[
                (Section::Performance, "/performance", "nav.performance", "performance"),
                (Section::Slos, "/slos", "nav.slos", "slos"),
                (Section::Digests, "/digests", "nav.digests", "digests"),
            ],
            &[(Section::Issues, "/issues", "nav.issues", "issues"), (Section::Alerts, "/alerts", "nav.alerts", "alerts")],
            &[
                (Section::Regions, "/regions", "nav.regions", "regions"),
                (Section::Results, "/results", "nav.results", "results"),
                (Section::System, "/system", "nav.system", "system"),
            ],
        ];
        let of_group = |(number, group): (usize, &&[Way])| {
            let entry = |(place, (section, path, key, icon)): (usize, &Way)| Entry {
                path,
                label: self.t.s(key),
                icon,
                current: *section == self.section,
                apart: number > 0 && place == 0,
            };
            group.iter().enumerate().map(entry).collect::<Vec<_>>()
        };
        groups.iter().enumerate().flat_map(of_group).collect()
    }
}
