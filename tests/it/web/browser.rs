//! A browser as far as the server knows one: it keeps cookies, takes HTML and sends the forms of the pages it got.

use std::collections::BTreeMap;

use rocket::http::{ContentType, Cookie, Header, Method};

use crate::api_world::{Answer, PASSWORD, World};

pub struct Browser<'w> {
    pub world: &'w World,
    pub cookies: BTreeMap<String, String>,
    /// Whole `Set-Cookie` lines of the last answer.
    pub set: Vec<String>,
}

impl<'w> Browser<'w> {
    pub fn new(world: &'w World) -> Browser<'w> {
        Browser { world, cookies: BTreeMap::new(), set: Vec::new() }
    }

    /// A browser in which someone has logged in.
    pub async fn of(world: &'w World, username: &str) -> Browser<'w> {
        let mut browser = Browser::new(world);
        browser.get("/login").await;
        let answer = browser.send_form("/login", &[("username", username), ("password", PASSWORD)]).await;
        assert_eq!(answer.status, 303, "{}", answer.text);
        browser
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        self.ask(Method::Get, path, None).await
    }

    /// The page, which must be one.
    pub async fn page(&mut self, path: &str) -> String {
        let answer = self.get(path).await;
        assert_eq!((answer.status, answer.kind.as_str()), (200, "text/html"), "{path}: {}", answer.text);
        answer.text
    }

    /// Sends fields with the token that belongs to them: of the log-in, or of the session.
    pub async fn send_form(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let from = if path == "/login" { "/login" } else { "/" };
        let token = token_of(&self.get(from).await.text);
        self.send_raw(path, &[&[("form_token", token.as_str())], fields].concat()).await
    }

    pub async fn send_raw(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.ask(Method::Post, path, Some(body)).await
    }

    pub async fn ask(&mut self, method: Method, path: &str, form: Option<String>) -> Answer {
        let mut request = self.world.client.req(method, path.to_owned()).remote("198.51.100.7:4711".parse().expect("an address"));
        request.add_header(Header::new("Accept", "text/html,application/xhtml+xml"));
        request.add_header(Header::new("User-Agent", "Test/1.0"));
        for (name, value) in &self.cookies {
            request = request.cookie(Cookie::new(name.clone(), value.clone()));
        }
        if let Some(form) = form {
            request = request.header(ContentType::Form).body(form);
        }
        let response = request.dispatch().await;
        self.set = response.headers().get("Set-Cookie").map(str::to_owned).collect();
        let answer = crate::api_world::answer(response).await;
        for line in &self.set {
            let cookie = Cookie::parse(line.clone()).expect("it is a cookie");
            match cookie.value().is_empty() {
                true => drop(self.cookies.remove(cookie.name())),
                false => drop(self.cookies.insert(cookie.name().to_owned(), cookie.value().to_owned())),
            }
        }
        answer
    }
}

/// The token in the forms of a page.
pub fn token_of(page: &str) -> String {
    let after = page.split("name=\"form_token\" value=\"").nth(1).unwrap_or_else(|| panic!("no form in {page}"));
    after.split('"').next().expect("it ends").to_owned()
}
