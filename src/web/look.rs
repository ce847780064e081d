//! How someone wants the pages to look: language, light or dark, dense or not. Kept in cookies, so that it also holds before
//! the log-in; chosen by plain forms.

use rocket::form::{Form, FromForm};
use rocket::http::{Cookie, CookieJar, SameSite};
use rocket::post;
use rocket::request::{FromRequest, Outcome, Request};
use rocket::response::Redirect;
use rocket::time::Duration;

use crate::web::text::Lang;

const LANG: &str = "probemesh_lang";
const THEME: &str = "probemesh_theme";
const VIEW: &str = "probemesh_view";
const THEMES: [&str; 3] = ["auto", "light", "dark"];
const VIEWS: [&str; 2] = ["comfortable", "compact"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    pub lang: Lang,
    /// `auto`, `light` or `dark`
    pub theme: &'static str,
    pub compact: bool,
}

impl Look {
    pub fn of(request: &Request<'_>) -> Look {
        let cookie = |name: &str| request.cookies().get(name).map(|cookie| cookie.value().to_owned());
        let asked = || request.headers().get_one("Accept-Language").map_or(Lang::English, Lang::of_accept);
        Look {
            lang: cookie(LANG).and_then(|name| Lang::from_name(&name)).unwrap_or_else(asked),
            theme: cookie(THEME).and_then(|name| one_of(&THEMES, &name)).unwrap_or("auto"),
            compact: cookie(VIEW).is_some_and(|name| name == "compact"),
        }
    }
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Look {
    type Error = std::convert::Infallible;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Look, std::convert::Infallible> {
        Outcome::Success(Look::of(request))
    }
}

#[derive(FromForm)]
pub struct Choice {
    lang: Option<String>,
    theme: Option<String>,
    view: Option<String>,
    back: Option<String>,
}

/// Chooses a look. It changes nothing but the look, so it takes no token.
#[post("/look", data = "<choice>")]
pub fn choose(choice: Form<Choice>, cookies: &CookieJar<'_>) -> Redirect {
    let choice = choice.into_inner();
    if let Some(lang) = choice.lang.as_deref().and_then(Lang::from_name) {
        keep(cookies, LANG, lang.name());
    }
    if let Some(theme) = choice.theme.as_deref().and_then(|name| one_of(&THEMES, name)) {
        keep(cookies, THEME, theme);
    }
    if let Some(view) = choice.view.as_deref().and_then(|name| one_of(&VIEWS, name)) {
        keep(cookies, VIEW, view);
    }
    Redirect::to(inside(choice.back.as_deref()))
}

fn keep(cookies: &CookieJar<'_>, name: &'static str, value: &'static str) {
    cookies.add(Cookie::build((name, value)).path("/").same_site(SameSite::Lax).max_age(Duration::days(365)));
}

fn one_of<const N: usize>(known: &[&'static str; N], name: &str) -> Option<&'static str> {
    known.iter().find(|known| **known == name).copied()
}

/// The address to go on to, if it is one of these pages; else the overview. What browsers take for another host is not.
pub fn inside(address: Option<&str>) -> String {
    let plain = |address: &&str| {
        address.starts_with('/')
            && !address.starts_with("//")
            && !address.contains('\\')
            && address.bytes().all(|byte| byte.is_ascii_graphic())
            && rocket::http::uri::Origin::parse(address).is_ok()
    };
    address.filter(plain).unwrap_or("/").to_owned()
}

#[cfg(test)]
mod tests {
    use super::inside;

    #[test]
    fn only_addresses_of_these_pages_are_gone_on_to() {
        for good in ["/", "/services/3?range=24h", "/incidents/"] {
            assert_eq!(inside(Some(good)), good);
        }
        for bad in ["", "//evil.example", "/\\evil.example", "https://evil.example/", "javascript:alert(1)", "/a b", "/a\r\nSet-Cookie: x"]
        {
            assert_eq!(inside(Some(bad)), "/", "{bad:?}");
        }
        assert_eq!(inside(None), "/");
    }
}
