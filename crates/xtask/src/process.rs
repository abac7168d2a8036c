//! Running other programs: their output streams through, a failure is an error that names the command.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// What every step needs to know.
pub(crate) struct Context {
    /// The repository.
    pub(crate) root: PathBuf,
    /// Cargo's target folder; also holds the Python environments.
    pub(crate) target: PathBuf,
    /// `cargo metadata --no-deps`.
    pub(crate) metadata: Value,
    /// Whether missing tools may be installed.
    pub(crate) install: bool,
    /// Whether this is CI: locked dependencies, clean installs.
    pub(crate) ci: bool,
}

impl Context {
    pub(crate) fn new(install: bool) -> Result<Self> {
        let out = capture(Path::new("."), "cargo", ["metadata", "--no-deps", "--format-version", "1"])?;
        let metadata: Value = serde_json::from_str(&out).context("reading the output of cargo metadata")?;
        let folder = |key: &str| -> Result<PathBuf> {
            Ok(PathBuf::from(metadata[key].as_str().with_context(|| format!("cargo metadata has no {key}"))?))
        };
        let (root, target) = (folder("workspace_root")?, folder("target_directory")?);
        let ci = std::env::var_os("CI").is_some_and(|v| !v.is_empty() && v != "false");
        Ok(Self { root, target, metadata, install, ci })
    }

    /// Runs cargo in the repository.
    pub(crate) fn cargo(&self, args: &[&str]) -> Result<()> {
        run(&mut self.cargo_command(args))
    }

    pub(crate) fn cargo_command(&self, args: &[&str]) -> Command {
        let mut command = program(&self.root, "cargo");
        if self.ci {
            command.env("CARGO_INCREMENTAL", "0");
        }
        command.args(if self.ci { locked(args) } else { args.to_vec() });
        command
    }

    /// The binary that `cargo build --release` leaves.
    pub(crate) fn scope_binary(&self) -> PathBuf {
        self.target.join("release").join(format!("scope{}", std::env::consts::EXE_SUFFIX))
    }
}

/// Adds `--locked` to the commands that resolve dependencies, right after their name: what follows `--` is not for cargo.
fn locked<'a>(args: &[&'a str]) -> Vec<&'a str> {
    let mut args = args.to_vec();
    if matches!(args.first(), Some(&("build" | "check" | "clippy" | "doc" | "run" | "test"))) {
        args.insert(1, "--locked");
    }
    args
}

/// A command that runs in `folder`, without what `cargo run` put into our environment for ourselves: crates that
/// read those variables would be built again.
pub(crate) fn program(folder: &Path, name: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(name);
    command.current_dir(folder);
    for (key, _) in std::env::vars_os() {
        let name = key.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&key);
        }
    }
    command
}

/// Prints the command, runs it, fails if it does.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = line(command);
    println!("$ {line}");
    let status = command.status().with_context(|| format!("starting `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed: {status}");
    }
    Ok(())
}

/// Runs a command silently and gives its standard output.
pub(crate) fn capture<'a>(
    folder: &Path,
    name: &str,
    args: impl IntoIterator<Item = &'a str>,
) -> Result<String> {
    let mut command = program(folder, name);
    command.args(args);
    let line = line(&command);
    let output = command.output().with_context(|| format!("starting `{line}`"))?;
    if !output.status.success() {
        bail!("`{line}` failed: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("the output of `{line}` is not UTF-8"))
}

/// Whether a program of this name is on the path.
pub(crate) fn on_path(name: &str) -> bool {
    let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(&file).is_file()))
}

fn line(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locked_goes_to_cargo_and_not_behind_the_dashes() {
        assert_eq!(
            locked(&["clippy", "--", "-D", "warnings"]),
            ["clippy", "--locked", "--", "-D", "warnings"]
        );
        assert_eq!(locked(&["fmt", "--check"]), ["fmt", "--check"]);
        assert_eq!(locked(&["install", "x", "--locked"]), ["install", "x", "--locked"]);
    }
}
