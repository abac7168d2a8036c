//! `scope`: serves the web interface and the API; makes videos without a server; says what this machine can do.

mod allocator;
mod bench;
mod browser;
mod cli;
mod doctor;
mod generate;
mod interrupt;
mod model;
mod models;
mod plugins;
mod refusal;
mod run;
mod settings;
mod setup_gpu;
mod ui;

use clap::FromArgMatches;
use cli::{Cli, Command};
use scope_pipelines::LoadParams;
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    allocator::share_arena();
    let matches = cli::command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let outcome = match &cli.command {
        None | Some(Command::Serve) => run::serve(&cli.options),
        Some(Command::Pipelines) => pipelines(&cli.options).map(|()| ExitCode::SUCCESS),
        Some(Command::Plugins { command }) => plugins::run(&cli.options, command),
        Some(Command::Doctor { json }) => doctor::run(&cli.options, *json),
        Some(Command::SetupGpu(args)) => setup_gpu::run(&cli.options, args),
        Some(Command::Models { command }) => models::run(&cli.options, command),
        Some(Command::Generate(args)) => generate::run(&cli.options, args),
        Some(Command::Bench(args)) => bench::run(&cli.options, args),
        Some(Command::Completions { shell }) => {
            clap_complete::generate(*shell, &mut cli::command(), "scope", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
    };
    outcome.unwrap_or_else(|error| {
        // The terminal is all there is.
        writeln!(std::io::stderr(), "scope: {error:#}").ok();
        refusal::exit_code(&error)
    })
}

/// Lists the pipelines: id, name, description.
fn pipelines(options: &cli::Options) -> anyhow::Result<()> {
    let (registry, _) = plugins::registry(&settings::from_process(options)?);
    let mut out = std::io::stdout().lock();
    for pipeline in registry.iter() {
        let schema = pipeline.schema();
        let needed = pipeline.estimate(&LoadParams::default());
        let needed = needed.map(|needed| format!(" About {:.1} GB of memory.", needed.total() as f64 / 1e9));
        writeln!(
            out,
            "{:<24} {}  {}{}",
            schema.id,
            schema.name,
            schema.description,
            needed.unwrap_or_default()
        )?;
    }
    Ok(())
}
