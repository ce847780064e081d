//! The API described: OpenAPI 3.1 for programs, a viewer of it for people. The viewer's files are part of the binary; it
//! asks nothing of other hosts.

use std::collections::BTreeMap;

use rocket::serde::json::Json;
use rocket::{Route, get};
use serde::Serialize;
use serde_json::Value;
use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi, ToSchema};
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::api::auth::Anyone;
use crate::api::summary::UptimeView;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "probemesh",
        description = "Watches APIs from many regions at once. Log in at /api/token/ and send the access token with every request, or make an API key and \
                       send that instead. \
                       Times are RFC 3339 in UTC; errors are problems of RFC 9457; lists are paged.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(
        crate::api::tokens::obtain,
        crate::api::tokens::refresh,
        crate::api::tokens::revoke,
        crate::api::services::list,
        crate::api::services::create,
        crate::api::services::read,
        crate::api::services::replace,
        crate::api::services::patch,
        crate::api::services::delete,
        crate::api::checks::check_one,
        crate::api::checks::check_all,
        crate::api::trying::try_one,
        crate::api::results::list,
        crate::api::results::read,
        crate::api::statistics::read,
        crate::api::summary::read,
        crate::api::rollups::list,
        crate::api::performance::analysis,
        crate::api::performance::bottlenecks_of,
        crate::api::performance::recommendations,
        crate::api::system::health,
        crate::api::system::collect,
        crate::api::incidents::list,
        crate::api::incidents::read,
        crate::api::incidents::acknowledge,
        crate::api::incidents::note,
        crate::api::alerts::rules::list,
        crate::api::alerts::rules::create,
        crate::api::alerts::rules::read,
        crate::api::alerts::rules::replace,
        crate::api::alerts::rules::patch,
        crate::api::alerts::rules::delete,
        crate::api::alerts::deliveries::list,
        crate::api::alerts::deliveries::read,
        crate::api::alerts::deliveries::retry,
        crate::api::alerts::causes::list,
        crate::api::alerts::causes::read,
        crate::api::alerts::causes::acknowledge,
        crate::api::alerts::drill::start,
        crate::api::alerts::drill::read,
        crate::api::alerts::drill::recover,
        crate::api::digests::list,
        crate::api::digests::latest,
        crate::api::digests::read,
        crate::api::digests::run,
        crate::api::windows::list,
        crate::api::windows::create,
        crate::api::windows::read,
        crate::api::windows::patch,
        crate::api::windows::delete,
        crate::api::windows::start,
        crate::api::windows::end,
        crate::api::subscribers::list,
        crate::api::subscribers::read,
        crate::api::subscribers::remove,
        crate::api::subscribers::resume,
        crate::api::slos::list,
        crate::api::slos::create,
        crate::api::slos::read,
        crate::api::slos::replace,
        crate::api::slos::patch,
        crate::api::slos::delete,
        crate::api::slos::report_of,
        crate::api::findings::list,
        crate::api::findings::habits,
        crate::api::findings::read,
        crate::api::findings::feedback,
        crate::api::channels::kinds,
        crate::api::channels::list,
        crate::api::channels::create,
        crate::api::channels::read,
        crate::api::channels::replace,
        crate::api::channels::patch,
        crate::api::channels::delete,
        crate::api::channels::test,
        crate::api::channels::test_unsaved,
        crate::api::issues::list::list,
        crate::api::issues::create,
        crate::api::issues::read,
        crate::api::issues::edit,
        crate::api::issues::step,
        crate::api::issues::talk::comments,
        crate::api::issues::talk::comment,
        crate::api::issues::talk::edit_comment,
        crate::api::issues::talk::history,
        crate::api::issues::figures::read,
        crate::api::issues::transfer::export,
        crate::api::issues::transfer::import,
        crate::api::cluster::read,
        crate::api::regions::regions,
        crate::api::regions::nodes,
        crate::api::users::list,
        crate::api::users::create,
        crate::api::users::patch,
        crate::api::users::delete,
        crate::api::users::turn_off_second_factor,
        crate::api::users::unlink,
        crate::api::keys::list,
        crate::api::keys::create,
        crate::api::keys::revoke,
        crate::api::audit::list,
        crate::api::logs::read,
        crate::api::settings::list,
        crate::api::backup::read,
        crate::api::backup::whole,
        crate::api::backup::restore::restore,
        crate::api::events::listen,
        crate::api::local::documents,
        crate::api::local::seed,
        crate::api::joining::create_token,
        crate::api::joining::list_tokens,
        crate::api::joining::delete_token,
        crate::api::joining::revoke_node,
        crate::api::joining::list_joined,
        crate::api::health::alive,
        crate::api::health::ready,
        crate::api::health::metrics,
        document,
    ),
    security(("token" = [])),
    modifiers(&Security)
)]
struct Api;

struct Security;

impl Modify for Security {
    fn modify(&self, document: &mut Document) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
        document.components.get_or_insert_default().add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// This document.
#[utoipa::path(tag = "process", security(()), responses((status = 200, description = "OpenAPI 3.1", body = Value)))]
#[get("/openapi.json")]
pub fn document(_anyone: Anyone) -> Json<Document> {
    Json(Api::openapi())
}

/// The viewer, at `/docs/`.
pub fn pages() -> Vec<Route> {
    SwaggerUi::new("/docs/<_..>").config(Config::new(["/openapi.json"])).into()
}

/// A service as it is sent and answered. Only `name` and `base_url` must be given.
#[derive(Serialize, ToSchema)]
pub struct ServiceBody {
    /// Given by the hub.
    #[schema(read_only)]
    pub id: u32,
    /// At most 200 characters, of no other service.
    pub name: String,
    /// Such as `https://api.example.com`, or `self` for the hub's own address.
    pub base_url: String,
    /// Put behind the address.
    pub health_path: Option<String>,
    /// `http`
    pub kind: Option<String>,
    /// `GET`, `HEAD`, `POST`, `PUT`, `PATCH`, `DELETE` or `OPTIONS`
    #[schema(default = "GET")]
    pub method: Option<String>,
    /// Sent with each check. Values of secret headers are shown as `********`.
    pub headers: Option<BTreeMap<String, String>>,
    pub body: Option<String>,
    /// For one attempt: 0.001 to 300.
    #[schema(default = 10.0)]
    pub timeout_s: Option<f64>,
    #[schema(default = true)]
    pub enabled: Option<bool>,
    /// 0.1 to 86400; instead of `cron`.
    pub interval_s: Option<f64>,
    /// Five or six fields; instead of `interval_s`.
    pub cron: Option<String>,
    /// Of the cron expression, such as `Europe/Berlin`.
    pub timezone: Option<String>,
    /// How far the checks of a cron round spread.
    pub spread_s: Option<f64>,
    /// Further attempts after a failing one: 0 to 10.
    #[schema(default = 1)]
    pub retries: Option<u64>,
    /// `{"initial_ms": 250, "max_ms": 5000}`
    #[schema(value_type = Option<Object>)]
    pub backoff: Option<Value>,
    /// `status`, `body_contains`, `body_not_contains`, `body_regex`, `json`, `headers`, `certificate_days`, `latency_ms`
    #[schema(value_type = Option<Object>)]
    pub expect: Option<Value>,
    /// `insecure_skip_verify`, `ca`, `client_cert`, `client_key`, `server_name`
    #[schema(value_type = Option<Object>)]
    pub tls: Option<Value>,
    /// How many are followed: 0 to 20.
    #[schema(default = 10)]
    pub redirects: Option<u64>,
    /// `any`, `4` or `6`
    pub ip_family: Option<String>,
    /// `any`, `1` or `2`
    pub http_version: Option<String>,
    pub proxy: Option<String>,
    /// `{"type": "basic", "username", "password"}`, `{"type": "bearer", "token"}` or `{"type": "oauth2", "token_url", "client_id", "client_secret", "scope"}`
    #[schema(value_type = Option<Object>)]
    pub auth: Option<Value>,
    pub max_body_bytes: Option<u64>,
    pub reuse_connection: Option<bool>,
    /// Those that check it; all, if left out.
    pub regions: Option<Vec<String>>,
    /// `any`, `majority`, `all` or a count.
    pub quorum: Option<Value>,
    pub failure_threshold: Option<u64>,
    pub success_threshold: Option<u64>,
    pub degraded_after_ms: Option<f64>,
    /// Whether being degraded, too, opens an incident, with lesser severity.
    #[schema(default = false)]
    pub incident_on_degraded: Option<bool>,
    pub tags: Option<Vec<String>>,
    pub group: Option<String>,
    pub depends_on: Option<Vec<String>>,
    pub public: Option<bool>,
    /// Rises with each change. Sent back, it must still be the same.
    #[schema(read_only)]
    pub revision: u64,
    #[schema(read_only)]
    pub created_at: String,
    #[schema(read_only)]
    pub updated_at: String,
    /// Up-time and coverage over `24h`, `7d`, `30d` and `90d`; for one service alone.
    #[schema(read_only)]
    pub uptime: Option<BTreeMap<String, UptimeView>>,
}
