//! The section of the log-in by an identity provider (OpenID Connect): which provider, who comes in by it and as what.
//!
//! Without an issuer there is none, and nothing else of the section counts.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use url::{Host, Url};

use crate::config::reader::{Reader, Unit};
use crate::probe::tls::certificates;

/// Characters of a provider's name, as it stands on a button.
const LONGEST_NAME: usize = 40;
/// Bytes of a file that holds a secret.
const LARGEST_SECRET: usize = 4_096;
const ROLES: [&str; 3] = ["viewer", "operator", "admin"];

#[derive(Clone, Debug, PartialEq)]
pub struct OidcSettings {
    /// As its own documents name it, but for a slash at the end.
    pub issuer: String,
    pub client_id: String,
    /// `None`: a client without one, kept safe by PKCE alone.
    pub client_secret: Option<ClientSecret>,
    /// Of the provider, on the button.
    pub name: String,
    pub scopes: Vec<String>,
    /// The claim a new user is named by.
    pub username_claim: String,
    /// The claim that says who may what: a name, or a path with dots.
    pub role_claim: String,
    /// Values of that claim, by the role they give; the highest counts.
    pub admins: Vec<String>,
    pub operators: Vec<String>,
    pub viewers: Vec<String>,
    /// The role of those to whom the claim gives none, one of `viewer`, `operator`, `admin`; `None`: they stay out.
    pub default_role: Option<String>,
    /// In small letters; empty: mail addresses are not looked at.
    pub email_domains: Vec<String>,
    /// Whether a first log-in makes a user; else only users come in who are linked already.
    pub create_users: bool,
    /// Whether the second factor of this hub is asked for, too.
    pub second_factor: bool,
    /// How far the provider's clock may be off.
    pub leeway: Duration,
    /// For one answer of the provider.
    pub timeout: Duration,
    /// An authority to trust beside the system's: a PEM file.
    pub ca: Option<PathBuf>,
}

/// Shown by nothing that is written for people.
#[derive(Clone, PartialEq)]
pub struct ClientSecret(pub String);

impl std::fmt::Debug for ClientSecret {
    /// Only whether it changed.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hash: u64 =
            self.0.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        (hash as u16).fmt(out)
    }
}

/// `None`: nobody logs in by a provider.
pub fn oidc(reader: &mut Reader) -> Option<OidcSettings> {
    let plain = reader.flag("oidc.allow_plain_http", false);
    let issuer = reader.text("oidc.issuer");
    let client_id = reader.text("oidc.client_id");
    let secret = reader.text("oidc.client_secret");
    let secret_file = reader.path("oidc.client_secret_file");
    let (admins, operators, viewers) = (reader.list("oidc.admins"), reader.list("oidc.operators"), reader.list("oidc.viewers"));
    if issuer.is_none() {
        let given =
            [("client_id", client_id.is_some()), ("client_secret", secret.is_some()), ("client_secret_file", secret_file.is_some())];
        if let Some((key, _)) = given.iter().find(|(_, given)| *given) {
            reader.wrong("oidc.issuer", format!("is missing, and {key} is given; it looks like https://login.example.com/realms/main"));
        }
    }
    let url = issuer.as_deref().and_then(|issuer| checked(issuer, plain).map_err(|message| reader.wrong("oidc.issuer", message)).ok());
    if issuer.is_some() && client_id.as_deref().is_none_or(|id| id.trim().is_empty()) {
        reader.wrong("oidc.client_id", "is missing: the name this hub has at the provider");
    }
    let client_secret = client_secret(reader, secret, secret_file);
    let default_role = default_role(reader);
    if issuer.is_some() && default_role.is_none() && [&admins, &operators, &viewers].iter().all(|values| values.is_empty()) {
        let message = "is none, and admins, operators and viewers are empty: nobody could come in";
        reader.wrong("oidc.default_role", message);
    }
    let name = name(reader, url.as_ref());
    let scopes = scopes(reader);
    let email_domains = email_domains(reader);
    let ca = reader.path("oidc.ca");
    if let Some(path) = &ca
        && let Err(message) = certificates(&path.to_string_lossy(), "oidc.ca")
    {
        reader.wrong("oidc.ca", message.trim_start_matches("oidc.ca").trim_start_matches([':', ' ']));
    }
    let username_claim = claim(reader, "oidc.username_claim", "preferred_username");
    let role_claim = claim(reader, "oidc.role_claim", "groups");
    let create_users = reader.flag("oidc.create_users", true);
    let second_factor = reader.flag("oidc.second_factor", false);
    let leeway = reader.span("oidc.leeway_s", Unit::Seconds, 60.0, 0.0..=600.0);
    let timeout = reader.span("oidc.timeout_s", Unit::Seconds, 10.0, 0.1..=60.0);
    Some(OidcSettings {
        issuer: issuer?,
        client_id: client_id?,
        client_secret,
        name,
        scopes,
        username_claim,
        role_claim,
        admins,
        operators,
        viewers,
        default_role,
        email_domains,
        create_users,
        second_factor,
        leeway,
        timeout,
        ca,
    })
}

/// The address of an issuer; the error says what is wrong with it.
fn checked(issuer: &str, plain: bool) -> Result<Url, String> {
    let url = Url::parse(issuer).map_err(|err| format!("is not a URL: {err}; it looks like https://login.example.com/realms/main"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err("is not an http or https URL".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err("must not hold a user name, a password, a query or a fragment".to_owned());
    }
    if url.path().contains("/.well-known/") {
        return Err("is the address of its document; leave out what begins with /.well-known".to_owned());
    }
    if url.scheme() == "http" && !plain && !is_own_machine(&url) {
        return Err("is asked in the clear: use https, or say allow_plain_http = true within a network of your own".to_owned());
    }
    Ok(url)
}

fn is_own_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    }
}

fn client_secret(reader: &mut Reader, given: Option<String>, file: Option<PathBuf>) -> Option<ClientSecret> {
    let Some(path) = file else {
        if given.as_deref().is_some_and(str::is_empty) {
            reader.wrong("oidc.client_secret", "must not be empty; a client without a secret leaves it out");
        }
        return given.map(ClientSecret);
    };
    if given.is_some() {
        reader.wrong("oidc.client_secret_file", "is given beside client_secret; one of them is enough");
    }
    let read = std::fs::metadata(&path).and_then(|about| match about.is_file() && about.len() <= LARGEST_SECRET as u64 {
        true => std::fs::read_to_string(&path),
        false => Err(std::io::Error::other(format!("it is not a file of at most {LARGEST_SECRET} bytes"))),
    });
    match read {
        Ok(text) if !text.trim().is_empty() => Some(ClientSecret(text.trim().to_owned())),
        Ok(_) => {
            reader.wrong("oidc.client_secret_file", format!("{} is empty", path.display()));
            None
        }
        Err(error) => {
            reader.wrong("oidc.client_secret_file", format!("{} cannot be read: {error}", path.display()));
            None
        }
    }
}

fn default_role(reader: &mut Reader) -> Option<String> {
    let given = reader.text("oidc.default_role").filter(|role| role != "none")?;
    if !ROLES.contains(&given.as_str()) {
        reader.wrong("oidc.default_role", format!("must be none, viewer, operator or admin, not {given:?}"));
    }
    Some(given)
}

fn name(reader: &mut Reader, issuer: Option<&Url>) -> String {
    let given = reader.text("oidc.name").map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
    if given.as_ref().is_some_and(|name| name.chars().count() > LONGEST_NAME) {
        reader.wrong("oidc.name", format!("must have at most {LONGEST_NAME} characters"));
    }
    given.unwrap_or_else(|| issuer.and_then(Url::host_str).unwrap_or_default().to_owned())
}

fn scopes(reader: &mut Reader) -> Vec<String> {
    let given = reader.list("oidc.scopes");
    if given.is_empty() {
        return ["openid", "profile", "email"].map(str::to_owned).to_vec();
    }
    // RFC 6749, §3.3.
    let fits = |scope: &str| !scope.is_empty() && scope.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\');
    for (index, scope) in given.iter().enumerate().filter(|(_, scope)| !fits(scope)) {
        reader.wrong(&format!("oidc.scopes[{index}]"), format!("{scope:?} is not the name of a scope"));
    }
    if !given.iter().any(|scope| scope == "openid") {
        reader.wrong("oidc.scopes", "must hold \"openid\"");
    }
    given
}

fn email_domains(reader: &mut Reader) -> Vec<String> {
    let given = reader.list("oidc.email_domains");
    for (index, domain) in given.iter().enumerate() {
        if domain.is_empty() || domain.contains('@') || domain.contains(char::is_whitespace) {
            reader.wrong(&format!("oidc.email_domains[{index}]"), format!("{domain:?} is not a domain such as example.com"));
        }
    }
    given.into_iter().map(|domain| domain.to_lowercase()).collect()
}

fn claim(reader: &mut Reader, path: &str, usual: &str) -> String {
    let claim = reader.text(path).unwrap_or_else(|| usual.to_owned());
    if claim.trim().is_empty() {
        reader.wrong(path, "must not be empty");
    }
    claim
}
