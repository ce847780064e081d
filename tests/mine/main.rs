#[path = "../it/alerts_world.rs"]
mod alerts_world;
#[path = "../it/api_world.rs"]
mod api_world;
#[path = "../it/target.rs"]
mod target;
mod web {
    #[path = "../../it/web/alerts.rs"]
    mod alerts;
    #[path = "../../it/web/browser.rs"]
    mod browser;
    #[path = "../../it/web/issues.rs"]
    mod issues;
    #[path = "../../it/web/pages.rs"]
    mod pages;
    #[path = "../../it/web/status.rs"]
    mod status;
}
