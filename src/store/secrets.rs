//! Secrets at rest: sealed with a key that lies in a file beside the store, so that a copy of the store alone gives nothing away.
//!
//! Each use has a key of its own, derived from the one in the file by HKDF-SHA256 (RFC 5869).
//!
//! **Invariant.** What was sealed for one place cannot be opened at another: the place is authenticated with the secret.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::hmac;
use thiserror::Error;

const KEY_BYTES: usize = 32;
/// First byte of everything sealed: which key and cipher it takes to open it.
const VERSION: u8 = 1;

#[derive(Debug, Error)]
pub enum SecretsError {
    #[error("secret key {} cannot be read or made: {message}", path.display())]
    File { path: PathBuf, message: String },
    #[error("secret key {} has {found} bytes, not {KEY_BYTES}", path.display())]
    Length { path: PathBuf, found: usize },
    #[error("secret of {place} cannot be opened with this secret.key")]
    Sealed { place: String },
}

/// The keys of this installation.
pub struct Secrets {
    sealing: RandomizedNonceKey,
    signing: [u8; KEY_BYTES],
    marking: hmac::Key,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Secrets")
    }
}

impl Secrets {
    /// Reads `secret.key` of the folder; the first start makes it, readable by its owner alone.
    pub fn open(data_dir: &Path) -> Result<Secrets, SecretsError> {
        let path = data_dir.join("secret.key");
        let failed = |error: std::io::Error| SecretsError::File { path: path.clone(), message: error.to_string() };
        let key = match fs::read(&path) {
            Ok(key) => {
                let mode = fs::metadata(&path).map_err(failed)?.permissions().mode();
                if mode & 0o077 != 0 {
                    tracing::warn!(path = %path.display(), mode = format!("{:o}", mode & 0o777), "secret key can be read by others; set its mode to 600");
                }
                key
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let key: [u8; KEY_BYTES] = random();
                write_new(data_dir, &path, &key).map_err(failed)?;
                key.to_vec()
            }
            Err(error) => return Err(failed(error)),
        };
        let key: [u8; KEY_BYTES] = key.try_into().map_err(|key: Vec<u8>| SecretsError::Length { path, found: key.len() })?;
        Ok(Secrets::from_key(&key))
    }

    /// From the key itself.
    pub fn from_key(key: &[u8; KEY_BYTES]) -> Secrets {
        let sealing = derive(key, b"probemesh sealing 1");
        Secrets {
            sealing: RandomizedNonceKey::new(&AES_256_GCM, &sealing).expect("the derived key has the cipher's length"),
            signing: derive(key, b"probemesh signing 1"),
            marking: hmac::Key::new(hmac::HMAC_SHA256, &derive(key, b"probemesh marking 1")),
        }
    }

    /// Seals `clear` for `place`, such as `service:7`.
    pub fn seal(&self, place: &str, clear: &[u8]) -> Vec<u8> {
        let mut text = clear.to_vec();
        let nonce = self
            .sealing
            .seal_in_place_append_tag(Aad::from(place.as_bytes()), &mut text)
            .expect("a secret is far below the cipher's limit");
        let mut sealed = Vec::with_capacity(1 + NONCE_LEN + text.len());
        sealed.push(VERSION);
        sealed.extend_from_slice(nonce.as_ref());
        sealed.extend_from_slice(&text);
        sealed
    }

    pub fn unseal(&self, place: &str, sealed: &[u8]) -> Result<Vec<u8>, SecretsError> {
        let refused = || SecretsError::Sealed { place: place.to_owned() };
        let Some((&VERSION, rest)) = sealed.split_first() else { return Err(refused()) };
        let (nonce, text) = rest.split_at_checked(NONCE_LEN).ok_or_else(refused)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| refused())?;
        let mut text = text.to_vec();
        let clear = self.sealing.open_in_place(nonce, Aad::from(place.as_bytes()), &mut text).map_err(|_| refused())?;
        Ok(clear.to_vec())
    }

    /// HMAC-SHA256 of a text: always the same here, and worked out by nobody without the key. So what is sealed can be looked for,
    /// and a link be made again. `purpose` keeps what is made for one end from serving another.
    pub fn mark(&self, purpose: &str, text: &str) -> [u8; KEY_BYTES] {
        let mut marked = hmac::Context::with_key(&self.marking);
        // No purpose holds a zero byte.
        marked.update(purpose.as_bytes());
        marked.update(&[0]);
        marked.update(text.as_bytes());
        let mut mark = [0; KEY_BYTES];
        mark.copy_from_slice(marked.sign().as_ref());
        mark
    }

    /// What access tokens are signed with.
    pub fn signing_key(&self) -> &[u8; KEY_BYTES] {
        &self.signing
    }
}

/// Bytes nobody can guess.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system's random source works");
    bytes
}

/// Written aside and renamed, so that a crash leaves a whole key or none.
fn write_new(data_dir: &Path, path: &Path, key: &[u8]) -> std::io::Result<()> {
    fs::create_dir_all(data_dir)?;
    let aside = path.with_extension("key.new");
    let _ = fs::remove_file(&aside);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
    file.write_all(key)?;
    file.sync_all()?;
    fs::rename(&aside, path)?;
    fs::File::open(data_dir)?.sync_all()
}

struct Length;

impl KeyType for Length {
    fn len(&self) -> usize {
        KEY_BYTES
    }
}

fn derive(key: &[u8], purpose: &[u8]) -> [u8; KEY_BYTES] {
    let mut derived = [0; KEY_BYTES];
    let secret = Salt::new(HKDF_SHA256, b"probemesh").extract(key);
    secret.expand(&[purpose], Length).and_then(|out| out.fill(&mut derived)).expect("32 bytes are within HKDF's limit");
    derived
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_secret_opens_at_its_own_place_only() {
        let secrets = Secrets::from_key(&[7; 32]);
        let sealed = secrets.seal("service:1", b"hunter2");
        assert_eq!(secrets.unseal("service:1", &sealed).expect("it is its own"), b"hunter2");
        assert!(secrets.unseal("service:2", &sealed).is_err());
        assert!(Secrets::from_key(&[8; 32]).unseal("service:1", &sealed).is_err());
        assert_ne!(sealed, secrets.seal("service:1", b"hunter2"), "each sealing takes a nonce of its own");
    }

    #[test]
    fn a_changed_or_cut_secret_is_refused() {
        let secrets = Secrets::from_key(&[7; 32]);
        let sealed = secrets.seal("service:1", b"hunter2");
        for index in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            assert!(secrets.unseal("service:1", &changed).is_err(), "byte {index}");
            assert!(secrets.unseal("service:1", &sealed[..index]).is_err(), "cut at {index}");
        }
    }

    #[test]
    fn a_mark_is_of_its_text_its_purpose_and_its_key() {
        let secrets = Secrets::from_key(&[7; 32]);
        let mark = secrets.mark("lookup", "ada@example.com");
        assert_eq!(mark, Secrets::from_key(&[7; 32]).mark("lookup", "ada@example.com"));
        assert_ne!(mark, secrets.mark("lookup", "bob@example.com"));
        assert_ne!(mark, secrets.mark("link", "ada@example.com"));
        assert_ne!(mark, Secrets::from_key(&[8; 32]).mark("lookup", "ada@example.com"));
    }

    #[test]
    fn the_key_file_is_made_once_and_for_its_owner_alone() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let first = Secrets::open(dir.path()).expect("the key is made");
        let mode = fs::metadata(dir.path().join("secret.key")).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = Secrets::open(dir.path()).expect("the key is read");
        assert_eq!(first.signing_key(), again.signing_key());
        fs::write(dir.path().join("secret.key"), b"short").expect("it can be written");
        assert!(matches!(Secrets::open(dir.path()), Err(SecretsError::Length { found: 5, .. })));
    }
}
