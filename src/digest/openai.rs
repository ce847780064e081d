//! The writer behind an API compatible with OpenAI's: one prompt, one answer of a fixed form, within bounds of time, size and
//! tries. What it answers is text and nothing more; whether it may be shown is for others to say.
//!
//! Requests and answers are async-openai's; the sending is our own. That crate's client would try again by itself, wait as long
//! as a server bids it, take in answers of any size and write those it cannot read into the log.
//!
//! **Invariant.** No error holds the key, the address or what was answered.

use std::time::Duration;

use anyhow::Context;
use async_openai::config::{Config as _, OpenAIConfig};
use async_openai::types::chat::{
    ChatCompletionRequestMessage, ChatCompletionRequestSystemMessage, ChatCompletionRequestUserMessage, CreateChatCompletionRequest,
    CreateChatCompletionResponse, FinishReason, ResponseFormat, ResponseFormatJsonSchema,
};
use serde_json::{Value, json};

use crate::config::sections::ModelSettings;
use crate::model::digest::Tokens;

/// Bytes of an answer; a digest has a few thousand.
const LARGEST: usize = 1 << 20;
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

pub struct Model {
    client: reqwest::Client,
    config: OpenAIConfig,
    settings: ModelSettings,
}

/// What was said in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub text: String,
    /// `None`: the server did not say.
    pub tokens: Option<Tokens>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct NoAnswer {
    pub reason: String,
    /// Whether it may be better the next time, and how long the server asks to wait for that.
    pub again: Option<Option<Duration>>,
    /// Whether tokens may have been spent all the same.
    pub spent: bool,
    /// What the server says was spent.
    pub tokens: Option<Tokens>,
}

impl Model {
    pub fn new(settings: ModelSettings) -> anyhow::Result<Model> {
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT_WITHIN.min(settings.timeout))
            .timeout(settings.timeout)
            // A key is for one host alone.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("probemesh/", env!("CARGO_PKG_VERSION")))
            .build()
            .context("client of the language model cannot be made")?;
        // Everything is said, so that nothing is taken from the environment behind the configuration's back.
        let config = OpenAIConfig::new()
            .with_api_base(settings.base_url.clone())
            .with_api_key(settings.key.clone())
            .with_org_id("")
            .with_project_id("");
        Ok(Model { client, config, settings })
    }

    pub fn settings(&self) -> &ModelSettings {
        &self.settings
    }

    /// Asks once.
    pub async fn ask(&self, system: &str, user: &str, refused: Option<&str>) -> Result<Answer, NoAnswer> {
        let request = self.request(system, user, refused);
        match tokio::time::timeout(self.settings.timeout, self.send(&request)).await {
            Ok(answer) => answer,
            Err(_) => Err(NoAnswer { spent: true, ..late(self.settings.timeout) }),
        }
    }

    fn request(&self, system: &str, user: &str, refused: Option<&str>) -> CreateChatCompletionRequest {
        let mut messages: Vec<ChatCompletionRequestMessage> =
            vec![ChatCompletionRequestSystemMessage::from(system).into(), ChatCompletionRequestUserMessage::from(user).into()];
        if let Some(reason) = refused {
            let text = format!("Your last answer was refused: {reason}. Write the digest again, and keep to the facts.");
            messages.push(ChatCompletionRequestUserMessage::from(text.as_str()).into());
        }
        CreateChatCompletionRequest {
            messages,
            model: self.settings.model.clone(),
            max_completion_tokens: Some(self.settings.max_output_tokens),
            response_format: Some(ResponseFormat::JsonSchema { json_schema: form() }),
            ..CreateChatCompletionRequest::default()
        }
    }

    async fn send(&self, request: &CreateChatCompletionRequest) -> Result<Answer, NoAnswer> {
        let body = serde_json::to_vec(request).map_err(|error| never(format!("request cannot be written: {error}")))?;
        let sent = self
            .client
            .post(self.config.url("/chat/completions"))
            .headers(self.config.headers())
            .header("content-type", "application/json")
            .body(body)
            .send()
            .await;
        let mut response = sent.map_err(|error| self.broken(&error))?;
        let status = response.status().as_u16();
        let wait =
            response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.trim().parse().ok()).map(Duration::from_secs);
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.broken(&error))? {
            if bytes.len() + chunk.len() > LARGEST {
                return Err(NoAnswer { spent: true, ..never(format!("model's answer has more than {LARGEST} bytes")) });
            }
            bytes.extend_from_slice(&chunk);
        }
        match status {
            200..=299 => read(&bytes),
            429 if code_of(&bytes).as_deref() == Some("insufficient_quota") => {
                Err(never("model's server says that the account has no quota left (429)".to_owned()))
            }
            429 => Err(NoAnswer { again: Some(wait), ..never("model's server is asked too often (429)".to_owned()) }),
            500..=599 => Err(NoAnswer { again: Some(wait), ..never(format!("model's server answered {status}")) }),
            401 | 403 => Err(never(format!("model's server refused the key ({status})"))),
            404 => Err(never(format!("model's server knows no such model or address ({status})"))),
            _ => Err(never(format!("model's server answered {status}"))),
        }
    }

    fn broken(&self, error: &reqwest::Error) -> NoAnswer {
        if error.is_timeout() {
            return NoAnswer { spent: !error.is_connect(), ..late(self.settings.timeout) };
        }
        let reason = match error.is_connect() {
            true => "model's server cannot be reached",
            false => "model's server broke off",
        };
        NoAnswer { again: Some(None), spent: !error.is_connect(), ..never(reason.to_owned()) }
    }
}

fn late(timeout: Duration) -> NoAnswer {
    NoAnswer { again: Some(None), ..never(format!("model did not answer within {} s", timeout.as_secs_f64())) }
}

fn never(reason: String) -> NoAnswer {
    NoAnswer { reason, again: None, spent: false, tokens: None }
}

fn read(bytes: &[u8]) -> Result<Answer, NoAnswer> {
    let unread = |reason: &str, tokens| NoAnswer { again: Some(None), spent: true, tokens, ..never(reason.to_owned()) };
    let Ok(response) = serde_json::from_slice::<CreateChatCompletionResponse>(bytes) else {
        return Err(unread("what the model's server answered is not a chat completion", None));
    };
    let of_usage = |usage: async_openai::types::chat::CompletionUsage| Tokens {
        prompt: usage.prompt_tokens.into(),
        completion: usage.completion_tokens.into(),
    };
    let tokens = response.usage.map(of_usage);
    let Some(choice) = response.choices.into_iter().next() else { return Err(unread("model gave no answer", tokens)) };
    if choice.message.refusal.is_some() {
        return Err(unread("model declined to write", tokens));
    }
    match (choice.finish_reason, choice.message.content) {
        (Some(FinishReason::Length), _) => Err(unread("model's answer was cut off at digest.max_output_tokens", tokens)),
        (Some(FinishReason::ContentFilter), _) => Err(unread("model's answer was held back by its server", tokens)),
        (_, Some(text)) if !text.trim().is_empty() => Ok(Answer { text, tokens }),
        _ => Err(unread("model gave an empty answer", tokens)),
    }
}

/// The code of an error as these servers tell it.
fn code_of(bytes: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(bytes).ok()?;
    value["error"]["code"].as_str().map(str::to_owned)
}

/// The form an answer must have.
fn form() -> ResponseFormatJsonSchema {
    let texts = |about: &str| json!({"type": "array", "items": {"type": "string"}, "description": about});
    let schema = json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["headline", "paragraphs", "suggestions"],
        "properties": {
            "headline": {"type": "string", "description": "One sentence: what matters most"},
            "paragraphs": texts("What happened and what changed, each paragraph of at most four sentences; at most six of them"),
            "suggestions": texts("What to look at next, each one sentence; at most five, none on a quiet day"),
        },
    });
    ResponseFormatJsonSchema { description: None, name: "digest".to_owned(), schema, strict: Some(true) }
}
