//! Where people subscribe: requests are taken, confirmed and ended here.
//!
//! **Invariants.** No answer tells whether an address was known. An address gets one message until it is confirmed, and another of
//! these only after waits that double. A link does nothing by being looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use thiserror::Error;
use tracing::info;
use url::{Host, Url};

use crate::alert::channel::call::{addresses, literal};
use crate::alert::channel::{Channel, Kind};
use crate::clock::Clock;
use crate::config::mistake::Mistake;
use crate::config::status::SubscriptionSettings;
use crate::model::alert::{Message, Telling};
use crate::model::held::Delivery;
use crate::model::id::ServiceId;
use crate::model::incident::Severity;
use crate::model::subscriber::{Choice, News, Subscriber, SubscriberKind};
use crate::model::time::Timestamp;
use crate::probe::network::BlockedNetworks;
use crate::store::alerts::Alerts;
use crate::store::channels::Channels;
use crate::store::connection::StoreError;
use crate::store::secrets::random;
use crate::store::services::Services;
use crate::store::subscribers::{Request, Subscribers, SubscribersError, Taken};
use crate::subscribers::names::{cause_of, channel_of, confirm_key};
use crate::subscribers::post::lane_name;

/// A request that is not confirmed within this is forgotten.
pub const GOOD_FOR: Duration = Duration::from_secs(86_400);
/// The first wait before an address is asked again; each doubles.
const AGAIN: Duration = Duration::from_secs(600);
/// RFC 5321, section 4.5.3.1.3, without the brackets.
const LONGEST_ADDRESS: usize = 254;
const LONGEST_URL: usize = 2_000;
/// A name is looked up so long at most.
const LOOKUP_WITHIN: Duration = Duration::from_secs(4);

#[derive(Debug, Error)]
pub enum DeskError {
    #[error("nobody can subscribe here")]
    Closed,
    #[error("fields are wrong")]
    Invalid(Vec<Mistake>),
    #[error(transparent)]
    Subscribers(#[from] SubscribersError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

pub struct Desk {
    pub subscribers: Arc<Subscribers>,
    pub settings: SubscriptionSettings,
    alerts: Arc<Alerts>,
    channels: Arc<Channels>,
    services: Arc<Services>,
    public_url: Option<String>,
    wall: Arc<BlockedNetworks>,
    clock: Clock,
}

/// What a desk works with.
pub struct DeskArgs {
    pub subscribers: Arc<Subscribers>,
    pub settings: SubscriptionSettings,
    pub alerts: Arc<Alerts>,
    pub channels: Arc<Channels>,
    pub services: Arc<Services>,
    /// The address people reach the hub at.
    pub public_url: Option<String>,
    /// Networks no channel may reach.
    pub blocked: BlockedNetworks,
    pub clock: Clock,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Wish {
    pub kind: SubscriberKind,
    pub reach: String,
    /// By number; none: all.
    pub services: Vec<String>,
    pub lang: String,
}

/// What whoever asked is told, known or not.
pub struct Asked {
    pub kind: SubscriberKind,
    /// Of a webhook: what its messages are signed with, told this once.
    pub secret: Option<String>,
}

impl Desk {
    pub fn new(args: DeskArgs) -> Desk {
        let DeskArgs { subscribers, settings, alerts, channels, services, public_url, blocked, clock } = args;
        let wall = if settings.private_webhooks { blocked } else { blocked.with_private() };
        let public_url = public_url.map(|url| url.trim_end_matches('/').to_owned());
        Desk { subscribers, settings, alerts, channels, services, public_url, wall: Arc::new(wall), clock }
    }

    /// The networks no webhook of a subscriber may lie in.
    pub fn wall(&self) -> Arc<BlockedNetworks> {
        self.wall.clone()
    }

    /// The services anyone may know of, with their names.
    pub fn public(&self) -> BTreeMap<ServiceId, String> {
        let list = self.services.list();
        let public = list.iter().filter(|service| service.document.public == Some(true));
        public.map(|service| (service.id, service.name().to_owned())).collect()
    }

    /// Those of them that are checked: what was failing when its service was paused is not told to be resolved.
    pub fn watched(&self) -> BTreeMap<ServiceId, String> {
        let mut public = self.public();
        self.services.list().iter().filter(|service| service.document.enabled == Some(false)).for_each(|service| {
            public.remove(&service.id);
        });
        public
    }

    /// News without what is not public, or no longer; `None`: nothing is left to tell.
    pub fn still_public(&self, news: &News) -> Option<News> {
        let list = self.services.list();
        let public = list.iter().filter(|service| service.document.public == Some(true)).map(|service| service.id);
        news.for_one(&Choice { services: Some(public.collect()), lang: String::new() })
    }

    /// Whether anyone may subscribe to anything.
    pub fn is_open(&self) -> bool {
        self.settings.enabled && self.services.list().iter().any(|service| service.document.public == Some(true))
    }

    /// The channel mails go by; `None`: none do.
    pub fn mail_channel(&self) -> Option<Arc<Channel>> {
        let name = self.settings.mail_channel.as_ref().filter(|_| self.public_url.is_some())?;
        self.channels.find_by_name(name).filter(|channel| channel.enabled && matches!(channel.kind, Kind::Email(_)))
    }

    /// An address of this hub, whole where it is known.
    pub fn link(&self, path: &str) -> String {
        format!("{}{path}", self.public_url.as_deref().unwrap_or_default())
    }

    pub fn confirm_link(&self, token: &str) -> String {
        self.link(&format!("/status/confirm/{token}"))
    }

    pub fn leave_link(&self, subscriber: &Subscriber) -> String {
        self.link(&format!("/status/unsubscribe/{}", self.subscribers.leave_token(subscriber)))
    }

    /// Takes a request, and has whoever it is for asked whether it is meant.
    pub async fn ask(&self, wish: Wish) -> Result<Asked, DeskError> {
        if !self.is_open() {
            return Err(DeskError::Closed);
        }
        let mut mistakes = Vec::new();
        let reach = match wish.kind {
            SubscriberKind::Mail if self.mail_channel().is_none() => {
                Err(Mistake::new("email", "this page sends no mails; a webhook can be told"))
            }
            SubscriberKind::Mail => address(&wish.reach),
            SubscriberKind::Webhook => self.url(&wish.reach).await,
        };
        let reach = reach.map_err(|mistake| mistakes.push(mistake)).unwrap_or_default();
        let services = self.chosen(&wish.services).map_err(|mistake| mistakes.push(mistake)).unwrap_or_default();
        if !mistakes.is_empty() {
            return Err(DeskError::Invalid(mistakes));
        }
        let secret = (wish.kind == SubscriberKind::Webhook).then(|| BASE64_URL_SAFE_NO_PAD.encode(random::<32>()));
        let choice = Choice { services, lang: wish.lang };
        let request = Request { kind: wish.kind, reach, secret: secret.clone(), choice };
        let again = |asked: u32| AGAIN.saturating_mul(1 << asked.saturating_sub(1).min(10)).min(GOOD_FOR);
        if let Taken::Ask(subscriber) = self.subscribers.ask(request, self.settings.most, again).await? {
            self.alerts.add(&[self.question(&subscriber)]).await?;
        }
        Ok(Asked { kind: wish.kind, secret })
    }

    /// Whose request a token confirms.
    pub fn confirmable(&self, token: &str) -> Option<Arc<Subscriber>> {
        self.subscribers.confirmed_by(token, self.clock.now().minus(GOOD_FOR))
    }

    /// `false`: there is nothing to confirm, or no longer.
    pub async fn confirm(&self, token: &str) -> Result<bool, DeskError> {
        let Some(found) = self.confirmable(token) else { return Ok(false) };
        let Some(pending) = &found.pending else { return Ok(false) };
        let confirmed = self.subscribers.confirm(found.id, &pending.print).await?;
        if let Some(confirmed) = &confirmed {
            info!(subscriber = confirmed.id.0, kind = confirmed.kind.name(), "someone subscribed to the status page");
        }
        Ok(confirmed.is_some())
    }

    /// `false`: there is no such subscription.
    pub async fn leave(&self, token: &str) -> Result<bool, DeskError> {
        let Some(found) = self.subscribers.left_by(token) else { return Ok(false) };
        let left = self.subscribers.remove(found.id, None).await?;
        info!(subscriber = found.id.0, kind = found.kind.name(), "someone unsubscribed from the status page");
        Ok(left)
    }

    /// The delivery that asks whether a request was meant.
    fn question(&self, subscriber: &Subscriber) -> Delivery {
        let now = self.clock.now();
        let key = confirm_key(subscriber.id, now.0);
        let message = message(key, cause_of(subscriber.id, "confirm"), Telling::Word, "asked to confirm".to_owned(), now);
        let channel_name = lane_name(subscriber.kind).to_owned();
        Delivery::planned(self.alerts.deliveries.number(now), channel_of(subscriber), channel_name, now, message)
    }

    fn chosen(&self, given: &[String]) -> Result<Option<BTreeSet<ServiceId>>, Mistake> {
        if given.is_empty() {
            return Ok(None);
        }
        let public = self.public();
        let read = |text: &String| {
            let id = text.trim().parse().ok().map(ServiceId).filter(|id| public.contains_key(id));
            id.ok_or_else(|| Mistake::new("services", format!("{text:?} is not the number of a public service")))
        };
        given.iter().map(read).collect::<Result<_, _>>().map(Some)
    }

    /// A URL a webhook may have. Names are looked up here, so that who asks is told at once, and again at every connection.
    async fn url(&self, text: &str) -> Result<String, Mistake> {
        let wrong = |message: &str| Mistake::new("url", message);
        let text = text.trim();
        let mut url = Url::parse(text).map_err(|_| wrong("must be a whole address such as https://example.com/hook"))?;
        if text.len() > LONGEST_URL {
            return Err(wrong("is too long"));
        }
        if !matches!(url.scheme(), "http" | "https") || !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("must be an http or https address without a user name"));
        }
        url.set_fragment(None);
        // The same words for whatever is wrong with it: names of inner machines are nobody's business.
        let unfit = || wrong("leads to no host on the internet that this hub may call");
        let reachable = match (literal(&url), url.host()) {
            (Some(address), _) => !self.wall.holds(address),
            (None, Some(Host::Domain(name))) => {
                let port = url.port_or_known_default().unwrap_or(443);
                let looked_up = addresses(name, port, &self.wall, "status.private_webhooks");
                tokio::time::timeout(LOOKUP_WITHIN, looked_up).await.is_ok_and(|found| found.is_ok())
            }
            _ => false,
        };
        if reachable { Ok(url.to_string()) } else { Err(unfit()) }
    }
}

/// A mail address alone, without a name before it, in the form mail servers exchange: the domain in lower case and in ASCII. What a
/// standard allows and nobody uses, such as quotes or the number of a machine, is refused.
fn address(text: &str) -> Result<String, Mistake> {
    let written = || {
        let read = text.trim().parse::<lettre::Address>().ok()?;
        let odd = |letter: char| matches!(letter, '"' | '\\') || letter.is_whitespace() || letter.is_control();
        let Host::Domain(domain) = Host::parse(read.domain()).ok()? else { return None };
        let known = domain.rsplit_once('.').is_some_and(|(_, last)| !last.is_empty() && !last.eq_ignore_ascii_case("localhost"));
        let whole = format!("{}@{}", read.user(), domain.to_lowercase());
        let fits = known && !read.user().contains(odd) && whole.len() <= LONGEST_ADDRESS && whole.parse::<lettre::Address>().is_ok();
        fits.then_some(whole)
    };
    written().ok_or_else(|| Mistake::new("email", "must be a mail address such as ada@example.com"))
}

/// A message to a subscriber, which names what it carries.
pub fn message(key: String, cause: String, telling: Telling, headline: String, since: Timestamp) -> Message {
    Message {
        key,
        cause,
        telling,
        severity: Severity::Warning,
        drill: false,
        service: None,
        headline,
        since,
        recovered_at: (telling == Telling::Recovered).then_some(since),
        regions: Vec::new(),
        last_good: None,
        consequences: Vec::new(),
        link: None,
        next_step: None,
        acknowledged_by: None,
        rule: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_in_the_form_mail_servers_exchange() {
        for (given, kept) in [
            (" Ada.Lovelace+x@Example.COM ", "Ada.Lovelace+x@example.com"),
            ("ada@Bücher.example", "ada@xn--bcher-kva.example"),
            ("ada@mail.co.uk", "ada@mail.co.uk"),
        ] {
            assert_eq!(address(given).ok().as_deref(), Some(kept), "{given}");
        }
        let long = format!("ada@{}.example", "a".repeat(300));
        for bad in [
            "ada",
            "Ada <ada@example.com>",
            "\"ada lovelace\"@example.com",
            "\"ada\"@example.com",
            "ada\\b@example.com",
            "ada b@example.com",
            "ada\u{a0}b@example.com",
            "ada\u{7}@example.com",
            "ada@localhost",
            "ada@shop.localhost",
            "ada@mailhost",
            "ada@127.0.0.1",
            "ada@2130706433",
            "ada@[127.0.0.1]",
            "ada@[IPv6:::1]",
            "ada@example.com.",
            "ada@.example.com",
            long.as_str(),
        ] {
            assert_eq!(address(bad).ok(), None, "{bad}");
        }
    }
}
