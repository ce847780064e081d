//! The pages people look at: drawn on the server, live by a little script, readable without any.
//!
//! A page is one handler, one template and one view struct made for it. The handler reads what there is through the same
//! modules as the API and shapes it; the template only loops and chooses.
//!
//! **Invariants.** Nothing is loaded from elsewhere, nothing runs or is styled inline. Text is escaped by the templates; only
//! markup made in `svg` and `moment` passes as it is. Every form that changes something carries the token of its session.

pub mod account;
pub mod agent;
pub mod alerts;
pub mod assets;
pub mod chart;
pub mod curl;
pub mod digests;
pub mod edit;
pub mod errors;
pub mod findings;
pub mod frame;
pub mod html;
pub mod import;
pub mod incidents;
pub mod input;
pub mod issues;
pub mod login;
pub mod look;
pub mod moment;
pub mod oidc;
pub mod overview;
pub mod performance;
pub mod regions;
pub mod results;
pub mod sentence;
pub mod service;
pub mod slos;
pub mod status;
pub mod svg;
pub mod system;
pub mod text;
pub mod visit;

use rocket::{Build, Rocket, routes};

use crate::web::status::snapshot::Snapshots;

/// Mounts the pages beside the API, which manages what they need.
pub fn mount(rocket: Rocket<Build>) -> Rocket<Build> {
    rocket.manage(Snapshots::default()).mount(
        "/",
        routes![
            account::page,
            account::end,
            account::end_others,
            account::set_password,
            assets::file,
            login::page,
            login::enter,
            login::leave,
            oidc::begin,
            oidc::back,
            oidc::begin_link,
            oidc::link,
            oidc::unlink,
            look::choose,
            overview::page,
            overview::admin,
            overview::head,
            overview::rows,
            edit::new,
            edit::create,
            edit::edit,
            edit::change,
            edit::ask_delete,
            edit::delete,
            import::page,
            import::take,
            incidents::list,
            incidents::one,
            incidents::as_text,
            incidents::acknowledge,
            incidents::note,
            issues::list,
            issues::new,
            issues::create,
            issues::one,
            issues::edit,
            issues::change,
            issues::step,
            issues::comment,
            alerts::page,
            alerts::acknowledge,
            alerts::rules::list,
            alerts::rules::new,
            alerts::rules::create,
            alerts::rules::edit,
            alerts::rules::change,
            alerts::rules::set_enabled,
            alerts::rules::delete,
            alerts::channels::list,
            alerts::channels::new,
            alerts::channels::create,
            alerts::channels::edit,
            alerts::channels::change,
            alerts::channels::test,
            alerts::channels::ask_delete,
            alerts::channels::delete,
            alerts::deliveries::list,
            alerts::deliveries::retry,
            alerts::windows::list,
            alerts::windows::new,
            alerts::windows::create,
            alerts::windows::edit,
            alerts::windows::change,
            alerts::windows::start,
            alerts::windows::end,
            alerts::windows::ask_delete,
            alerts::windows::delete,
            alerts::subscribers::list,
            alerts::subscribers::csv,
            alerts::subscribers::ask_remove,
            alerts::subscribers::remove,
            alerts::subscribers::resume,
            regions::page,
            regions::now,
            regions::invite,
            regions::joined,
            regions::ask_revoke,
            regions::revoke,
            results::page,
            results::csv,
            system::page,
            system::collect,
            system::actors::page,
            system::actors::part,
            system::logs::page,
            system::logs::part,
            system::settings::page,
            system::people::list,
            system::people::new,
            system::people::create,
            system::people::one,
            system::people::change,
            system::people::second_factor_off,
            system::people::unlink,
            system::people::end_session,
            system::people::ask_delete,
            system::people::delete,
            system::keys::of_account,
            system::keys::of_all,
            system::keys::new_own,
            system::keys::new_of_any,
            system::keys::create_own,
            system::keys::create_of_any,
            system::keys::revoke_own,
            system::keys::revoke_any,
            system::second_factor::page,
            system::second_factor::turn_on,
            system::second_factor::turn_off,
            system::audit::page,
            system::backup::page,
            system::backup::take,
            system::backup::download,
            status::page,
            status::as_json,
            status::as_feed,
            status::as_badge,
            status::logo,
            status::theme,
            status::subscribe::page,
            status::subscribe::enter,
            status::subscribe::as_json,
            status::subscribe::ask_confirm,
            status::subscribe::confirm,
            status::subscribe::ask_leave,
            status::subscribe::leave,
            service::page,
            service::now,
            service::charts_part,
            service::checks_part,
            service::check_now::check,
            service::check_now::watch,
            service::set_enabled,
            findings::list,
            findings::one,
            findings::feedback,
            digests::list,
            digests::one,
            digests::run,
            digests::after_run,
            performance::page,
            slos::list,
            slos::new,
            slos::create,
            slos::edit,
            slos::change,
            slos::ask_delete,
            slos::delete,
        ],
    )
}
