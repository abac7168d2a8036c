//! `scope plugins`: third-party pipelines. Installing runs foreign code, so somebody is asked first.

use crate::cli::Options;
use crate::settings::{self, Settings};
use anyhow::{Result, bail};
use clap::Subcommand;
use scope_pipelines::Registry;
use scope_plugins::{Installed, Library, Plan, Scan, Source};
use scope_server::Dirs;
use scope_store::ModelFolder;
use serde_json::json;
use std::io::{BufRead, IsTerminal, Write};
use std::process::ExitCode;

#[derive(Debug, Subcommand)]
pub(crate) enum PluginsCommand {
    /// List what is installed.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Install a plugin: a folder, a Python package's name, or a git+https:// address.
    Install {
        /// Folder, package or address.
        source: String,
        /// Run it from its folder instead of a copy, for whoever works on it.
        #[arg(long, short)]
        editable: bool,
        /// Replace the one that is installed.
        #[arg(long)]
        force: bool,
        /// Do not ask.
        #[arg(long, short)]
        yes: bool,
    },
    /// Remove a plugin.
    Remove {
        /// Its name.
        name: String,
        /// Do not ask.
        #[arg(long, short)]
        yes: bool,
    },
}

fn library(dirs: &Dirs) -> Library {
    Library::new(&dirs.plugins).with_models(&dirs.models)
}

/// All pipelines: those that are built in, then those of plugins.
pub(crate) fn registry(settings: &Settings) -> (Registry, Scan) {
    let mut registry =
        Registry::with_models(&ModelFolder::new(&settings.config.dirs.models), &settings.compute);
    let mut scan = library(&settings.config.dirs).scan();
    scan.register(&mut registry);
    (registry, scan)
}

pub(crate) fn run(options: &Options, command: &PluginsCommand) -> Result<ExitCode> {
    let dirs = settings::from_process(options)?.config.dirs;
    let library = library(&dirs);
    let mut out = std::io::stdout().lock();
    match command {
        PluginsCommand::List { json } => list(&mut out, &library.scan(), *json)?,
        PluginsCommand::Install { source, editable, force, yes } => {
            let plan = library.plan(source, *editable)?;
            show(&mut out, &plan)?;
            if !yes && !agrees(&mut out, "Install it?")? {
                writeln!(out, "Nothing was installed.")?;
                return Ok(ExitCode::FAILURE);
            }
            let installed = library.install(&plan, *force, &mut |text| {
                writeln!(out, "{text}").ok();
            })?;
            let ids: Vec<&str> = installed.schemas.iter().map(|schema| schema.id.as_str()).collect();
            let name = &installed.manifest.name;
            writeln!(
                out,
                "Installed {name} {}: {}. A running server has to be restarted.",
                installed.version,
                ids.join(", ")
            )?;
        }
        PluginsCommand::Remove { name, yes } => {
            if !yes && !agrees(&mut out, &format!("Remove {name}?"))? {
                writeln!(out, "Nothing was removed.")?;
                return Ok(ExitCode::FAILURE);
            }
            library.remove(name)?;
            writeln!(out, "Removed {name}.")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(out: &mut impl Write, scan: &Scan, json: bool) -> Result<()> {
    if json {
        let plugin = |plugin: &Installed| {
            let ids: Vec<&str> = plugin.schemas.iter().map(|schema| schema.id.as_str()).collect();
            json!({"name": plugin.manifest.name, "version": plugin.version, "from": plugin.source, "pipelines": ids})
        };
        let broken = scan.broken.iter().map(|it| json!({"name": it.name, "problem": it.problem}));
        let document = json!({
            "plugins": scan.plugins.iter().map(plugin).collect::<Vec<_>>(),
            "broken": broken.collect::<Vec<_>>(),
        });
        return Ok(writeln!(out, "{document:#}")?);
    }
    if scan.plugins.is_empty() && scan.broken.is_empty() {
        writeln!(out, "No plugins are installed.")?;
    }
    for plugin in &scan.plugins {
        writeln!(out, "{} {}  from {}", plugin.manifest.name, plugin.version, origin(&plugin.source))?;
        for schema in &plugin.schemas {
            writeln!(out, "  {:<24} {}  {}", schema.id, schema.name, schema.description)?;
        }
    }
    for broken in &scan.broken {
        writeln!(out, "{}  can't be used: {}", broken.name, broken.problem)?;
    }
    Ok(())
}

fn origin(source: &Source) -> String {
    match source {
        Source::Local { path, editable: true } => format!("{} (edited there)", path.display()),
        Source::Local { path, .. } => path.display().to_string(),
        Source::Pypi { package } | Source::Git { package } => package.clone(),
    }
}

/// What somebody should know before they agree.
fn show(out: &mut impl Write, plan: &Plan) -> Result<()> {
    writeln!(out, "{}", plan.manifest.name)?;
    writeln!(out, "  from      {}", origin(&plan.source))?;
    writeln!(out, "  runs      {}", plan.manifest.command.join(" "))?;
    if !plan.requirements.is_empty() {
        writeln!(out, "  installs  {}", plan.requirements.join(" "))?;
    }
    if !plan.manifest.environment.is_empty() {
        writeln!(out, "  is given  {}", plan.manifest.environment.join(", "))?;
    }
    writeln!(out, "\nIt runs with your rights and is not confined: install only what you trust.")?;
    Ok(())
}

fn agrees(out: &mut impl Write, question: &str) -> Result<bool> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        bail!("nobody can be asked here; add --yes");
    }
    write!(out, "{question} [y/N] ")?;
    out.flush()?;
    let mut answer = String::new();
    input.lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
