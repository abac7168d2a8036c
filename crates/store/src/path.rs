//! Names of files that may come from anywhere.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Characters of a whole path, and of one of its parts.
const MAX_LENGTH: usize = 400;
const MAX_PART_LENGTH: usize = 200;
const MAX_PARTS: usize = 12;

/// Why a name is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} cannot be the name of a file below the folder: {problem}")]
pub struct PathError {
    name: String,
    problem: &'static str,
}

/// A relative path with forward slashes that stays below whatever it is joined to, on every operating system.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StorePath(String);

impl StorePath {
    /// The text, with forward slashes.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// This path below `folder`.
    pub fn below(&self, folder: &Path) -> PathBuf {
        self.0.split('/').fold(folder.to_owned(), |path, part| path.join(part))
    }

    /// The last part.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// `self`, a slash, `rest`.
    ///
    /// # Errors
    /// When the whole is too long.
    pub fn join(&self, rest: &Self) -> Result<Self, PathError> {
        format!("{self}/{rest}").parse()
    }
}

impl FromStr for StorePath {
    type Err = PathError;

    fn from_str(name: &str) -> Result<Self, PathError> {
        let refuse = |problem| PathError { name: name.chars().take(80).collect(), problem };
        if name.len() > MAX_LENGTH || name.split('/').count() > MAX_PARTS {
            return Err(refuse("it is too long"));
        }
        match name.split('/').find_map(problem_of) {
            Some(problem) => Err(refuse(problem)),
            None => Ok(Self(name.to_owned())),
        }
    }
}

/// What is wrong with one part of a path. Names that Windows treats specially are refused everywhere: folders move.
fn problem_of(part: &str) -> Option<&'static str> {
    const RESERVED: [&str; 4] = ["con", "prn", "aux", "nul"];
    let stem = part.split('.').next().unwrap_or("").to_ascii_lowercase();
    let numbered = |prefix: &str| stem.strip_prefix(prefix).is_some_and(|rest| rest.chars().count() == 1);
    let odd = |c: char| c.is_control() || matches!(c, '\\' | '<' | '>' | ':' | '"' | '|' | '?' | '*');
    if part.is_empty() {
        Some("it is absolute, or has an empty part")
    } else if part.len() > MAX_PART_LENGTH {
        Some("it is too long")
    } else if part.starts_with('.') {
        Some("a part begins with a dot")
    } else if part.starts_with(' ') || part.ends_with([' ', '.']) {
        Some("a part begins or ends with a space, or ends with a dot")
    } else if part.contains(odd) {
        Some("it has a character that cannot be part of a file name everywhere")
    } else if RESERVED.contains(&stem.as_str()) || numbered("com") || numbered("lpt") {
        Some("it is the name of a device")
    } else {
        None
    }
}

impl TryFrom<String> for StorePath {
    type Error = PathError;

    fn try_from(name: String) -> Result<Self, PathError> {
        name.parse()
    }
}

impl From<StorePath> for String {
    fn from(path: StorePath) -> Self {
        path.0
    }
}

impl fmt::Display for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::Component;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "../a",
            "a/../b",
            "a/..",
            "./a",
            "a//b",
            "a/",
            r"a\b",
            r"..\a",
            "C:/a",
            "c:a",
            r"\\host\share",
            ".hidden",
            "a/.git/config",
            "nul",
            "AUX.txt",
            "com1",
            "a/lpt9.bin",
            "a\0b",
            "a\nb",
            "a.",
            "a ",
            " a",
            "a:stream",
            "a*",
            "a?",
        ] {
            assert!(name.parse::<StorePath>().is_err(), "{name:?}");
        }
        assert!("x".repeat(401).parse::<StorePath>().is_err());
        assert!(["x"; 13].join("/").parse::<StorePath>().is_err());
    }

    #[test]
    fn ordinary_names_are_kept_as_they_are() {
        for name in
            ["config.json", "google/umt5-xxl/tokenizer.json", "Wan2.1_VAE.pth", "été 2.safetensors", "com12"]
        {
            assert_eq!(name.parse::<StorePath>().unwrap().as_str(), name);
        }
        let path: StorePath = "a/b.c".parse().unwrap();
        assert_eq!(path.below(Path::new("root")), Path::new("root").join("a").join("b.c"));
        assert_eq!(path.file_name(), "b.c");
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_stays_below_its_folder(name in r"[a-z./\\: ]{0,24}") {
            if let Ok(path) = name.parse::<StorePath>() {
                let joined = path.below(Path::new("root"));
                prop_assert!(joined.starts_with("root"));
                prop_assert!(joined.components().all(|part| matches!(part, Component::Normal(_))));
                prop_assert!(joined.components().count() > 1);
            }
        }
    }
}
