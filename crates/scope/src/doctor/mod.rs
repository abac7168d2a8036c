//! `scope doctor`: what this machine can do, and how to get what is missing.

mod checks;
mod gpu;

use crate::cli::Options;
use crate::settings;
use anyhow::Result;
use serde::Serialize;
use std::borrow::Cow;
use std::io::Write;
use std::process::ExitCode;

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    /// All is well.
    Ok,
    /// Something works less well, or not at all, that not everybody needs.
    Limited,
    /// The server cannot do its work.
    Failed,
}

/// One thing looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    /// What.
    pub(crate) name: Cow<'static, str>,
    pub(crate) outcome: Outcome,
    /// What was found.
    pub(crate) found: String,
    /// What to do about it.
    pub(crate) advice: Option<String>,
}

impl Check {
    fn ok(name: impl Into<Cow<'static, str>>, found: impl Into<String>) -> Self {
        Self { name: name.into(), outcome: Outcome::Ok, found: found.into(), advice: None }
    }

    fn limited(
        name: impl Into<Cow<'static, str>>,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self {
            name: name.into(),
            outcome: Outcome::Limited,
            found: found.into(),
            advice: Some(advice.into()),
        }
    }

    fn failed(
        name: impl Into<Cow<'static, str>>,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self { name: name.into(), outcome: Outcome::Failed, found: found.into(), advice: Some(advice.into()) }
    }
}

/// Looks at everything and prints it; fails when the server could not do its work.
pub(crate) fn run(options: &Options, json: bool) -> Result<ExitCode> {
    let (checks, gpu) = match settings::from_process(options) {
        Ok(settings) => {
            let gpu = gpu::Gpu::look(&settings.config.dirs.data);
            (checks::all(&settings.config, &gpu), Some(gpu.document()))
        }
        Err(error) => {
            let advice = "correct it, or remove the option";
            (vec![Check::failed("configuration", format!("{error:#}"), advice)], None)
        }
    };
    let failed = checks.iter().any(|check| check.outcome == Outcome::Failed);
    let mut out = std::io::stdout().lock();
    if json {
        let document = serde_json::json!({"ok": !failed, "checks": checks, "gpu": gpu});
        writeln!(out, "{}", serde_json::to_string_pretty(&document)?)?;
    } else {
        write!(out, "{}", table(&checks))?;
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn table(checks: &[Check]) -> String {
    let width = checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for check in checks {
        let mark = match check.outcome {
            Outcome::Ok => "ok     ",
            Outcome::Limited => "limited",
            Outcome::Failed => "FAILED ",
        };
        text += &format!("{mark}  {:width$}  {}\n", check.name, check.found);
        if let Some(advice) = &check.advice {
            text += &format!("         {:width$}  → {advice}\n", "");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_stands_below_what_it_is_about() {
        let text = table(&[Check::ok("cpu", "fast"), Check::limited("ffmpeg", "not found", "install it")]);
        assert_eq!(
            text,
            "ok       cpu     fast\nlimited  ffmpeg  not found\n                 → install it\n"
        );
    }
}
