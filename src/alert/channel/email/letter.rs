//! A letter to one person, by the server and the sender of a mail channel: what it says is another's.

use std::time::{Duration, UNIX_EPOCH};

use lettre::Address;
use lettre::message::{Mailbox, Message as Mail, MultiPart};

use crate::alert::channel::call::{never, passing};
use crate::alert::channel::email::{Email, PATIENCE, fit, raw};
use crate::alert::channel::sender::Sender;
use crate::model::alert::DeliveryFailure;

/// Ready to be sent.
pub struct Letter {
    pub to: Address,
    pub subject: String,
    pub plain: String,
    pub html: String,
    /// Names it, the same for every attempt, and what it is about: those of one subject are one thread.
    pub key: String,
    pub thread: String,
    /// Further headers.
    pub headers: Vec<(&'static str, String)>,
}

/// Why a letter was not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unsent {
    /// The server would not take it for this address, or no mail can be written to it; one failure of these is for good or for now.
    Refused(DeliveryFailure),
    /// The server, or the way to it: no word about the address.
    Failed(DeliveryFailure),
}

impl Email {
    pub async fn post(&self, sender: &Sender, letter: Letter) -> Result<String, Unsent> {
        let own = Email { to: vec![Mailbox::new(None, letter.to.clone())], ..self.clone() };
        let mail = own.written(sender, &letter).map_err(|reason| Unsent::Refused(never(reason)))?.formatted();
        let limit = sender.timeout * PATIENCE;
        let sending = async {
            // A log-in that is refused is for people to mend: letters wait for it.
            let mut connection =
                own.connect(sender).await.map_err(|failure| Unsent::Failed(DeliveryFailure { permanent: false, ..failure }))?;
            let sent = own.send(&mut connection, &mail).await;
            let _ = tokio::time::timeout(Duration::from_secs(1), connection.quit()).await;
            sent.map_err(|unsent| match unsent.refused {
                true => Unsent::Refused(unsent.failure),
                false => Unsent::Failed(unsent.failure),
            })
        };
        let late = || passing(format!("{}:{} did not take the mail within {} s", own.host, own.port, limit.as_secs_f64()));
        tokio::time::timeout(limit, sending).await.unwrap_or_else(|_| Err(Unsent::Failed(late())))
    }

    fn written(&self, sender: &Sender, letter: &Letter) -> Result<Mail, String> {
        let at = UNIX_EPOCH + Duration::from_micros(u64::try_from(sender.clock.now().0).unwrap_or(0));
        let domain = self.from.email.domain();
        let mut builder = Mail::builder()
            .from(self.from.clone())
            .subject(letter.subject.clone())
            .date(at)
            .message_id(Some(format!("<{}@{domain}>", fit(&letter.key))))
            .references(format!("<thread.{}@{domain}>", fit(&letter.thread)))
            .raw_header(raw("Auto-Submitted", "auto-generated"));
        if let Some(reply_to) = &self.reply_to {
            builder = builder.reply_to(reply_to.clone());
        }
        for (name, value) in &letter.headers {
            builder = builder.raw_header(raw(name, value));
        }
        for mailbox in &self.to {
            builder = builder.to(mailbox.clone());
        }
        let body = MultiPart::alternative_plain_html(letter.plain.clone(), letter.html.clone());
        builder.multipart(body).map_err(|error| format!("mail cannot be written: {error}"))
    }
}
