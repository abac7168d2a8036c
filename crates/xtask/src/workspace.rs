//! The rules of this repository that no other tool checks.

use std::fs;
use std::path::Path;

use anyhow::{Result, bail};
use serde_json::Value;

use crate::process::{Context, capture};
use crate::steps::Outcome;

/// Crate → crates of ours that it may use. Arrows never point back: ARCHITECTURE.md says why.
const DIRECTIONS: &[(&str, &[&str])] = &[
    ("scope-engine", &[]),
    ("scope-plugin", &[]),
    ("scope-plugins", &["scope-frame", "scope-pipelines", "scope-plugin"]),
    ("scope-models", &["scope-engine"]),
    ("scope-frame", &[]),
    ("scope-media", &["scope-frame"]),
    ("scope-store", &[]),
    ("scope-pipelines", &["scope-engine", "scope-frame", "scope-models", "scope-store"]),
    ("scope-stream", &["scope-frame", "scope-media", "scope-pipelines"]),
    (
        "scope-server",
        &["scope-frame", "scope-media", "scope-pipelines", "scope-plugins", "scope-store", "scope-stream"],
    ),
    (
        "scope",
        &[
            "scope-engine",
            "scope-models",
            "scope-store",
            "scope-frame",
            "scope-media",
            "scope-pipelines",
            "scope-plugins",
            "scope-stream",
            "scope-server",
        ],
    ),
    ("xtask", &[]),
];

/// A source file above the first limit is listed, above the second refused.
const LONG_LINES: usize = 800;
const TOO_LONG_LINES: usize = 1200;

/// Files that may be longer, with the reason.
const ALLOWED_LONG: &[(&str, &str)] = &[];

const SOURCE_ENDINGS: &[&str] = &[".rs", ".ts", ".tsx", ".mjs", ".py", ".cu"];

/// Everything in a clone's work tree, in bytes.
const TRACKED_LIMIT: u64 = 40 << 20;

pub(crate) fn check(context: &Context) -> Result<Outcome> {
    let mut problems = direction_problems(&context.metadata);
    problems.extend(lint_problems(&context.metadata));
    problems.extend(readme_problems(&context.metadata));
    problems.extend(file_problems(&context.root)?);
    problems.extend(stale_lock(&context.root));
    list_duplicates(&context.root);
    for problem in &problems {
        println!("error: {problem}");
    }
    match problems.len() {
        0 => Ok(Outcome::Passed),
        1 => bail!("{}", problems[0]),
        n => bail!("{n} problems, the first: {}", problems[0]),
    }
}

/// Edges between our crates that the table does not allow, of every kind: normal, build and dev.
fn direction_problems(metadata: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    for package in array(&metadata["packages"]) {
        let name = text(&package["name"]);
        let Some((_, allowed)) = DIRECTIONS.iter().find(|(from, _)| *from == name) else {
            problems.push(format!("crate {name} is not in xtask's table of directions"));
            continue;
        };
        for dependency in array(&package["dependencies"]) {
            let to = text(&dependency["name"]);
            let ours = dependency["path"].is_string();
            if ours && to != name && !allowed.contains(&to) {
                problems.push(format!("crate {name} must not depend on {to}"));
            }
        }
    }
    problems
}

/// Crates that do not take part in the workspace's lints.
fn lint_problems(metadata: &Value) -> Vec<String> {
    let takes_part = |manifest: &str| {
        fs::read_to_string(manifest).is_ok_and(|toml| {
            let mut lines = toml.lines().skip_while(|line| line.trim() != "[lints]");
            lines.nth(1).is_some_and(|line| line.replace(' ', "") == "workspace=true")
        })
    };
    array(&metadata["packages"])
        .iter()
        .filter(|package| !takes_part(text(&package["manifest_path"])))
        .map(|package| format!("crate {} lacks `[lints] workspace = true`", text(&package["name"])))
        .collect()
}

/// Crates without a `README.md` that begins with their name.
fn readme_problems(metadata: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    for package in array(&metadata["packages"]) {
        let name = text(&package["name"]);
        let readme = Path::new(text(&package["manifest_path"])).with_file_name("README.md");
        let content = fs::read_to_string(readme).unwrap_or_default();
        if content.lines().next() != Some(&format!("# {name}")) {
            problems.push(format!("crate {name} lacks a README.md that begins with `# {name}`"));
        }
    }
    problems
}

fn file_problems(root: &Path) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    let mut total = 0_u64;
    for path in capture(root, "git", ["ls-files", "-z"])?.split_terminator('\0') {
        // A tracked file may be deleted in the work tree, or be a link to nowhere.
        let Ok(content) = fs::read(root.join(path)) else { continue };
        total += content.len() as u64;
        let Ok(content) = std::str::from_utf8(&content) else { continue };
        for word in forbidden_words(path, content) {
            problems.push(format!("{path}: mentions {word}, which exists on one machine only"));
        }
        if SOURCE_ENDINGS.iter().any(|ending| path.ends_with(ending)) {
            problems.extend(length_problem(path, content.lines().count()));
        }
    }
    println!("tracked files: {:.1} MiB of {} MiB", total as f64 / f64::from(1 << 20), TRACKED_LIMIT >> 20);
    if total > TRACKED_LIMIT {
        problems.push(format!("tracked files take {total} bytes, more than {TRACKED_LIMIT}"));
    }
    Ok(problems)
}

fn length_problem(path: &str, lines: usize) -> Option<String> {
    if lines <= LONG_LINES {
        return None;
    }
    let reason = ALLOWED_LONG.iter().find(|(allowed, _)| *allowed == path).map(|(_, reason)| *reason);
    println!("long file: {path}: {lines} lines{}", reason.map(|r| format!(" ({r})")).unwrap_or_default());
    (lines > TOO_LONG_LINES && reason.is_none())
        .then(|| format!("{path} has {lines} lines, more than {TOO_LONG_LINES}"))
}

/// Paths of build machines. The words are put together here, or this file would find itself.
fn forbidden_words(path: &str, content: &str) -> Vec<&'static str> {
    let mut found = Vec::new();
    let machine = concat!("/wor", "k/");
    let starts_a_path = |at: usize| {
        !content[..at]
            .ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '}' | ')' | '~'))
    };
    if content.match_indices(machine).any(|(at, _)| starts_a_path(at)) {
        found.push(machine);
    }
    let beside = concat!("../sha", "red");
    // In the web app this is an ordinary relative import.
    if !path.starts_with("web/") && content.contains(beside) {
        found.push(beside);
    }
    found
}

/// Crates that are built in several versions: information, no failure.
/// The fuzz targets are a workspace of their own, so building ours does not keep their lock file in step.
fn stale_lock(root: &Path) -> Option<String> {
    let manifest = "fuzz/Cargo.toml";
    if !root.join(manifest).is_file() {
        return None;
    }
    let args = ["metadata", "--locked", "--format-version", "1", "--manifest-path", manifest];
    let error = capture(root, "cargo", args).err()?;
    Some(format!("{error:#}\n  `cargo update --workspace --manifest-path {manifest}` renews its lock file"))
}

fn list_duplicates(root: &Path) {
    let args =
        ["tree", "--workspace", "--duplicates", "--depth", "0", "--edges", "normal", "--prefix", "none"];
    match capture(root, "cargo", args) {
        Ok(out) => {
            let mut crates: Vec<&str> =
                out.lines().map(|l| l.trim_end_matches(" (*)")).filter(|l| !l.is_empty()).collect();
            crates.sort_unstable();
            crates.dedup();
            println!(
                "crates in several versions: {}",
                if crates.is_empty() { "none".into() } else { crates.join(", ") }
            );
        }
        Err(error) => println!("crates in several versions: unknown ({error:#})"),
    }
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn workspace(name: &str, dependencies: &[&str]) -> Value {
        let dependencies: Vec<Value> =
            dependencies.iter().map(|d| json!({"name": d, "path": "/x"})).collect();
        json!({"packages": [{"name": name, "dependencies": dependencies}]})
    }

    #[test]
    fn arrows_along_the_table_pass() {
        assert!(direction_problems(&workspace("scope-server", &["scope-stream", "scope-frame"])).is_empty());
        assert!(direction_problems(&workspace("scope", &["scope-server", "scope-engine"])).is_empty());
    }

    #[test]
    fn an_arrow_back_is_named() {
        let problems = direction_problems(&workspace("scope-frame", &["scope-media"]));
        assert_eq!(problems, ["crate scope-frame must not depend on scope-media"]);
    }

    #[test]
    fn xtask_depends_on_no_crate_of_ours() {
        assert_eq!(direction_problems(&workspace("xtask", &["scope-frame"])).len(), 1);
    }

    #[test]
    fn a_crate_outside_the_table_is_named() {
        assert_eq!(direction_problems(&workspace("scope-new", &[])).len(), 1);
    }

    #[test]
    fn registry_dependencies_are_free() {
        let metadata =
            json!({"packages": [{"name": "scope-frame", "dependencies": [{"name": "serde", "path": null}]}]});
        assert!(direction_problems(&metadata).is_empty());
    }

    #[test]
    fn a_crate_without_a_readme_of_its_own_is_named() {
        let of =
            |name: &str, manifest: &str| json!({"packages": [{"name": name, "manifest_path": manifest}]});
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        assert!(readme_problems(&of("xtask", manifest)).is_empty());
        assert_eq!(readme_problems(&of("another", manifest)).len(), 1);
        let nowhere = concat!(env!("CARGO_MANIFEST_DIR"), "/src/Cargo.toml");
        assert_eq!(readme_problems(&of("xtask", nowhere)).len(), 1);
    }

    /// Follows the table's arrows; a cycle would visit more crates than there are.
    #[test]
    fn the_table_has_no_cycle() {
        fn depth(name: &str, budget: usize) -> usize {
            assert!(budget > 0, "cycle through {name}");
            let (_, to) = DIRECTIONS.iter().find(|(from, _)| *from == name).unwrap();
            to.iter().map(|t| 1 + depth(t, budget - 1)).max().unwrap_or(0)
        }
        for (name, _) in DIRECTIONS {
            assert!(depth(name, DIRECTIONS.len()) < DIRECTIONS.len());
        }
    }

    #[test]
    fn only_absolute_machine_paths_are_forbidden() {
        let machine = concat!("/wor", "k/");
        assert_eq!(forbidden_words("a.rs", &format!("open(\"{machine}x\")")), [machine]);
        assert_eq!(forbidden_words("a.rs", &format!("{machine}x at the very start")), [machine]);
        assert!(forbidden_words("a.rs", &format!("target{machine}x")).is_empty());
        assert!(forbidden_words("web/src/a.ts", concat!("from '../sha", "red/b'")).is_empty());
        assert_eq!(forbidden_words("docs/a.md", concat!("../sha", "red/b")).len(), 1);
    }

    #[test]
    fn a_very_long_file_is_refused_and_a_long_one_only_listed() {
        assert!(length_problem("a.rs", 800).is_none());
        assert!(length_problem("a.rs", 1200).is_none());
        assert!(length_problem("a.rs", 1201).is_some());
    }
}
