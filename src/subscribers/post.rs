//! Where what subscribers are told leaves the hub: mails by the channel the operator named, requests to webhooks.
//!
//! To those who deliver it is one more way out beside the channels people have made. A delivery names whom it is for and what it
//! carries; both are looked up when it is sent, so one who has left in the meantime is told nothing more.
//!
//! **Invariants.** No receipt and no failure holds an address, a secret or a link of a subscriber. Who has not confirmed gets the
//! request to confirm and nothing else.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use lettre::Address;
use tracing::{info, warn};
use url::Url;

use crate::alert::channel::call::{Line, never, passing};
use crate::alert::channel::email::letter::{Letter as Mail, Unsent};
use crate::alert::channel::hidden::without_url;
use crate::alert::channel::sender::Sender;
use crate::alert::exit::{Exit, Exits};
use crate::clock::Clock;
use crate::model::alert::{DeliveryFailure, Message, Receipt};
use crate::model::id::ChannelId;
use crate::model::incident::IncidentId;
use crate::model::subscriber::{News, Subscriber, SubscriberKind, SubscriberState};
use crate::model::time::Timestamp;
use crate::probe::redact::Secrets;
use crate::store::news::NewsStore;
use crate::store::subscribers::SubscribersError;
use crate::subscribers::desk::{Desk, GOOD_FOR};
use crate::subscribers::mail::{page, plain};
use crate::subscribers::names::{Carried, Lane, carried, lane_of};
use crate::subscribers::webhook::{Links, answers, of_news, of_request, send};
use crate::subscribers::words;
use crate::web::text::{Lang, Text};

/// Messages refused for good, one after the other, before a subscriber is told nothing more.
const MOST_REFUSED: u32 = 5;
const HOUR_S: u64 = 3_600;

/// A webhook that will not be asked whether it meant to be is not asked again after this.
const ASKED_FOR: Duration = Duration::from_secs(1_800);

/// What it works with; cheap to clone.
#[derive(Clone)]
pub struct Post {
    /// The channels people have made.
    pub channels: Arc<dyn Exits>,
    pub desk: Arc<Desk>,
    pub news: Arc<NewsStore>,
    pub sender: Arc<Sender>,
    /// To webhooks.
    pub line: Line,
    /// The name of the status page; `None`: the usual one.
    pub title: Option<String>,
    pub clock: Clock,
}

/// What is sent to one subscriber.
enum Content {
    Request { token: String, challenge: String, print: String, until: Timestamp },
    News(News),
}

/// What the lanes of subscribers are called, in metrics too.
pub fn lane_name(kind: SubscriberKind) -> &'static str {
    match kind {
        SubscriberKind::Mail => "status page mails",
        SubscriberKind::Webhook => "status page webhooks",
    }
}

impl Exits for Post {
    fn list(&self) -> Vec<Exit> {
        self.channels.list()
    }

    fn find(&self, channel: ChannelId) -> Option<Exit> {
        let (kind, enabled, has_key) = match lane_of(channel) {
            None => return self.channels.find(channel),
            // Mails wait for a channel that is switched off, or gone, as alerts do.
            Some(Lane::Mails) => (SubscriberKind::Mail, self.desk.mail_channel().is_some(), false),
            Some(Lane::Webhook(_)) => (SubscriberKind::Webhook, true, true),
        };
        Some(Exit { id: channel, name: lane_name(kind).to_owned(), enabled, has_key, rate: None })
    }

    fn deliver(&self, channel: ChannelId, message: Message) -> BoxFuture<'static, Result<Receipt, DeliveryFailure>> {
        if lane_of(channel).is_none() {
            return self.channels.deliver(channel, message);
        }
        let post = self.clone();
        Box::pin(async move { post.send(message).await })
    }

    fn gave_up(&self, key: &str, reason: &str) -> BoxFuture<'static, ()> {
        let found = carried(key).filter(|(_, what)| matches!(what, Carried::News(_)));
        let found = found.and_then(|(id, _)| self.desk.subscribers.get(id));
        // That a mail server cannot be reached says nothing of those whose mails it has not taken.
        let Some(found) = found.filter(|found| found.kind == SubscriberKind::Webhook) else { return Box::pin(async {}) };
        let (post, reason) = (self.clone(), reason.to_owned());
        Box::pin(async move { post.refused(&found, &reason).await })
    }
}

impl Post {
    async fn send(&self, message: Message) -> Result<Receipt, DeliveryFailure> {
        let gone = || never("the subscription has ended".to_owned());
        let (id, what) = carried(&message.key).ok_or_else(gone)?;
        let subscriber = self.desk.subscribers.get(id).ok_or_else(gone)?;
        let content = match what {
            Carried::Confirm => self.request(&subscriber).ok_or_else(|| never("the request is over".to_owned()))?,
            Carried::News(_) if subscriber.state() != SubscriberState::Active => {
                return Err(never(format!("the subscription is {}", subscriber.state().name())));
            }
            Carried::News(news) => {
                let news = self.news.get(news).ok_or_else(|| never("the news are too old to be kept".to_owned()))?;
                // What was public when it was made may not be now.
                match self.desk.still_public(&news).and_then(|news| news.for_one(&subscriber.choice)) {
                    Some(news) => Content::News(news),
                    None => return Ok(Receipt { answer: "not sent: it is no longer public or asked for".to_owned() }),
                }
            }
        };
        let sent = match subscriber.kind {
            SubscriberKind::Mail => self.mail(&subscriber, &message, &content).await,
            SubscriberKind::Webhook => self.call(&subscriber, &message, &content).await,
        };
        let asked_at = subscriber.pending.as_ref().map(|pending| pending.asked_at);
        let sent = match (&content, asked_at) {
            (Content::Request { .. }, Some(asked_at)) if subscriber.kind == SubscriberKind::Webhook => {
                sent.map_err(|failure| asked_long_enough(failure, asked_at, self.clock.now()))
            }
            _ => sent,
        };
        if matches!(content, Content::News(_)) {
            match &sent {
                Ok(_) => self.noted(self.desk.subscribers.reached(id).await),
                Err(failure) if failure.permanent => self.refused(&subscriber, &failure.reason).await,
                Err(_) => {}
            }
        }
        sent
    }

    /// `None`: nothing waits to be confirmed, or no longer.
    fn request(&self, subscriber: &Subscriber) -> Option<Content> {
        let pending = subscriber.pending.as_ref()?;
        let until = pending.asked_at.plus(GOOD_FOR);
        let (token, challenge) = (self.desk.subscribers.confirm_token(subscriber)?, self.desk.subscribers.challenge(subscriber)?);
        (until > self.clock.now()).then(|| Content::Request { token, challenge, print: pending.print.clone(), until })
    }

    async fn mail(&self, subscriber: &Subscriber, message: &Message, content: &Content) -> Result<Receipt, DeliveryFailure> {
        let channel = self.desk.mail_channel().ok_or_else(|| passing("no channel sends mails of the status page".to_owned()))?;
        let to: Address = subscriber.reach.parse().map_err(|_| never("the address is none".to_owned()))?;
        let pending = subscriber.pending.as_ref().filter(|_| matches!(content, Content::Request { .. }));
        let lang = Lang::from_name(&pending.map_or(&subscriber.choice, |pending| &pending.choice).lang).unwrap_or(Lang::English);
        let t = Text(lang);
        let title = self.title.as_deref().unwrap_or(t.s("status.title"));
        let leave = self.desk.leave_link(subscriber);
        let letter = match content {
            Content::Request { token, .. } => words::of_request(t, title, &self.desk.confirm_link(token), GOOD_FOR.as_secs() / HOUR_S),
            Content::News(news) => words::of_news(t, title, news),
        };
        let shown = Some(leave.as_str()).filter(|_| matches!(content, Content::News(_)));
        let footer = words::footer(t, title, &self.desk.link("/status"), shown);
        let letter = Mail {
            to,
            plain: plain(&letter, &footer),
            html: page(&letter, &footer, lang),
            subject: letter.title,
            key: message.key.clone(),
            thread: message.cause.clone(),
            headers: vec![("List-Unsubscribe", format!("<{leave}>")), ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click".to_owned())],
        };
        match self.sender.post(&channel, letter).await {
            Ok(receipt) => Ok(receipt),
            Err(Unsent::Refused(failure)) => Err(failure),
            // Not to be laid at the door of who should have got it.
            Err(Unsent::Failed(failure)) => Err(DeliveryFailure { permanent: false, ..failure }),
        }
    }

    async fn call(&self, subscriber: &Subscriber, message: &Message, content: &Content) -> Result<Receipt, DeliveryFailure> {
        let url = Url::parse(&subscriber.reach).map_err(|_| never("the address is none".to_owned()))?;
        let secret = subscriber.secret.clone().unwrap_or_default();
        let (status, leave) = (self.desk.link("/status"), self.desk.leave_link(subscriber));
        let links = Links { status: &status, leave: &leave };
        let mut hidden = vec![secret.clone(), self.desk.subscribers.leave_token(subscriber)];
        let body = match content {
            Content::Request { token, challenge, until, .. } => {
                hidden.extend([token.clone(), challenge.clone()]);
                of_request(challenge, &self.desk.confirm_link(token), *until, &links)
            }
            Content::News(news) => {
                let t = Text(Lang::from_name(&subscriber.choice.lang).unwrap_or(Lang::English));
                let title = self.title.as_deref().unwrap_or(t.s("status.title"));
                let name = |incident: &IncidentId| self.desk.subscribers.public_name(incident);
                of_news(news, &words::of_news(t, title, news).title, &links, &name)
            }
        };
        match send(&self.line, &url, &secret, &message.key, &body, self.clock.now()).await {
            Ok(answer) => match content {
                Content::Request { challenge, print, .. } if answers(&answer, challenge) => {
                    let confirmed = self.desk.subscribers.confirm(subscriber.id, print).await;
                    confirmed.map_err(|error| passing(format!("the answer was right and could not be stored: {error}")))?;
                    info!(subscriber = subscriber.id.0, kind = "webhook", "someone subscribed to the status page");
                    Ok(Receipt { answer: "taken, and the challenge answered".to_owned() })
                }
                Content::Request { .. } => Ok(Receipt { answer: "taken; the challenge was not answered".to_owned() }),
                Content::News(_) => Ok(Receipt { answer: "taken".to_owned() }),
            },
            Err(failure) => {
                let secrets = Secrets::listed(hidden.iter().map(String::as_str));
                Err(DeliveryFailure { reason: without_url(&secrets.hide(&failure.reason), &url), ..failure })
            }
        }
    }

    async fn refused(&self, subscriber: &Subscriber, reason: &str) {
        let id = subscriber.id;
        match self.desk.subscribers.refused(id, reason, MOST_REFUSED).await {
            Ok(true) => warn!(subscriber = id.0, cause = reason, "subscriber is suspended: nothing gets through"),
            other => self.noted(other.map(|_| ())),
        }
    }

    /// That it could not be noted changes nothing of what was sent.
    fn noted(&self, outcome: Result<(), SubscribersError>) {
        if let Err(error) = outcome {
            warn!("what became of a message to a subscriber cannot be noted: {:#}", anyhow::Error::from(error));
        }
    }
}

/// The failure of a request to confirm, which is for good once it was tried for long enough: who asked is still there then, or not.
fn asked_long_enough(failure: DeliveryFailure, asked_at: Timestamp, now: Timestamp) -> DeliveryFailure {
    DeliveryFailure { permanent: failure.permanent || now.since(asked_at) >= ASKED_FOR, ..failure }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_that_refuses_to_be_asked_is_asked_for_half_an_hour() {
        let asked_at = Timestamp(1_795_341_600_000_000);
        let permanent = |failure, seconds| asked_long_enough(failure, asked_at, asked_at.plus(Duration::from_secs(seconds))).permanent;
        assert!(!permanent(passing("answered 503".to_owned()), 1_799));
        assert!(permanent(passing("answered 503".to_owned()), 1_800));
        assert!(permanent(never("answered 404".to_owned()), 0));
    }
}
