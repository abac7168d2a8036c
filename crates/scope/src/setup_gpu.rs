//! `scope setup-gpu`: NVIDIA's runtime libraries.

use crate::cli::Options;
use crate::models::{REDRAW, clear_line, draw, line, print_json};
use crate::refusal::Refusal;
use crate::{interrupt, settings};
use anyhow::{Context, Result};
use clap::Args;
use scope_store::{
    GpuError, GpuLibraries, GpuOptions, GpuPackages, GpuProgress, Limits, NetworkOptions, Patience, RealDisk,
    format_bytes, this_platform,
};
use serde_json::json;
use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Instant;
use tokio::runtime::Runtime;

/// `scope setup-gpu`.
#[derive(Debug, Args)]
pub(crate) struct SetupGpuArgs {
    /// Agree to NVIDIA's licences without being asked
    #[arg(long)]
    yes: bool,
    /// Remove the libraries
    #[arg(long, conflicts_with_all = ["yes", "packages"])]
    remove: bool,
    /// Take PyPI's files from this mirror instead of files.pythonhosted.org
    #[arg(long, value_name = "URL", env = "SCOPE_PYPI_MIRROR")]
    mirror: Option<String>,
    /// Take other versions, from a table like that of the source code (crates/store/src/gpu/packages.toml)
    #[arg(long, value_name = "FILE")]
    packages: Option<PathBuf>,
    /// Print JSON when it is done
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(options: &Options, args: &SetupGpuArgs) -> Result<ExitCode> {
    let config = settings::from_process(options)?.config;
    let mirror = args.mirror.as_deref().filter(|url| !url.is_empty());
    let libraries = GpuLibraries::new(GpuOptions {
        root: GpuLibraries::root_in(&config.dirs.data),
        packages: packages(args)?,
        platform: this_platform(),
        network: NetworkOptions::pypi(mirror, &config.download_hosts)?,
        disk: Arc::new(RealDisk),
        limits: Limits::default(),
        patience: Patience::default(),
    })?;
    if args.remove {
        return remove(&libraries, args.json);
    }
    let installed = libraries.are_installed();
    if !installed {
        ask(&libraries, args.yes)?;
        match Runtime::new()?.block_on(install(&libraries)) {
            Err(error) if error.is_cancelled() => {
                writeln!(std::io::stderr(), "cancelled; the same command resumes it")?;
                return Ok(ExitCode::from(interrupt::EXIT_CODE));
            }
            installed => installed?,
        };
    }
    if args.json {
        let packages: Vec<_> = libraries
            .wheels()
            .iter()
            .map(|wheel| json!({"name": wheel.name, "version": wheel.version, "licence": wheel.licence}))
            .collect();
        print_json(&json!({"folder": libraries.folder(), "changed": !installed, "packages": packages}))?;
    } else {
        let (what, folder) = (if installed { "already" } else { "now" }, libraries.folder());
        writeln!(std::io::stdout(), "NVIDIA's libraries are {what} in {}", folder.display())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn packages(args: &SetupGpuArgs) -> Result<Arc<GpuPackages>> {
    let Some(path) = &args.packages else { return Ok(GpuPackages::builtin()) };
    let text = std::fs::read_to_string(path)
        .map_err(|error| Refusal::input(format!("{} cannot be read: {error}", path.display())))?;
    let packages =
        GpuPackages::parse(&text).map_err(|error| Refusal::input(format!("{}: {error}", path.display())))?;
    Ok(Arc::new(packages))
}

/// Says what is about to be downloaded, under which licences, and asks whether that is wanted.
fn ask(libraries: &GpuLibraries, yes: bool) -> Result<()> {
    let mut out = std::io::stderr().lock();
    writeln!(out, "From PyPI, under NVIDIA's own licences:")?;
    for wheel in libraries.wheels() {
        let size = format_bytes(wheel.size);
        writeln!(out, "  {:<20} {:<12} {size:>9}  {}", wheel.name, wheel.version, wheel.licence)?;
    }
    let (size, unpacked) =
        (format_bytes(libraries.download_bytes()), format_bytes(libraries.unpacked_bytes()));
    writeln!(out, "{size} to download, {unpacked} in {}", libraries.folder().display())?;
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Refusal::usage("nobody can be asked here; --yes agrees to these licences").into());
    }
    write!(out, "Do you agree to these licences? [y/N] ")?;
    out.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).context("the terminal cannot be read")?;
    if ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()) {
        return Ok(());
    }
    Err(Refusal::usage("nothing was downloaded: the licences were not agreed to").into())
}

async fn install(libraries: &GpuLibraries) -> Result<bool, GpuError> {
    let draws = std::io::stderr().is_terminal();
    let last = Mutex::new(None::<Instant>);
    let progress = |now: GpuProgress| {
        // Whoever holds the lock draws.
        let Ok(mut last) = last.try_lock() else { return };
        if draws && last.is_none_or(|last| last.elapsed() >= REDRAW) {
            *last = Some(Instant::now());
            draw(&match now {
                GpuProgress::Downloading(mut now) => {
                    now.current_artifact = now.current_artifact.as_deref().map(short);
                    line(&now)
                }
                GpuProgress::Unpacking { bytes, total_bytes } => {
                    format!("unpacking: {} of {}", format_bytes(bytes), format_bytes(total_bytes))
                }
            });
        }
    };
    let mut installed = std::pin::pin!(libraries.install(&progress));
    let ended = tokio::select! {
        ended = &mut installed => ended,
        // Without signals nobody can cancel, and that is all.
        Ok(()) = tokio::signal::ctrl_c() => {
            libraries.cancel();
            installed.await
        }
    };
    clear_line();
    ended
}

/// `nvidia_cublas-13.0.2.14` of a wheel's path: the rest, which names the machine, does not fit into a line.
fn short(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.splitn(3, '-').take(2).collect::<Vec<_>>().join("-")
}

fn remove(libraries: &GpuLibraries, as_json: bool) -> Result<ExitCode> {
    let bytes = libraries.remove()?;
    if as_json {
        print_json(&json!({"folder": libraries.folder(), "bytes": bytes}))?;
    } else if bytes == 0 {
        writeln!(std::io::stdout(), "there was nothing in {}", libraries.folder().display())?;
    } else {
        writeln!(std::io::stdout(), "removed; {} are free", format_bytes(bytes))?;
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wheel_is_shown_by_its_name_and_version() {
        let path = "28/d4/30e6/nvidia_cublas-13.0.2.14-py3-none-manylinux_2_27_x86_64.whl";
        assert_eq!(short(path), "nvidia_cublas-13.0.2.14");
        assert_eq!(short("other.whl"), "other.whl");
    }
}
