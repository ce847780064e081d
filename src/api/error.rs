//! One error, one JSON shape: a problem of RFC 9457, whoever noticed it: a handler, a guard or Rocket itself. People who
//! look at a page get a page.

use std::io::Cursor;
use std::sync::Mutex;
use std::time::Duration;

use rocket::http::{ContentType, Header, Status};
use rocket::request::{Outcome, Request};
use rocket::response::{self, Responder, Response};
use rocket::{Catcher, catch, catchers};
use serde::Serialize;
use utoipa::ToSchema;

use crate::config::mistake::Mistake;
use crate::store::alerts::rules::RulesError;
use crate::store::api_keys::KeysError;
use crate::store::channels::ChannelsError;
use crate::store::connection::StoreError;
use crate::store::nodes::NodesError;
use crate::store::second_factors::FactorError;
use crate::store::services::ServicesError;
use crate::store::slos::SlosError;
use crate::store::subscribers::SubscribersError;
use crate::store::users::UsersError;
use crate::store::windows::WindowsError;
use crate::subscribers::desk::DeskError;
use crate::tracker::desk::TrackerError;
use crate::web::errors::{error_page, login_first, wants_page};

/// The one error of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    status: Status,
    detail: String,
    errors: Vec<FieldError>,
    /// Seldom there: an error is small, since every answer may be one.
    more: Option<Box<More>>,
    headers: Vec<(&'static str, String)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct More {
    warnings: Vec<FieldError>,
    allowed: Vec<String>,
}

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// Such as `expect.json[0].path`; empty for the whole.
    pub field: String,
    pub message: String,
}

/// The body of every error: RFC 9457, as `application/problem+json`.
#[derive(Serialize, ToSchema)]
pub struct Problem {
    /// Always `about:blank`: the status says what kind of problem it is.
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub title: &'static str,
    pub status: u16,
    pub detail: String,
    /// The path that was asked for.
    pub instance: String,
    /// Field by field, where the input is at fault; all mistakes at once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// What speaks against input that is not wrong; said to be wanted all the same, it is taken.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<FieldError>,
    /// What may be given instead, where that is known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<String>,
}

impl ApiError {
    pub fn new(status: Status, detail: impl Into<String>) -> ApiError {
        ApiError { status, detail: detail.into(), errors: Vec::new(), more: None, headers: Vec::new() }
    }

    pub fn bad_request(detail: impl Into<String>) -> ApiError {
        ApiError::new(Status::BadRequest, detail)
    }

    /// A filter or other part of the query that does not fit.
    pub fn bad_query(field: &str, message: impl Into<String>) -> ApiError {
        let message = message.into();
        let error = ApiError::bad_request(format!("query parameter {field:?} {message}"));
        ApiError { errors: vec![FieldError { field: field.to_owned(), message }], ..error }
    }

    pub fn unauthorized(detail: impl Into<String>) -> ApiError {
        let challenge = "Bearer realm=\"probemesh\"";
        ApiError::new(Status::Unauthorized, detail).with_header("WWW-Authenticate", challenge)
    }

    pub fn not_found(detail: impl Into<String>) -> ApiError {
        ApiError::new(Status::NotFound, detail)
    }

    pub fn invalid(mistakes: Vec<Mistake>) -> ApiError {
        let errors: Vec<FieldError> =
            mistakes.into_iter().map(|mistake| FieldError { field: mistake.path, message: mistake.message }).collect();
        let detail = match errors.as_slice() {
            [one] if one.field.is_empty() => one.message.clone(),
            [one] => format!("{}: {}", one.field, one.message),
            many => format!("{} fields are wrong; nothing was stored", many.len()),
        };
        ApiError { errors, ..ApiError::new(Status::UnprocessableEntity, detail) }
    }

    /// Input that is not wrong, and yet something speaks against it.
    pub fn doubtful(doubts: Vec<Mistake>) -> ApiError {
        let warnings: Vec<FieldError> = doubts.into_iter().map(|doubt| FieldError { field: doubt.path, message: doubt.message }).collect();
        let told: Vec<String> = warnings.iter().map(|warning| format!("{}: {}", warning.field, warning.message)).collect();
        let detail = format!("{}; nothing was stored; send \"save_anyway\": true to store it all the same", told.join("; "));
        let more = Some(Box::new(More { warnings, allowed: Vec::new() }));
        ApiError { more, ..ApiError::new(Status::UnprocessableEntity, detail) }
    }

    pub fn invalid_field(field: &str, message: impl Into<String>) -> ApiError {
        ApiError::invalid(vec![Mistake::new(field, message)])
    }

    pub fn too_many(detail: impl Into<String>, wait: Duration) -> ApiError {
        ApiError::new(Status::TooManyRequests, detail).with_header("Retry-After", retry_after(wait))
    }

    pub fn unavailable(detail: impl Into<String>) -> ApiError {
        ApiError::new(Status::ServiceUnavailable, detail).with_header("Retry-After", "5")
    }

    /// Names what may be given instead.
    pub fn allowing(mut self, allowed: impl IntoIterator<Item = &'static str>) -> ApiError {
        self.more.get_or_insert_default().allowed = allowed.into_iter().map(str::to_owned).collect();
        self
    }

    /// One field is at fault, whatever the status.
    pub fn at(mut self, field: &str) -> ApiError {
        self.errors = vec![FieldError { field: field.to_owned(), message: self.detail.clone() }];
        self
    }

    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> ApiError {
        self.headers.push((name, value.into()));
        self
    }

    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// What is wrong, field by field.
    pub fn errors(&self) -> &[FieldError] {
        &self.errors
    }

    /// What speaks against the input, field by field.
    pub fn warnings(&self) -> &[FieldError] {
        self.more.as_ref().map_or(&[], |more| more.warnings.as_slice())
    }

    pub fn status(&self) -> Status {
        self.status
    }

    /// Ends a guard: a catcher answers with this very error.
    pub fn outcome<T>(self, request: &Request<'_>) -> Outcome<T, ApiError> {
        self.clone().leave(request);
        Outcome::Error((self.status, self))
    }

    /// Leaves the error with the request, for the catcher to find.
    pub fn leave(self, request: &Request<'_>) {
        *request.local_cache(Slot::default).0.lock().expect("no holder panics") = Some(self);
    }
}

/// Where a guard leaves its error for the catcher.
#[derive(Default)]
struct Slot(Mutex<Option<ApiError>>);

impl ApiError {
    /// As a page for people, who are led to the log-in where that is what they lack.
    fn page(self, request: &Request<'_>) -> response::Result<'static> {
        if self.status == Status::Unauthorized {
            return login_first(request).respond_to(request);
        }
        let page = error_page(request, self.status, &self.detail);
        let mut response = page.respond_to(request)?;
        response.set_status(self.status);
        for (name, value) in self.headers {
            response.set_header(Header::new(name, value));
        }
        Ok(response)
    }
}

impl<'r> Responder<'r, 'static> for ApiError {
    fn respond_to(self, request: &'r Request<'_>) -> response::Result<'static> {
        if wants_page(request) {
            return self.page(request);
        }
        let More { warnings, allowed } = self.more.map(|more| *more).unwrap_or_default();
        let problem = Problem {
            kind: "about:blank",
            title: self.status.reason().unwrap_or("Error"),
            status: self.status.code,
            detail: self.detail,
            instance: request.uri().path().to_string(),
            errors: self.errors,
            warnings,
            allowed,
        };
        let body = serde_json::to_string(&problem).expect("plain text always encodes");
        let mut response = Response::build();
        response.status(self.status).header(ContentType::new("application", "problem+json")).sized_body(body.len(), Cursor::new(body));
        for (name, value) in self.headers {
            response.header(Header::new(name, value));
        }
        response.ok()
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> ApiError {
        match error {
            StoreError::Cursor => ApiError::bad_query("cursor", "is not one this API gave out"),
            error if error.passing() => {
                tracing::warn!(error = %error, "store cannot answer the api");
                ApiError::unavailable(error.to_string())
            }
            error => {
                tracing::error!(error = %error, "store failed the api");
                ApiError::new(Status::InternalServerError, error.to_string())
            }
        }
    }
}

impl From<ServicesError> for ApiError {
    fn from(error: ServicesError) -> ApiError {
        match error {
            ServicesError::NameTaken { .. } => ApiError::invalid_field("name", error.to_string()),
            ServicesError::Unknown { .. } => ApiError::not_found(error.to_string()),
            ServicesError::Changed { .. } => ApiError::new(Status::Conflict, error.to_string()),
            ServicesError::DependedOn { .. } => {
                ApiError::new(Status::Conflict, format!("{error}; with ?force=true they no longer depend on it"))
            }
            ServicesError::Dependencies { mistakes } => ApiError::invalid(mistakes),
            ServicesError::Secret(error) => ApiError::new(Status::InternalServerError, error.to_string()),
            ServicesError::Store(error) => error.into(),
        }
    }
}

impl From<SlosError> for ApiError {
    fn from(error: SlosError) -> ApiError {
        match error {
            SlosError::Unknown { .. } => ApiError::not_found(error.to_string()),
            SlosError::NameTaken { .. } => ApiError::invalid_field("name", error.to_string()),
            SlosError::Changed { .. } => ApiError::new(Status::Conflict, error.to_string()),
            SlosError::Store(error) => error.into(),
        }
    }
}

impl From<WindowsError> for ApiError {
    fn from(error: WindowsError) -> ApiError {
        match error {
            WindowsError::Unknown { .. } => ApiError::not_found(error.to_string()),
            WindowsError::Changed { .. } => ApiError::new(Status::Conflict, error.to_string()),
            WindowsError::Store(error) => error.into(),
        }
    }
}

impl From<SubscribersError> for ApiError {
    fn from(error: SubscribersError) -> ApiError {
        match error {
            SubscribersError::Full { .. } => ApiError::new(Status::ServiceUnavailable, "this page takes no more subscribers"),
            SubscribersError::Secret(error) => ApiError::new(Status::InternalServerError, error.to_string()),
            SubscribersError::Store(error) => error.into(),
        }
    }
}

impl From<DeskError> for ApiError {
    fn from(error: DeskError) -> ApiError {
        match error {
            DeskError::Closed => ApiError::not_found("nobody can subscribe to this status page"),
            DeskError::Invalid(mistakes) => ApiError::invalid(mistakes),
            DeskError::Subscribers(error) => error.into(),
            DeskError::Store(error) => error.into(),
        }
    }
}

impl From<UsersError> for ApiError {
    fn from(error: UsersError) -> ApiError {
        match error {
            UsersError::Unknown { .. } => ApiError::not_found(error.to_string()),
            UsersError::Taken { .. } | UsersError::BadName => ApiError::invalid_field("username", error.to_string()),
            UsersError::BadPassword => ApiError::invalid_field("password", error.to_string()),
            UsersError::BadHash => ApiError::invalid_field("password_hash", error.to_string()),
            UsersError::LastAdmin { .. } | UsersError::IdentityTaken { .. } | UsersError::Linked { .. } | UsersError::NoPassword { .. } => {
                ApiError::new(Status::Conflict, error.to_string())
            }
            UsersError::NotLinked { .. } => ApiError::not_found(error.to_string()),
            UsersError::Store(error) => error.into(),
        }
    }
}

impl From<KeysError> for ApiError {
    fn from(error: KeysError) -> ApiError {
        match error {
            KeysError::Unknown { .. } => ApiError::not_found(error.to_string()),
            KeysError::BadName | KeysError::NameTaken { .. } => ApiError::invalid_field("name", error.to_string()),
            KeysError::AboveOwner { .. } => ApiError::invalid_field("role", error.to_string()),
            KeysError::NoScope => ApiError::invalid_field("scopes", error.to_string()),
            KeysError::TooMany { .. } => ApiError::new(Status::Conflict, error.to_string()),
            KeysError::Store(error) => error.into(),
        }
    }
}

impl From<FactorError> for ApiError {
    fn from(error: FactorError) -> ApiError {
        match error {
            FactorError::Wrong => ApiError::invalid_field("code", error.to_string()),
            FactorError::NotBegun | FactorError::On => ApiError::new(Status::Conflict, error.to_string()),
            FactorError::Off { .. } => ApiError::not_found(error.to_string()),
            FactorError::Secret(error) => ApiError::new(Status::InternalServerError, error.to_string()),
            FactorError::Store(error) => error.into(),
        }
    }
}

impl From<RulesError> for ApiError {
    fn from(error: RulesError) -> ApiError {
        match error {
            RulesError::NameTaken { .. } => ApiError::invalid_field("name", error.to_string()),
            RulesError::Unknown { .. } => ApiError::not_found(error.to_string()),
            RulesError::Changed { .. } => ApiError::new(Status::Conflict, error.to_string()),
            RulesError::Store(error) => error.into(),
        }
    }
}

impl From<ChannelsError> for ApiError {
    fn from(error: ChannelsError) -> ApiError {
        match error {
            ChannelsError::NameTaken { .. } => ApiError::invalid_field("name", error.to_string()),
            ChannelsError::Unknown { .. } => ApiError::not_found(error.to_string()),
            ChannelsError::Changed { .. } => ApiError::new(Status::Conflict, error.to_string()),
            ChannelsError::Secret(error) => ApiError::new(Status::InternalServerError, error.to_string()),
            ChannelsError::Store(error) => error.into(),
        }
    }
}

impl From<NodesError> for ApiError {
    fn from(error: NodesError) -> ApiError {
        match error {
            NodesError::NoToken { .. } | NodesError::NoNode { .. } => ApiError::not_found(error.to_string()),
            NodesError::Store(error) => error.into(),
            NodesError::Secret(error) => ApiError::new(Status::InternalServerError, error.to_string()),
            other => ApiError::new(Status::Conflict, other.to_string()),
        }
    }
}

impl From<TrackerError> for ApiError {
    fn from(error: TrackerError) -> ApiError {
        let detail = error.to_string();
        match error {
            TrackerError::Unknown { .. } | TrackerError::NoComment { .. } => ApiError::not_found(detail),
            TrackerError::Changed { .. } | TrackerError::Told => ApiError::new(Status::Conflict, detail),
            TrackerError::Step { allowed, .. } => {
                ApiError::new(Status::Conflict, detail).at("status").allowing(allowed.iter().map(|status| status.name()))
            }
            TrackerError::NoAssignee(_) => ApiError::new(Status::UnprocessableEntity, detail).at("assignee"),
            TrackerError::NotTheAuthor => ApiError::new(Status::Forbidden, detail),
            TrackerError::Invalid(mistakes) => ApiError::invalid(mistakes),
            TrackerError::Store(error) => error.into(),
        }
    }
}

/// Whole seconds, upwards, at least one.
fn retry_after(wait: Duration) -> String {
    (wait.as_millis().div_ceil(1000)).max(1).to_string()
}

pub fn catchers() -> Vec<Catcher> {
    catchers![caught]
}

/// Answers what Rocket itself refuses, and what a guard left.
#[catch(default)]
fn caught(status: Status, request: &Request<'_>) -> ApiError {
    if let Some(left) = request.local_cache(Slot::default).0.lock().expect("no holder panics").take() {
        return left;
    }
    match status.code {
        404 => match methods_of(request) {
            methods if methods.is_empty() => ApiError::not_found(format!("there is nothing at {}", request.uri().path())),
            methods => ApiError::new(Status::MethodNotAllowed, format!("{} takes {}", request.uri().path(), methods.join(", ")))
                .with_header("Allow", methods.join(", ")),
        },
        400 => ApiError::bad_request("the request cannot be read"),
        401 => ApiError::unauthorized("an access token is wanted"),
        413 => ApiError::new(status, "the body is too large"),
        415 => ApiError::new(status, "the body must be application/json"),
        422 => ApiError::new(status, "the request cannot be understood"),
        503 => ApiError::unavailable("the hub cannot answer now"),
        _ => ApiError::new(status, status.reason().unwrap_or("the request failed")),
    }
}

/// The methods routes take at the path of a request. Rocket answers 404 for a wrong method too.
pub fn methods_of(request: &Request<'_>) -> Vec<&'static str> {
    let path: Vec<&str> = request.uri().path().as_str().split('/').filter(|segment| !segment.is_empty()).collect();
    let mut methods: Vec<&'static str> =
        request.rocket().routes().filter(|route| fits(route.uri.path(), &path)).map(|route| route.method.as_str()).collect();
    methods.sort_unstable();
    methods.dedup();
    methods
}

fn fits(pattern: &str, path: &[&str]) -> bool {
    let pattern: Vec<&str> = pattern.split('/').filter(|segment| !segment.is_empty()).collect();
    let rest = pattern.last().is_some_and(|last| last.ends_with("..>"));
    if rest {
        return path.len() + 1 >= pattern.len() && pattern[..pattern.len() - 1].iter().zip(path).all(|(want, found)| same(want, found));
    }
    pattern.len() == path.len() && pattern.iter().zip(path).all(|(want, found)| same(want, found))
}

fn same(want: &str, found: &str) -> bool {
    want.starts_with('<') || want == found
}
