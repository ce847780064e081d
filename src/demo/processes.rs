//! The demo's own mesh: a hub with the first region in it and a node for each other region, as processes of this same program in a
//! folder that is made for them and goes with them.
//!
//! **Invariant.** Whatever ends the demo ends them: told to, by their ids, when it ends in order; and on Linux by the kernel when it
//! cannot.

use std::fs::{DirBuilder, File};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::clock::Clock;
use crate::config::sources::foreign_environment;
use crate::demo::plan::REGIONS;
use crate::mesh::identity::hexadecimal;

/// To finish, send and say goodbye.
const END_WITHIN: Duration = Duration::from_secs(12);

pub struct Processes {
    pub folder: PathBuf,
    pub port: u16,
    pub password: String,
    /// The hub first.
    running: Vec<Running>,
    keep: bool,
}

struct Running {
    name: &'static str,
    child: Child,
    console: PathBuf,
}

/// What is set otherwise than usual.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub name_server: SocketAddr,
    /// Of a sample of the analyst.
    pub span: Duration,
    pub keep: bool,
}

impl Processes {
    pub fn start(settings: Settings) -> anyhow::Result<Processes> {
        let folder = std::env::temp_dir().join(format!("probemesh-demo-{}", secret()));
        // It will hold the password and the key of the store.
        DirBuilder::new().mode(0o700).create(&folder).with_context(|| format!("folder {} cannot be made", folder.display()))?;
        let (port, mesh_port, join_secret) = (free_port()?, free_port()?, secret());
        let mut processes = Processes { folder, port, password: secret(), running: Vec::new(), keep: settings.keep };
        let probe = format!("[probe]\ndns_cache_s = 0\nname_servers = [\"{}\"]\n", settings.name_server);
        let [first, others @ ..] = REGIONS;
        let hub = format!(
            "[default]\naddress = \"127.0.0.1\"\nport = {port}\n\n[hub]\nadmin_password = \"{password}\"\n\n\
             [region]\nname = \"{first}\"\nnode = \"{first}-1\"\n\n\
             [mesh]\nlisten = \"127.0.0.1:{mesh_port}\"\naddress = \"127.0.0.1:{mesh_port}\"\njoin_secret = \"{join_secret}\"\n\n\
             {probe}\n[api]\nrequests_per_minute = 100000\n\n[analysis]\nspan_s = {span}\n",
            password = processes.password,
            span = settings.span.as_secs_f64(),
        );
        processes.launch(first, &[("Rocket.toml", hub), ("services.json", "[]".to_owned())], &[])?;
        for region in others {
            let node = format!(
                "[region]\nname = \"{region}\"\nnode = \"{region}-1\"\n\n\
                 [mesh]\nhub = \"127.0.0.1:{mesh_port}\"\njoin_secret = \"{join_secret}\"\n\n{probe}"
            );
            processes.launch(region, &[("region.toml", node)], &["region", "--config", "region.toml"])?;
        }
        Ok(processes)
    }

    fn launch(&mut self, name: &'static str, files: &[(&str, String)], arguments: &[&str]) -> anyhow::Result<()> {
        let folder = self.folder.join(name);
        std::fs::create_dir(&folder).with_context(|| format!("folder {} cannot be made", folder.display()))?;
        for (file, text) in files {
            std::fs::write(folder.join(file), text).with_context(|| format!("{file} cannot be written"))?;
        }
        let console = folder.join("console.txt");
        let said = File::create(&console).context("console cannot be written")?;
        let program = std::env::current_exe().context("this program does not know where it is")?;
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&folder).env_clear().envs(foreign_environment());
        command.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said);
        // Of a group of its own: a Ctrl-C is the demo's to hear, which ends its processes in order.
        command.process_group(0);
        #[cfg(target_os = "linux")]
        // SAFETY: a plain system call, allowed between fork and exec.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            });
        }
        let child = command.spawn().with_context(|| format!("{name} cannot be started"))?;
        self.running.push(Running { name, child, console });
        Ok(())
    }

    /// An error, with what it said last, if one of them has ended.
    pub fn all_run(&mut self) -> anyhow::Result<()> {
        for running in &mut self.running {
            if let Some(status) = running.child.try_wait()? {
                bail!("{} has ended with {status}:\n{}", running.name, tail(&running.console));
            }
        }
        Ok(())
    }

    /// Ends all, nodes first, and removes their folder unless it is to be kept.
    pub async fn end(mut self, clock: &Clock) {
        let hub = self.running.drain(..1.min(self.running.len())).collect();
        let nodes = std::mem::take(&mut self.running);
        for group in [nodes, hub] {
            end_all(group, clock).await;
        }
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for running in &mut self.running {
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
        if !self.keep {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

async fn end_all(mut group: Vec<Running>, clock: &Clock) {
    for running in &group {
        if let Ok(id) = i32::try_from(running.child.id()) {
            // SAFETY: a plain call; the process is a child of this one and has not been waited for.
            unsafe { libc::kill(id, libc::SIGTERM) };
        }
    }
    let until = clock.steady() + END_WITHIN;
    for running in &mut group {
        while matches!(running.child.try_wait(), Ok(None)) && clock.steady() < until {
            clock.sleep(Duration::from_millis(20)).await;
        }
        let _ = running.child.kill();
        let _ = running.child.wait();
    }
}

/// A port nobody listens on now.
fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no free port")?;
    Ok(listener.local_addr()?.port())
}

fn secret() -> String {
    hexadecimal(&rand::random::<[u8; 12]>())
}

/// The end of what a process said.
fn tail(console: &Path) -> String {
    let said = std::fs::read_to_string(console).unwrap_or_default();
    let lines: Vec<&str> = said.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}
