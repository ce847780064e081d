//! `probemesh user`: people who may log in.

use std::io::{IsTerminal, Read, Write};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Subcommand;
use reqwest::Method;
use serde_json::{Value, json};

use crate::cli::access::{Access, load_config, runtime};
use crate::store::services::Author;
use crate::store::users::{Role, User};

#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Adds a user; the password is asked for, or read from standard input
    Add {
        username: String,
        /// viewer, operator or admin
        #[arg(long, default_value = "viewer")]
        role: String,
    },
    /// Sets a user's password and ends all their sessions
    Passwd { username: String },
    /// Locks a user out; their sessions end and their keys rest
    Disable { username: String },
    /// Lets a user in again
    Enable { username: String },
    /// All users with their roles
    List {
        #[arg(long)]
        json: bool,
    },
}

pub fn run(command: UserCommand) -> anyhow::Result<ExitCode> {
    let config = load_config()?;
    runtime()?.block_on(async {
        // Asked before the store is opened: a person may take their time.
        let password = match &command {
            UserCommand::Disable { .. } | UserCommand::Enable { .. } | UserCommand::List { .. } => String::new(),
            UserCommand::Add { .. } | UserCommand::Passwd { .. } => ask_password()?,
        };
        match Access::open(&config).await? {
            Access::Running(remote) => match command {
                UserCommand::Add { username, role } => {
                    let body = json!({"username": username, "password": password, "role": role});
                    remote.ask(Method::POST, "api/v1/users", Some(&body)).await?;
                    println!("{username} added as {role}");
                }
                UserCommand::Passwd { username } => {
                    remote.ask(Method::PATCH, &format!("api/v1/users/{username}"), Some(&json!({"password": password}))).await?;
                    println!("password of {username} set");
                }
                UserCommand::Disable { username } => {
                    remote.ask(Method::PATCH, &format!("api/v1/users/{username}"), Some(&json!({"disabled": true}))).await?;
                    println!("{username} disabled");
                }
                UserCommand::Enable { username } => {
                    remote.ask(Method::PATCH, &format!("api/v1/users/{username}"), Some(&json!({"disabled": false}))).await?;
                    println!("{username} enabled");
                }
                UserCommand::List { json } => list(&remote.ask(Method::GET, "api/v1/users?page_size=500", None).await?["results"], json),
            },
            Access::Direct(records) => {
                let author = Author { who: "local".to_owned(), address: None };
                match command {
                    UserCommand::Add { username, role } => {
                        let Some(role) = Role::from_name(&role) else { bail!("{role:?} is not one of viewer, operator, admin") };
                        records.users.create(&username, &password, role, &author).await?;
                        println!("{username} added as {}", role.name());
                    }
                    UserCommand::Passwd { username } => {
                        records.users.set_password(&username, &password, &author).await?;
                        println!("password of {username} set");
                    }
                    UserCommand::Disable { username } => {
                        records.users.set_disabled(&username, true, &author).await?;
                        println!("{username} disabled");
                    }
                    UserCommand::Enable { username } => {
                        records.users.set_disabled(&username, false, &author).await?;
                        println!("{username} enabled");
                    }
                    UserCommand::List { json } => {
                        let view = |user: &User| json!({"username": user.username, "role": user.role.name(), "disabled": user.disabled});
                        let users: Vec<Value> = records.users.list().iter().map(view).collect();
                        list(&Value::from(users), json);
                    }
                }
                records.store.shutdown().await?;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn list(users: &Value, as_json: bool) {
    if as_json {
        println!("{users:#}");
        return;
    }
    for user in users.as_array().into_iter().flatten() {
        let disabled = if user["disabled"] == true { "  disabled" } else { "" };
        println!("{:<24} {}{disabled}", user["username"].as_str().unwrap_or(""), user["role"].as_str().unwrap_or(""));
    }
}

/// From the terminal without showing it, else the first line of standard input.
fn ask_password() -> anyhow::Result<String> {
    let mut text = String::new();
    if std::io::stdin().is_terminal() {
        eprint!("password: ");
        std::io::stderr().flush().context("terminal cannot be written")?;
        let hidden = Hidden::start();
        std::io::stdin().read_line(&mut text).context("password cannot be read")?;
        drop(hidden);
        eprintln!();
    } else {
        std::io::stdin().take(4096).read_to_string(&mut text).context("password cannot be read")?;
    }
    let password = text.lines().next().unwrap_or("").to_owned();
    if password.is_empty() {
        bail!("no password given");
    }
    Ok(password)
}

/// Turns the terminal's echo off until it is dropped.
struct Hidden(Option<libc::termios>);

impl Hidden {
    fn start() -> Hidden {
        // SAFETY: plain calls on standard input's descriptor, with a struct of the size they take.
        unsafe {
            let mut settings: libc::termios = std::mem::zeroed();
            if libc::tcgetattr(0, &mut settings) != 0 {
                return Hidden(None);
            }
            let before = settings;
            settings.c_lflag &= !libc::ECHO;
            libc::tcsetattr(0, libc::TCSANOW, &settings);
            Hidden(Some(before))
        }
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // SAFETY: gives back what `start` was given.
            unsafe { libc::tcsetattr(0, libc::TCSANOW, before) };
        }
    }
}
