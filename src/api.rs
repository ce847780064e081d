//! JSON under Rocket: what people and programs ask the hub and tell it.
//!
//! A handler reads the request, calls one function and shapes the answer. Everything but log-in, the two probes of the
//! process and the documentation asks for an access token. Every error is one `ApiError` and leaves as a problem of RFC 9457.
//!
//! **Invariants.** Every mounted route is in the OpenAPI document. Nothing secret leaves: secrets of services are masked on
//! their way out, passwords and tokens are in no log.

pub mod access;
pub mod alerts;
pub mod audit;
pub mod auth;
pub mod backup;
pub mod body;
pub mod channels;
pub mod checks;
pub mod cluster;
pub mod digests;
pub mod error;
pub mod events;
pub mod fields;
pub mod findings;
pub mod health;
pub mod incidents;
pub mod issues;
pub mod joining;
pub mod keys;
pub mod local;
pub mod login;
pub mod logs;
pub mod markdown;
pub mod mask;
pub mod metrics;
pub mod openapi;
pub mod performance;
pub mod query;
pub mod regions;
pub mod results;
pub mod rollups;
pub mod scope;
pub mod services;
pub mod settings;
pub mod slos;
pub mod state;
pub mod statistics;
pub mod subscribers;
pub mod summary;
pub mod system;
pub mod throttle;
pub mod tokens;
pub mod trying;
pub mod users;
pub mod windows;

use rocket::{Build, Rocket, routes};

use crate::api::access::Access;
use crate::api::events::Streams;
use crate::api::performance::Reports;
use crate::api::state::ApiState;
use crate::api::throttle::Throttle;

/// Mounts routes, catchers and the access log onto a Rocket, and gives it what they need.
pub fn mount(rocket: Rocket<Build>, state: ApiState) -> Rocket<Build> {
    let access = Access::new(&state);
    let throttle = Throttle::new(&state.settings, state.status.subscriptions.per_hour, state.clock.clone());
    rocket
        .mount(
            "/",
            routes![
                tokens::obtain,
                tokens::refresh,
                tokens::revoke,
                services::list,
                services::create,
                services::read,
                services::replace,
                services::patch,
                services::delete,
                checks::check_one,
                checks::check_all,
                trying::try_one,
                results::list,
                results::read,
                statistics::read,
                summary::read,
                rollups::list,
                performance::analysis,
                performance::bottlenecks_of,
                performance::recommendations,
                system::health,
                system::collect,
                incidents::list,
                incidents::read,
                incidents::acknowledge,
                incidents::note,
                alerts::rules::list,
                alerts::rules::create,
                alerts::rules::read,
                alerts::rules::replace,
                alerts::rules::patch,
                alerts::rules::delete,
                alerts::deliveries::list,
                alerts::deliveries::read,
                alerts::deliveries::retry,
                alerts::causes::list,
                alerts::causes::read,
                alerts::causes::acknowledge,
                alerts::drill::start,
                alerts::drill::read,
                alerts::drill::recover,
                digests::list,
                digests::latest,
                digests::read,
                digests::run,
                windows::list,
                windows::create,
                windows::read,
                windows::patch,
                windows::delete,
                windows::start,
                windows::end,
                subscribers::list,
                subscribers::read,
                subscribers::remove,
                subscribers::resume,
                slos::list,
                slos::create,
                slos::read,
                slos::replace,
                slos::patch,
                slos::delete,
                slos::report_of,
                findings::list,
                findings::habits,
                findings::read,
                findings::feedback,
                channels::kinds,
                channels::list,
                channels::create,
                channels::read,
                channels::replace,
                channels::patch,
                channels::delete,
                channels::test,
                channels::test_unsaved,
                issues::list::list,
                issues::create,
                issues::read,
                issues::edit,
                issues::step,
                issues::talk::comments,
                issues::talk::comment,
                issues::talk::edit_comment,
                issues::talk::history,
                issues::figures::read,
                issues::transfer::export,
                issues::transfer::import,
                cluster::read,
                regions::regions,
                regions::nodes,
                users::list,
                users::create,
                users::patch,
                users::delete,
                users::turn_off_second_factor,
                users::unlink,
                keys::list,
                keys::create,
                keys::revoke,
                audit::list,
                logs::read,
                settings::list,
                backup::read,
                backup::whole,
                backup::restore::restore,
                events::listen,
                local::documents,
                local::seed,
                joining::create_token,
                joining::list_tokens,
                joining::delete_token,
                joining::revoke_node,
                joining::list_joined,
                health::alive,
                health::ready,
                health::metrics,
                openapi::document,
            ],
        )
        .mount("/", openapi::pages())
        .register("/", error::catchers())
        .manage(state)
        .manage(throttle)
        .manage(Streams::default())
        .manage(Reports::default())
        .attach(access)
}
