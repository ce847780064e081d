//! An identity provider on a real socket: discovery, keys, the page people log in at, tokens. It holds its client to PKCE, its secret,
//! the redirect address and one use of each code, and does wrong what the test says.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use probemesh::model::time::Timestamp;
use serde_json::{Value, json};
use url::Url;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::target::{Asked, Delays, Reply, Target};

pub const CLIENT_ID: &str = "probemesh hub";
/// With letters that are lost if they are not encoded.
pub const CLIENT_SECRET: &str = "s3cr:t%+ü";

/// How it answers at one of its addresses.
#[derive(Clone, Debug)]
pub enum Mode {
    Well,
    Status(u16),
    Garbage,
    /// The connection ends without an answer.
    Drops,
    Says(Value),
}

/// How the next ID tokens are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signed {
    Rsa,
    Ec,
    /// By a key it does not publish, under the name of one that it does.
    Foreign,
    /// Not at all: `"alg": "none"`.
    Not,
    /// By the text of the published key, as if that were a secret.
    ByPublicKey,
    /// By the client's own secret.
    BySecret,
}

#[derive(Clone)]
pub struct Provider {
    target: Target,
    inner: Arc<Mutex<Inner>>,
}

pub struct Inner {
    pub issuer: String,
    pub now: Timestamp,
    pub signed: Signed,
    /// Of whoever logs in next: put over what a good token says; null leaves out.
    pub claims: Value,
    /// Of the user info, where there is one.
    pub user_info: Option<Value>,
    /// Ways of naming the client that it takes, where it says so.
    pub methods: Option<Value>,
    pub has_secret: bool,
    pub discovery: Mode,
    pub keys: Mode,
    pub token: Mode,
    /// Sends people back without a code.
    pub turns_away: bool,
    kid: String,
    rsa: RsaKeyPair,
    ec: EcdsaKeyPair,
    foreign: RsaKeyPair,
    codes: HashMap<String, Grant>,
    made: u32,
}

/// What a code is good for.
struct Grant {
    challenge: String,
    redirect_uri: String,
    nonce: String,
    used: bool,
}

impl Provider {
    pub async fn start(now: Timestamp) -> Provider {
        let inner = Arc::new(Mutex::new(Inner {
            issuer: String::new(),
            now,
            signed: Signed::Rsa,
            claims: json!({}),
            user_info: None,
            methods: None,
            has_secret: true,
            discovery: Mode::Well,
            keys: Mode::Well,
            token: Mode::Well,
            turns_away: false,
            kid: "first".to_owned(),
            rsa: rsa(),
            ec: ec(),
            foreign: rsa(),
            codes: HashMap::new(),
            made: 0,
        }));
        let told = inner.clone();
        let answer = move |asked: &Asked| told.lock().unwrap().answer(asked);
        let target = Target::start("127.0.0.1".parse().unwrap(), None, Delays::default(), Arc::new(answer)).await;
        inner.lock().unwrap().issuer = target.url("http", "127.0.0.1");
        Provider { target, inner }
    }

    pub fn issuer(&self) -> String {
        self.inner.lock().unwrap().issuer.clone()
    }

    /// Changes how it goes on.
    pub fn set(&self, change: impl FnOnce(&mut Inner)) {
        change(&mut self.inner.lock().unwrap());
    }

    /// Other keys, under another name.
    pub fn rotate(&self) {
        self.set(|inner| {
            inner.kid = "second".to_owned();
            (inner.rsa, inner.ec) = (rsa(), ec());
        });
    }

    /// How often it was asked at a path.
    pub fn asked(&self, path: &str) -> usize {
        self.target.asked().iter().filter(|asked| asked.path.split('?').next() == Some(path)).count()
    }

    /// Somebody logs in at the address their browser was led to; where it is led then.
    pub async fn log_in(&self, at: &str) -> String {
        let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let answer = client.get(at).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 302, "{at}: {:?}", answer.text().await);
        answer.headers()["location"].to_str().unwrap().to_owned()
    }
}

impl Inner {
    fn answer(&mut self, asked: &Asked) -> Reply {
        let path = asked.path.split('?').next().unwrap_or_default().to_owned();
        match path.as_str() {
            "/.well-known/openid-configuration" => wrong(&self.discovery).unwrap_or_else(|| json_reply(&self.document())),
            "/keys" => wrong(&self.keys).unwrap_or_else(|| json_reply(&self.key_set())),
            "/authorize" => self.authorize(&asked.path),
            "/token" => wrong(&self.token.clone()).unwrap_or_else(|| self.redeem(asked)),
            "/user" => match (&self.user_info, asked.header("authorization")) {
                (Some(info), Some("Bearer access-1")) => json_reply(info),
                _ => Reply::text(401, ""),
            },
            _ => Reply::text(404, ""),
        }
    }

    fn document(&self) -> Value {
        let issuer = &self.issuer;
        let mut document = json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{issuer}/authorize?tenant=main"),
            "token_endpoint": format!("{issuer}/token"),
            "jwks_uri": format!("{issuer}/keys"),
        });
        if self.user_info.is_some() {
            document["userinfo_endpoint"] = json!(format!("{issuer}/user"));
        }
        if let Some(methods) = &self.methods {
            document["token_endpoint_auth_methods_supported"] = methods.clone();
        }
        document
    }

    fn key_set(&self) -> Value {
        let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let der: PublicKeyX509Der = self.rsa.public_key().as_der().unwrap();
        let (_, info) = SubjectPublicKeyInfo::from_der(der.as_ref()).unwrap();
        let Ok(PublicKey::RSA(rsa)) = info.parsed() else { panic!("it is an RSA key") };
        let point = self.ec.public_key().as_ref();
        let plain = |number: &[u8]| encode(&number[number.iter().take_while(|byte| **byte == 0).count()..]);
        json!({"keys": [
            {"kty": "RSA", "use": "enc", "kid": "sealing", "n": plain(rsa.modulus), "e": plain(rsa.exponent)},
            {"kty": "EXOTIC", "kid": "of a kind of tomorrow"},
            {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": format!("{}-rsa", self.kid), "n": plain(rsa.modulus), "e": plain(rsa.exponent)},
            {"kty": "EC", "crv": "P-256", "kid": format!("{}-ec", self.kid), "x": encode(&point[1..33]), "y": encode(&point[33..])},
        ]})
    }

    fn authorize(&mut self, path: &str) -> Reply {
        let url = Url::parse(&self.issuer).unwrap().join(path).unwrap();
        let asked: HashMap<String, String> = url.query_pairs().into_owned().collect();
        let part = |name: &str| asked.get(name).cloned().unwrap_or_default();
        let right = part("tenant") == "main"
            && part("response_type") == "code"
            && part("client_id") == CLIENT_ID
            && part("scope").split(' ').any(|scope| scope == "openid")
            && part("code_challenge_method") == "S256"
            && part("code_challenge").len() == 43
            && part("nonce").len() == 43;
        if !right {
            return Reply::text(400, path);
        }
        self.made += 1;
        let code = format!("code-{}", self.made);
        let mut back = Url::parse(&part("redirect_uri")).unwrap();
        back.query_pairs_mut().append_pair("state", &part("state"));
        if self.turns_away {
            back.query_pairs_mut().append_pair("error", "access_denied").append_pair("error_description", "not <b>you</b>");
            return Reply::redirect(302, back.as_str());
        }
        let grant = Grant { challenge: part("code_challenge"), redirect_uri: part("redirect_uri"), nonce: part("nonce"), used: false };
        self.codes.insert(code.clone(), grant);
        back.query_pairs_mut().append_pair("code", &code).append_pair("iss", &self.issuer);
        Reply::redirect(302, back.as_str())
    }

    fn redeem(&mut self, asked: &Asked) -> Reply {
        let form: HashMap<String, String> = url::form_urlencoded::parse(asked.body.as_bytes()).into_owned().collect();
        let part = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
        let basic = asked.header("authorization").map(|header| {
            let pair = BASE64_STANDARD.decode(header.strip_prefix("Basic ").unwrap()).unwrap();
            let decoded: Vec<(String, String)> = pair
                .split(|byte| *byte == b':')
                .map(|half| url::form_urlencoded::parse(half).into_owned().next().unwrap_or_default())
                .collect();
            decoded.into_iter().map(|(half, _)| half).collect::<Vec<String>>()
        });
        let posts = self.methods == Some(json!(["client_secret_post"]));
        let known = match (self.has_secret, posts) {
            (true, false) => basic == Some(vec![CLIENT_ID.to_owned(), CLIENT_SECRET.to_owned()]),
            (true, true) => basic.is_none() && part("client_id") == CLIENT_ID && part("client_secret") == CLIENT_SECRET,
            (false, _) => basic.is_none() && part("client_id") == CLIENT_ID && part("client_secret").is_empty(),
        };
        if !known {
            return refused(401, "invalid_client");
        }
        let challenge = BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, part("code_verifier").as_bytes()));
        let grant = self.codes.get_mut(part("code")).filter(|grant| {
            !grant.used
                && grant.challenge == challenge
                && grant.redirect_uri == part("redirect_uri")
                && part("grant_type") == "authorization_code"
        });
        let Some(grant) = grant else { return refused(400, "invalid_grant") };
        grant.used = true;
        let nonce = grant.nonce.clone();
        let now = self.now.0 / 1_000_000;
        let mut claims = json!({
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "sub": "person-1",
            "iat": now,
            "exp": now + 300,
            "nonce": nonce,
            "preferred_username": "ada",
            "groups": ["staff"],
        });
        for (name, value) in self.claims.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        json_reply(&json!({"id_token": self.sign(&claims), "access_token": "access-1", "token_type": "Bearer", "expires_in": 300}))
    }

    fn sign(&self, claims: &Value) -> String {
        let (algorithm, kid) = match self.signed {
            Signed::Rsa | Signed::Foreign => ("RS256", format!("{}-rsa", self.kid)),
            Signed::Ec => ("ES256", format!("{}-ec", self.kid)),
            Signed::Not => ("none", format!("{}-rsa", self.kid)),
            Signed::ByPublicKey | Signed::BySecret => ("HS256", format!("{}-rsa", self.kid)),
        };
        let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let header = json!({"alg": algorithm, "kid": kid, "typ": "JWT"});
        let text = format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
        let by_rsa = |key: &RsaKeyPair| {
            let mut signature = vec![0; key.public_modulus_len()];
            key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature).unwrap();
            signature
        };
        let by_secret = |secret: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), text.as_bytes()).as_ref().to_vec();
        let signature = match self.signed {
            Signed::Rsa => by_rsa(&self.rsa),
            Signed::Foreign => by_rsa(&self.foreign),
            Signed::Ec => self.ec.sign(&SystemRandom::new(), text.as_bytes()).unwrap().as_ref().to_vec(),
            Signed::Not => Vec::new(),
            Signed::ByPublicKey => {
                let der: PublicKeyX509Der = self.rsa.public_key().as_der().unwrap();
                let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", BASE64_STANDARD.encode(der.as_ref()));
                by_secret(pem.as_bytes())
            }
            Signed::BySecret => by_secret(CLIENT_SECRET.as_bytes()),
        };
        format!("{text}.{}", encode(&signature))
    }
}

fn wrong(mode: &Mode) -> Option<Reply> {
    match mode {
        Mode::Well => None,
        Mode::Status(status) => Some(Reply::text(*status, "broken")),
        Mode::Garbage => Some(Reply::text(200, "<html>I am a proxy</html>")),
        Mode::Drops => Some(Reply::raw(b"")),
        Mode::Says(value) => Some(json_reply(value)),
    }
}

fn refused(status: u16, error: &str) -> Reply {
    Reply::text(status, &json!({"error": error, "error_description": "I do not like it"}).to_string())
}

fn json_reply(value: &Value) -> Reply {
    Reply::text(200, &value.to_string()).with("content-type", "application/json")
}

fn rsa() -> RsaKeyPair {
    RsaKeyPair::generate(KeySize::Rsa2048).unwrap()
}

fn ec() -> EcdsaKeyPair {
    EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()
}
