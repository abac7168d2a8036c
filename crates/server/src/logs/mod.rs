//! Logging: a file in the format that existing tools filter, and readable text for the terminal.
//!
//! A line of the file is `time - target - LEVEL - message`. Levels are named as those tools expect (`WARNING`). Tokens are never
//! logged, prompts only at debug level.

mod file;
mod layer;

pub use file::{LogFile, Tail};

use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;
use tracing::Level;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// How much is logged.
#[derive(Clone, Debug, Default)]
pub struct LogOptions {
    /// Details of our own crates, and of libraries.
    pub verbose: bool,
    /// Targets of which only warnings are wanted.
    pub quiet: Vec<String>,
    /// Levels per target, `info,scope_stream=debug`; overrides the rest.
    pub directives: Option<String>,
}

impl LogOptions {
    /// The levels that these options stand for.
    ///
    /// # Errors
    /// When the directives cannot be read.
    pub fn targets(&self) -> Result<Targets, String> {
        if let Some(directives) = &self.directives {
            return directives
                .parse()
                .map_err(|error| format!("{directives:?} is no list of log levels: {error}"));
        }
        let (ours, others) =
            if self.verbose { (Level::DEBUG, Level::INFO) } else { (Level::INFO, Level::WARN) };
        let targets = Targets::new().with_default(others).with_target("scope", ours);
        Ok(self.quiet.iter().fold(targets, |targets, target| targets.with_target(target, Level::WARN)))
    }
}

/// Starts logging to `dir` and to the terminal. Lines reach the file through a bounded queue and a thread of their own; when
/// the disk cannot keep up, lines are lost, not time.
///
/// # Errors
/// A text for the user: unreadable options, or logging was started before. A directory that cannot be written costs the file
/// only: then `None`.
pub fn init(dir: &Path, options: &LogOptions) -> Result<Option<Arc<LogFile>>, String> {
    let stamp = jiff::Zoned::now().strftime("%Y-%m-%d-%H-%M-%S").to_string();
    let (file, problem) = match LogFile::create(dir, &stamp, SystemTime::now()) {
        Ok(file) => (Some(Arc::new(file)), None),
        Err(error) => (None, Some(error)),
    };
    let terminal = tracing_subscriber::fmt::layer()
        .compact()
        .with_ansi(io::stderr().is_terminal())
        .with_timer(layer::Clock)
        .with_writer(io::stderr);
    let targets = options.targets()?;
    let file_layer = file.as_ref().map(|file| layer::FileLayer::spawn(Arc::clone(file)));
    tracing_subscriber::registry()
        .with(file_layer.with_filter(targets.clone()))
        .with(terminal.with_filter(targets))
        .try_init()
        .map_err(|error| error.to_string())?;
    if let Some(error) = problem {
        tracing::warn!(%error, "no log file can be written in {}", dir.display());
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_are_louder_than_libraries_and_quiet_ones_quieter() {
        let options = LogOptions { quiet: vec!["scope_stream".into()], ..LogOptions::default() };
        let targets = options.targets().unwrap();
        assert!(targets.would_enable("scope_server::assets", &Level::INFO));
        assert!(!targets.would_enable("scope_stream::runner", &Level::INFO));
        assert!(!targets.would_enable("hyper", &Level::INFO));
        assert!(LogOptions { directives: Some("a=b=c".into()), ..options }.targets().is_err());
    }
}
