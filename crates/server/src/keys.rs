//! API keys of hosted services: from the environment, or stored in the data directory.

use crate::http::{ApiError, ApiResult};
use crate::security::write_private;
use serde::Serialize;
use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use utoipa::ToSchema;

/// A service whose key we can use.
struct Known {
    id: &'static str,
    /// Another id that clients send.
    alias: &'static str,
    name: &'static str,
    description: &'static str,
    env_var: &'static str,
    key_url: &'static str,
    file: &'static str,
}

const KNOWN: [Known; 2] = [
    Known {
        id: "huggingface",
        alias: "hf_token",
        name: "Hugging Face",
        description: "Downloads models, and lends TURN servers for connections through firewalls",
        env_var: "HF_TOKEN",
        key_url: "https://huggingface.co/settings/tokens",
        file: "huggingface_token",
    },
    Known {
        id: "civitai",
        alias: "civitai_token",
        name: "CivitAI",
        description: "Downloads LoRA adapters",
        env_var: "CIVITAI_API_TOKEN",
        key_url: "https://civitai.com/user/account",
        file: "civitai_token",
    },
];

/// Where a key comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeySource {
    /// The environment owns it; it cannot be changed here.
    EnvVar,
    /// Saved by the user.
    Stored,
}

/// A key as clients see it: never its value.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct KeyEntry {
    /// Id in paths.
    pub id: &'static str,
    /// Name for people.
    pub name: &'static str,
    /// What it is good for.
    pub description: &'static str,
    /// Whether there is one.
    pub is_set: bool,
    /// Where it comes from.
    pub source: Option<KeySource>,
    /// Environment variable that sets it.
    pub env_var: &'static str,
    /// Where users get one.
    pub key_url: &'static str,
}

/// All keys. Functions that touch the disk are not for async threads.
pub struct KeyStore {
    dir: PathBuf,
    env: HashMap<&'static str, String>,
}

impl KeyStore {
    /// Keys stored in `dir`, with `env` looking up environment variables.
    pub fn new(dir: impl Into<PathBuf>, env: impl Fn(&str) -> Option<String>) -> Self {
        let set =
            |known: &Known| Some((known.id, env(known.env_var).filter(|value| !value.trim().is_empty())?));
        Self { dir: dir.into(), env: KNOWN.iter().filter_map(set).collect() }
    }

    /// The value of the key `id`.
    pub fn value(&self, id: &str) -> Option<String> {
        let known = find(id).ok()?;
        self.env.get(known.id).cloned().or_else(|| self.stored(known))
    }

    fn stored(&self, known: &Known) -> Option<String> {
        let text = fs::read_to_string(self.dir.join(known.file)).ok()?;
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// All keys, without values.
    pub fn list(&self) -> Vec<KeyEntry> {
        KNOWN
            .iter()
            .map(|known| {
                let env = self.env.contains_key(known.id).then_some(KeySource::EnvVar);
                let source = env.or_else(|| self.stored(known).map(|_| KeySource::Stored));
                KeyEntry {
                    id: known.id,
                    name: known.name,
                    description: known.description,
                    is_set: source.is_some(),
                    source,
                    env_var: known.env_var,
                    key_url: known.key_url,
                }
            })
            .collect()
    }

    /// Stores a key; says what happened.
    ///
    /// # Errors
    /// 404 for an unknown id, 409 when the environment owns it, 422 for a value that is no key.
    pub fn set(&self, id: &str, value: &str) -> ApiResult<String> {
        let known = self.changeable(id)?;
        let value = value.trim();
        if value.is_empty() || value.len() > 4096 || value.contains(char::is_control) {
            let loc = vec!["body".into(), "value".into()];
            return Err(ApiError::invalid("string_too_short", loc, "a key of one line is needed", "".into()));
        }
        fs::create_dir_all(&self.dir)
            .and_then(|()| write_private(&self.dir.join(known.file), value.as_bytes()))
            .map_err(|error| ApiError::internal("the key could not be stored", &error))?;
        Ok(format!("The {} key is saved", known.name))
    }

    /// Forgets a stored key; says what happened.
    ///
    /// # Errors
    /// 404 for an unknown id or when none is stored, 409 when the environment owns it.
    pub fn remove(&self, id: &str) -> ApiResult<String> {
        let known = self.changeable(id)?;
        fs::remove_file(self.dir.join(known.file))
            .map_err(|_| ApiError::not_found(format!("no {} key is stored", known.name)))?;
        Ok(format!("The {} key is removed", known.name))
    }

    fn changeable(&self, id: &str) -> ApiResult<&'static Known> {
        let known = find(id)?;
        if self.env.contains_key(known.id) {
            let detail =
                format!("the key is set by the environment variable {}; change it there", known.env_var);
            return Err(ApiError::conflict(detail));
        }
        Ok(known)
    }
}

fn find(id: &str) -> ApiResult<&'static Known> {
    let found = KNOWN.iter().find(|known| known.id == id || known.alias == id);
    found.ok_or_else(|| ApiError::not_found(format!("there is no key {id:?}; use huggingface or civitai")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_owns_its_keys() {
        let dir = tempfile::tempdir().unwrap();
        let keys = KeyStore::new(dir.path(), |name| (name == "HF_TOKEN").then(|| "env".into()));
        assert_eq!(keys.value("huggingface").as_deref(), Some("env"));
        assert_eq!(keys.set("hf_token", "x").unwrap_err().status, 409);
        assert_eq!(keys.remove("huggingface").unwrap_err().status, 409);
        assert_eq!(keys.list()[0].source, Some(KeySource::EnvVar));
    }

    #[test]
    fn stored_keys_come_and_go() {
        let dir = tempfile::tempdir().unwrap();
        let keys = KeyStore::new(dir.path(), |_| None);
        assert_eq!(keys.remove("civitai").unwrap_err().status, 404);
        keys.set("civitai", " secret\n").unwrap();
        assert_eq!(keys.value("civitai_token").as_deref(), Some("secret"));
        assert_eq!(keys.list()[1].source, Some(KeySource::Stored));
        keys.remove("civitai").unwrap();
        assert_eq!(keys.value("civitai"), None);
        assert_eq!(keys.set("nobody", "x").unwrap_err().status, 404);
        assert_eq!(keys.set("civitai", "a\nb").unwrap_err().status, 422);
    }
}
