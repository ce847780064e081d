//! Facts → a digest, by the writer there is: the model where one is set, can be paid and passes the check; else the local
//! one, with the reason. And a run: facts gathered, digests written and kept.

use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use crate::clock::Clock;
use crate::config::sections::{DigestSettings, OfServices};
use crate::digest::check::check;
use crate::digest::facts::{Facts, Inputs};
use crate::digest::gather::Sources;
use crate::digest::local;
use crate::digest::openai::{Model, NoAnswer};
use crate::digest::prompt::{Instructions, estimate, facts_json, fenced};
use crate::model::digest::{Digest, DigestId, DigestText, Tokens, Writer};
use crate::model::id::ServiceId;
use crate::model::time::Timestamp;
use crate::store::connection::StoreError;
use crate::store::digests::Digests;

/// Between two tries; doubled each time, unless the server names a wait.
const PAUSE: Duration = Duration::from_secs(1);
/// A server that bids longer is not waited for.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// In one run, digests in a row for which there was no answer before the model is left alone.
const PATIENCE: u32 = 3;

/// All that writing takes.
pub struct Desk {
    pub sources: Sources,
    pub digests: Arc<Digests>,
    pub settings: DigestSettings,
    pub model: Option<Model>,
    pub clock: Clock,
}

/// What a model was asked for came to.
struct Attempt {
    text: Result<DigestText, String>,
    tokens: Tokens,
    /// There was no answer at all.
    away: bool,
}

/// One run: what was found out once holds for all digests of it.
struct Run {
    instructions: Instructions,
    /// Digests in a row without an answer.
    away: u32,
}

impl Desk {
    pub fn new(sources: Sources, digests: Arc<Digests>, settings: DigestSettings) -> anyhow::Result<Desk> {
        let model = settings.model.clone().map(Model::new).transpose()?;
        let clock = sources.clock.clone();
        Ok(Desk { sources, digests, settings, model, clock })
    }

    /// Writes the digest of all, or of one service, and keeps it.
    pub async fn write(&self, hours: u32, until: Timestamp, service: Option<ServiceId>) -> Result<(Arc<Digest>, Arc<Inputs>), StoreError> {
        let inputs = Arc::new(self.sources.gather(hours, until, service).await?);
        let mut run = self.run().await;
        let facts = facts(&inputs, service).await.ok_or_else(|| gone(service))?;
        let digest = self.digest(&facts, service, &mut run).await;
        self.digests.save(&digest).await?;
        Ok((Arc::new(digest), inputs))
    }

    /// Writes the digests of the services that are to have one, and says how many. Old ones are let go of.
    pub async fn write_services(&self, inputs: &Arc<Inputs>) -> Result<usize, StoreError> {
        let mut run = self.run().await;
        let mut written = 0;
        for service in inputs.services.iter().filter(|watched| watched.enabled).map(|watched| watched.id) {
            let Some(facts) = facts(inputs, Some(service)).await else { continue };
            let wanted = match self.settings.of_services {
                OfServices::All => true,
                OfServices::Notable => facts.notable(),
                OfServices::None => false,
            };
            if wanted {
                let digest = self.digest(&facts, Some(service), &mut run).await;
                self.digests.save(&digest).await?;
                written += 1;
            }
        }
        let kept_since = self.clock.now().minus(self.settings.retain);
        let forgotten = self.digests.forget(kept_since).await?;
        if forgotten > 0 {
            info!(forgotten, "old digests deleted");
        }
        Ok(written)
    }

    async fn run(&self) -> Run {
        let instructions = if self.model.is_some() { self.instructions().await } else { Instructions::built_in() };
        Run { instructions, away: 0 }
    }

    /// From the file, where it is there and right.
    async fn instructions(&self) -> Instructions {
        let path = &self.settings.prompt_file;
        let wrong = match tokio::fs::read_to_string(path).await {
            Ok(text) => match Instructions::read(&text) {
                Ok(instructions) => return instructions,
                Err(wrong) => wrong,
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !self.settings.prompt_file_named => {
                return Instructions::built_in();
            }
            Err(error) => format!("cannot be read: {error}"),
        };
        warn!(file = %path.display(), "prompt file is not used, the built-in one is: it {wrong}");
        Instructions::built_in()
    }

    async fn digest(&self, facts: &Facts, service: Option<ServiceId>, run: &mut Run) -> Digest {
        let json = facts_json(facts);
        let (text, writer, reason, tokens) = match &self.model {
            None => (None, Writer::Local, "no language model is set".to_owned(), Tokens::default()),
            Some(model) if run.away >= PATIENCE => {
                let reason = format!("model {} gave no answer {PATIENCE} times in a row in this run", model.settings().model);
                (None, Writer::Local, reason, Tokens::default())
            }
            Some(model) => {
                let attempt = self.attempt(model, facts, &json, run).await;
                run.away = if attempt.away { run.away + 1 } else { 0 };
                match attempt.text {
                    Ok(text) => (Some(text), Writer::OpenAi, "every figure and name is in the facts".to_owned(), attempt.tokens),
                    Err(reason) => {
                        let about = facts.service.as_deref().unwrap_or("all services");
                        warn!(about, reason, "digest is written by the local writer, not by the language model");
                        (None, Writer::Local, reason, attempt.tokens)
                    }
                }
            }
        };
        let digest = Digest {
            id: DigestId::of(facts.period, service),
            service,
            name: facts.service.clone(),
            period: facts.period,
            written_at: self.clock.now(),
            text: text.unwrap_or_else(|| local::write(facts)),
            writer,
            writer_reason: reason,
            model: self.model.as_ref().map(|model| model.settings().model.clone()),
            tokens,
            anomaly_count: facts.anomaly_count(),
            facts: json.to_string(),
        };
        info!(
            id = %digest.id,
            writer = digest.writer.name(),
            tokens = digest.tokens.total(),
            anomalies = digest.anomaly_count,
            "digest written"
        );
        digest
    }

    /// Asks the model until it writes what may be shown, the tries are used up or the day's tokens are.
    async fn attempt(&self, model: &Model, facts: &Facts, json: &serde_json::Value, run: &Run) -> Attempt {
        let settings = model.settings();
        let (system, user) = (run.instructions.system(facts), fenced(json, rand::random()));
        let needed = estimate(&system) + estimate(&user) + u64::from(settings.max_output_tokens);
        let mut tokens = Tokens::default();
        let (mut refused, mut reason, mut away): (Option<String>, String, bool) = (None, String::new(), false);
        for attempt in 0..=settings.retries {
            let day = self.clock.now();
            match self.digests.spend(day, needed, settings.daily_tokens).await {
                Ok(Ok(())) => {}
                Ok(Err(left)) => {
                    let spent =
                        format!("the day's budget of {} tokens is spent: {left} are left, {needed} are needed", settings.daily_tokens);
                    reason = if reason.is_empty() { spent } else { format!("{reason}; {spent}") };
                    break;
                }
                Err(error) => {
                    reason = format!("the day's tokens cannot be counted: {error}");
                    break;
                }
            }
            let answer = model.ask(&system, &user, refused.as_deref()).await;
            let came_to = match &answer {
                Ok(answer) => answer
                    .tokens
                    .unwrap_or(Tokens { prompt: needed - u64::from(settings.max_output_tokens), completion: estimate(&answer.text) }),
                Err(NoAnswer { tokens: Some(tokens), .. }) => *tokens,
                Err(NoAnswer { spent: true, .. }) => {
                    Tokens { prompt: needed - u64::from(settings.max_output_tokens), completion: u64::from(settings.max_output_tokens) }
                }
                Err(_) => Tokens::default(),
            };
            tokens = Tokens { prompt: tokens.prompt + came_to.prompt, completion: tokens.completion + came_to.completion };
            if let Err(error) = self.digests.correct(day, needed, came_to.total()).await {
                warn!(%error, "tokens of the language model stay counted as they were estimated");
            }
            match answer {
                Ok(answer) => match check(&answer.text, facts) {
                    Ok(text) => return Attempt { text: Ok(text), tokens, away: false },
                    Err(wrong) => {
                        (reason, away) = (format!("the model's text was refused: {wrong}"), false);
                        refused = Some(wrong);
                    }
                },
                Err(NoAnswer { reason: why, again, .. }) => {
                    (reason, away) = (why, true);
                    let Some(wait) = again else { break };
                    let pause = wait.unwrap_or(PAUSE * 2u32.saturating_pow(attempt.min(8)));
                    if pause > LONGEST_PAUSE {
                        reason.push_str(&format!("; it bids to wait {} s", pause.as_secs()));
                        break;
                    }
                    if attempt < settings.retries {
                        self.clock.sleep(pause).await;
                    }
                }
            }
        }
        Attempt { text: Err(reason), tokens, away }
    }
}

/// Worked out aside: of a thousand services it takes a while, and others wait for this thread.
async fn facts(inputs: &Arc<Inputs>, service: Option<ServiceId>) -> Option<Facts> {
    let inputs = inputs.clone();
    tokio::task::spawn_blocking(move || Facts::of(&inputs, service)).await.ok()?
}

fn gone(service: Option<ServiceId>) -> StoreError {
    let service = service.map_or_else(String::new, |service| service.to_string());
    StoreError::Corrupt { what: "service", message: format!("service {service} is there no more") }
}
