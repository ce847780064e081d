//! Who comes in, as what and under which name, by what the provider says of them.

use serde_json::{Map, Value};

use crate::config::oidc::OidcSettings;
use crate::store::users::{NAME_MOST, Role, fits_name};

/// A mail address, and whether it is theirs.
const MAIL: [&str; 2] = ["email", "email_verified"];

pub struct Admission {
    username_claim: String,
    role_claim: String,
    /// The highest first.
    roles: Vec<(Role, Vec<String>)>,
    default_role: Option<Role>,
    email_domains: Vec<String>,
}

/// Someone who may come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// For a user who is not there yet.
    pub username: String,
    pub role: Role,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Nothing the claim holds gives a role.
    NoRole,
    /// Their mail address is of no domain that may, is not said, or is not said to be theirs.
    Mail,
}

impl Admission {
    pub fn new(settings: &OidcSettings) -> Admission {
        let roles = [(Role::Admin, &settings.admins), (Role::Operator, &settings.operators), (Role::Viewer, &settings.viewers)];
        Admission {
            username_claim: settings.username_claim.clone(),
            role_claim: settings.role_claim.clone(),
            roles: roles.into_iter().map(|(role, values)| (role, values.clone())).collect(),
            default_role: settings.default_role.as_deref().and_then(Role::from_name),
            email_domains: settings.email_domains.clone(),
        }
    }

    /// Whether the claims say all there is to ask for.
    pub fn is_told_all(&self, claims: &Map<String, Value>) -> bool {
        let asks_for_roles = self.roles.iter().any(|(_, values)| !values.is_empty());
        claim(claims, &self.username_claim).is_some()
            && (!asks_for_roles || claim(claims, &self.role_claim).is_some())
            && (self.email_domains.is_empty() || claims.contains_key("email") && claims.contains_key("email_verified"))
    }

    pub fn admit(&self, subject: &str, claims: &Map<String, Value>) -> Result<Admitted, Refused> {
        if !self.email_domains.is_empty() && !self.is_of_a_domain(claims) {
            return Err(Refused::Mail);
        }
        let held = claim(claims, &self.role_claim).map(texts).unwrap_or_default();
        let given = self.roles.iter().find(|(_, values)| values.iter().any(|value| held.contains(value))).map(|(role, _)| *role);
        let role = given.or(self.default_role).ok_or(Refused::NoRole)?;
        Ok(Admitted { username: self.username(subject, claims), role })
    }

    fn is_of_a_domain(&self, claims: &Map<String, Value>) -> bool {
        // Some providers say so by a text.
        let verified = claims.get("email_verified").is_some_and(|verified| *verified == Value::Bool(true) || *verified == "true");
        let domain = claims.get("email").and_then(Value::as_str).and_then(|email| email.rsplit_once('@'));
        verified && domain.is_some_and(|(_, domain)| self.email_domains.contains(&domain.to_lowercase()))
    }

    /// By the claim, else by the mail address, else by the subject; letters a user's name cannot hold are replaced.
    fn username(&self, subject: &str, claims: &Map<String, Value>) -> String {
        let said = [claim(claims, &self.username_claim), claims.get("email")].into_iter().flatten();
        let said = said.filter_map(Value::as_str).map(str::trim).find(|name| !name.is_empty()).unwrap_or(subject);
        said.chars().map(|letter| if fits_name(letter) { letter } else { '_' }).take(NAME_MOST).collect()
    }
}

/// What both documents say; where they differ, the first counts. An address and the word that it is theirs are of one document: half of
/// each would vouch for an address nobody has looked at.
pub fn merged(mut first: Map<String, Value>, mut second: Map<String, Value>) -> Map<String, Value> {
    let whole = |claims: &Map<String, Value>| MAIL.iter().all(|name| claims.contains_key(*name));
    let by_second = !whole(&first) && (whole(&second) || !first.contains_key("email"));
    let other = if by_second { &mut first } else { &mut second };
    other.retain(|name, _| !MAIL.contains(&name.as_str()));
    for (name, value) in second {
        first.entry(name).or_insert(value);
    }
    first
}

/// A claim by its name, or by a path with dots such as `realm_access.roles`; names may hold dots themselves.
fn claim<'a>(claims: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    path.match_indices('.').find_map(|(at, _)| claim(claims.get(&path[..at])?.as_object()?, &path[at + 1..]))
}

/// What a claim holds: one text or several.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Array(values) => values.iter().flat_map(texts).collect(),
        Value::String(text) => vec![text.clone()],
        Value::Bool(_) | Value::Number(_) => vec![value.to_string()],
        Value::Null | Value::Object(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn admission() -> Admission {
        Admission {
            username_claim: "preferred_username".to_owned(),
            role_claim: "realm_access.roles".to_owned(),
            roles: vec![(Role::Admin, vec!["root".to_owned()]), (Role::Operator, vec!["ops".to_owned(), "7".to_owned()])],
            default_role: None,
            email_domains: Vec::new(),
        }
    }

    fn admitted(admission: &Admission, claims: Value) -> Result<(String, Role), Refused> {
        let claims = claims.as_object().expect("claims");
        admission.admit("subject-1", claims).map(|admitted| (admitted.username, admitted.role))
    }

    #[test]
    fn the_highest_role_a_claim_gives_counts_and_without_one_nobody_comes_in() {
        let with = |roles: Value| admitted(&admission(), json!({"realm_access": {"roles": roles}})).map(|(_, role)| role);
        assert_eq!(with(json!(["ops", "root", "x"])), Ok(Role::Admin));
        assert_eq!(with(json!("ops")), Ok(Role::Operator));
        assert_eq!(with(json!([7])), Ok(Role::Operator));
        for none in [json!(["Root"]), json!([]), json!("root ops"), json!({"root": true}), json!(null)] {
            assert_eq!(with(none.clone()), Err(Refused::NoRole), "{none}");
        }
        let lenient = Admission { default_role: Some(Role::Viewer), ..admission() };
        assert_eq!(admitted(&lenient, json!({})).map(|(_, role)| role), Ok(Role::Viewer));
        let flat = Admission { role_claim: "https://hub.example/roles".to_owned(), ..admission() };
        assert_eq!(admitted(&flat, json!({"https://hub.example/roles": ["ops"]})).map(|(_, role)| role), Ok(Role::Operator));
        let deep = Admission { role_claim: "resource_access.hub.example.roles".to_owned(), ..admission() };
        let nested = json!({"resource_access": {"hub.example": {"roles": ["ops"]}}});
        assert_eq!(admitted(&deep, nested).map(|(_, role)| role), Ok(Role::Operator));
    }

    #[test]
    fn a_new_user_is_named_by_what_a_name_can_hold() {
        let lenient = Admission { default_role: Some(Role::Viewer), ..admission() };
        for (claims, name) in [
            (json!({"preferred_username": "ada"}), "ada"),
            (json!({"preferred_username": "Ada Lovelace+x"}), "Ada_Lovelace_x"),
            (json!({"preferred_username": " ", "email": "ada@example.com"}), "ada@example.com"),
            (json!({"preferred_username": 7}), "subject-1"),
            (json!({}), "subject-1"),
        ] {
            assert_eq!(admitted(&lenient, claims.clone()).expect("in").0, name, "{claims}");
        }
        let long = json!({"preferred_username": "é".repeat(100)});
        assert_eq!(admitted(&lenient, long).expect("in").0, "_".repeat(NAME_MOST));
    }

    #[test]
    fn an_address_and_the_word_that_it_is_theirs_are_of_one_document() {
        let of = |first: Value, second: Value| {
            let map = |value: Value| value.as_object().expect("claims").clone();
            let both = merged(map(first), map(second));
            (both.get("email").cloned().unwrap_or_default(), both.get("email_verified").cloned().unwrap_or_default())
        };
        let (mine, other) = (json!("ada@example.com"), json!("eve@evil.example"));
        let whole = |email: &Value, verified: bool| json!({"email": email, "email_verified": verified});
        assert_eq!(of(json!({"email": mine}), json!({"email_verified": true})), (mine.clone(), json!(null)));
        assert_eq!(of(json!({"email_verified": true}), json!({"email": mine})), (mine.clone(), json!(null)));
        assert_eq!(of(json!({"email": mine}), whole(&other, true)), (other.clone(), json!(true)));
        assert_eq!(of(json!({"email_verified": true}), whole(&other, false)), (other.clone(), json!(false)));
        assert_eq!(of(whole(&mine, false), whole(&other, true)), (mine.clone(), json!(false)));
        assert_eq!(of(json!({}), whole(&other, true)), (other, json!(true)));
        let roles = merged(json!({"a": 1}).as_object().unwrap().clone(), json!({"a": 2, "b": 3}).as_object().unwrap().clone());
        assert_eq!(Value::Object(roles), json!({"a": 1, "b": 3}));
    }

    #[test]
    fn a_mail_address_counts_only_where_the_provider_says_that_it_is_theirs() {
        let lenient = Admission { default_role: Some(Role::Viewer), email_domains: vec!["example.com".to_owned()], ..admission() };
        for (claims, inside) in [
            (json!({"email": "ada@Example.com", "email_verified": true}), true),
            (json!({"email": "ada@example.com", "email_verified": "true"}), true),
            (json!({"email": "ada@example.com", "email_verified": false}), false),
            (json!({"email": "ada@example.com"}), false),
            (json!({"email": "ada@evil-example.com", "email_verified": true}), false),
            (json!({"email": "ada@example.com@evil.example", "email_verified": true}), false),
            (json!({"email_verified": true}), false),
        ] {
            let outcome = admitted(&lenient, claims.clone());
            assert_eq!(outcome.is_ok(), inside, "{claims}");
            assert!(inside || outcome == Err(Refused::Mail), "{claims}");
        }
    }
}
