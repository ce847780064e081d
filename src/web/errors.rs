//! What goes wrong, for people: what, why, and what to do now.

use askama::Template;
use rocket::http::Status;
use rocket::request::Request;
use rocket::response::Redirect;

use crate::web::frame::Frame;
use crate::web::html::Html;
use crate::web::look::Look;

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

/// To the log-in, and back here afterwards where that only reads.
pub fn login_first(request: &Request<'_>) -> Redirect {
    let back = request.uri().to_string();
    match request.method() == rocket::http::Method::Get && back != "/" {
        true => Redirect::to(format!("/login?next={}", url::form_urlencoded::byte_serialize(back.as_bytes()).collect::<String>())),
        false => Redirect::to("/login"),
    }
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
    let frame = Frame::without_user(look, t.s(title), request.uri().to_string());
    let page = ErrorPage { frame, status: status.code, title: t.s(title), detail, advice: t.s(advice) };
    Html::of(&page).unwrap_or_else(|_| Html::plain(format!("<!doctype html><title>{0}</title><h1>{0}</h1>", status.code)))
}
