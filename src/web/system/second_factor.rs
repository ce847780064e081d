//! One's own second factor: a picture for the authenticator, the code that proves it, recovery codes shown once, and off again.

use std::fmt::Write;

use askama::Template;
use qrcode::{Color, EcLevel, QrCode};
use rocket::http::Status;
use rocket::response::Redirect;
use rocket::{Either, State, get, post};

use crate::api::error::ApiError;
use crate::api::state::ApiState;
use crate::api::throttle::Throttle;
use crate::store::second_factors::FactorError;
use crate::store::users::User;
use crate::web::alerts::Answer;
use crate::web::frame::{Frame, Section};
use crate::web::html::Html;
use crate::web::login::Refusal;
use crate::web::text::Text;
use crate::web::visit::{OwnForm, Visit};

/// White round the picture, in its dots, as readers want it.
const MARGIN: usize = 4;

#[derive(Template)]
#[template(path = "second_factor.html")]
struct FactorPage {
    frame: Frame,
    step: Step,
    problem: Option<&'static str>,
}

enum Step {
    /// The secret as a picture and as text, in groups of four.
    Begin {
        picture: String,
        secret: String,
    },
    Codes(Vec<String>),
    Off,
}

#[get("/account/second-factor")]
pub fn page(visit: Visit, state: &State<ApiState>) -> Result<Html, ApiError> {
    let user = user(&visit, state)?;
    Html::of(&shown(&visit, state, &user, None)?)
}

/// Turns it on, if the code is right; the recovery codes are in the answer, this once.
#[post("/account/second-factor", data = "<sent>")]
pub async fn turn_on(visit: Visit, sent: OwnForm, state: &State<ApiState>, throttle: &State<Throttle>) -> Answer {
    let user = user(&visit, state)?;
    throttle.locked(&user.username).map_err(|wait| ApiError::too_many("too many wrong codes", wait))?;
    match state.second_factors.confirm(&user, sent.0.get("code").unwrap_or_default(), &visit.principal.author()).await {
        Ok(codes) => {
            throttle.succeeded(&user.username);
            let page = FactorPage { frame: frame(&visit), step: Step::Codes(codes), problem: None };
            Ok(Either::Left(Refusal(Status::Ok, Html::of(&page)?)))
        }
        Err(FactorError::Wrong | FactorError::NotBegun) => wrong(&visit, state, throttle, &user),
        Err(error) => Err(error.into()),
    }
}

/// Turns it off; whoever found the browser open cannot, for a code is wanted.
#[post("/account/second-factor/off", data = "<sent>")]
pub async fn turn_off(visit: Visit, sent: OwnForm, state: &State<ApiState>, throttle: &State<Throttle>) -> Answer {
    let user = user(&visit, state)?;
    throttle.locked(&user.username).map_err(|wait| ApiError::too_many("too many wrong codes", wait))?;
    let author = visit.principal.author();
    match state.second_factors.take(&user, sent.0.get("code").unwrap_or_default(), &author).await {
        Ok(()) => {
            throttle.succeeded(&user.username);
            state.second_factors.turn_off(&user.username, &author).await?;
            Ok(Either::Right(Redirect::to("/account")))
        }
        Err(FactorError::Wrong) => wrong(&visit, state, throttle, &user),
        Err(error) => Err(error.into()),
    }
}

fn wrong(visit: &Visit, state: &ApiState, throttle: &Throttle, user: &User) -> Answer {
    throttle.failed(&user.username);
    let problem = Text(visit.look.lang).s("factor.wrong");
    Ok(Either::Left(Refusal(Status::UnprocessableEntity, Html::of(&shown(visit, state, user, Some(problem))?)?)))
}

fn shown(visit: &Visit, state: &ApiState, user: &User, problem: Option<&'static str>) -> Result<FactorPage, ApiError> {
    let step = match state.second_factors.of(user) {
        Some(_) => Step::Off,
        None => {
            let shown = state.second_factors.begin(user)?;
            let letters: Vec<char> = shown.secret.chars().collect();
            let secret = letters.chunks(4).map(|group| group.iter().collect::<String>()).collect::<Vec<_>>().join(" ");
            Step::Begin { picture: picture(&shown.url)?, secret }
        }
    };
    Ok(FactorPage { frame: frame(visit), step, problem })
}

fn frame(visit: &Visit) -> Frame {
    Frame::new(visit, Section::None, Text(visit.look.lang).s("factor.title"))
}

fn user(visit: &Visit, state: &ApiState) -> Result<User, ApiError> {
    state.users.get(&visit.principal.username).ok_or_else(|| ApiError::unauthorized("log in first"))
}

/// A QR code as markup, safe as it is: digits alone. Dark on white whatever the look, for readers want it so.
fn picture(text: &str) -> Result<String, ApiError> {
    let code = QrCode::with_error_correction_level(text, EcLevel::M)
        .map_err(|error| ApiError::new(Status::InternalServerError, format!("the picture cannot be drawn: {error}")))?;
    let (width, colors) = (code.width(), code.to_colors());
    let mut path = String::new();
    for (place, color) in colors.iter().enumerate() {
        let (x, y) = (place % width, place / width);
        let begins = *color == Color::Dark && (x == 0 || colors[place - 1] == Color::Light);
        if begins {
            let run = colors[place..].iter().take(width - x).take_while(|color| **color == Color::Dark).count();
            let _ = write!(path, "M{} {}h{run}v1h-{run}z", x + MARGIN, y + MARGIN);
        }
    }
    let side = width + 2 * MARGIN;
    Ok(format!(
        "<svg class=\"qr\" viewBox=\"0 0 {side} {side}\" aria-hidden=\"true\"><path class=\"paper\" d=\"M0 0h{side}v{side}H0z\"/><path d=\"{path}\"/></svg>"
    ))
}
