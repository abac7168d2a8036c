//! `cargo xtask …`: the checks of this repository, exactly as CI runs them.
//!
//! A [`steps::Step`] is one named check. A sub-command is a list of steps; they run in order, all that can, and
//! end in a table and the line `N passed, N failed`. The exit code is 0 only when nothing failed.
#![allow(clippy::print_stdout, reason = "a command-line tool talks on standard output")]

mod golden;
mod process;
mod steps;
mod tools;
mod workspace;

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::process::Context;

/// Sub-commands, their steps, and what help says of them.
const COMMANDS: &[(&str, &[&str], &str)] = &[
    ("ci", &[], "every step below, as CI runs them"),
    (
        "check",
        &["workspace"],
        "the rules of this repository: crate directions, READMEs, file sizes, forbidden words",
    ),
    (
        "lint",
        &["fmt", "workspace", "licences", "typos", "clippy"],
        "formatting, repository rules, licences, spelling, clippy",
    ),
    ("web", &["web"], "install, lint, types, unit tests and build of the web app"),
    (
        "test",
        &["test", "docs", "kernels", "fuzz"],
        "Rust tests, documentation; GPU kernels and fuzz targets compile",
    ),
    ("e2e", &["web", "build", "stories", "clients"], "build, then browser stories and other WebRTC clients"),
];

fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Vec<String>) -> Result<bool> {
    let mut install = true;
    let mut names = Vec::new();
    for arg in args {
        match arg.as_str() {
            "--no-install" => install = false,
            "-h" | "--help" | "help" => {
                help();
                return Ok(true);
            }
            flag if flag.starts_with('-') => bail!("unknown flag {flag}; try `cargo xtask help`"),
            _ => names.push(arg),
        }
    }
    if names.is_empty() {
        help();
        return Ok(false);
    }
    if names[0] == "golden" {
        let [_, folder] = &names[..] else { bail!("golden takes one folder of recorded cases") };
        return golden::replay(&Context::new(install)?, folder).map(|()| true);
    }
    let plan = plan(&names)?;
    let context = Context::new(install)?;
    Ok(steps::run_all(&context, &plan))
}

/// The steps that the arguments ask for: sub-commands and single steps may be mixed; each step runs once.
fn plan(names: &[String]) -> Result<Vec<&'static steps::Step>> {
    let mut wanted: Vec<&str> = Vec::new();
    for name in names {
        match COMMANDS.iter().find(|(command, ..)| command == name) {
            Some(("ci", ..)) => wanted.extend(steps::STEPS.iter().map(|s| s.name)),
            Some((_, steps, _)) => wanted.extend(*steps),
            None => wanted.push(name),
        }
    }
    if let Some(unknown) = wanted.iter().find(|w| !steps::STEPS.iter().any(|s| s.name == **w)) {
        bail!("no command or step is called {unknown}; try `cargo xtask help`");
    }
    Ok(steps::STEPS.iter().filter(|s| wanted.contains(&s.name)).collect())
}

fn help() {
    println!("cargo xtask COMMAND… [--no-install]\n\nCommands:");
    for (name, _, about) in COMMANDS {
        println!("  {name:10} {about}");
    }
    println!("\nSteps, each of them a command too:");
    for step in steps::STEPS {
        println!("  {:10} {}", step.name, step.about);
    }
    println!("\ngolden DIR     replay the recorded cases of a folder against our models, and show a table");
    println!("\n--no-install   install nothing: a step whose tool is missing is skipped or fails");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<&'static str> {
        let list: Vec<String> = list.iter().map(ToString::to_string).collect();
        plan(&list).unwrap().iter().map(|s| s.name).collect()
    }

    #[test]
    fn every_command_names_existing_steps() {
        for (command, ..) in COMMANDS {
            assert!(!names(&[command]).is_empty(), "{command}");
        }
    }

    #[test]
    fn ci_is_every_step_in_order() {
        let all: Vec<&str> = steps::STEPS.iter().map(|s| s.name).collect();
        assert_eq!(names(&["ci"]), all);
    }

    #[test]
    fn steps_asked_for_twice_run_once_in_ci_order() {
        assert_eq!(names(&["typos", "lint"]), ["fmt", "workspace", "licences", "typos", "clippy"]);
    }

    #[test]
    fn an_unknown_name_is_refused() {
        assert!(plan(&["everything".to_owned()]).is_err());
    }
}
