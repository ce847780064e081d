//! Configuration: what the sources make of each other, every mistake with its exact words, and the reload.
//!
//! A case in `bad_config/` is one file: the bad text, then a line `--- expected`, then what is said of it. A case may begin with
//! lines `env NAME=value`. Its ending tells whether it is a hub's TOML, a region's TOML or a list of services.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use probemesh::cli::check_config;
use probemesh::clock::Clock;
use probemesh::config::Config;
use probemesh::config::mistake::Mistake;
use probemesh::config::reload::{Change, Outcome, Watcher, changes};
use probemesh::config::services_file::read_services;
use probemesh::config::sources::{Role, Sources};
use probemesh::model::service::Schedule;
use probemesh::model::time::Timestamp;

fn sources(dir: &Path, environment: &[(&str, &str)]) -> Sources {
    let environment = environment.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    Sources { dir: dir.to_owned(), environment, role: Role::Hub }
}

fn folder(rocket_toml: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("Rocket.toml"), rocket_toml).expect("a file");
    folder
}

fn load(rocket_toml: &str, environment: &[(&str, &str)]) -> Config {
    let folder = folder(rocket_toml);
    Config::load(&sources(folder.path(), environment)).unwrap_or_else(|wrong| panic!("{}", told(&wrong, folder.path())))
}

/// The mistakes as lines, with the folder's name taken out.
fn told(mistakes: &[Mistake], folder: &Path) -> String {
    let lines: Vec<String> = mistakes.iter().map(|mistake| mistake.to_string()).collect();
    lines.join("\n").replace(&format!("{}/", folder.display()), "")
}

#[test]
fn a_hub_runs_on_defaults_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = Config::load(&sources(folder.path(), &[])).expect("defaults are right");
    assert_eq!(&*config.region.name.0, "local");
    assert!(config.region.node.0.starts_with("local-") && config.region.node.0.len() > 6, "{}", config.region.node);
    assert_eq!(config.region.max_concurrent_checks, 512);
    assert_eq!(config.region.outbox_max_bytes, 256 << 20);
    assert_eq!(config.region.outbox_max_age, Duration::from_secs(7 * 86_400));
    assert_eq!(config.region.commit_interval, Duration::from_millis(100));
    assert_eq!(config.region.restart.max, Duration::from_secs(60));
    assert_eq!(config.store.url, None);
    assert_eq!(config.store.data_dir, folder.path().join("data"));
    assert_eq!(config.region.data_dir, folder.path().join("data"));
    assert_eq!(config.store.block_span, Duration::from_secs(3600));
    assert_eq!(config.store.retain_details, Duration::from_secs(90 * 86_400));
    assert_eq!(config.api.access_lifetime, Duration::from_secs(900));
    assert_eq!(config.log.dir, folder.path().join("logs"));
    assert_eq!(config.log.level, "info");
    assert_eq!(config.hub.services_json, folder.path().join("services.json"));
    match &config.hub.schedule {
        Schedule::Cron { expression, .. } => assert_eq!(&**expression, "*/5 * * * *"),
        other => panic!("{other:?}"),
    }
    let rocket = rocket::Config::try_from(&config.rocket).expect("Rocket takes it");
    assert_eq!((rocket.address.to_string().as_str(), rocket.port), ("127.0.0.1", 8000));
    assert_eq!(rocket.ip_header, None);
    assert!(!rocket.shutdown.ctrlc && rocket.shutdown.signals.is_empty());
    assert_eq!(rocket.log_level, rocket::config::LogLevel::Off);
    assert!(rocket.limits.get("json").expect("a limit") > 1 << 20);
}

#[test]
fn variables_are_stronger_than_the_file_and_the_file_than_defaults() {
    let file = "[store]\njournal_max_bytes = 1_000_000\nblock_results = 128\n[default]\nport = 9000\n[debug]\nkeep_alive = 9\n";
    let config = load(file, &[]);
    assert_eq!((config.store.journal_max_bytes, config.store.block_results), (1_000_000, 128));
    let rocket = rocket::Config::try_from(&config.rocket).expect("Rocket takes it");
    assert_eq!((rocket.port, rocket.keep_alive), (9000, 9));

    let environment = [
        ("PROBEMESH_STORE__JOURNAL_MAX_BYTES", "2000000"),
        ("PROBEMESH_PROBE__CHECK_HEADER", "false"),
        ("PROBEMESH_PROBE__BLOCKED_NETWORKS", "10.0.0.0/8, fe80::/10"),
        ("PROBEMESH_PROBE__NAME_SERVERS", "192.0.2.53, [2001:db8::53]:5353"),
        ("PROBEMESH_REGION__COMMIT_INTERVAL_MS", "2.5"),
        ("ROCKET_PORT", "9001"),
        ("PATH", "/bin"),
    ];
    let config = load(file, &environment);
    assert_eq!((config.store.journal_max_bytes, config.store.block_results), (2_000_000, 128));
    assert!(!config.region.probe.check_header);
    assert_eq!(config.region.probe.blocked_networks, ["10.0.0.0/8", "fe80::/10"]);
    let servers: Vec<String> = config.region.probe.name_servers.iter().map(ToString::to_string).collect();
    assert_eq!(servers, ["192.0.2.53:53", "[2001:db8::53]:5353"]);
    assert_eq!(config.region.commit_interval, Duration::from_micros(2_500));
    assert_eq!(config.rocket.extract_inner::<u16>("port").expect("a port"), 9001);
}

#[test]
fn the_plain_names_are_understood() {
    let environment = [
        ("HEALTH_INTERVAL_CRON", "*/1 * * * *"),
        ("SERVICES_JSON", "./other.json"),
        ("DATABASE_URL", "wss://db.example.com:8000"),
        ("DATABASE_USER", "probemesh"),
        ("DATABASE_PASSWORD", "12345678"),
        ("PROBEMESH_DATA_DIR", "/srv/data"),
        ("PROBEMESH_LOG_DIR", "elsewhere"),
        ("PROBEMESH_ADMIN_PASSWORD", "87654321"),
        ("OPENAI_API_KEY", "key"),
        ("OPENAI_BASE_URL", "http://127.0.0.1:1"),
        ("PROBEMESH_LOG__LEVEL", ""),
    ];
    let folder = folder("[hub]\ndata_dir = \"weaker\"\n");
    let config = Config::load(&sources(folder.path(), &environment)).expect("right");
    assert!(matches!(&config.hub.schedule, Schedule::Cron { expression, .. } if &**expression == "*/1 * * * *"));
    assert_eq!(config.hub.services_json, folder.path().join("other.json"));
    assert_eq!(config.store.url.as_deref(), Some("wss://db.example.com:8000"));
    assert_eq!((config.store.username.as_deref(), config.store.password.as_deref()), (Some("probemesh"), Some("12345678")));
    assert_eq!(config.hub.admin_password.as_deref(), Some("87654321"));
    assert_eq!([&config.hub.data_dir, &config.store.data_dir, &config.region.data_dir], [Path::new("/srv/data"); 3]);
    assert_eq!(config.log.dir, folder.path().join("elsewhere"));
    assert_eq!(config.log.level, "info");
}

#[test]
fn a_server_open_to_others_says_how_it_is_kept_safe() {
    let open = ("ROCKET_ADDRESS", "0.0.0.0");
    let folder = folder("");
    let wrong = Config::load(&sources(folder.path(), &[open])).expect_err("unguarded");
    assert!(told(&wrong, folder.path()).starts_with("ROCKET_ADDRESS: 0.0.0.0 can be reached from other machines"), "{wrong:?}");
    load("", &[open, ("PROBEMESH_API__ALLOW_PLAIN_HTTP", "true")]);
    let config = load("[api]\nproxy_header = \"X-Real-IP\"\n", &[open]);
    let rocket = rocket::Config::try_from(&config.rocket).expect("Rocket takes it");
    assert_eq!(rocket.ip_header.expect("a header").as_str(), "X-Real-IP");
    load("[default.tls]\ncerts = \"a.pem\"\nkey = \"b.pem\"\n", &[open]);
    load("", &[("ROCKET_ADDRESS", "::1")]);
}

#[test]
fn every_bad_file_is_told_in_its_exact_words() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/bad_config");
    let mut files: Vec<PathBuf> = std::fs::read_dir(cases).expect("cases").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    let mut failed = Vec::new();
    for file in &files {
        let text = std::fs::read_to_string(file).expect("a case");
        let (given, expected) = text.split_once("--- expected\n").unwrap_or_else(|| panic!("{} has no expectation", file.display()));
        let said = said_of(file, given);
        if said.trim_end() != expected.trim_end() {
            failed.push(format!("{}\n  said:\n{said}\n  expected:\n{expected}", file.display()));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
    assert!(files.len() >= 30, "only {} cases were found", files.len());
}

fn said_of(case: &Path, given: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let mut environment = Vec::new();
    let mut body = given;
    while let Some((variable, rest)) = body.strip_prefix("env ").and_then(|rest| rest.split_once('\n')) {
        environment.push(variable.split_once('=').expect("NAME=value"));
        body = rest;
    }
    let name = case.file_name().and_then(|name| name.to_str()).expect("a name");
    let mut sources = sources(folder.path(), &environment);
    let wrong = if name.ends_with(".json") {
        let path = folder.path().join("services.json");
        std::fs::write(&path, body).expect("a file");
        let schedule = Schedule::Interval(Duration::from_secs(60));
        read_services(&path, &schedule, true).err()
    } else {
        let file = if name.ends_with(".region.toml") { "region.toml" } else { "Rocket.toml" };
        std::fs::write(folder.path().join(file), body).expect("a file");
        if file == "region.toml" {
            sources.role = Role::Region(PathBuf::from(file));
        }
        Config::load(&sources).err()
    };
    told(&wrong.unwrap_or_default(), folder.path())
}

#[test]
fn the_shipped_files_are_right_and_show_the_true_defaults() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = sources(root, &[]);
    assert_eq!(check_config::check(&sources), []);
    let services = read_services(&root.join("services.json"), &Schedule::Interval(Duration::from_secs(60)), true).expect("right");
    let names: Vec<_> = services.iter().map(|service| (service.name.as_deref().unwrap_or(""), service.enabled.unwrap_or(true))).collect();
    assert_eq!(names, [("probemesh", true), ("UsersAPI", false), ("PaymentGateway", false)]);

    let shipped = std::fs::read_to_string(root.join("Rocket.toml")).expect("shipped");
    let uncommented: Vec<&str> = shipped
        .lines()
        .map(|line| line.strip_prefix('#').filter(|rest| rest.starts_with(|letter: char| letter.is_ascii_lowercase())).unwrap_or(line))
        .collect();
    let uncommented = uncommented.join("\n");
    let folder = folder(&uncommented);
    let bare = Config::load(&Sources { dir: folder.path().to_owned(), ..sources.clone() }).expect("right");
    std::fs::write(folder.path().join("Rocket.toml"), &shipped).expect("a file");
    let defaults = Config::load(&Sources { dir: folder.path().to_owned(), ..sources }).expect("right");
    assert_eq!(changes(&defaults, &bare), []);
    let shown: Vec<&str> = uncommented.lines().filter(|line| line.contains(" = ")).collect();
    assert!(shown.len() > 40, "the defaults were not found in the shipped file: {shown:?}");
}

#[test]
fn the_identity_provider_of_the_readme_is_understood() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("it is there");
    let section = readme.split("## Log in by your identity provider").nth(1).expect("a section");
    let block = section.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a block of settings");
    let folder = folder(block);
    std::fs::write(folder.path().join("secret"), "hunter2\n").expect("a file");
    for (variable, secret) in [("PROBEMESH_OIDC__CLIENT_SECRET", "12345678"), ("PROBEMESH_OIDC__CLIENT_SECRET_FILE", "secret")] {
        let config = Config::load(&sources(folder.path(), &[(variable, secret)]));
        let config = config.unwrap_or_else(|wrong| panic!("{}", told(&wrong, folder.path())));
        let shown = format!("{:?} {:?}", config.oidc, config.effective);
        let oidc = config.oidc.expect("there is a provider");
        let given = oidc.client_secret.as_ref().map(|secret| secret.0.as_str());
        assert_eq!(given, Some(if secret == "secret" { "hunter2" } else { "12345678" }));
        assert!(!shown.contains("hunter2") && !shown.contains("12345678"), "{shown}");
        assert_eq!((oidc.name.as_str(), oidc.default_role, oidc.create_users), ("Example", None, true));
        assert_eq!((oidc.scopes.len(), oidc.operators), (3, vec!["monitoring".to_owned(), "sre".to_owned()]));
    }
    // Within one machine, or where it is said, a provider may be asked in the clear; it is called by its host.
    for (issuer, more) in [("http://127.0.0.1:8080/realms/a", ""), ("http://keycloak:8080/realms/a", "allow_plain_http = true\n")] {
        let text = format!("[oidc]\nissuer = \"{issuer}\"\nclient_id = \"x\"\ndefault_role = \"viewer\"\n{more}");
        let oidc = load(&text, &[]).oidc.expect("there is a provider");
        assert_eq!((oidc.issuer.as_str(), oidc.client_secret), (issuer, None));
        assert!(issuer.contains(&oidc.name), "{}", oidc.name);
    }
    assert!(load("[oidc]\nname = \"Nobody\"\n", &[]).oidc.is_none());
}

#[test]
fn check_config_tells_the_mistakes_of_all_files_at_once() {
    let folder = folder("[hub]\nport = 1\n");
    std::fs::write(folder.path().join("services.json"), "[{}]").expect("a file");
    std::fs::create_dir(folder.path().join("regions")).expect("a folder");
    std::fs::write(folder.path().join("regions/x.toml"), "[region]\nname = \"a b\"\n").expect("a file");
    let wrong = check_config::check(&sources(folder.path(), &[("PROBEMESH_DATADIR", "x")]));
    insta::assert_snapshot!(told(&wrong, folder.path()), @r#"
    Rocket.toml:2:1: hub.port: is not a key of [hub]
    PROBEMESH_DATADIR: is not a setting; did you mean PROBEMESH_DATA_DIR?
    services.json:1:2: [0].name: is required
    services.json:1:2: [0].base_url: is required
    regions/x.toml:2:1: region.name: "a b" must be 1 to 64 letters, digits, dots, dashes or underscores
    "#);
}

#[tokio::test]
async fn a_changed_file_is_taken_up_and_a_bad_one_changes_nothing() {
    let folder = folder("[log]\nlevel = \"info\"\n");
    let file = folder.path().join("Rocket.toml");
    let sources = sources(folder.path(), &[]);
    let first = Arc::new(Config::load(&sources).expect("right"));
    let (mut watcher, mut inlet) = Watcher::new(sources, first);
    assert_eq!(watcher.poll(), Outcome::Unchanged);

    std::fs::write(&file, "[log]\nlevel = \"loud\"\n[store]\ncolour = 1\n").expect("a file");
    let Outcome::Refused(wrong) = watcher.poll() else { panic!("a bad file was taken") };
    assert_eq!(wrong.len(), 2, "{wrong:?}");
    assert_eq!(watcher.poll(), Outcome::Unchanged, "said once");
    assert!(!inlet.has_changed().expect("open"));

    std::fs::write(&file, "[log]\nlevel = \"debug\"\n[store]\nblock_results = 100\n[default]\nport = 8001\n").expect("a file");
    let change = |path, live| Change { path, live };
    let expected = vec![change("store.block_results", false), change("log.level", true), change("rocket", false)];
    assert_eq!(watcher.poll(), Outcome::Changed(expected));
    assert_eq!(inlet.borrow_and_update().log.level, "debug");

    // Left to itself it looks every two seconds.
    let clock = Clock::manual(Timestamp(0));
    let running = tokio::spawn(watcher.run(clock.clone()));
    tokio::task::yield_now().await;
    std::fs::remove_file(&file).expect("removed");
    clock.advance(Duration::from_millis(1_999)).await;
    assert!(!inlet.has_changed().expect("open"));
    clock.advance(Duration::from_millis(1)).await;
    inlet.changed().await.expect("open");
    assert_eq!(inlet.borrow().log.level, "info");
    running.abort();
}
