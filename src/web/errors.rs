//! What goes wrong, for people: what, why, and what to do now.

use askama::Template;
use rocket::http::{Method, Status};
use rocket::request::Request;
use rocket::response::Redirect;
use url::form_urlencoded::Serializer;

use crate::api::error::methods_of;
use crate::api::query::origin;
use crate::web::frame::Frame;
use crate::web::html::Html;
use crate::web::look::{Look, inside};

/// Paths of programs: they get JSON whatever they say they take.
const FOR_PROGRAMS: [&str; 6] = ["/api/", "/healthz", "/readyz", "/metrics", "/openapi.json", "/assets/"];

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    frame: Frame,
    status: u16,
    title: &'static str,
    detail: &'a str,
    advice: &'static str,
}

/// Whether a browser asks for something people look at.
pub fn wants_page(request: &Request<'_>) -> bool {
    let path = request.uri().path();
    let for_programs = FOR_PROGRAMS.iter().any(|start| path.starts_with(start));
    !for_programs && request.headers().get("Accept").any(|accept| accept.contains("text/html"))
}

/// To the log-in, and back here afterwards where that only reads. Who sent something is told that it was not taken, and comes
/// back to the page they sent it from.
pub fn login_first(request: &Request<'_>) -> Redirect {
    let reads = matches!(request.method(), Method::Get | Method::Head);
    let back = if reads { request.uri().to_string() } else { sent_from(request) };
    let mut query = Serializer::new(String::new());
    if back != "/" {
        query.append_pair("next", &back);
    }
    if !reads {
        query.append_pair("ended", "true");
    }
    match query.finish().as_str() {
        "" => Redirect::to("/login"),
        query => Redirect::to(format!("/login?{query}")),
    }
}

/// The page of a form: where it was sent to, if there is a page, else the one the browser says it was on.
fn sent_from(request: &Request<'_>) -> String {
    if methods_of(request).contains(&"GET") {
        return inside(Some(&request.uri().to_string()));
    }
    let from = request.headers().get_one("Referer").and_then(|from| from.strip_prefix(origin(request).as_str()));
    match inside(from).as_str() {
        login if login.starts_with("/login") => "/".to_owned(),
        page => page.to_owned(),
    }
}

/// Whether a form of a service's page was sent: such a page is seen of services that were there.
fn is_of_service(request: &Request<'_>) -> bool {
    let rest = request.uri().path().as_str().strip_prefix("/services/");
    let id = rest.and_then(|rest| rest.split('/').next());
    request.method() == Method::Post && id.is_some_and(|id| id.parse::<u32>().is_ok())
}

pub fn error_page(request: &Request<'_>, status: Status, detail: &str) -> Html {
    let look = Look::of(request);
    let t = crate::web::text::Text(look.lang);
    let (title, advice) = match status.code {
        403 => ("error.403.title", "error.403.advice"),
        404 => ("error.404.title", "error.404.advice"),
        409 => ("error.409.title", "error.409.advice"),
        413 => ("error.413.title", "error.413.advice"),
        429 => ("error.429.title", "error.429.advice"),
        503 => ("error.503.title", "error.503.advice"),
        500.. => ("error.500.title", "error.500.advice"),
        _ => ("error.400.title", "error.400.advice"),
    };
    let detail = if status == Status::NotFound && is_of_service(request) { t.s("error.404.service") } else { detail };
    let frame = Frame::without_user(look, t.s(title), request.uri().to_string());
    let page = ErrorPage { frame, status: status.code, title: t.s(title), detail, advice: t.s(advice) };
    Html::of(&page).unwrap_or_else(|_| Html::plain(format!("<!doctype html><title>{0}</title><h1>{0}</h1>", status.code)))
}
