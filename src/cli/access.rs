//! How a command reaches the monitor's data: through the hub that runs, or else by opening the store itself.
//!
//! Whoever may read the data folder's key may act as an admin on this machine: commands sign their own short access token
//! with it, so they need no password.

use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::Method;
use serde_json::Value;
use url::Url;

use crate::api::auth::local_token;
use crate::clock::Clock;
use crate::config::Config;
use crate::config::sources::{Role, Sources};
use crate::hub::own_url;
use crate::hub::records::Records;
use crate::store::secrets::Secrets;

/// The engine's query parser needs deep stacks; they cost address space, not memory.
const STACK: usize = 16 << 20;

pub enum Access {
    Running(Remote),
    Direct(Box<Records>),
}

/// A hub that runs on this machine.
pub struct Remote {
    client: reqwest::Client,
    url: Url,
    token: String,
}

/// The configuration, or all its mistakes as one error.
pub fn load_config() -> anyhow::Result<Config> {
    Config::load(&Sources::from_process(Role::Hub)).map_err(|mistakes| {
        let lines: Vec<String> = mistakes.iter().map(|mistake| format!("  {mistake}")).collect();
        anyhow::anyhow!("the configuration has {} to mend:\n{}", if lines.len() == 1 { "a mistake" } else { "mistakes" }, lines.join("\n"))
    })
}

pub fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(STACK).build().context("runtime cannot be started")
}

impl Access {
    pub async fn open(config: &Config) -> anyhow::Result<Access> {
        if let Some(remote) = Remote::find(config).await? {
            return Ok(Access::Running(remote));
        }
        let records = Records::open(config, &Clock::real()).await;
        let records = records.with_context(|| match own_url(config) {
            Ok(url) => {
                format!("no hub answers on {url}, where the settings here (ROCKET_PORT, Rocket.toml) say it listens, and without one")
            }
            Err(_) => "no hub answers".to_owned(),
        })?;
        Ok(Access::Direct(Box::new(records)))
    }
}

impl Remote {
    /// The hub of this configuration, if one answers.
    pub async fn find(config: &Config) -> anyhow::Result<Option<Remote>> {
        let url = own_url(config)?;
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(620))
            .connect_timeout(Duration::from_secs(2))
            // The certificate is for the public name; the token proves nothing to anyone but this hub.
            .danger_accept_invalid_certs(url.host_str() != Some("localhost"))
            .build()
            .context("client cannot be made")?;
        let healthy = client.get(url.join("healthz")?).timeout(Duration::from_secs(3)).send().await;
        if !healthy.is_ok_and(|answer| answer.status().is_success()) {
            return Ok(None);
        }
        let secrets = Secrets::open(&config.hub.data_dir)?;
        let token = local_token(&secrets, Clock::real().now());
        let remote = Remote { client, url, token };
        let probe = remote.client.get(remote.url.join("api/v1/cluster")?).bearer_auth(&remote.token).send().await?;
        if probe.status() == reqwest::StatusCode::UNAUTHORIZED {
            bail!("the hub on {} is not the one of data folder {}", remote.url, config.hub.data_dir.display());
        }
        Ok(Some(remote))
    }

    /// One request; an answer that is no success becomes the error it tells.
    pub async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let mut request = self.client.request(method, self.url.join(path)?).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = request.send().await.with_context(|| format!("hub on {} does not answer", self.url))?;
        let status = answer.status();
        let bytes = answer.bytes().await.context("hub's answer broke off")?;
        let value: Value =
            if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).context("hub's answer is not JSON")? };
        if status.is_success() {
            return Ok(value);
        }
        let fields = value["errors"].as_array().map_or_else(String::new, |errors| {
            errors
                .iter()
                .map(|error| format!("\n  {}: {}", error["field"].as_str().unwrap_or(""), error["message"].as_str().unwrap_or("")))
                .collect()
        });
        bail!("{}{fields}", value["detail"].as_str().unwrap_or(status.as_str()))
    }
}
