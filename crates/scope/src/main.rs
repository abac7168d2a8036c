//! `scope`: serves the web interface and the API; says what this machine can do.

mod allocator;
mod browser;
mod cli;
mod doctor;
mod run;
mod settings;
mod ui;

use clap::Parser;
use cli::{Cli, Command};
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    allocator::share_arenas();
    let cli = Cli::parse();
    let outcome = match &cli.command {
        None | Some(Command::Serve) => run::serve(&cli.options),
        Some(Command::Pipelines) => pipelines().map(|()| ExitCode::SUCCESS),
        Some(Command::Doctor { json }) => doctor::run(&cli.options, *json),
    };
    outcome.unwrap_or_else(|error| {
        // The terminal is all there is.
        writeln!(std::io::stderr(), "scope: {error:#}").ok();
        ExitCode::FAILURE
    })
}

/// Lists the pipelines: id, name, description.
fn pipelines() -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for pipeline in scope_pipelines::Registry::builtin().iter() {
        let schema = pipeline.schema();
        writeln!(out, "{:<24} {}  {}", schema.id, schema.name, schema.description)?;
    }
    Ok(())
}
