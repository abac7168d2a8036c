//! The steps, in the order of CI: cheap ones first, what others need before them.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::process::{Context, program, run};
use crate::{tools, workspace};

/// One named check.
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// Steps of the same run that must have passed.
    needs: &'static [&'static str],
    run: fn(&Context) -> Result<Outcome>,
}

/// How a step ended when nothing was wrong.
pub(crate) enum Outcome {
    Passed,
    Skipped(String),
}

use Outcome::{Passed, Skipped};

const fn step(name: &'static str, about: &'static str, run: fn(&Context) -> Result<Outcome>) -> Step {
    Step { name, about, needs: &[], run }
}

pub(crate) const STEPS: &[Step] = &[
    step(
        "tools",
        "install what the tests need (Debian packages, only the missing ones)",
        tools::system_packages,
    ),
    step("fmt", "rustfmt", |c| c.cargo(&["fmt", "--all", "--check"]).map(|()| Passed)),
    step(
        "workspace",
        "crate directions, READMEs, file sizes, forbidden words, repository size",
        workspace::check,
    ),
    step("licences", "licences, bans and sources of all dependencies (cargo deny)", licences),
    step("typos", "spelling", typos),
    step("web", "npm ci, biome, types, vitest, build", web),
    step("clippy", "clippy, warnings are errors", |c| {
        c.cargo(&["clippy", "--release", "--workspace", "--all-targets", "--", "-D", "warnings"])
            .map(|()| Passed)
    }),
    step("test", "Rust tests, documentation examples included", |c| {
        c.cargo(&["test", "--release", "--workspace"]).map(|()| Passed)
    }),
    step("docs", "rustdoc, warnings are errors", docs),
    step("kernels", "GPU kernels compile for every architecture without a word (NVRTC; no GPU)", kernels),
    step("build", "the product", |c| c.cargo(&["build", "--release"]).map(|()| Passed)),
    step("fuzz", "fuzz targets compile", fuzz),
    Step {
        name: "stories",
        about: "browser stories in headless Chromium (tests/e2e)",
        needs: &["web", "build"],
        run: stories,
    },
    Step { name: "clients", about: "other WebRTC clients (tests/clients)", needs: &["build"], run: clients },
];

fn licences(context: &Context) -> Result<Outcome> {
    if !tools::cargo_deny(context)? {
        return Ok(Skipped("cargo-deny is not installed".to_owned()));
    }
    context.cargo(&["deny", "--workspace", "check", "licenses", "bans", "sources"])?;
    Ok(Passed)
}

fn typos(context: &Context) -> Result<Outcome> {
    let Some(typos) = tools::typos(context)? else {
        return Ok(Skipped("typos is not installed".to_owned()));
    };
    run(&mut program(&context.root, typos))?;
    Ok(Passed)
}

fn web(context: &Context) -> Result<Outcome> {
    let folder = context.root.join("web");
    if tools::npm_install_needed(&folder, context.ci) {
        run(program(&folder, "npm").args(["ci", "--no-audit", "--no-fund"]))?;
    }
    let scripts = ["lint", "typecheck", "test", "build", "budget"];
    run_every(scripts.map(|script| {
        let mut command = program(&folder, "npm");
        command.args(["run", "--silent", script]);
        (script, command)
    }))
}

fn docs(context: &Context) -> Result<Outcome> {
    let mut command = context.cargo_command(&["doc", "--release", "--workspace", "--no-deps"]);
    run(command.env("RUSTDOCFLAGS", "-Dwarnings"))?;
    Ok(Passed)
}

fn kernels(context: &Context) -> Result<Outcome> {
    let Some(nvrtc) = tools::nvrtc(context)? else {
        return Ok(Skipped("NVRTC is not installed".to_owned()));
    };
    let mut command = context.cargo_command(&[
        "run",
        "--release",
        "--package",
        "scope-engine",
        "--example",
        "kernels",
        "--",
    ]);
    run(command.args([nvrtc, context.target.join("kernels")]))?;
    Ok(Passed)
}

fn fuzz(context: &Context) -> Result<Outcome> {
    if !context.root.join("fuzz/Cargo.toml").is_file() {
        return Ok(Skipped("there is no fuzz/".to_owned()));
    }
    let mut command = context.cargo_command(&["check", "--release", "--manifest-path", "fuzz/Cargo.toml"]);
    // With our profile and in our target folder, all that clippy has checked already need not be built again.
    let manifest = context.root.join("Cargo.toml");
    let manifest =
        fs::read_to_string(&manifest).with_context(|| format!("reading {}", manifest.display()))?;
    run(command.env("CARGO_TARGET_DIR", &context.target).envs(release_profile(&manifest)))?;
    Ok(Passed)
}

/// The release profile of a manifest as the variables that set it from outside.
fn release_profile(manifest: &str) -> Vec<(String, String)> {
    let section = manifest.lines().skip_while(|line| line.trim() != "[profile.release]").skip(1);
    let settings = section.take_while(|line| !line.starts_with('[')).filter_map(|line| line.split_once('='));
    let variable =
        |key: &str| format!("CARGO_PROFILE_RELEASE_{}", key.trim().replace('-', "_").to_uppercase());
    settings.map(|(key, value)| (variable(key), value.trim().trim_matches('"').to_owned())).collect()
}

fn stories(context: &Context) -> Result<Outcome> {
    if !context.root.join("tests/e2e/run.mjs").is_file() {
        return Ok(Skipped("there is no tests/e2e/run.mjs".to_owned()));
    }
    examples(context)?;
    run(program(&context.root, "node").arg("tests/e2e/run.mjs").env("SCOPE_BIN", context.scope_binary()))?;
    Ok(Passed)
}

/// What writes tiny models for the tests of the whole program. Built as the Rust tests build it, so that none is built twice.
fn examples(context: &Context) -> Result<()> {
    run(&mut context.cargo_command(&["build", "--release", "--workspace", "--examples"]))
}

fn clients(context: &Context) -> Result<Outcome> {
    let folder = context.root.join("tests/clients");
    let scripts = python_files(&folder)?;
    if scripts.is_empty() {
        return Ok(Skipped("there is no tests/clients/*.py".to_owned()));
    }
    let Some(python) = tools::clients_python(context, &folder)? else {
        return Ok(Skipped("aiortc is not installed".to_owned()));
    };
    examples(context)?;
    run_every(scripts.iter().map(|script| {
        let mut command = program(&context.root, &python);
        command.arg(script).env("SCOPE_BIN", context.scope_binary());
        (script.as_str(), command)
    }))
}

/// Runs all of these although an earlier one failed, so that one round shows everything; fails with their names.
fn run_every<'a>(commands: impl IntoIterator<Item = (&'a str, Command)>) -> Result<Outcome> {
    let mut failed = Vec::new();
    for (name, mut command) in commands {
        if let Err(error) = run(&mut command) {
            println!("{error:#}");
            failed.push(name);
        }
    }
    if failed.is_empty() { Ok(Passed) } else { bail!("failed: {}", failed.join(", ")) }
}

/// The scripts of a folder in order of name; a leading underscore marks a helper module.
fn python_files(folder: &Path) -> Result<Vec<String>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut files = Vec::new();
    for entry in folder.read_dir().with_context(|| format!("reading {}", folder.display()))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".py") && !name.starts_with('_') {
            files.push(format!("tests/clients/{name}"));
        }
    }
    files.sort();
    Ok(files)
}

enum Ending {
    Passed,
    Failed(String),
    Skipped(String),
}

/// Runs every step whose needs are met, then prints the table and the closing line. True when nothing failed.
pub(crate) fn run_all(context: &Context, plan: &[&Step]) -> bool {
    let mut results: Vec<(&str, Ending, Duration)> = Vec::new();
    for step in plan {
        println!("\n=== {}: {}", step.name, step.about);
        let start = Instant::now();
        let missing = step.needs.iter().find(|need| {
            results.iter().any(|(name, ending, _)| name == *need && matches!(ending, Ending::Failed(_)))
        });
        let ending = match missing {
            Some(need) => Ending::Skipped(format!("{need} failed")),
            None => match (step.run)(context) {
                Ok(Passed) => Ending::Passed,
                Ok(Skipped(why)) => Ending::Skipped(why),
                Err(error) => Ending::Failed(format!("{error:#}")),
            },
        };
        match &ending {
            Ending::Passed => {}
            Ending::Failed(why) => println!("--- {} failed: {why}", step.name),
            Ending::Skipped(why) => println!("--- {} skipped: {why}", step.name),
        }
        results.push((step.name, ending, start.elapsed()));
    }
    println!("\n{:10} {:8} {:>8}", "step", "result", "seconds");
    let mut counts = [0_usize; 3];
    for (name, ending, time) in &results {
        let (index, word, why) = match ending {
            Ending::Passed => (0, "passed", ""),
            Ending::Failed(why) => (1, "FAILED", why.lines().next().unwrap_or_default()),
            Ending::Skipped(why) => (2, "skipped", why.as_str()),
        };
        counts[index] += 1;
        println!("{}", format!("{name:10} {word:8} {:8.1}  {why}", time.as_secs_f64()).trim_end());
    }
    println!("{}", closing_line(counts));
    counts[1] == 0
}

/// `[passed, failed, skipped]` as the one line that tools look for.
fn closing_line([passed, failed, skipped]: [usize; 3]) -> String {
    match skipped {
        0 => format!("{passed} passed, {failed} failed"),
        _ => format!("{passed} passed, {failed} failed, {skipped} skipped"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_line_names_skipped_steps_only_when_there_are_some() {
        assert_eq!(closing_line([12, 0, 0]), "12 passed, 0 failed");
        assert_eq!(closing_line([10, 1, 2]), "10 passed, 1 failed, 2 skipped");
    }

    #[test]
    fn the_release_profile_is_read_up_to_the_next_section() {
        let manifest = "[a]\nx = 1\n\n[profile.release]\ndebug = 0\nstrip = \"symbols\"\ncodegen-units = 16\n\n[profile.dist]\nlto = 1\n";
        let variables = release_profile(manifest);
        let expected = [("DEBUG", "0"), ("STRIP", "symbols"), ("CODEGEN_UNITS", "16")]
            .map(|(key, value)| (format!("CARGO_PROFILE_RELEASE_{key}"), value.to_owned()));
        assert_eq!(variables, expected);
        assert!(release_profile("[profile.dev]\ndebug = 0").is_empty());
    }

    #[test]
    fn a_step_comes_after_what_it_needs() {
        for (i, step) in STEPS.iter().enumerate() {
            for need in step.needs {
                assert!(STEPS[..i].iter().any(|s| s.name == *need), "{} needs {need}", step.name);
            }
        }
    }
}
