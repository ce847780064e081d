//! `probemesh join`: makes this machine a node of a region, with a token of its hub.
//!
//! A token is good once, so all that can be wrong on this machine is looked at before the hub is dialled.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;

use crate::clock::Clock;
use crate::config::Config;
use crate::config::load::usual_node_name;
use crate::config::sources::{Role, Sources};
use crate::mesh::identity::Identity;
use crate::mesh::joining::JoinError;
use crate::mesh::joining::node::{Credential, JoinOrder, join};
use crate::mesh::private_file::write_private;
use crate::mesh::token::JoinToken;

#[derive(Debug, Args)]
pub struct JoinArgs {
    /// The line `probemesh region-token` printed on the hub
    token: String,
    /// The name of this node; by default the region's and the host's
    #[arg(long)]
    name: Option<String>,
    /// Where regions/ and data/ are to lie
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Writes the region's file anew even if there is another
    #[arg(long)]
    force: bool,
}

/// What is to be done on this machine.
struct Plan {
    identity: Identity,
    /// The region's file, and what is to be written to it; nothing where it fits as it is.
    file: PathBuf,
    text: Option<String>,
    /// Where the node's files are to lie.
    folder: PathBuf,
}

pub fn run(args: &JoinArgs) -> anyhow::Result<ExitCode> {
    let clock = Clock::real();
    let token: JoinToken = args.token.parse()?;
    if token.expires_at <= clock.now() {
        return Err(JoinError::Expired { at: token.expires_at }.into());
    }
    let sources = Sources { dir: args.dir.clone(), ..Sources::from_process(Role::Hub) };
    let plan = plan(args, &token, &sources)?;
    // Whatever keeps this machine from writing is to be known before the token is used up.
    let trial = plan.folder.join("trial");
    write_private(&trial, b"")
        .and_then(|()| std::fs::remove_file(&trial))
        .with_context(|| format!("{} cannot be written", plan.folder.display()))?;
    let aside = plan.file.with_extension("toml.new");
    if let Some(text) = &plan.text {
        let folder = plan.file.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        std::fs::write(&aside, text).with_context(|| format!("{} cannot be written", aside.display()))?;
    }
    let order = JoinOrder {
        address: token.address.clone(),
        credential: Credential::of_token(&token),
        identity: plan.identity.clone(),
        folder: plan.folder.clone(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("runtime cannot be started")?;
    let joined = runtime.block_on(join(&order, &clock));
    if plan.text.is_some() {
        // A join that failed leaves what was there before.
        match &joined {
            Ok(_) => std::fs::rename(&aside, &plan.file).with_context(|| format!("{} cannot be written", plan.file.display()))?,
            Err(_) => drop(std::fs::remove_file(&aside)),
        }
    }
    let files = joined?;
    println!("joined the hub at {} as {}", files.hub, files.identity());
    match plan.text {
        Some(_) => println!("wrote {}", plan.file.display()),
        None => println!("left {} as it is", plan.file.display()),
    }
    println!("the certificate is good until {} and renews itself; it lies below {}", files.facts().not_after, plan.folder.display());
    let config = Path::new("regions").join(format!("{}.toml", token.region));
    if args.dir != Path::new(".") {
        println!("next:  cd {} && probemesh region --config {}", args.dir.display(), config.display());
    } else {
        println!("next:  probemesh region --config {}", config.display());
    }
    Ok(ExitCode::SUCCESS)
}

fn plan(args: &JoinArgs, token: &JoinToken, sources: &Sources) -> anyhow::Result<Plan> {
    if let (Some(fixed), Some(given)) = (&token.node, &args.name)
        && *fixed.0 != **given
    {
        bail!("the token is for node {fixed}, not for {given}");
    }
    let fixed = token.node.as_ref().map(ToString::to_string).or_else(|| args.name.clone());
    let file = sources.resolve("regions").join(format!("{}.toml", token.region));
    if file.exists() && !args.force {
        return fitting(token, sources, file, fixed);
    }
    let identity = Identity::new(&token.region.0, &fixed.unwrap_or_else(|| usual_node_name(&token.region.0, sources)))?;
    let data = format!("data/{}", token.region);
    let text = region_file(token, &identity, &data);
    Ok(Plan { identity, file, text: Some(text), folder: sources.resolve(data).join("mesh") })
}

/// A file that is there already stays as it is, if it is one of this region and node.
fn fitting(token: &JoinToken, sources: &Sources, file: PathBuf, fixed: Option<String>) -> anyhow::Result<Plan> {
    let path = Path::new("regions").join(format!("{}.toml", token.region));
    let config = Config::load(&Sources { role: Role::Region(path), ..sources.clone() }).map_err(|mistakes| {
        let first = mistakes.first().map(ToString::to_string).unwrap_or_default();
        anyhow::anyhow!("{} is there already and has mistakes: {first}; --force writes it anew", file.display())
    })?;
    let region = &config.region;
    let identity = Identity::new(&region.name.0, &region.node.0)?;
    if region.name != token.region {
        bail!("{} is there already and is of region {}, not of {}; --force writes it anew", file.display(), region.name, token.region);
    }
    if let Some(fixed) = fixed.filter(|fixed| **fixed != *region.node.0) {
        bail!("{} is there already and is of node {}, not of {fixed}; --force writes it anew", file.display(), region.node);
    }
    if let Some(hub) = config.mesh.hub.filter(|hub| *hub != token.address) {
        bail!("{} is there already and names hub {hub}, not {}; --force writes it anew", file.display(), token.address);
    }
    Ok(Plan { identity, file, text: None, folder: region.data_dir.join("mesh") })
}

fn region_file(token: &JoinToken, identity: &Identity, data: &str) -> String {
    let text = |value: &str| serde_json::Value::from(value).to_string();
    format!(
        "# Written by `probemesh join`. `probemesh region --config regions/{region}.toml` runs this node.\n\
         # Keys with a # show their defaults.\n\
         \n\
         [region]\n\
         name = {name}\n\
         # The hub knows this node by its name and its certificate; to change it, join again.\n\
         node = {node}\n\
         # The outbox and the node's certificate.\n\
         data_dir = {data}\n\
         #max_concurrent_checks = 512\n\
         #outbox_max_bytes = 268435456\n\
         #outbox_max_age_days = 7\n\
         #commit_interval_ms = 100\n\
         \n\
         [mesh]\n\
         hub = {hub}\n\
         #heartbeat_s = 2\n\
         #deadline_s = 8\n\
         #catch_up_bytes_per_s = 4194304\n\
         \n\
         [probe]\n\
         #check_header = true\n\
         #dns_cache_s = 30\n\
         # Networks no check may reach, such as [\"169.254.0.0/16\", \"fe80::/10\"].\n\
         #blocked_networks = []\n\
         # Who is asked for addresses instead of the system's, such as [\"192.0.2.53\", \"[2001:db8::53]:5353\"].\n\
         #name_servers = []\n\
         \n\
         [log]\n\
         #dir = \"logs\"\n\
         #level = \"info\"\n",
        region = token.region,
        name = text(&identity.region.0),
        node = text(&identity.node.0),
        data = text(data),
        hub = text(&token.address),
    )
}
