//! A server with the chat completions of OpenAI's API, on a real socket. It is no language model: it writes what the test says,
//! or a plain text made of the facts in the prompt, and remembers what it was asked.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::target::{Asked, Delays, Reply, Target};

/// How it answers.
#[derive(Clone, Debug)]
pub enum Mode {
    /// A digest from the facts in the prompt.
    Well,
    /// The same with figures of its own.
    WrongFigures,
    /// With a service nobody watches.
    StrangeName,
    /// As whoever hides instructions in a service's answer wants it.
    Obedient,
    /// First with figures of its own, and when it is told so, well.
    Learns,
    /// A chat completion whose text is no digest.
    Prose(&'static str),
    /// No chat completion at all.
    Garbage,
    /// An answer cut off at its length.
    CutOff,
    TooMany {
        retry_after: u64,
    },
    Status(u16),
    /// The connection ends without an answer.
    Drops,
}

#[derive(Clone)]
pub struct OpenAiServer {
    target: Target,
    mode: Arc<Mutex<Mode>>,
}

impl OpenAiServer {
    pub async fn start(mode: Mode) -> OpenAiServer {
        OpenAiServer::slow(mode, Duration::ZERO).await
    }

    /// Each answer takes so long.
    pub async fn slow(mode: Mode, delay: Duration) -> OpenAiServer {
        let mode = Arc::new(Mutex::new(mode));
        let told = mode.clone();
        let answer = move |asked: &Asked| answer(asked, &told.lock().unwrap().clone());
        let delays = Delays { head: delay, ..Delays::default() };
        let target = Target::start("127.0.0.1".parse().unwrap(), None, delays, Arc::new(answer)).await;
        OpenAiServer { target, mode }
    }

    pub fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }

    pub fn base_url(&self) -> String {
        format!("{}/v1", self.target.url("http", "127.0.0.1"))
    }

    /// Every request as it came.
    pub fn asked(&self) -> Vec<Asked> {
        self.target.asked()
    }
}

fn answer(asked: &Asked, mode: &Mode) -> Reply {
    if asked.path != "/v1/chat/completions" || asked.method != "POST" {
        return Reply::text(404, "{\"error\": {\"message\": \"no such address\"}}");
    }
    let request: Value = serde_json::from_str(&asked.body).expect("a request is JSON");
    let messages = request["messages"].as_array().expect("a request has messages");
    let told_so = messages.iter().any(|message| message["content"].as_str().is_some_and(|text| text.contains("was refused")));
    let facts = facts(messages);
    let mode = match mode {
        Mode::Learns if told_so => &Mode::Well,
        Mode::Learns => &Mode::WrongFigures,
        mode => mode,
    };
    match mode {
        Mode::Well | Mode::Learns => completion(&digest(&facts).to_string(), "stop", &request),
        Mode::WrongFigures => {
            let mut digest = digest(&facts);
            digest["paragraphs"][0] = json!("It all lasted 37 hours and cost 4711 checks.");
            completion(&digest.to_string(), "stop", &request)
        }
        Mode::StrangeName => {
            let mut digest = digest(&facts);
            digest["suggestions"] = json!(["Ask those who run PaymentGateway."]);
            completion(&digest.to_string(), "stop", &request)
        }
        Mode::Obedient => {
            let digest = json!({"headline": "All is well.", "paragraphs": ["Every service was up all the time."], "suggestions": []});
            completion(&digest.to_string(), "stop", &request)
        }
        Mode::Prose(text) => completion(text, "stop", &request),
        Mode::Garbage => Reply::text(200, "<html>I am a proxy</html>"),
        Mode::CutOff => completion("{\"headline\": \"It", "length", &request),
        Mode::TooMany { retry_after } => Reply::text(429, "{\"error\": {\"message\": \"slow down\", \"code\": \"rate_limit_exceeded\"}}")
            .with("retry-after", retry_after.to_string()),
        Mode::Status(status) => Reply::text(*status, "{\"error\": {\"message\": \"it is broken\"}}"),
        Mode::Drops => Reply::raw(b""),
    }
}

/// The facts between their marks.
pub fn facts(messages: &[Value]) -> Value {
    let text = messages[1]["content"].as_str().expect("the facts are text");
    let inner = text.split_once("\n{").map(|(_, rest)| format!("{{{rest}")).expect("the facts are fenced");
    serde_json::from_str(inner.split("\n</facts").next().expect("the fence ends")).expect("the facts are JSON")
}

/// A text such as a model might write, from the facts alone.
fn digest(facts: &Value) -> Value {
    let Some(cause) = facts["causes"].get(0) else {
        let about = facts["about"].as_str().unwrap();
        return json!({"headline": format!("A quiet period for {about}."), "paragraphs": [], "suggestions": []});
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let longest = &cause["longest"];
    let (service, line) = (text(&longest["service"]), text(&cause["where_it_broke"]));
    let headline = match cause["still_open"].as_u64() {
        Some(0) => format!("{service} had trouble for {}.", text(&longest["lasted"])),
        _ => format!("{service} is still down, since {}.", text(&longest["opened"])),
    };
    let (failed, checks) = (&facts["failed_checks"], &facts["checks"]);
    json!({
        "headline": headline,
        "paragraphs": [
            format!("It began at {}, and this is where it broke: {line}.", text(&longest["opened"])),
            format!("Of all checks, which were {checks}, {failed} failed; availability came to {}.", text(&facts["uptime"])),
        ],
        "suggestions": [format!("Start with what {service} was doing at {}.", text(&longest["opened"]))],
    })
}

fn completion(text: &str, finish: &str, request: &Value) -> Reply {
    let body = json!({
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_763_800_000,
        "model": request["model"],
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}],
        "usage": {"prompt_tokens": 1_200, "completion_tokens": 150, "total_tokens": 1_350},
    });
    Reply::text(200, &body.to_string()).with("content-type", "application/json")
}
