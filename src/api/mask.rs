//! Secrets of a service document on their way out and in: shown as a mask, and a mask that comes back stands for the value
//! that is kept.

use url::Url;

use crate::config::mistake::Mistake;
use crate::config::service::{AuthDocument, ServiceDocument};

pub const MASK: &str = "********";

/// The document as people see it.
pub fn masked(document: &ServiceDocument) -> ServiceDocument {
    let mut shown = document.clone();
    for (name, value) in &mut shown.headers {
        if is_secret(name) {
            *value = MASK.to_owned();
        }
    }
    match &mut shown.auth {
        Some(AuthDocument::Basic { password: secret, .. })
        | Some(AuthDocument::Bearer { token: secret })
        | Some(AuthDocument::Oauth2 { client_secret: secret, .. }) => *secret = MASK.to_owned(),
        None => {}
    }
    if let Some(proxy) = &mut shown.proxy
        && let Ok(mut url) = Url::parse(proxy)
        && url.password().is_some()
        && url.set_password(Some(MASK)).is_ok()
    {
        *proxy = url.to_string();
    }
    if let Some(key) = shown.tls.as_mut().and_then(|tls| tls.client_key.as_mut()) {
        *key = MASK.to_owned();
    }
    shown
}

/// Puts what is kept in the place of every mask. A mask where nothing is kept is a mistake, and so is one in a document that
/// now leads elsewhere: whoever may edit a service but not read its secrets could have them sent to a host of their own.
pub fn unmask(document: &mut ServiceDocument, kept: Option<&ServiceDocument>) -> Vec<Mistake> {
    let mut wrong = Vec::new();
    let kept = kept.filter(|kept| leads_to(kept) == leads_to(document));
    for (name, value) in document.headers.iter_mut().filter(|(name, _)| is_secret(name)) {
        let old = kept.and_then(|kept| kept.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)));
        restore(value, old.map(|(_, value)| value.as_str()), &format!("headers.{name}"), &mut wrong);
    }
    let old = kept.and_then(|kept| kept.auth.as_ref());
    match &mut document.auth {
        Some(AuthDocument::Basic { password, .. }) => {
            let old = old.and_then(|old| if let AuthDocument::Basic { password, .. } = old { Some(password.as_str()) } else { None });
            restore(password, old, "auth.password", &mut wrong);
        }
        Some(AuthDocument::Bearer { token }) => {
            let old = old.and_then(|old| if let AuthDocument::Bearer { token } = old { Some(token.as_str()) } else { None });
            restore(token, old, "auth.token", &mut wrong);
        }
        Some(AuthDocument::Oauth2 { client_secret, .. }) => {
            let old =
                old.and_then(|old| if let AuthDocument::Oauth2 { client_secret, .. } = old { Some(client_secret.as_str()) } else { None });
            restore(client_secret, old, "auth.client_secret", &mut wrong);
        }
        None => {}
    }
    if let Some(proxy) = &mut document.proxy
        && let Ok(mut url) = Url::parse(proxy)
        && url.password() == Some(MASK)
    {
        let old = kept.and_then(|kept| kept.proxy.as_deref()).and_then(|old| Url::parse(old).ok());
        match old.as_ref().and_then(Url::password) {
            Some(password) if url.set_password(Some(password)).is_ok() => *proxy = url.to_string(),
            _ => wrong.push(nothing_kept("proxy")),
        }
    }
    if let Some(key) = document.tls.as_mut().and_then(|tls| tls.client_key.as_mut()) {
        let old = kept.and_then(|kept| kept.tls.as_ref()).and_then(|tls| tls.client_key.as_deref());
        restore(key, old, "tls.client_key", &mut wrong);
    }
    wrong
}

fn restore(value: &mut String, kept: Option<&str>, path: &str, wrong: &mut Vec<Mistake>) {
    if value != MASK {
        return;
    }
    match kept {
        Some(kept) => *value = kept.to_owned(),
        None => wrong.push(nothing_kept(path)),
    }
}

fn nothing_kept(path: &str) -> Mistake {
    Mistake::new(
        path,
        "is a mask, and there is no value it could stand for: give the value itself, also when the service now leads elsewhere",
    )
}

/// Every place a service's secrets are sent to: scheme, host and port.
fn leads_to(document: &ServiceDocument) -> [Option<String>; 3] {
    let origin = |text: &str| {
        Url::parse(text)
            .map_or_else(|_| text.to_owned(), |url| format!("{}://{:?}:{:?}", url.scheme(), url.host(), url.port_or_known_default()))
    };
    let token_url = match &document.auth {
        Some(AuthDocument::Oauth2 { token_url, .. }) => Some(origin(token_url)),
        _ => None,
    };
    [document.base_url.as_deref().map(origin), document.proxy.as_deref().map(origin), token_url]
}

/// Whether a header's value is a secret, by its name.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name == "authorization"
        || name == "proxy-authorization"
        || name == "cookie"
        || ["token", "secret", "key", "password"].iter().any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document(value: serde_json::Value) -> ServiceDocument {
        ServiceDocument::read(&value).expect("it is a service")
    }

    #[test]
    fn what_is_shown_holds_no_secret_and_comes_back_whole() {
        let kept = [
            json!({"headers": {"Authorization": "s3cret", "X-Api-Key": "s3cret", "X-Session-Token": "s3cret", "Accept": "text/html"}}),
            json!({"auth": {"type": "basic", "username": "u", "password": "s3cret"}}),
            json!({"auth": {"type": "bearer", "token": "s3cret"}}),
            json!({"auth": {"type": "oauth2", "token_url": "https://t.example/", "client_id": "c", "client_secret": "s3cret"}}),
            json!({"proxy": "http://user:s3cret@proxy.example:3128/"}),
            json!({"tls": {"client_key": "s3cret"}}),
        ];
        for kept in kept.map(document) {
            let mut shown = masked(&kept);
            let text = serde_json::to_string(&shown).expect("it encodes");
            assert!(!text.contains("s3cret") && text.contains(MASK), "{text}");
            assert_eq!(unmask(&mut shown, Some(&kept)), []);
            assert_eq!(shown, kept);
        }
    }

    #[test]
    fn a_mask_that_stands_for_nothing_is_a_mistake() {
        let fields = [
            (json!({"headers": {"Cookie": MASK}}), "headers.Cookie"),
            (json!({"auth": {"type": "bearer", "token": MASK}}), "auth.token"),
            (json!({"proxy": format!("http://user:{MASK}@proxy.example/")}), "proxy"),
            (json!({"tls": {"client_key": MASK}}), "tls.client_key"),
        ];
        for (value, path) in fields {
            for kept in [None, Some(document(json!({"auth": {"type": "basic", "username": "u", "password": "p"}})))] {
                let wrong = unmask(&mut document(value.clone()), kept.as_ref());
                assert_eq!(wrong.iter().map(|mistake| mistake.path.as_str()).collect::<Vec<_>>(), [path]);
            }
        }
    }

    #[test]
    fn a_mask_in_a_service_that_leads_elsewhere_stands_for_nothing() {
        let secret = |base: &str| document(json!({"base_url": base, "headers": {"Authorization": "s3cret"}}));
        for (base, wrong) in
            [("https://api.example/v2", 0), ("https://evil.example/v1", 1), ("http://api.example/v1", 1), ("https://api.example:444/", 1)]
        {
            let mut edited = masked(&secret("https://api.example/v1"));
            edited.base_url = Some(base.to_owned());
            assert_eq!(unmask(&mut edited, Some(&secret("https://api.example/v1"))).len(), wrong, "{base}");
            assert_eq!(edited.headers["Authorization"] == "s3cret", wrong == 0, "{base}");
        }
    }
}
