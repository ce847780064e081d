//! The actor tree as it is now: who works, who waits to be started again, who was taken out.

use askama::Template;
use rocket::{State, get};
use serde_json::Value;

use crate::api::auth::Viewer;
use crate::api::cluster;
use crate::api::error::ApiError;
use crate::api::query::Query;
use crate::api::state::{ActorView, ApiState, ClusterView, NodeView};
use crate::model::time::Timestamp;
use crate::web::alerts::Tab;
use crate::web::frame::{Frame, Section};
use crate::web::html::Html;
use crate::web::moment::{Moment, latency};
use crate::web::system::tabs;
use crate::web::text::Text;
use crate::web::visit::Visit;

/// Of those that do the same side by side and are well, so many are shown.
const ALIKE: usize = 20;

#[derive(Template)]
#[template(path = "system_actors.html")]
struct ActorsPage {
    frame: Frame,
    tabs: Vec<Tab>,
    tree: TreePart,
    /// The address of the part that is drawn anew.
    live: String,
}

#[derive(Template)]
#[template(path = "parts/system_tree.html")]
struct TreePart {
    t: Text,
    at: Option<Moment>,
    actors: usize,
    restarts: u64,
    waiting: usize,
    quarantined: usize,
    nodes: Vec<Node>,
}

struct Node {
    name: String,
    region: Option<String>,
    tone: &'static str,
    word: &'static str,
    generation: Option<u64>,
    lines: Vec<Line>,
}

/// An actor, or how many more there are.
struct Line {
    depth: usize,
    name: String,
    tone: &'static str,
    state: String,
    restarts: u64,
    /// How long until it is started again.
    backoff: Option<String>,
    error: Option<String>,
    figures: Vec<(String, String)>,
    /// Those left out under the one before.
    more: Option<String>,
}

#[get("/system/actors")]
pub async fn page(visit: Visit, query: Query, state: &State<ApiState>) -> Result<Html, ApiError> {
    let t = Text(visit.look.lang);
    let all = all(&query)?;
    let tree = tree(&visit, all, state).await?;
    Html::of(&ActorsPage {
        frame: Frame::new(&visit, Section::System, t.s("system.tab_actors")),
        tabs: tabs(&visit, "/system/actors"),
        tree,
        live: format!("/system/actors/tree{}", if all { "?all=true" } else { "" }),
    })
}

#[get("/system/actors/tree")]
pub async fn part(visit: Visit, query: Query, state: &State<ApiState>) -> Result<Html, ApiError> {
    Html::of(&tree(&visit, all(&query)?, state).await?)
}

fn all(query: &Query) -> Result<bool, ApiError> {
    query.allow(&["all"])?;
    Ok(query.boolean("all")?.unwrap_or(false))
}

async fn tree(visit: &Visit, all: bool, state: &State<ApiState>) -> Result<TreePart, ApiError> {
    let t = Text(visit.look.lang);
    let view: ClusterView = cluster::read(Viewer(visit.principal.clone()), state).await?.into_inner();
    let mut part = TreePart {
        t,
        at: Timestamp::parse(&view.generated_at).map(Moment::ago),
        actors: 0,
        restarts: 0,
        waiting: 0,
        quarantined: 0,
        nodes: Vec::new(),
    };
    for NodeView { name, region, connected, generation, actors } in view.nodes {
        let mut lines = Vec::new();
        for actor in &actors {
            part.add(actor, 0, all, &mut lines);
        }
        let (tone, word) = if connected { ("up", "connected") } else { ("down", "lost") };
        part.nodes.push(Node { name, region, tone, word: t.word("node_state", word), generation, lines });
    }
    Ok(part)
}

impl TreePart {
    fn actors_text(&self) -> String {
        self.t.count("system.actor", "system.actors", self.actors as u64)
    }

    fn add(&mut self, actor: &ActorView, depth: usize, all: bool, lines: &mut Vec<Line>) {
        self.actors += 1;
        self.restarts += actor.restarts;
        self.waiting += usize::from(actor.backoff_ms.is_some());
        self.quarantined += usize::from(actor.state == "quarantined");
        lines.push(Line::new(self.t, actor, depth));
        let (mut well, mut hidden) = (0, 0);
        for child in &actor.children {
            let is_well = child.state == "running" && child.restarts == 0 && child.last_error.is_none() && child.children.is_empty();
            well += usize::from(is_well);
            if is_well && well > ALIKE && !all {
                self.actors += 1;
                hidden += 1;
                continue;
            }
            self.add(child, depth + 1, all, lines);
        }
        if hidden > 0 {
            let more = self.t.one("system.more_actors", hidden);
            lines.push(Line { more: Some(more), ..Line::new(self.t, &ActorView::default(), depth + 1) });
        }
    }
}

impl Line {
    fn new(t: Text, actor: &ActorView, depth: usize) -> Line {
        Line {
            // The style sheet knows so many steps.
            depth: depth.min(5),
            name: actor.name.clone(),
            tone: match actor.state.as_str() {
                "quarantined" | "lost" => "down",
                "failing" | "waiting" | "blind" => "degraded",
                _ => "up",
            },
            state: t.word("actor_state", &actor.state).to_owned(),
            restarts: actor.restarts,
            backoff: actor.backoff_ms.map(|ms| t.one("system.starts_in", latency(ms * 1e3))),
            error: actor.last_error.clone(),
            figures: actor
                .figures
                .iter()
                .filter(|(_, value)| !matches!(value, Value::Null | Value::Array(_) | Value::Object(_)))
                .map(figure)
                .collect(),
            more: None,
        }
    }
}

fn figure((name, value): (&String, &Value)) -> (String, String) {
    let text = match value {
        Value::String(text) => match Timestamp::parse(text) {
            Some(at) => at.datetime().format("%H:%M:%S UTC").to_string(),
            None => text.clone(),
        },
        Value::Number(number) => match number.as_f64() {
            Some(value) if value.fract() != 0.0 => format!("{value:.2}"),
            _ => number.to_string(),
        },
        other => other.to_string(),
    };
    (name.replace('_', " "), text)
}
