//! A plugin's process: starting it, talking to it with deadlines, and making sure that it ends.

use parking_lot::Mutex;
use scope_plugin::protocol::{GuestMessage, HostMessage};
use scope_plugin::wire::{self, WireError};
use std::ffi::OsStr;
use std::io::{BufReader, Read, Write};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::Builder;
use std::time::{Duration, Instant};

/// Messages that wait for the plugin to read them.
const OUTBOX: usize = 64;
/// Messages from the plugin that wait for us; more wait in its pipe.
const INBOX: usize = 16;
/// How long a plugin may take to end by itself.
const GRACE: Duration = Duration::from_secs(2);
/// How long the end of the log is waited for once a plugin has ended.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// How often a program that is still being written is tried.
const BUSY_TRIES: u32 = 100;
/// How often a process that should end is looked at.
const POLL: Duration = Duration::from_millis(5);
/// Bytes of a logged line; the rest of a longer one is left out.
const LINE_BYTES: usize = 1000;
/// Lines a second that reach the log; what is above is counted.
const LINES_A_SECOND: u32 = 20;
/// Variables whose names contain one of these words stay here: they may hold secrets.
const SECRETS: &[&str] = &["TOKEN", "SECRET", "PASSWORD", "API_KEY", "CREDENTIAL"];

/// Why a plugin could not be talked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// The program did not start.
    #[error("its program {program} did not start: {error}")]
    Start {
        /// The program.
        program: String,
        /// Why.
        error: std::io::Error,
    },
    /// The process ended.
    #[error("it stopped unexpectedly ({how}){}", last_words(.last_line))]
    Ended {
        /// Exit code or signal.
        how: String,
        /// The last line that it logged.
        last_line: String,
    },
    /// It did not answer in time.
    #[error("it did not answer for {} s and was ended", .0.as_secs())]
    Hung(Duration),
    /// It does not read what we say.
    #[error("it does not read its messages and was ended")]
    Deaf,
    /// What it says is no message.
    #[error("it broke the protocol and was ended: {0}")]
    Protocol(String),
}

fn last_words(line: &str) -> String {
    if line.is_empty() { String::new() } else { format!("; its last line: {line}") }
}

/// What to run.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// For logs and thread names.
    pub(crate) name: String,
    pub(crate) path: std::path::PathBuf,
    pub(crate) arguments: Vec<String>,
    pub(crate) folder: std::path::PathBuf,
    /// Variables that it gets besides ours, which may be secrets.
    pub(crate) pass: Vec<String>,
    /// Variables that are set for it.
    pub(crate) set: Vec<(String, std::ffi::OsString)>,
}

impl Program {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.arguments).current_dir(&self.folder);
        for (key, _) in std::env::vars_os().filter(|(key, _)| is_secret(key)) {
            if !self.pass.iter().any(|pass| key == OsStr::new(pass)) {
                command.env_remove(key);
            }
        }
        command.envs(self.set.iter().map(|(key, value)| (key, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A group of its own, so that whatever it starts can be ended with it, and Ctrl-C in our terminal is ours to handle.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command
    }
}

fn is_secret(key: &OsStr) -> bool {
    let key = key.to_string_lossy().to_uppercase();
    SECRETS.iter().any(|word| key.contains(word))
}

/// A running plugin. Dropping it ends it.
pub(crate) struct Process {
    child: Child,
    /// `None` once it is to end.
    outbox: Option<SyncSender<Vec<u8>>>,
    inbox: Receiver<Result<GuestMessage, WireError>>,
    last_line: Arc<Mutex<String>>,
    /// Closed when the log has been read to its end.
    logged: Receiver<()>,
}

impl Process {
    pub(crate) fn start(program: &Program) -> Result<Self, ProcessError> {
        let failed = |error| ProcessError::Start { program: program.path.display().to_string(), error };
        let mut child = spawn(program).map_err(failed)?;
        let last_line = Arc::new(Mutex::new(String::new()));
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
            kill(&mut child);
            return Err(failed(std::io::Error::other("no pipes")));
        };
        let (outbox, to_write) = sync_channel::<Vec<u8>>(OUTBOX);
        let (to_read, inbox) = sync_channel(INBOX);
        let (log_open, logged) = sync_channel::<()>(0);
        let name = program.name.clone();
        let lines = Arc::clone(&last_line);
        // Each thread ends when its pipe or its channel does, which the end of the process brings about.
        let started = Builder::new()
            .name(format!("{name} in"))
            .spawn(move || write_all(stdin, &to_write))
            .and_then(|_| {
                Builder::new().name(format!("{name} out")).spawn(move || read_all(stdout, &to_read))
            })
            .and_then(|_| {
                Builder::new().name(format!("{name} log")).spawn(move || {
                    log_all(stderr, &name, &lines);
                    drop(log_open);
                })
            });
        let process = Self { child, outbox: Some(outbox), inbox, last_line, logged };
        started.map_err(failed)?;
        Ok(process)
    }

    /// Puts a message on its way.
    pub(crate) fn say(&mut self, message: &HostMessage) -> Result<(), ProcessError> {
        let bytes = wire::encode(message).map_err(|error| ProcessError::Protocol(error.to_string()))?;
        match self.outbox.as_ref().map(|outbox| outbox.try_send(bytes)) {
            Some(Ok(())) => Ok(()),
            Some(Err(TrySendError::Full(_))) => {
                self.end_now();
                Err(ProcessError::Deaf)
            }
            Some(Err(TrySendError::Disconnected(_))) | None => Err(self.ended()),
        }
    }

    /// The next message, if it comes within `patience`; otherwise the process is ended.
    pub(crate) fn hear(&mut self, patience: Duration) -> Result<GuestMessage, ProcessError> {
        match self.inbox.recv_timeout(patience) {
            Ok(Ok(message)) => Ok(message),
            Ok(Err(WireError::Io(_) | WireError::Truncated { .. })) | Err(RecvTimeoutError::Disconnected) => {
                Err(self.ended())
            }
            Ok(Err(error)) => Err(self.broke_protocol(error.to_string())),
            Err(RecvTimeoutError::Timeout) => {
                self.end_now();
                Err(ProcessError::Hung(patience))
            }
        }
    }

    /// Ends a process that does not keep to the protocol.
    pub(crate) fn broke_protocol(&mut self, how: impl Into<String>) -> ProcessError {
        self.end_now();
        ProcessError::Protocol(how.into())
    }

    /// The process has closed its pipe: says how it ended.
    fn ended(&mut self) -> ProcessError {
        self.outbox = None;
        let status = wait(&mut self.child, GRACE);
        if status.is_none() {
            kill(&mut self.child);
        }
        // Its last words may still be on their way; somebody it started may hold the pipe open.
        self.logged.recv_timeout(LAST_WORDS).ok();
        let how = status.map_or_else(|| "it closed its output".into(), |status| status.to_string());
        ProcessError::Ended { how, last_line: self.last_line.lock().clone() }
    }

    fn end_now(&mut self) {
        self.outbox = None;
        kill(&mut self.child);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(outbox) = self.outbox.take() {
            // One that does not read is ended below.
            wire::encode(&HostMessage::Bye).ok().and_then(|bytes| outbox.try_send(bytes).ok());
        }
        wait(&mut self.child, GRACE);
        // Also those that it started and left behind.
        kill(&mut self.child);
    }
}

/// Starts a program. One that was just copied can be busy: a process that another thread starts at that moment holds it open for
/// writing until it runs a program itself.
fn spawn(program: &Program) -> std::io::Result<Child> {
    for _ in 1..BUSY_TRIES {
        match program.command().spawn() {
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => std::thread::sleep(POLL),
            done => return done,
        }
    }
    program.command().spawn()
}

fn wait(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let end = Instant::now() + patience;
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(POLL);
    }
}

/// Ends the process and those that it started, and takes it off the system's table.
fn kill(child: &mut Child) {
    #[cfg(unix)]
    if let Some(group) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        // Nobody may be left in it.
        rustix::process::kill_process_group(group, rustix::process::Signal::KILL).ok();
    }
    child.kill().ok();
    child.wait().ok();
}

fn write_all(mut to: ChildStdin, messages: &Receiver<Vec<u8>>) {
    for bytes in messages {
        if to.write_all(&bytes).and_then(|()| to.flush()).is_err() {
            return;
        }
    }
}

fn read_all(from: ChildStdout, messages: &SyncSender<Result<GuestMessage, WireError>>) {
    let mut from = BufReader::new(from);
    loop {
        let message = match wire::read(&mut from) {
            Ok(Some(message)) => Ok(message),
            Ok(None) => return,
            Err(error) => Err(error),
        };
        let last = message.is_err();
        if messages.send(message).is_err() || last {
            return;
        }
    }
}

/// Every line that the plugin writes to its standard error becomes one of our log, as long as they are not too many.
fn log_all(from: ChildStderr, plugin: &str, last: &Mutex<String>) {
    let mut lines = Lines::default();
    let mut from = BufReader::new(from);
    let mut chunk = [0; 4096];
    let mut budget = Budget::default();
    while let Ok(read) = from.read(&mut chunk) {
        if read == 0 {
            break;
        }
        lines.feed(&chunk[..read], |line| {
            if !line.is_empty() {
                line.clone_into(&mut last.lock());
            }
            match budget.spend(Instant::now()) {
                Spent::Yes => tracing::info!(target: "scope::plugin", plugin, "{line}"),
                Spent::AfterGap(lost) => {
                    tracing::warn!(target: "scope::plugin", plugin, lost, "it logs more than is kept");
                    tracing::info!(target: "scope::plugin", plugin, "{line}");
                }
                Spent::No => {}
            }
        });
    }
}

/// Cuts bytes into lines of bounded length.
#[derive(Default)]
struct Lines {
    line: Vec<u8>,
}

impl Lines {
    fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(&str)) {
        for byte in bytes {
            match byte {
                b'\n' => {
                    each(String::from_utf8_lossy(&self.line).trim_end());
                    self.line.clear();
                }
                byte if self.line.len() < LINE_BYTES => self.line.push(*byte),
                _ => {}
            }
        }
    }
}

/// How many lines may still be logged in this second.
#[derive(Default)]
struct Budget {
    second: Option<Instant>,
    spent: u32,
    lost: u64,
}

enum Spent {
    Yes,
    /// As many lines were left out before this one.
    AfterGap(u64),
    No,
}

impl Budget {
    fn spend(&mut self, now: Instant) -> Spent {
        if self.second.is_none_or(|second| now.duration_since(second) >= Duration::from_secs(1)) {
            self.second = Some(now);
            self.spent = 0;
        }
        if self.spent >= LINES_A_SECOND {
            self.lost += 1;
            return Spent::No;
        }
        self.spent += 1;
        match std::mem::take(&mut self.lost) {
            0 => Spent::Yes,
            lost => Spent::AfterGap(lost),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_whatever_the_pieces_and_long_ones_are_shortened() {
        let text = format!("one\n\ntwo\n{}\nend\n", "x".repeat(3 * LINE_BYTES));
        for size in [1, 2, 7, 5000] {
            let mut lines = Lines::default();
            let mut seen = Vec::new();
            for piece in text.as_bytes().chunks(size) {
                lines.feed(piece, |line| seen.push(line.to_owned()));
            }
            assert_eq!(seen, ["one", "", "two", &"x".repeat(LINE_BYTES), "end"]);
        }
    }

    #[test]
    fn a_flood_of_lines_is_counted_and_not_logged() {
        let mut budget = Budget::default();
        let start = Instant::now();
        let logged = (0..1000).filter(|_| !matches!(budget.spend(start), Spent::No)).count();
        assert_eq!(logged, LINES_A_SECOND as usize);
        let later = start + Duration::from_secs(1);
        assert!(
            matches!(budget.spend(later), Spent::AfterGap(lost) if lost == 1000 - u64::from(LINES_A_SECOND))
        );
        assert!(matches!(budget.spend(later), Spent::Yes));
    }

    #[test]
    fn secrets_stay_here_unless_named() {
        assert!(is_secret(OsStr::new("HF_TOKEN")) && is_secret(OsStr::new("my_secret_thing")));
        assert!(!is_secret(OsStr::new("PATH")) && !is_secret(OsStr::new("CUDA_VISIBLE_DEVICES")));
    }
}
