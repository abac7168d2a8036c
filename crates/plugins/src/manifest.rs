//! What a plugin's author writes down, in `scope-plugin.toml`.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The file's name.
pub const MANIFEST: &str = "scope-plugin.toml";
/// Bytes that it may have.
const MAX_BYTES: usize = 64 << 10;
/// Stands for the plugin's own Python in its command.
pub(crate) const PYTHON: &str = "{python}";

/// Why a manifest can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// No TOML, a key that is missing, or a value of the wrong kind.
    #[error("{MANIFEST} can't be read: {0}")]
    Syntax(String),
    /// A value that is not possible.
    #[error("{MANIFEST}: {key} {problem}")]
    Value {
        /// The key.
        key: &'static str,
        /// What is wrong, and what is possible.
        problem: String,
    },
}

/// The manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Name, unique among installed plugins: lower-case letters, digits, `-` and `_`.
    pub name: String,
    /// Program and arguments. `{python}` is the Python of the plugin's own environment; a program with a slash lies in the
    /// plugin's folder; any other is looked for in `PATH`.
    pub command: Vec<String>,
    /// Requirements for pip, installed into an environment of the plugin's own.
    #[serde(default)]
    pub python_requirements: Vec<String>,
    /// Seconds that loading may take without a word.
    #[serde(default = "Manifest::default_load_timeout_s")]
    pub load_timeout_s: u64,
    /// Seconds that a chunk may take without a picture.
    #[serde(default = "Manifest::default_chunk_timeout_s")]
    pub chunk_timeout_s: u64,
    /// Variables of the environment that the plugin gets although they may be secrets, such as `HF_TOKEN`.
    #[serde(default)]
    pub environment: Vec<String>,
}

impl Manifest {
    const fn default_load_timeout_s() -> u64 {
        600
    }

    const fn default_chunk_timeout_s() -> u64 {
        30
    }

    /// A manifest for a plugin that has none of its own.
    #[must_use]
    pub fn of(name: String, command: Vec<String>) -> Self {
        Self {
            name,
            command,
            python_requirements: Vec::new(),
            load_timeout_s: Self::default_load_timeout_s(),
            chunk_timeout_s: Self::default_chunk_timeout_s(),
            environment: Vec::new(),
        }
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// [`ManifestError`].
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        if text.len() > MAX_BYTES {
            return Err(ManifestError::Syntax(format!("it has more than {MAX_BYTES} bytes")));
        }
        let manifest: Self =
            toml::from_str(text).map_err(|error| ManifestError::Syntax(error.message().to_owned()))?;
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), ManifestError> {
        let wrong = |key, problem: &str| Err(ManifestError::Value { key, problem: problem.to_owned() });
        if !is_name(&self.name) {
            return wrong("name", "must be 1 to 64 lower-case letters, digits, - or _, a letter first");
        }
        if self.command.first().is_none_or(String::is_empty) {
            return wrong("command", "must name a program");
        }
        if self.command.iter().skip(1).any(|part| part == PYTHON) {
            return wrong("command", "has {python} as an argument; it stands for the program only");
        }
        let path = std::path::Path::new(&self.command[0]);
        if path.is_absolute() || path.components().any(|part| part == std::path::Component::ParentDir) {
            return wrong("command", "must name a program in the plugin's folder or in PATH");
        }
        if self.python_requirements.iter().any(|requirement| requirement.starts_with('-')) {
            return wrong("python_requirements", "has an option of pip; name packages only");
        }
        for (key, seconds) in
            [("load_timeout_s", self.load_timeout_s), ("chunk_timeout_s", self.chunk_timeout_s)]
        {
            if !(1..=3600).contains(&seconds) {
                return wrong(key, "must be from 1 to 3600");
            }
        }
        Ok(())
    }

    /// How long loading may take without a word.
    #[must_use]
    pub fn load_timeout(&self) -> Duration {
        Duration::from_secs(self.load_timeout_s)
    }

    /// How long a chunk may take without a picture.
    #[must_use]
    pub fn chunk_timeout(&self) -> Duration {
        Duration::from_secs(self.chunk_timeout_s)
    }
}

/// Whether this can be the name of a plugin, and so of a folder, or the id of a pipeline.
pub(crate) fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    (1..=64).contains(&name.len())
        && name.bytes().all(plain)
        && name.as_bytes().first().is_some_and(u8::is_ascii_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_manifest_has_sensible_defaults() {
        let manifest = Manifest::parse("name = \"invert\"\ncommand = [\"./invert\"]").unwrap();
        assert_eq!(manifest, Manifest::of("invert".into(), vec!["./invert".into()]));
        assert_eq!(manifest.chunk_timeout(), Duration::from_secs(30));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = [
            ("name = \"../x\"\ncommand = [\"a\"]", "name"),
            ("name = \"\"\ncommand = [\"a\"]", "name"),
            ("name = \"x\"\ncommand = []", "command"),
            ("name = \"x\"\ncommand = [\"/bin/sh\"]", "command"),
            ("name = \"x\"\ncommand = [\"bin/../../sh\"]", "command"),
            ("name = \"x\"\ncommand = [\"a\", \"{python}\"]", "command"),
            ("name = \"x\"\ncommand = [\"a\"]\nchunk_timeout_s = 0", "chunk_timeout_s"),
            (
                "name = \"x\"\ncommand = [\"a\"]\npython_requirements = [\"--index-url=http://x\"]",
                "python_requirements",
            ),
            ("name = \"x\"\ncommand = [\"a\"]\nunknown = 1", "unknown"),
            ("name = \"x\"", "command"),
            ("not toml", "can't be read"),
        ];
        for (text, word) in wrong {
            let error = Manifest::parse(text).unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
