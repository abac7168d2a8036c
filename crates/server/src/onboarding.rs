//! What the user answered at the first run.

use crate::security::write_private;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use utoipa::ToSchema;

/// The first-run answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Onboarding {
    /// Whether the introduction was gone through.
    pub completed: bool,
    /// Where models run.
    pub inference_mode: Option<String>,
    /// How much introduction was wanted.
    pub onboarding_style: Option<String>,
    /// How the user came here.
    pub referral_source: Option<String>,
    /// What for.
    pub use_case: Option<String>,
}

/// Where the answers are kept. Reads and writes the disk: not for async threads.
pub struct OnboardingStore(PathBuf);

impl OnboardingStore {
    /// A store in `dir`.
    pub fn new(dir: &Path) -> Self {
        Self(dir.join("onboarding.json"))
    }

    /// The answers; the defaults when there are none or the file is damaged.
    pub fn read(&self) -> Onboarding {
        let text = std::fs::read(&self.0).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Keeps new answers.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(&self, answers: &Onboarding) -> std::io::Result<()> {
        if let Some(dir) = self.0.parent() {
            std::fs::create_dir_all(dir)?;
        }
        write_private(&self.0, &serde_json::to_vec_pretty(answers)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_survive_and_a_damaged_file_starts_over() {
        let dir = tempfile::tempdir().unwrap();
        let store = OnboardingStore::new(dir.path());
        assert_eq!(store.read(), Onboarding::default());
        let answers = Onboarding { completed: true, ..Onboarding::default() };
        store.write(&answers).unwrap();
        assert_eq!(store.read(), answers);
        std::fs::write(dir.path().join("onboarding.json"), b"{").unwrap();
        assert_eq!(store.read(), Onboarding::default());
    }
}
