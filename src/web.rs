//! The pages people look at: drawn on the server, live by a little script, readable without any.
//!
//! A page is one handler, one template and one view struct made for it. The handler reads what there is through the same
//! modules as the API and shapes it; the template only loops and chooses.
//!
//! **Invariants.** Nothing is loaded from elsewhere, nothing runs or is styled inline. Text is escaped by the templates; only
//! markup made in `svg` and `moment` passes as it is. Every form that changes something carries the token of its session.

pub mod account;
pub mod assets;
pub mod chart;
pub mod curl;
pub mod edit;
pub mod errors;
pub mod frame;
pub mod html;
pub mod import;
pub mod incidents;
pub mod login;
pub mod look;
pub mod moment;
pub mod overview;
pub mod regions;
pub mod results;
pub mod sentence;
pub mod service;
pub mod status;
pub mod svg;
pub mod text;
pub mod visit;

use rocket::{Build, Rocket, routes};

/// Mounts the pages beside the API, which manages what they need.
pub fn mount(rocket: Rocket<Build>) -> Rocket<Build> {
    rocket.mount(
        "/",
        routes![
            account::page,
            account::end,
            assets::file,
            login::page,
            login::enter,
            login::leave,
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
            regions::page,
            regions::invite,
            results::page,
            results::csv,
            status::page,
            service::page,
            service::now,
            service::charts_part,
            service::checks_part,
            service::check,
            service::set_enabled,
            service::feedback,
        ],
    )
}
