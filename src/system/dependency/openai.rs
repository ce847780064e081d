//! An endpoint compatible with OpenAI's: `GET /models` with the key, as a check of the program's own probe makes it.

use crate::clock::Clock;
use crate::config::service::{AuthDocument, ExpectDocument, JsonDocument, OneOrMany, ServiceDocument, Status, TlsDocument};
use crate::config::system::{DependencyPlace, DependencySettings};
use crate::model::check::{Failure, Phase, Reason};
use crate::model::id::{Boot, CheckId, NodeName, RegionName, ServiceId};
use crate::model::service::Schedule;
use crate::probe::protocol::{Step, Trouble};
use crate::probe::{CheckOrder, Probes};

/// Servers of this kind tell no version.
pub async fn greet(
    probes: &Probes,
    place: &DependencyPlace,
    settings: &DependencySettings,
    clock: &Clock,
) -> Result<Option<String>, Trouble> {
    let text = |text: &str| Some(text.to_owned());
    let document = ServiceDocument {
        name: text(&settings.name),
        base_url: text(place.url.as_str().trim_end_matches('/')),
        health_path: text("/models"),
        timeout_s: Some(settings.timeout.as_secs_f64()),
        retries: Some(0),
        // A key is for one host alone.
        redirects: Some(0),
        expect: Some(ExpectDocument {
            status: Some(OneOrMany::One(Status::Code(200))),
            json: vec![JsonDocument { path: "$.data".to_owned(), exists: Some(true), ..JsonDocument::default() }],
            ..ExpectDocument::default()
        }),
        tls: Some(TlsDocument {
            insecure_skip_verify: Some(settings.tls.insecure_skip_verify),
            ca: settings.tls.ca.clone(),
            ..TlsDocument::default()
        }),
        auth: settings.login.password.clone().map(|token| AuthDocument::Bearer { token }),
        ..ServiceDocument::default()
    };
    let service = document.check(ServiceId(0), &Schedule::Interval(settings.interval)).map_err(|mistakes| {
        let first = mistakes.first().map_or_else(String::new, |mistake| format!("{}: {}", mistake.path, mistake.message));
        Trouble::protocol(format!("the settings make no request: {first}"))
    })?;
    let order = CheckOrder {
        id: CheckId { node: NodeName::from("hub"), boot: Boot(0), seq: 0 },
        region: RegionName::from("hub"),
        scheduled_at: clock.now(),
        hub_url: None,
    };
    let result = probes.check(&service, order).await;
    match result.failure {
        None => Ok(None),
        Some(failure) => Err(trouble(failure, result.status_code)),
    }
}

fn trouble(failure: Failure, status: Option<u16>) -> Trouble {
    let step = match failure.reason {
        Reason::Dns => Step::Dns,
        Reason::Connect | Reason::Blocked => Step::Connect,
        Reason::Tls | Reason::Certificate => Step::Tls,
        _ => match failure.phase {
            Phase::Dns => Step::Dns,
            Phase::Connect => Step::Connect,
            Phase::Tls => Step::Tls,
            _ => Step::Protocol,
        },
    };
    match (failure.reason, status) {
        (Reason::Timeout, _) => Trouble { timed_out: true, ..Trouble::new(step, failure.message) },
        (Reason::Status, Some(code @ (401 | 403))) => Trouble::auth(format!("the server refuses the key ({code})")),
        (Reason::Status, Some(404)) => Trouble::protocol("the server knows no /models there (404): see to the path of the URL"),
        (Reason::Status, Some(code)) => Trouble::protocol(format!("the server answers {code}")),
        (Reason::Json, _) => Trouble::protocol("what the server answers is no list of models"),
        _ => Trouble::new(step, failure.message),
    }
}
