//! Redis and what speaks like it: log in, `PING`, and the version from `INFO server` (RESP2, redis.io/docs/reference/protocol-spec).

use crate::probe::protocol::{Dialer, LARGEST_MESSAGE, Line, Login, Server, Step, Steps, Trouble, excerpt};

/// The version the server tells; `None` where it may not be asked.
pub async fn greet(
    dialer: &Dialer,
    server: &Server,
    login: &Login,
    database: Option<u32>,
    steps: &Steps,
) -> Result<Option<String>, Trouble> {
    let mut line = dialer.line(server, steps).await?;
    if let Some(password) = &login.password {
        steps.reach(Step::Auth);
        let words: Vec<&str> = ["AUTH"].into_iter().chain(login.user.as_deref()).chain([password.as_str()]).collect();
        match ask(&mut line, &words).await? {
            Answer::Text(_) => {}
            Answer::Error(error) => return Err(Trouble::auth(refusal(&error))),
        }
    }
    steps.reach(Step::Protocol);
    match ask(&mut line, &["PING"]).await? {
        Answer::Text(pong) if pong == "PONG" => {}
        Answer::Text(other) => return Err(strange(&other)),
        Answer::Error(error) if error.starts_with("NOAUTH") => return Err(Trouble::auth("the server asks for a password")),
        Answer::Error(error) => return Err(Trouble::protocol(format!("the server answers PING with {:?}", excerpt(&error)))),
    }
    if let Some(database) = database.filter(|database| *database > 0)
        && let Answer::Error(error) = ask(&mut line, &["SELECT", &database.to_string()]).await?
    {
        return Err(Trouble::protocol(format!("database {database} cannot be chosen: {}", excerpt(&error))));
    }
    match ask(&mut line, &["INFO", "server"]).await? {
        Answer::Text(info) => Ok(version(&info)),
        // A user that may not ask is no trouble.
        Answer::Error(_) => Ok(None),
    }
}

enum Answer {
    Text(String),
    /// The server's word for what is wrong, such as `NOAUTH Authentication required.`
    Error(String),
}

async fn ask(line: &mut Line, words: &[&str]) -> Result<Answer, Trouble> {
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    line.send(request.as_bytes()).await?;
    let head = line.line().await?;
    let rest = head.get(1..).unwrap_or_default();
    match head.as_bytes().first() {
        Some(b'+') => Ok(Answer::Text(rest.to_owned())),
        Some(b'-') => Ok(Answer::Error(rest.to_owned())),
        Some(b'$') => {
            let length: usize = rest.parse().ok().filter(|length| *length <= LARGEST_MESSAGE).ok_or_else(|| strange(&head))?;
            let bytes = line.bytes(length + 2).await?;
            Ok(Answer::Text(String::from_utf8_lossy(&bytes[..length]).into_owned()))
        }
        _ => Err(strange(&head)),
    }
}

fn strange(head: &str) -> Trouble {
    Trouble::protocol(format!("the server does not speak Redis: it answers {:?}", excerpt(head)))
}

/// Only the first word is the server's own; behind it may stand what it was sent.
fn refusal(error: &str) -> String {
    match error.split(' ').next().unwrap_or_default() {
        "WRONGPASS" => "the server refuses the user name or password (WRONGPASS)".to_owned(),
        "ERR" if error.contains("without any password") => "the server has no password set, and refuses one".to_owned(),
        "ERR" if error.contains("wrong number") => "the server knows no user names: give the password alone".to_owned(),
        code => format!("the server refuses the log-in ({})", excerpt(code)),
    }
}

fn version(info: &str) -> Option<String> {
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    // A fork tells both: its own, and the one it is like.
    match (field("valkey_version"), field("redis_version")) {
        (Some(valkey), _) => Some(format!("Valkey {valkey}")),
        (None, found) => found.map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fork_is_called_by_its_own_name() {
        assert_eq!(version("# Server\r\nredis_version:7.0.15\r\n").as_deref(), Some("7.0.15"));
        assert_eq!(version("redis_version:7.2.4\r\nvalkey_version:8.0.1\r\n").as_deref(), Some("Valkey 8.0.1"));
        assert_eq!(version("nothing"), None);
    }
}
