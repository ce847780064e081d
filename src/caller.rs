//! Calls the few addresses a person has named for the monitor's own word: that it works, that it has lost its hub.
//!
//! These addresses are often secrets: no error repeats them. A call is one request, done within ten seconds; it is led to no
//! other host, and one that carries a message is not led anywhere.

use std::time::Duration;

use anyhow::Context;
use reqwest::redirect::{Attempt, Policy};
use url::Url;

use crate::probe::tls::{system_roots, trusting};

const WITHIN: Duration = Duration::from_secs(10);
const REDIRECTS: usize = 5;

#[derive(Clone, Debug)]
pub struct Caller {
    getting: reqwest::Client,
    posting: reqwest::Client,
}

impl Caller {
    pub fn new() -> anyhow::Result<Caller> {
        let tls = trusting(system_roots()).context("TLS cannot be set up")?;
        let client = |policy| {
            reqwest::Client::builder()
                .no_proxy()
                .timeout(WITHIN)
                .redirect(policy)
                .referer(false)
                .user_agent(concat!("probemesh/", env!("CARGO_PKG_VERSION")))
                .tls_backend_preconfigured(tls.clone())
                .pool_max_idle_per_host(0)
                .build()
                .context("HTTP client cannot be made")
        };
        Ok(Caller { getting: client(Policy::custom(same_host))?, posting: client(Policy::none())? })
    }

    /// Succeeds with an answer of 2xx; otherwise says what went wrong.
    pub async fn get(&self, url: &Url) -> Result<(), String> {
        taken(self.getting.get(url.clone()).send().await)
    }

    /// Posts a JSON text.
    pub async fn post(&self, url: &Url, body: String) -> Result<(), String> {
        taken(self.posting.post(url.clone()).header(http::header::CONTENT_TYPE, "application/json").body(body).send().await)
    }
}

fn same_host(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let (to, from) = (attempt.url(), attempt.previous().first());
    let same = from.is_none_or(|from| from.host() == to.host() && (from.scheme() == to.scheme() || to.scheme() == "https"));
    if !same {
        return attempt.error("it leads to another host");
    }
    if attempt.previous().len() > REDIRECTS { attempt.error("it leads on and on") } else { attempt.follow() }
}

fn taken(answer: Result<reqwest::Response, reqwest::Error>) -> Result<(), String> {
    match answer {
        Ok(answer) if answer.status().is_success() => Ok(()),
        Ok(answer) => Err(format!("answered {}", answer.status().as_u16())),
        Err(err) if err.is_timeout() => Err(format!("no answer within {} s", WITHIN.as_secs())),
        Err(err) => Err(format!("{:#}", anyhow::Error::from(err.without_url()))),
    }
}
