//! What the store keeps besides results, opened together: by the hub, and by a command that works on the store of a hub that
//! does not run.

use std::sync::Arc;

use anyhow::Context;

use crate::clock::Clock;
use crate::config::Config;
use crate::mesh::authority::Authority;
use crate::mesh::token_issuer::TokenIssuer;
use crate::store::Store;
use crate::store::alerts::Alerts;
use crate::store::analyst::AnalystStates;
use crate::store::api_keys::ApiKeys;
use crate::store::audit::Audit;
use crate::store::channels::Channels;
use crate::store::digests::Digests;
use crate::store::findings::Findings;
use crate::store::incidents::Incidents;
use crate::store::issues::Issues;
use crate::store::news::NewsStore;
use crate::store::nodes::Nodes;
use crate::store::second_factors::SecondFactors;
use crate::store::secrets::Secrets;
use crate::store::services::Services;
use crate::store::slos::Slos;
use crate::store::subscribers::Subscribers;
use crate::store::users::Users;
use crate::store::web_sessions::WebSessions;
use crate::store::windows::WindowStore;

pub struct Records {
    pub store: Arc<Store>,
    pub secrets: Arc<Secrets>,
    pub audit: Arc<Audit>,
    pub channels: Arc<Channels>,
    pub users: Arc<Users>,
    pub web_sessions: Arc<WebSessions>,
    pub api_keys: Arc<ApiKeys>,
    pub second_factors: Arc<SecondFactors>,
    pub services: Arc<Services>,
    pub nodes: Arc<Nodes>,
    pub incidents: Arc<Incidents>,
    pub digests: Arc<Digests>,
    pub alerts: Arc<Alerts>,
    pub findings: Arc<Findings>,
    pub analyst_states: AnalystStates,
    pub windows: Arc<WindowStore>,
    pub slos: Arc<Slos>,
    pub issues: Arc<Issues>,
    pub subscribers: Arc<Subscribers>,
    pub news: Arc<NewsStore>,
}

impl Records {
    pub async fn open(config: &Config, clock: &Clock) -> anyhow::Result<Records> {
        std::fs::create_dir_all(&config.hub.data_dir)
            .with_context(|| format!("data folder {} cannot be made", config.hub.data_dir.display()))?;
        let store = Arc::new(Store::open(&config.store, clock.clone()).await?);
        let secrets = Arc::new(Secrets::open(&config.hub.data_dir)?);
        let audit = Arc::new(Audit::new(store.database.clone(), clock.clone()));
        let users = Arc::new(Users::open(store.database.clone(), audit.clone(), clock.clone()).await?);
        let web_sessions = WebSessions::open(store.database.clone(), clock.clone(), config.api.refresh_lifetime).await?;
        let api_keys = ApiKeys::open(store.database.clone(), audit.clone(), clock.clone()).await?;
        let second_factors = SecondFactors::open(store.database.clone(), secrets.clone(), audit.clone(), clock.clone()).await?;
        let services = Arc::new(Services::open(store.database.clone(), secrets.clone(), audit.clone(), clock.clone()).await?);
        let channels = Arc::new(Channels::open(store.database.clone(), secrets.clone(), audit.clone(), clock.clone()).await?);
        let nodes = Arc::new(Nodes::open(store.database.clone(), secrets.clone(), audit.clone(), clock.clone()).await?);
        let incidents = Arc::new(Incidents::open(store.database.clone(), audit.clone(), clock.clone()).await?);
        let findings = Arc::new(Findings::open(store.database.clone(), audit.clone(), clock.clone()).await?);
        let analyst_states = AnalystStates::new(store.database.clone());
        let digests = Arc::new(Digests::open(store.database.clone()).await?);
        let alerts = Arc::new(Alerts::open(store.database.clone(), audit.clone(), clock.clone()).await?);
        let windows = Arc::new(WindowStore::open(store.database.clone(), audit.clone(), clock.clone()).await?);
        let slos = Arc::new(Slos::open(store.database.clone(), audit.clone(), clock.clone()).await?);
        let issues = Arc::new(Issues::open(store.database.clone(), audit.clone()).await?);
        let subscribers = Subscribers::open(store.database.clone(), secrets.clone(), audit.clone(), clock.clone()).await?;
        let news = Arc::new(NewsStore::open(store.database.clone()).await?);
        Ok(Records {
            store,
            secrets,
            audit,
            channels,
            users,
            web_sessions: Arc::new(web_sessions),
            api_keys: Arc::new(api_keys),
            second_factors: Arc::new(second_factors),
            services,
            nodes,
            incidents,
            digests,
            alerts,
            findings,
            analyst_states,
            windows,
            slos,
            issues,
            subscribers: Arc::new(subscribers),
            news,
        })
    }

    /// Makes join tokens, where the hub of this configuration takes nodes.
    pub fn token_issuer(&self, config: &Config, authority: Option<&Authority>) -> Option<TokenIssuer> {
        TokenIssuer::new(&config.mesh, authority?, self.nodes.clone())
    }
}
