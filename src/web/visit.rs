//! Someone who looks at a page: who, with which look, from where; and the forms they send.

use rocket::data::{Data, FromData, Outcome as DataOutcome};
use rocket::http::Status;
use rocket::request::{FromRequest, Outcome, Request};
use rocket::tokio::io::AsyncReadExt;

use crate::api::auth::{Principal, identify_visitor, managed, visitor};
use crate::api::error::ApiError;
use crate::api::state::ApiState;
use crate::store::users::Role;
use crate::web::look::Look;

/// The field of a form that holds the token of its session.
pub const TOKEN_FIELD: &str = "form_token";

/// Lets in whoever is logged in; others are led to the log-in.
pub struct Visit {
    pub principal: Principal,
    /// What the browser's cookie holds.
    pub session: String,
    pub form_token: String,
    pub look: Look,
    /// The address of this page with its query.
    pub here: String,
}

impl Visit {
    /// Refuses those whose role is less.
    pub fn need(&self, least: Role) -> Result<(), ApiError> {
        match self.principal.role >= least {
            true => Ok(()),
            false => {
                let detail = format!("this takes role {}; yours is {}", least.name(), self.principal.role.name());
                Err(ApiError::new(Status::Forbidden, detail))
            }
        }
    }

    pub fn may_operate(&self) -> bool {
        self.principal.role >= Role::Operator
    }
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Visit {
    type Error = ApiError;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Visit, ApiError> {
        match identify_visitor(request) {
            Ok((principal, visitor)) => Outcome::Success(Visit {
                principal,
                session: visitor.session,
                form_token: visitor.form_token,
                look: Look::of(request),
                here: request.uri().to_string(),
            }),
            Err(error) => error.outcome(request),
        }
    }
}

/// The fields of a form, in order, read up to the bound of all bodies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(pub Vec<(String, String)>);

impl Fields {
    pub fn parse(bytes: &[u8]) -> Fields {
        Fields(url::form_urlencoded::parse(bytes).map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The value without blanks around it; `None` where nothing is left.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).map(str::trim).filter(|value| !value.is_empty())
    }

    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

/// A form of one of our own pages: it carries the token of the session it was made for.
pub struct OwnForm(pub Fields);

#[rocket::async_trait]
impl<'r> FromData<'r> for OwnForm {
    type Error = ApiError;

    async fn from_data(request: &'r Request<'_>, data: Data<'r>) -> DataOutcome<'r, OwnForm> {
        match read_own(request, data).await {
            Ok(fields) => DataOutcome::Success(OwnForm(fields)),
            Err(error) => {
                error.clone().leave(request);
                DataOutcome::Error((error.status(), error))
            }
        }
    }
}

async fn read_own(request: &Request<'_>, data: Data<'_>) -> Result<Fields, ApiError> {
    let fields = read_fields(request, data).await?;
    let wanted = visitor(request).map(|visitor| visitor.form_token);
    if wanted.is_none() || fields.get(TOKEN_FIELD) != wanted.as_deref() {
        let detail = "the form is not from a page of this session; open the page again and repeat it";
        return Err(ApiError::new(Status::Forbidden, detail));
    }
    Ok(fields)
}

/// The fields of any form.
pub async fn read_fields(request: &Request<'_>, data: Data<'_>) -> Result<Fields, ApiError> {
    if !request.content_type().is_some_and(|kind| kind.is_form()) {
        return Err(ApiError::new(Status::UnsupportedMediaType, "the body must be a form"));
    }
    let limit = managed::<ApiState>(request).settings.max_body_bytes;
    let mut bytes = Vec::new();
    let mut stream = data.open((limit + 1).into());
    stream.read_to_end(&mut bytes).await.map_err(|_| ApiError::bad_request("the form broke off"))?;
    if bytes.len() as u64 > limit {
        return Err(ApiError::new(Status::PayloadTooLarge, format!("the form is larger than {limit} bytes")));
    }
    Ok(Fields::parse(&bytes))
}
