//! Which names sound secret, told by the words a name is made of: `_`, `-`, `.`, spaces, signs and the humps of camel case part them, so
//! that `bypass`, `author` and `keyboard` are not taken for a pass, auth or a key. Two neighbours count as one word too, so
//! `api_key`, `apiKey` and `apikey` are alike.

/// How much of what stands under a name is to be kept from people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrecy {
    Open,
    /// A word with harmless meanings too: a number, a state such as `down`, or an object below it is no secret.
    Doubtful,
    Secret,
}

/// A word that holds one of these sounds secret wherever they stand in it, as names are written without any gap, too.
const INSIDE: [&str; 8] = ["password", "passwd", "passphrase", "passcode", "secret", "token", "apikey", "credential"];
/// Of words that hold one of those and mean something else.
const BEGINNINGS_ELSE: [&str; 3] = ["tokeniz", "tokenis", "secretar"];
#[rustfmt::skip]
const SECRET: [&str; 48] = [
    "accesskey", "authcode", "authkey", "authorization", "bearer", "clientkey", "connectionstring", "connectionstrings", "connectionuri", "connstr", "connstring",
    "cookie", "cookies", "cred", "creds", "csrf", "cvc", "cvv", "dsn", "encryptionkey", "jwt", "jwts", "key", "keyring", "keys", "masterkey",
    "otp", "otps", "pin", "pincode", "pins", "privatekey", "psk", "pwd", "pwds", "sessid", "jsessionid", "phpsessid", "sessionid", "sessionids",
    "sessionkey", "sid", "signingkey", "sshkey", "totp", "xsrf", "csrftoken", "userpwd",
];
#[rustfmt::skip]
const DOUBTFUL: [&str; 18] = [
    "adminpass", "auth", "authentication", "dbpass", "ftppass", "hmac", "mypass", "oauth", "pass", "pgpass", "rootpass", "sig", "signature",
    "signatures", "smtppass", "sshpass", "tokens", "userpass",
];
/// A name that ends so tells about a secret, or is of a file or a host.
#[rustfmt::skip]
const ABOUT: [&str; 62] = [
    "age", "alg", "algorithm", "at", "attempts", "count", "counts", "cs", "duration", "enabled", "endpoint", "error", "errors", "expired",
    "expires", "expiry", "expiration", "failures", "go", "in", "invalid", "issuer", "java", "js", "kind", "latency", "len", "length", "limit",
    "max", "method", "methods", "min", "missing", "mode", "ms", "percent", "php", "policy", "provider", "py", "rate", "ratio", "rb", "realm",
    "remaining", "required", "rs", "scheme", "server", "service", "size", "status", "strength", "time", "timeout", "ts", "ttl", "type", "used",
    "user", "valid",
];
/// Before `key`: what anyone may know.
const OPEN_KEYS: [&str; 8] = ["duplicate", "foreign", "partition", "primary", "public", "sort", "unique", "publickey"];

pub fn secrecy(name: &str) -> Secrecy {
    let words = words(name);
    if words.last().is_some_and(|last| ABOUT.contains(&last.as_str())) {
        return Secrecy::Open;
    }
    // A session by itself is more often told about than given away.
    let mut found = if words.len() == 1 && words[0] == "session" { Secrecy::Doubtful } else { Secrecy::Open };
    for (place, word) in words.iter().enumerate() {
        let before = place.checked_sub(1).map(|place| words[place].as_str());
        let open_key = matches!(word.as_str(), "key" | "keys") && before.is_some_and(|before| OPEN_KEYS.contains(&before));
        let joined = before.map(|before| format!("{before}{word}")).unwrap_or_default();
        match of_word(word) {
            _ if open_key => {}
            _ if SECRET.contains(&joined.as_str()) || INSIDE.contains(&joined.as_str()) => return Secrecy::Secret,
            Secrecy::Secret => return Secrecy::Secret,
            Secrecy::Doubtful => found = Secrecy::Doubtful,
            Secrecy::Open => {}
        }
    }
    found
}

fn of_word(word: &str) -> Secrecy {
    if DOUBTFUL.contains(&word) {
        return Secrecy::Doubtful;
    }
    let inside = INSIDE.iter().any(|part| word.contains(part)) && !BEGINNINGS_ELSE.iter().any(|start| word.starts_with(start));
    if inside || SECRET.contains(&word) { Secrecy::Secret } else { Secrecy::Open }
}

/// In lower case, without the digits at their ends (`password2`). An escape such as `%5B` parts words as the sign it stands for.
fn words(name: &str) -> Vec<String> {
    let bytes = name.as_bytes();
    let mut words = vec![String::new()];
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte == b'%' && bytes.len() > at + 2 && bytes[at + 1..at + 3].iter().all(u8::is_ascii_hexdigit) {
            words.push(String::new());
            at += 3;
            continue;
        }
        let before = at.checked_sub(1).map_or(0, |at| bytes[at]);
        let after = bytes.get(at + 1).copied().unwrap_or(0);
        // The second: `APIKey` is of API and Key.
        let hump = byte.is_ascii_uppercase()
            && (before.is_ascii_lowercase() || before.is_ascii_digit() || (before.is_ascii_uppercase() && after.is_ascii_lowercase()));
        if hump || !byte.is_ascii_alphanumeric() {
            words.push(String::new());
        }
        if byte.is_ascii_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.push(char::from(byte.to_ascii_lowercase()));
        }
        at += 1;
    }
    words
        .into_iter()
        .map(|word| word.trim_end_matches(|end: char| end.is_ascii_digit()).to_owned())
        .filter(|word| !word.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_judged_by_its_words() {
        #[rustfmt::skip]
        let secret = [
            "password", "passwd", "passphrase", "passPhrase", "pwd", "DB_PWD", "pin", "userPin", "card-pin", "otp", "otpCode", "totp", "credential",
            "credentials", "awsCredentials", "cookie", "Set-Cookie", "sessionid", "session_id", "sessionId", "JSESSIONID", "sid", "connect.sid",
            "csrf", "x-csrf-token", "csrfmiddlewaretoken", "jwt", "bearer", "privateKey", "private key", "client_secret", "clientSecret",
            "access-key", "AWS_SECRET_ACCESS_KEY", "apikey", "api-key", "x-api-key", "APIKey", "api_key_2", "dsn", "SENTRY_DSN", "connection_string",
            "connectionString", "ConnectionStrings", "authorization", "proxy-authorization", "x-auth-token", "authtoken", "password2",
            "user[password]", "user%5Botp%5D", "x-keyring", "id_token", "PGPASSWORD", "password_hash",
        ];
        let doubtful =
            ["pass", "DB_PASS", "smtpPass", "auth", "x-auth", "oauth", "signature", "X-Amz-Signature", "sig", "max_tokens", "session"];
        #[rustfmt::skip]
        let open = [
            "passed", "compass", "author", "authors", "pinned", "passport_country", "keyboard", "monkey", "tokens_used", "pass_rate", "bypass", "spin",
            "authority", "tokenizer", "secretary", "token_type", "password_min_length", "public_key", "primary-key", "expires_in", "session_count",
            "content-type", "server", "x-request-id", "sidebar", "side", "shipping", "hotkey", "token.js", "auth_status", "keys_count", "", "é",
        ];
        for (names, expected) in [(&secret[..], Secrecy::Secret), (&doubtful, Secrecy::Doubtful), (&open, Secrecy::Open)] {
            for name in names {
                assert_eq!(secrecy(name), expected, "{name}");
            }
        }
    }
}
