//! What a configuration is read from, and which variables mean which key.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::config::mistake::Mistake;
use crate::config::nearest::suggestion;

/// Where to read from. `from_process` is the only reader of the environment; tests give their own.
#[derive(Clone, Debug)]
pub struct Sources {
    /// Where `Rocket.toml` lies; relative paths in it and in variables are taken from here.
    pub dir: PathBuf,
    pub environment: Vec<(String, String)>,
    pub role: Role,
}

/// What the process is, which decides the file it reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// The hub, with or without a region of its own: `Rocket.toml`, which need not exist.
    Hub,
    /// A region's node, by the file of its region, which must.
    Region(PathBuf),
}

impl Sources {
    /// The working directory and the environment of this process. Names or values that are no UTF-8 are left out.
    pub fn from_process(role: Role) -> Sources {
        let environment = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Sources { dir: PathBuf::from("."), environment: environment.collect(), role }
    }

    /// A path as written, from `dir` if relative.
    pub fn resolve(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        let path = path.strip_prefix(".").unwrap_or(path);
        if self.dir == Path::new(".") || self.dir.as_os_str().is_empty() { path.to_owned() } else { self.dir.join(path) }
    }

    /// The file this role reads.
    pub fn file(&self) -> PathBuf {
        match &self.role {
            Role::Hub => self.resolve(self.variable("ROCKET_CONFIG").unwrap_or("Rocket.toml")),
            Role::Region(file) => self.resolve(file),
        }
    }

    /// A variable's value, where it is set and not empty.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.environment.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }
}

/// The environment of this process less every variable that is a setting of this program, for one that is started with settings of
/// its own.
pub fn foreign_environment() -> Vec<(String, String)> {
    let ours =
        |name: &str| name.starts_with("PROBEMESH_") || name.starts_with("ROCKET_") || PLAIN_NAMES.iter().any(|(plain, ..)| *plain == name);
    Sources::from_process(Role::Hub).environment.into_iter().filter(|(name, _)| !ours(name)).collect()
}

/// Names that stand for one key, by role: (variable, key of a hub, key of a region's node).
const PLAIN_NAMES: [(&str, &str, &str); 11] = [
    ("HEALTH_INTERVAL_CRON", "hub.schedule_cron", "hub.schedule_cron"),
    ("SERVICES_JSON", "hub.services_json", "hub.services_json"),
    ("DATABASE_URL", "store.url", "store.url"),
    ("DATABASE_USER", "store.username", "store.username"),
    ("DATABASE_PASSWORD", "store.password", "store.password"),
    ("OPENAI_API_KEY", "digest.api_key", "digest.api_key"),
    ("OPENAI_BASE_URL", "digest.base_url", "digest.base_url"),
    ("PROBEMESH_DATA_DIR", "hub.data_dir", "region.data_dir"),
    ("PROBEMESH_LOG_DIR", "log.dir", "log.dir"),
    ("PROBEMESH_ADMIN_PASSWORD", "hub.admin_password", "hub.admin_password"),
    ("PROBEMESH_JOIN_SECRET", "mesh.join_secret", "mesh.join_secret"),
];

/// Our keys as variables give them, by path. A variable that is empty counts as not set, as compose files leave them.
#[derive(Clone, Debug, Default)]
pub struct Variables {
    by_path: BTreeMap<String, Variable>,
}

#[derive(Clone, Debug)]
pub struct Variable {
    pub name: String,
    pub text: String,
}

impl Variables {
    pub fn read(sources: &Sources, mistakes: &mut Vec<Mistake>) -> Variables {
        let mut variables = Variables::default();
        let plain = |name: &str| PLAIN_NAMES.iter().find(|(plain, ..)| *plain == name);
        for (name, text) in &sources.environment {
            let Some(rest) = name.strip_prefix("PROBEMESH_") else { continue };
            if plain(name).is_some() {
                continue;
            }
            if !rest.contains("__") {
                let known = PLAIN_NAMES.iter().map(|(plain, ..)| *plain);
                let hint = suggestion(name, known);
                let hint = if hint.is_empty() { "; keys are written PROBEMESH_SECTION__KEY".to_owned() } else { hint };
                mistakes.push(Mistake::new(name.as_str(), format!("is not a setting{hint}")));
            } else if !text.is_empty() {
                variables.insert(rest.to_lowercase().replace("__", "."), name, text);
            }
        }
        for (name, hub, region) in PLAIN_NAMES {
            if let Some(text) = sources.variable(name) {
                let path = if sources.role == Role::Hub { hub } else { region };
                variables.insert(path.to_owned(), name, text);
            }
        }
        variables
    }

    fn insert(&mut self, path: String, name: &str, text: &str) {
        self.by_path.insert(path, Variable { name: name.to_owned(), text: text.to_owned() });
    }

    pub fn get(&self, path: &str) -> Option<&Variable> {
        self.by_path.get(path)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Variable)> {
        self.by_path.iter().map(|(path, variable)| (path.as_str(), variable))
    }
}
