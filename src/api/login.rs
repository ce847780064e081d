//! Getting in: a password or an identity provider's word, then a code where the user has a second factor. The same steps for the
//! API and for pages.
//!
//! **Invariants.** Each wrong word is throttled and in the audit log, and a right password forgives none before the code is
//! right too: whoever has the password alone gets no more tries at the code than any other. A ticket says that the password was
//! right a moment ago, and lets nobody in.

use std::net::IpAddr;
use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};

use crate::api::error::ApiError;
use crate::api::state::ApiState;
use crate::api::throttle::Throttle;
use crate::store::audit::Change;
use crate::store::second_factors::FactorError;
use crate::store::services::Author;
use crate::store::users::User;

/// From the password to the code, where they come one after the other.
const TICKET_LIFETIME: Duration = Duration::from_secs(300);
const TICKET: &str = "second factor";

/// Where a log-in stands after the password.
pub enum Step {
    In(User),
    /// A code is wanted next.
    Code(User),
}

/// Who logs in from where, and for what, as the audit log tells it.
#[derive(Clone, Copy)]
pub struct Door<'a> {
    pub state: &'a ApiState,
    pub throttle: &'a Throttle,
    pub address: Option<IpAddr>,
    pub subject: &'static str,
}

#[derive(Serialize, Deserialize)]
struct Ticket {
    sub: String,
    epoch: u64,
    /// Unix seconds.
    exp: i64,
    #[serde(rename = "typ")]
    kind: String,
}

impl Door<'_> {
    /// Name and password; a user without a second factor is in.
    pub async fn password(self, username: &str, password: &str) -> Result<Step, ApiError> {
        self.may_try(username)?;
        let Some(user) = self.state.users.verify(username, password).await else {
            // A name may be a password typed into the wrong field, so only names that are known are kept.
            let who = self.state.users.get(username).map_or_else(|| "unknown user".to_owned(), |user| user.username);
            self.failed(username, who).await?;
            return Err(ApiError::unauthorized("user name or password is wrong"));
        };
        if self.state.second_factors.of(&user).is_some() {
            return Ok(Step::Code(user));
        }
        self.succeeded(&user).await?;
        Ok(Step::In(user))
    }

    /// The password of someone who is logged in, asked for again; a wrong one counts like a log-in that failed.
    pub async fn again(self, username: &str, password: &str) -> Result<(), ApiError> {
        self.may_try(username)?;
        if self.state.users.verify(username, password).await.is_none() {
            self.failed(username, username.to_owned()).await?;
            return Err(ApiError::invalid_field("password", "is wrong"));
        }
        self.throttle.succeeded(username);
        Ok(())
    }

    /// The code of a user whose password was right, or one for recovery.
    pub async fn code(self, user: User, code: &str) -> Result<User, ApiError> {
        self.may_try(&user.username)?;
        let author = Author { who: user.username.clone(), address: self.address };
        match self.state.second_factors.take(&user, code, &author).await {
            // It was turned off between the two steps.
            Ok(()) | Err(FactorError::Off { .. }) => {
                self.succeeded(&user).await?;
                Ok(user)
            }
            Err(FactorError::Wrong) => {
                self.failed(&user.username, user.username.clone()).await?;
                Err(ApiError::unauthorized(FactorError::Wrong.to_string()).at("code"))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Somebody an identity provider has vouched for. A second factor of ours is only asked for where the settings say so.
    pub async fn vouched(self, user: User, with_code: bool) -> Result<Step, ApiError> {
        if with_code && self.state.second_factors.of(&user).is_some() {
            return Ok(Step::Code(user));
        }
        self.succeeded(&user).await?;
        Ok(Step::In(user))
    }

    /// Counts a try that names nobody yet.
    pub fn knock(self) -> Result<(), ApiError> {
        self.throttle.login(self.address).map_err(|wait| ApiError::too_many("too many log-ins from this address", wait))
    }

    /// Whoever came by an identity provider stays out; no name is locked for it, for no password was tried.
    pub async fn turned_away(self, user: Option<&User>, why: &str) -> Result<(), ApiError> {
        let who = user.map_or_else(|| "unknown user".to_owned(), |user| user.username.clone());
        tracing::warn!(user = who, address = ?self.address, "log-in by the identity provider failed: {why}");
        self.note(who, "login.failed").await
    }

    fn may_try(self, username: &str) -> Result<(), ApiError> {
        self.knock()?;
        self.throttle.locked(username).map_err(|wait| ApiError::too_many("too many failed log-ins of this user", wait))
    }

    async fn failed(self, username: &str, who: String) -> Result<(), ApiError> {
        self.throttle.failed(username);
        tracing::warn!(user = who, address = ?self.address, "log-in failed");
        self.note(who, "login.failed").await
    }

    async fn succeeded(self, user: &User) -> Result<(), ApiError> {
        self.throttle.succeeded(&user.username);
        self.note(user.username.clone(), "login.succeeded").await
    }

    async fn note(self, who: String, action: &'static str) -> Result<(), ApiError> {
        let change = Change { who, address: self.address, action, subject: self.subject.to_owned(), fields: Vec::new() };
        Ok(self.state.audit.record(&change).await?)
    }
}

/// What is said where a code is wanted and none was given.
pub fn code_wanted() -> ApiError {
    ApiError::unauthorized("this user has a second factor: send its code, or a recovery code, as \"code\"").at("code")
}

/// Says that the password of a user was right now.
pub fn ticket(state: &ApiState, user: &User) -> String {
    let exp = state.clock.now().plus(TICKET_LIFETIME).0.div_euclid(1_000_000);
    let ticket = Ticket { sub: user.username.clone(), epoch: user.epoch, exp, kind: TICKET.to_owned() };
    encode(&Header::new(Algorithm::HS256), &ticket, &EncodingKey::from_secret(state.secrets.signing_key()))
        .expect("plain claims and a secret of any length always encode")
}

/// The user of a ticket that still holds.
pub fn user_of_ticket(state: &ApiState, ticket: &str) -> Option<User> {
    let mut validation = Validation::new(Algorithm::HS256);
    // The library would ask the system for the time.
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    let ticket = decode::<Ticket>(ticket, &DecodingKey::from_secret(state.secrets.signing_key()), &validation).ok()?.claims;
    let holds = ticket.kind == TICKET && ticket.exp.saturating_mul(1_000_000) > state.clock.now().0;
    state.users.get(&ticket.sub).filter(|user| holds && user.epoch == ticket.epoch && !user.disabled)
}
