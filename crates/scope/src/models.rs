//! `scope models`: the files of models, from the command line.

use crate::cli::Options;
use crate::{interrupt, settings};
use anyhow::{Context, Result};
use clap::Subcommand;
use scope_server::{KeyStore, model_store};
use scope_store::{
    DownloadEnded, DownloadProgress, Outcome, PipelineState, PipelineStatus, Settings, Started, Store,
    VaeType, format_bytes,
};
use serde::Serialize;
use serde_json::json;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::runtime::Runtime;

/// How often the line on the terminal is redrawn.
pub(crate) const REDRAW: Duration = Duration::from_millis(250);

#[derive(Debug, Subcommand)]
pub(crate) enum ModelsCommand {
    /// List the pipelines that need files, and which of these are there
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Download what a pipeline lacks; what is there in part is resumed
    Download {
        /// The pipeline's id
        pipeline: String,
        /// Only the autoencoder of this type: wan, lightvae, tae or lighttae
        #[arg(long, value_name = "TYPE", value_parser = vae_type)]
        vae: Option<VaeType>,
        /// Without the files for VACE
        #[arg(long)]
        no_vace: bool,
        /// Print JSON when it is done
        #[arg(long)]
        json: bool,
    },
    /// Read a pipeline's files in full and check their checksums
    Verify {
        /// The pipeline's id
        pipeline: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove a pipeline's files, except those that another complete one needs
    Remove {
        /// The pipeline's id
        pipeline: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

fn vae_type(text: &str) -> Result<VaeType, String> {
    VaeType::parse(text).ok_or_else(|| "use wan, lightvae, tae or lighttae".into())
}

/// Runs one of the commands. Fails when files are missing that should be there in the end.
pub(crate) fn run(options: &Options, command: &ModelsCommand) -> Result<ExitCode> {
    let config = settings::from_process(options)?.config;
    let keys = Arc::new(KeyStore::new(&config.dirs.data, |name| std::env::var(name).ok()));
    let store = model_store(&config, keys)?;
    let runtime = Runtime::new()?;
    runtime.block_on(async {
        match command {
            ModelsCommand::List { json } => list(&store, *json).await,
            ModelsCommand::Download { pipeline, vae, no_vace, json } => {
                let usual = Settings::default();
                let chosen = Settings { vae_type: vae.unwrap_or(usual.vae_type), vace: !no_vace, ..usual };
                let settings = (vae.is_some() || *no_vace).then_some(chosen);
                download(&store, pipeline, settings, *json).await
            }
            ModelsCommand::Verify { pipeline, json } => verify(&store, pipeline, *json).await,
            ModelsCommand::Remove { pipeline, json } => remove(&store, pipeline, *json).await,
        }
    })
}

async fn list(store: &Store, json: bool) -> Result<ExitCode> {
    let statuses = store.statuses().await?;
    if json {
        print_json(&json!({"folder": store.folder().root(), "models": statuses}))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "Models folder: {}\n", store.folder().root().display())?;
    for status in &statuses {
        writeln!(out, "{:<22} {:<10} {}", status.pipeline_id, state_word(status.state), amounts(status))?;
        for file in status.files.iter().filter(|file| file.problem.is_some()) {
            writeln!(out, "  {}: {}", file.path, file.problem.as_deref().unwrap_or_default())?;
        }
    }
    writeln!(out, "\nPipelines share files. The licences of models are theirs; see docs/models.md.")?;
    Ok(ExitCode::SUCCESS)
}

const fn state_word(state: PipelineState) -> &'static str {
    match state {
        PipelineState::Missing => "missing",
        PipelineState::Partial => "partial",
        PipelineState::Damaged => "damaged",
        PipelineState::Complete => "complete",
    }
}

fn amounts(status: &PipelineStatus) -> String {
    let roughly = if status.sizes_are_exact { "" } else { "about " };
    match status.missing_bytes {
        0 => format_bytes(status.bytes),
        missing => format!(
            "{roughly}{} of {roughly}{} to download",
            format_bytes(missing),
            format_bytes(status.total_bytes)
        ),
    }
}

async fn download(store: &Store, pipeline: &str, settings: Option<Settings>, json: bool) -> Result<ExitCode> {
    let started = store.download(pipeline, settings).await?;
    if matches!(started, Started::Downloading { .. }) {
        let ended = tokio::select! {
            ended = show_progress(store, pipeline) => ended,
            interrupted = tokio::signal::ctrl_c() => {
                interrupted.context("the terminal's signals cannot be heard")?;
                store.cancel(pipeline);
                Err(DownloadEnded::Cancelled)
            }
        };
        clear_line();
        if matches!(ended, Err(DownloadEnded::Cancelled)) {
            writeln!(std::io::stderr(), "cancelled; the same command resumes it")?;
            return Ok(ExitCode::from(interrupt::EXIT_CODE));
        }
        ended?;
    }
    let status = store.status(pipeline, settings).await?;
    if json {
        print_json(&status)?;
    } else {
        let size = format_bytes(status.bytes);
        writeln!(std::io::stdout(), "{pipeline} is complete: {size} in {}", store.folder().root().display())?;
        for repository in &status.repositories {
            let licence = repository.licence.as_deref().unwrap_or("see its page");
            writeln!(std::io::stdout(), "  {}  licence: {licence}", repository.page)?;
        }
    }
    Ok(if status.downloaded { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Waits for the end of a download, and keeps a line on the terminal up to date.
async fn show_progress(store: &Store, pipeline: &str) -> Result<(), DownloadEnded> {
    let draws = std::io::stderr().is_terminal();
    let mut redraw = tokio::time::interval(REDRAW);
    let ended = store.wait(pipeline);
    let mut ended = std::pin::pin!(ended);
    loop {
        tokio::select! {
            ended = &mut ended => return ended,
            _ = redraw.tick(), if draws => {
                if let Some(progress) = store.progress(pipeline) {
                    draw(&line(&progress));
                }
            }
        }
    }
}

pub(crate) fn line(progress: &DownloadProgress) -> String {
    let filled = (progress.percentage / 5.0) as usize;
    let bar: String = (0..20).map(|cell| if cell < filled { '█' } else { '░' }).collect();
    let mut text = format!(
        "{bar} {:5.1} %  {} of {}",
        progress.percentage,
        format_bytes(progress.downloaded_bytes),
        format_bytes(progress.total_bytes)
    );
    if let Some(rate) = progress.bytes_per_second {
        text += &format!("  {}/s", format_bytes(rate as u64));
    }
    if let Some(seconds) = progress.eta_seconds {
        let seconds = seconds as u64;
        text += &format!("  {}:{:02} left", seconds / 60, seconds % 60);
    }
    match &progress.waiting_for {
        Some(problem) => text += &format!("  waiting: {problem}"),
        None => {
            let name = progress.current_artifact.as_deref().and_then(|path| path.rsplit('/').next());
            text += &format!("  {}", name.unwrap_or("…"));
        }
    }
    text
}

/// Replaces the last line of the terminal. Nobody may be reading: that stops nothing.
pub(crate) fn draw(text: &str) {
    write!(std::io::stderr(), "\r\x1b[2K{text}").ok();
}

pub(crate) fn clear_line() {
    if std::io::stderr().is_terminal() {
        draw("");
    }
}

async fn verify(store: &Store, pipeline: &str, json: bool) -> Result<ExitCode> {
    let draws = std::io::stderr().is_terminal();
    let drawn = AtomicU64::new(0);
    let progress = move |path: &str, bytes: u64| {
        // Every 256 MB.
        if draws && drawn.swap(bytes >> 28, Ordering::Relaxed) != bytes >> 28 {
            draw(&format!("{path}: {}", format_bytes(bytes)));
        }
    };
    let found = store.verify(pipeline, progress).await?;
    clear_line();
    if json {
        print_json(&json!({"files": found}))?;
    } else {
        for file in &found {
            let word = match file.outcome {
                Outcome::Intact => "intact",
                Outcome::Damaged => "DAMAGED",
                Outcome::Unknown => "unknown",
                Outcome::Missing => "missing",
            };
            let problem = file.problem.as_ref().map(|problem| format!("  ({problem})")).unwrap_or_default();
            writeln!(std::io::stdout(), "{word:<8} {}{problem}", file.path)?;
        }
    }
    let bad = found.iter().any(|file| file.outcome == Outcome::Damaged);
    Ok(if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn remove(store: &Store, pipeline: &str, json: bool) -> Result<ExitCode> {
    let removed = store.remove(pipeline).await?;
    if json {
        print_json(&removed)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = std::io::stdout().lock();
    for file in &removed.files {
        writeln!(out, "removed  {file}")?;
    }
    for file in &removed.kept {
        writeln!(out, "kept     {file}  (another pipeline needs it)")?;
    }
    writeln!(out, "{} are free", format_bytes(removed.bytes))?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn print_json(document: &impl Serialize) -> Result<()> {
    writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(document)?)?;
    Ok(())
}
