//! From tracing's events to lines of the log file.

use super::file::LogFile;
use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::Context;

/// Lines that may wait for the disk.
const QUEUE: usize = 4096;

/// Local time of day, for the terminal.
pub(super) struct Clock;

impl FormatTime for Clock {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        write!(writer, "{}", jiff::Zoned::now().strftime("%H:%M:%S%.3f"))
    }
}

/// Formats events and hands them to a thread that writes.
pub(super) struct FileLayer(SyncSender<String>);

impl FileLayer {
    pub(super) fn spawn(file: Arc<LogFile>) -> Self {
        let (sender, lines) = sync_channel::<String>(QUEUE);
        let write = move || {
            for line in lines {
                // A full disk must not stop the program, and there is nowhere to complain.
                file.append(line.as_bytes()).ok();
            }
        };
        // Without the thread the queue is closed, and lines are dropped.
        std::thread::Builder::new().name("log".into()).spawn(write).ok();
        Self(sender)
    }
}

impl<S: Subscriber> Layer<S> for FileLayer {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let time = jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S,%3f").to_string();
        let metadata = event.metadata();
        match self.0.try_send(line(&time, metadata.target(), *metadata.level(), &fields)) {
            Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
    }
}

/// `time - target - LEVEL - (session) message key=value`, on one line whatever the message contains.
fn line(time: &str, target: &str, level: Level, fields: &Fields) -> String {
    let level = match level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARNING",
        Level::INFO => "INFO",
        Level::DEBUG | Level::TRACE => "DEBUG",
    };
    let mut line = format!("{time} - {target} - {level} - ");
    if !fields.session.is_empty() {
        let _ = write!(line, "({}) ", fields.session);
    }
    for text in [&fields.message, &fields.others] {
        line.extend(text.chars().map(|c| if c.is_control() { ' ' } else { c }));
    }
    line.push('\n');
    line
}

#[derive(Default)]
struct Fields {
    message: String,
    session: String,
    others: String,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message.push_str(value),
            "session" => self.session.push_str(value),
            name => {
                let _ = write!(self.others, " {name}={value:?}");
            }
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            "session" => write!(self.session, "{value:?}"),
            name => write!(self.others, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_the_format_that_tools_filter_and_cannot_be_forged() {
        let fields = Fields {
            message: "odd\nname - root - ERROR - fake".into(),
            session: "s1".into(),
            others: " n=1".into(),
        };
        let line = line("2026-01-02 03:04:05,678", "scope_server", Level::WARN, &fields);
        assert_eq!(
            line,
            "2026-01-02 03:04:05,678 - scope_server - WARNING - (s1) odd name - root - ERROR - fake n=1\n"
        );
    }
}
