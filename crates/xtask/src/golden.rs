//! `cargo xtask golden DIR`: every recorded case of a folder, replayed by the golden tests of models and pipelines.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::process::{Context, run};

/// Runs the golden tests with `folder` as a further folder of cases; their tables of cases go to standard output.
pub(crate) fn replay(context: &Context, folder: &str) -> Result<()> {
    let folder = cases(Path::new(folder))?;
    for package in ["scope-models", "scope-pipelines"] {
        let args = ["test", "--release", "-p", package, "--test", "golden", "--", "--nocapture"];
        run(context.cargo_command(&args).env("SCOPE_GOLDEN_DIR", &folder))?;
    }
    Ok(())
}

/// The folder as the test finds it, which runs elsewhere; refused if there is no case in it.
fn cases(folder: &Path) -> Result<PathBuf> {
    let shown = folder.display();
    let folder = fs::canonicalize(folder).with_context(|| format!("looking for the folder {shown}"))?;
    let mut entries = folder.read_dir().with_context(|| format!("reading {shown}"))?;
    let is_case = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.ends_with(".safetensors") || name.ends_with(".safetensors.gz")
    };
    if !entries.any(|entry| entry.is_ok_and(|entry| is_case(&entry.path()))) {
        bail!("{shown} holds no case: a case is NAME.json beside NAME.safetensors or NAME.safetensors.gz");
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_cases_is_refused() {
        let own = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert!(cases(own).is_err());
        assert!(cases(&own.join("nowhere")).is_err());
        assert!(cases(&own.join("../models/tests/golden/data")).is_ok());
    }
}
