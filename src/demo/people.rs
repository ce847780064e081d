//! The demo asks the hub as a person would: by its API, with a token for a name and a password.

use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

pub struct Person {
    client: reqwest::Client,
    url: String,
    password: String,
    token: Option<String>,
}

impl Person {
    pub fn new(port: u16, password: &str) -> anyhow::Result<Person> {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(120)).build().context("client cannot be made")?;
        Ok(Person { client, url: format!("http://127.0.0.1:{port}/"), password: password.to_owned(), token: None })
    }

    /// Whether the hub answers at all.
    pub async fn is_there(&self) -> bool {
        self.client.get(format!("{}healthz", self.url)).send().await.is_ok_and(|answer| answer.status().is_success())
    }

    pub async fn get(&mut self, path: &str) -> anyhow::Result<Value> {
        self.find(path).await?.with_context(|| format!("the hub has nothing at {path}"))
    }

    /// `None`: there is no such thing.
    pub async fn find(&mut self, path: &str) -> anyhow::Result<Option<Value>> {
        self.ask(Method::GET, path, None).await
    }

    pub async fn post(&mut self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.ask(Method::POST, path, Some(body)).await?.with_context(|| format!("the hub has nothing at {path}"))
    }

    async fn ask(&mut self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Option<Value>> {
        let mut fresh = self.token.is_none();
        loop {
            if self.token.is_none() {
                self.token = Some(self.log_in().await?);
            }
            let mut request = self.client.request(method.clone(), format!("{}{path}", self.url));
            request = request.bearer_auth(self.token.as_deref().unwrap_or_default());
            if let Some(body) = body {
                request = request.header("content-type", "application/json").body(body.to_string());
            }
            let answer = request.send().await.with_context(|| format!("the hub does not answer at {path}"))?;
            let status = answer.status();
            // A token is good for some minutes.
            if status == StatusCode::UNAUTHORIZED && !fresh {
                (self.token, fresh) = (None, true);
                continue;
            }
            let text = answer.text().await.with_context(|| format!("the hub's answer at {path} broke off"))?;
            if status == StatusCode::NOT_FOUND {
                return Ok(None);
            }
            if !status.is_success() {
                bail!("{method} {path}: {status} {text}");
            }
            return serde_json::from_str(&text).map(Some).with_context(|| format!("the hub's answer at {path} is not JSON"));
        }
    }

    async fn log_in(&self) -> anyhow::Result<String> {
        let body = json!({"username": "admin", "password": self.password}).to_string();
        let request = self.client.post(format!("{}api/token/", self.url)).header("content-type", "application/json").body(body);
        let answer = request.send().await.context("the hub does not take the password")?.text().await?;
        let tokens: Value = serde_json::from_str(&answer).context("the hub's answer is no token")?;
        tokens["access"].as_str().map(str::to_owned).with_context(|| format!("no token: {answer}"))
    }
}
