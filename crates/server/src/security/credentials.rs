//! The launch token and the session cookie that follows from it.

use aws_lc_rs::hmac;
use aws_lc_rs::rand;
use std::fmt::Write as _;
use std::io::{self, Read, Write as _};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Name of the session cookie.
pub const COOKIE: &str = "scope_session";

/// How long a cookie is good for.
pub const COOKIE_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);

const KEY_BYTES: usize = 32;

/// Checks tokens and makes cookies. Comparisons take the same time wherever the first difference is.
pub struct Credentials {
    token: String,
    key: hmac::Key,
}

impl Credentials {
    /// Credentials for `token`, with cookies signed by `key`.
    pub fn new(token: String, key: &[u8; KEY_BYTES]) -> Self {
        Self { token, key: hmac::Key::new(hmac::HMAC_SHA256, key) }
    }

    /// The token that callers must show.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Whether `shown` is the token.
    pub fn is_token(&self, shown: &str) -> bool {
        // Comparing keyed digests hides the length as well.
        let ours = hmac::sign(&self.key, self.token.as_bytes());
        !self.token.is_empty() && hmac::verify(&self.key, shown.as_bytes(), ours.as_ref()).is_ok()
    }

    /// A cookie value good until [`COOKIE_LIFETIME`] after `now`: the expiry and its signature.
    pub fn issue_cookie(&self, now: SystemTime) -> String {
        let expiry = unix_seconds(now) + COOKIE_LIFETIME.as_secs();
        let mut value = expiry.to_string();
        value.push('.');
        for byte in hmac::sign(&self.key, &cookie_message(expiry)).as_ref() {
            let _ = write!(value, "{byte:02x}");
        }
        value
    }

    /// Whether `value` is a cookie of ours that has not expired at `now`.
    pub fn is_cookie(&self, value: &str, now: SystemTime) -> bool {
        let Some((expiry, signature)) = value.split_once('.') else { return false };
        let (Ok(expiry), Some(signature)) = (expiry.parse::<u64>(), from_hex(signature)) else {
            return false;
        };
        hmac::verify(&self.key, &cookie_message(expiry), &signature).is_ok() && unix_seconds(now) < expiry
    }
}

/// What a cookie's signature covers. The prefix keeps it apart from other uses of the key.
fn cookie_message(expiry: u64) -> Vec<u8> {
    format!("session cookie until {expiry}").into_bytes()
}

fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

/// A new token: 192 random bits in letters that survive a URL and a double click.
///
/// # Errors
/// When the system has no randomness to give.
pub fn new_token() -> io::Result<String> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).map_err(|_| io::Error::other("no random numbers"))?;
    Ok(bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 63)])).collect())
}

/// Reads the cookie key at `path`, or makes one that only the user can read. Deleting the file signs everybody out.
///
/// # Errors
/// When it can be neither read nor made.
pub fn load_or_create_key(path: &Path) -> io::Result<[u8; KEY_BYTES]> {
    let mut key = [0; KEY_BYTES];
    match std::fs::File::open(path) {
        Ok(mut file) => {
            if file.read_exact(&mut key).is_ok() {
                return Ok(key);
            }
            // Cut short by a crash or a full disk: nothing to save.
            std::fs::remove_file(path)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    rand::fill(&mut key).map_err(|_| io::Error::other("no random numbers"))?;
    write_private(path, &key)?;
    Ok(key)
}

/// Writes a file that only the user can read, whole or not at all.
///
/// # Errors
/// When the disk refuses.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension(format!("{}.tmp", uuid::Uuid::new_v4().simple()));
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    });
    if written.is_err() {
        std::fs::remove_file(&temporary).ok();
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn credentials() -> Credentials {
        Credentials::new("secret".into(), &[7; KEY_BYTES])
    }

    #[test]
    fn cookies_expire_and_cannot_be_stretched() {
        let (credentials, now) = (credentials(), SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000));
        let cookie = credentials.issue_cookie(now);
        assert!(credentials.is_cookie(&cookie, now));
        assert!(!credentials.is_cookie(&cookie, now + COOKIE_LIFETIME));
        let (expiry, signature) = cookie.split_once('.').unwrap();
        let later = expiry.parse::<u64>().unwrap() + 1;
        assert!(!credentials.is_cookie(&format!("{later}.{signature}"), now));
    }

    #[test]
    fn cookies_survive_a_new_token_but_not_a_new_key() {
        let now = SystemTime::now();
        let cookie = credentials().issue_cookie(now);
        assert!(Credentials::new("another".into(), &[7; KEY_BYTES]).is_cookie(&cookie, now));
        assert!(!Credentials::new("secret".into(), &[8; KEY_BYTES]).is_cookie(&cookie, now));
    }

    #[test]
    fn only_the_whole_token_is_the_token() {
        let credentials = credentials();
        assert!(credentials.is_token("secret"));
        for wrong in ["", "secre", "secrets", "Secret"] {
            assert!(!credentials.is_token(wrong), "{wrong}");
        }
        assert!(!Credentials::new(String::new(), &[7; KEY_BYTES]).is_token(""));
    }

    #[test]
    fn the_key_is_kept_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("session.key");
        let key = load_or_create_key(&path).unwrap();
        assert_eq!(load_or_create_key(&path).unwrap(), key);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        std::fs::write(&path, b"short").unwrap();
        assert_ne!(load_or_create_key(&path).unwrap(), key);
    }

    #[test]
    fn tokens_differ() {
        assert_ne!(new_token().unwrap(), new_token().unwrap());
    }

    proptest! {
        #[test]
        fn made_up_cookies_are_refused(value in "\\PC{0,100}") {
            prop_assert!(!credentials().is_cookie(&value, SystemTime::now()));
        }
    }
}
