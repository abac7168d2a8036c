//! Programs that the steps need, pinned, and how they get here. Nothing is installed when `--no-install` was given.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::process::{Context, capture, on_path, program, run};
use crate::steps::Outcome::{self, Passed, Skipped};

const CARGO_DENY: &str = "0.20.2";
const TYPOS: &str = "typos==1.52.0";
const AIORTC: &str = "aiortc==1.16.0";

/// A Debian package and how to see that it is there.
enum Need {
    Program(&'static str, &'static str),
    Library(&'static str, &'static str),
    File(&'static str, &'static str),
    PythonModule(&'static str, &'static str),
}

const PACKAGES: &[Need] = &[
    Need::Program("pkg-config", "pkg-config"),
    Need::Program("g++", "g++"),
    Need::Program("nasm", "nasm"),
    Need::Program("ffmpeg", "ffmpeg"),
    Need::Program("chromium", "chromium"),
    Need::Program("npm", "npm"),
    Need::Program("python3", "python3"),
    Need::Library("vpx", "libvpx-dev"),
    Need::PythonModule("ensurepip", "python3-venv"),
    Need::File("/usr/share/fonts/truetype/dejavu", "fonts-dejavu-core"),
];

/// Installs the missing packages on Debian and Ubuntu when root; elsewhere says what is missing.
pub(crate) fn system_packages(context: &Context) -> Result<Outcome> {
    let missing = missing(&context.root);
    if missing.is_empty() {
        return Ok(Passed);
    }
    if !context.install || !on_path("apt-get") || !is_root(&context.root) {
        return Ok(Skipped(format!("not installed here: {}", missing.join(" "))));
    }
    let apt = |args: &[&str]| {
        let mut command = program(&context.root, "apt-get");
        run(command
            .args(["-qq", "-y", "--no-install-recommends"])
            .args(args)
            .env("DEBIAN_FRONTEND", "noninteractive"))
    };
    apt(&["update"])?;
    apt(&[&["install"], missing.as_slice()].concat())?;
    Ok(Passed)
}

fn missing(root: &Path) -> Vec<&'static str> {
    let absent = |need: &Need| match need {
        Need::Program(name, package) => (!on_path(name)).then_some(*package),
        Need::Library(name, package) => {
            (!succeeds(root, "pkg-config", ["--exists", name])).then_some(*package)
        }
        Need::PythonModule(name, package) => {
            (!succeeds(root, "python3", ["-c", &format!("import {name}")])).then_some(*package)
        }
        Need::File(path, package) => (!Path::new(path).exists()).then_some(*package),
    };
    PACKAGES.iter().filter_map(absent).collect()
}

fn succeeds(root: &Path, name: &str, args: [&str; 2]) -> bool {
    capture(root, name, args).is_ok()
}

fn is_root(root: &Path) -> bool {
    capture(root, "id", ["-u"]).is_ok_and(|id| id.trim() == "0")
}

/// Makes sure of `cargo deny`. A debug build of it does as well here and compiles in half the time.
pub(crate) fn cargo_deny(context: &Context) -> Result<bool> {
    // Asked of cargo itself, which also looks into its own bin folder.
    let installed = || succeeds(&context.root, "cargo", ["deny", "--version"]);
    if !installed() && context.install {
        context.cargo(&["install", "cargo-deny", "--locked", "--debug", "--version", CARGO_DENY])?;
    }
    Ok(installed())
}

/// The `typos` program: the one on the path, else a wheel in an environment of our own.
pub(crate) fn typos(context: &Context) -> Result<Option<PathBuf>> {
    if on_path("typos") {
        return Ok(Some("typos".into()));
    }
    Ok(python_environment(context, "typos", &[TYPOS])?.map(|folder| folder.join("bin/typos")))
}

/// A Python with aiortc, or with what `requirements.txt` beside the scripts asks for.
pub(crate) fn clients_python(context: &Context, folder: &Path) -> Result<Option<PathBuf>> {
    let file = folder.join("requirements.txt");
    let packages = if file.is_file() { vec!["-r", "tests/clients/requirements.txt"] } else { vec![AIORTC] };
    Ok(python_environment(context, "clients", &packages)?.map(|folder| folder.join("bin/python")))
}

/// The Python packages with NVRTC in them: the wheel that `scope setup-gpu` takes it from, pinned by the same checksums.
pub(crate) fn nvrtc(context: &Context) -> Result<Option<PathBuf>> {
    let table = context.root.join("crates/store/src/gpu/packages.toml");
    let text = fs::read_to_string(&table).with_context(|| format!("reading {}", table.display()))?;
    let requirement = requirement(&text, "nvidia-cuda-nvrtc")
        .with_context(|| format!("{} has no nvidia-cuda-nvrtc", table.display()))?;
    let file = context.target.join("nvrtc.txt");
    fs::write(&file, requirement).with_context(|| format!("writing {}", file.display()))?;
    let file = file.to_string_lossy();
    let arguments = ["--no-deps", "--require-hashes", "--only-binary", ":all:", "--requirement", &file];
    let folder = python_environment(context, "nvrtc", &arguments)
        .context("NVRTC comes from PyPI, once; run this again with a network")?;
    let Some(lib) = folder.map(|folder| folder.join("lib")) else { return Ok(None) };
    let pythons = lib.read_dir().with_context(|| format!("reading {}", lib.display()))?;
    let mut packages = pythons.flatten().map(|python| python.path().join("site-packages"));
    Ok(packages.find(|packages| packages.join("nvidia").is_dir()))
}

/// A line for pip that asks for a package of the table in its version and with one of its checksums.
fn requirement(table: &str, name: &str) -> Option<String> {
    let packages = table.split("[[package]]").skip(1);
    let value = |line: &str, key: &str| {
        let value = line.strip_prefix(key)?.trim_start().strip_prefix('=')?;
        Some(value.trim().trim_matches('"').to_owned())
    };
    let all =
        |package: &str, key: &str| package.lines().filter_map(|line| value(line, key)).collect::<Vec<_>>();
    let package = packages.into_iter().find(|package| all(package, "name") == [name])?;
    let version = all(package, "version").pop()?;
    let hashes = all(package, "sha256").into_iter().map(|hash| format!(" --hash=sha256:{hash}"));
    Some(format!("{name}=={version}{}\n", hashes.collect::<String>()))
}

/// A virtual environment below the target folder; pip sees to it that its packages are the pinned ones.
fn python_environment(context: &Context, name: &str, packages: &[&str]) -> Result<Option<PathBuf>> {
    let folder = context.target.join("python").join(name);
    let python = folder.join("bin/python");
    if !context.install {
        return Ok(python.is_file().then_some(folder));
    }
    if !python.is_file() {
        run(program(&context.root, "python3").args(["-m", "venv"]).arg(&folder))?;
    }
    let mut pip = program(&context.root, &python);
    run(pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(packages))?;
    Ok(Some(folder))
}

/// Whether `npm ci` must run: always in CI, else when the lock file is newer than what is installed.
pub(crate) fn npm_install_needed(web: &Path, ci: bool) -> bool {
    let modified = |path: &str| web.join(path).metadata().and_then(|m| m.modified());
    match (modified("node_modules/.package-lock.json"), modified("package-lock.json")) {
        (Ok(installed), Ok(wanted)) => ci || wanted > installed,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_asked_for_with_the_checksums_of_the_table() {
        let table = include_str!("../../store/src/gpu/packages.toml");
        let line = requirement(table, "nvidia-cuda-nvrtc").unwrap();
        assert!(line.starts_with("nvidia-cuda-nvrtc==13."), "{line}");
        assert_eq!(line.matches(" --hash=sha256:").count(), 3, "{line}");
        assert!(
            line.split_whitespace().skip(1).all(|hash| hash.len() == "--hash=sha256:".len() + 64),
            "{line}"
        );
        assert!(!line.contains(&requirement(table, "nvidia-cublas").unwrap()[30..60]));
        assert_eq!(requirement(table, "nvidia-nothing"), None);
    }
}
