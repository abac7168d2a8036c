//! Recordings of a session: its primary sink, and every record node, each on request and at any time.

use crate::bus::{FrameBus, FrameTap};
use parking_lot::Mutex;
use scope_frame::Frame;
use scope_media::record::{RecordError, Recorder, RecorderConfig, RecorderState};
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Why a recording could not be started or finished.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordingError {
    /// The recorder's own reason.
    #[error(transparent)]
    Recorder(#[from] RecordError),
    /// The directory cannot be made.
    #[error("cannot create the recordings folder: {0}. Check the disk and the folder's permissions")]
    Directory(std::io::Error),
    /// The session is over.
    #[error("the session has ended")]
    Ended,
    /// The complete file does not get its name; it stays under the one that begins with a dot.
    #[error("the recording is complete, but cannot be kept: {0}. Check the folder's permissions")]
    Keep(io::Error),
}

/// Where a recording stays when it is complete, whatever becomes of its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Folder; it is made when it is missing. What is being written lies in it under a name that begins with a dot.
    pub folder: PathBuf,
    /// File name without extension. A number follows where that is taken.
    pub name: String,
}

/// How the names of recordings begin that were not completed.
const UNFINISHED: &str = ".recording-";
/// How many recordings of the same name a folder takes.
const MAX_NAMESAKES: u32 = 1000;

impl Keep {
    /// Where to write until the file is complete; `id` tells it from others.
    pub(crate) fn begin(&self, id: &str) -> io::Result<PathBuf> {
        std::fs::create_dir_all(&self.folder)?;
        Ok(self.folder.join(format!("{UNFINISHED}{id}.mp4")))
    }

    /// Gives `file`, which lies in the folder, its name.
    pub(crate) fn settle(&self, file: &Path) -> io::Result<PathBuf> {
        for number in 0..MAX_NAMESAKES {
            let name = match number {
                0 => format!("{}.mp4", self.name),
                _ => format!("{}-{number}.mp4", self.name),
            };
            let target = self.folder.join(name);
            // Creating the name exclusively reserves it; renaming over it is atomic.
            match File::options().write(true).create_new(true).open(&target) {
                Ok(_) => {
                    return std::fs::rename(file, &target).map(|()| target.clone()).inspect_err(|_| {
                        std::fs::remove_file(&target).ok();
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

/// Gives names to what a killed server left unfinished in `folder` (fragments play without their end), and says how
/// many there were. For the start of a server, while nothing records.
///
/// # Errors
/// Those of the file system, except that the folder is missing.
pub fn recover_recordings(folder: &Path) -> io::Result<usize> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut count = 0;
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if !name.starts_with(UNFINISHED) || path.extension().is_none_or(|it| it != "mp4") {
            continue;
        }
        if std::fs::metadata(&path)?.len() == 0 {
            std::fs::remove_file(&path)?;
            continue;
        }
        Keep { folder: folder.to_owned(), name: "recovered".into() }.settle(&path)?;
        count += 1;
    }
    Ok(count)
}

/// All recordings of a session, by record node; `None` is the session's own. Files live as long as the session, unless
/// they are to be kept.
pub struct Recordings {
    dir: PathBuf,
    name: String,
    slots: Mutex<Slots>,
    count: AtomicU64,
}

#[derive(Default)]
struct Slots {
    by_node: HashMap<Option<String>, Slot>,
    files: Vec<PathBuf>,
    ended: bool,
}

#[derive(Default)]
struct Slot {
    running: Option<Arc<Tap>>,
    last: Option<PathBuf>,
}

struct Tap {
    recorder: Recorder,
    path: PathBuf,
    keep: Option<Keep>,
    closed: AtomicBool,
}

impl FrameTap for Tap {
    fn push(&self, frame: &Frame) {
        self.recorder.push(frame.clone());
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

impl Tap {
    /// Completes the file, and says where it is; also when its end is missing, as what was written plays.
    fn finish(&self) -> (Option<PathBuf>, Result<(), RecordingError>) {
        self.closed.store(true, Ordering::Release);
        let ended = self.recorder.stop().map(drop).map_err(RecordingError::from);
        if !self.path.exists() {
            return (None, ended);
        }
        match self.keep.as_ref().map(|keep| keep.settle(&self.path)) {
            None => (Some(self.path.clone()), ended),
            Some(Ok(path)) => (Some(path), ended),
            Some(Err(error)) => (Some(self.path.clone()), ended.and(Err(RecordingError::Keep(error)))),
        }
    }
}

impl Recordings {
    pub(crate) fn new(dir: PathBuf, session_id: &str) -> Self {
        // Ids of sessions are ours; keep what is safe in a file name whatever they become.
        let name = session_id.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(64).collect();
        Self { dir, name, slots: Mutex::default(), count: AtomicU64::new(0) }
    }

    /// Starts to record `bus`, into a file that goes with the session or that is kept; false when that is already going on.
    ///
    /// # Errors
    /// [`RecordingError`].
    pub fn start(
        &self,
        node: Option<&str>,
        bus: &FrameBus,
        keep: Option<Keep>,
    ) -> Result<bool, RecordingError> {
        let mut slots = self.slots.lock();
        if slots.ended {
            return Err(RecordingError::Ended);
        }
        let running = |slot: &Slot| slot.running.as_ref().is_some_and(|tap| is_running(tap));
        if slots.by_node.get(&node.map(str::to_owned)).is_some_and(running) {
            return Ok(false);
        }
        let id = format!("{}_{}", self.name, self.count.fetch_add(1, Ordering::Relaxed));
        let path = match &keep {
            Some(keep) => keep.begin(&id),
            None => std::fs::create_dir_all(&self.dir)
                .map(|()| self.dir.join(format!("scope_recording_{id}.mp4"))),
        };
        let path = path.map_err(RecordingError::Directory)?;
        let recorder = Recorder::start(&path, RecorderConfig::default())?;
        if keep.is_none() {
            slots.files.push(path.clone());
        }
        let tap = Arc::new(Tap { recorder, path, keep, closed: AtomicBool::new(false) });
        slots.by_node.entry(node.map(str::to_owned)).or_default().running = Some(Arc::clone(&tap));
        drop(slots);
        if let Some(last) = bus.last() {
            // A picture that stands still is recorded too.
            tap.push(&last);
        }
        bus.attach(tap);
        Ok(true)
    }

    /// Stops, and says where the complete file is; `None` when nothing was going on. Waits for the file to be complete.
    ///
    /// # Errors
    /// [`RecordingError`]; what was written until then stays.
    pub fn stop(&self, node: Option<&str>) -> Result<Option<PathBuf>, RecordingError> {
        let key = node.map(str::to_owned);
        let Some(tap) = self.slots.lock().by_node.get_mut(&key).and_then(|slot| slot.running.take()) else {
            return Ok(None);
        };
        let (path, ended) = tap.finish();
        if let Some(slot) = self.slots.lock().by_node.get_mut(&key) {
            slot.last.clone_from(&path);
        }
        ended.map(|()| path)
    }

    /// The newest complete file; one that is being written is completed first. `None` when nothing was recorded.
    ///
    /// # Errors
    /// [`RecordingError`].
    pub fn finish(&self, node: Option<&str>) -> Result<Option<PathBuf>, RecordingError> {
        self.stop(node)?;
        let slots = self.slots.lock();
        Ok(slots.by_node.get(&node.map(str::to_owned)).and_then(|slot| slot.last.clone()))
    }

    /// Whether the session's own recording is going on.
    pub fn is_running(&self, node: Option<&str>) -> bool {
        let slots = self.slots.lock();
        let slot = slots.by_node.get(&node.map(str::to_owned));
        slot.and_then(|slot| slot.running.as_ref()).is_some_and(|tap| is_running(tap))
    }

    /// Where the recording that is going on will stay, if it is to be kept.
    pub fn kept(&self, node: Option<&str>) -> Option<Keep> {
        let slots = self.slots.lock();
        let slot = slots.by_node.get(&node.map(str::to_owned))?;
        slot.running.as_ref().and_then(|tap| tap.keep.clone())
    }

    pub(crate) fn any_running(&self) -> bool {
        let slots = self.slots.lock();
        slots.by_node.values().filter_map(|slot| slot.running.as_ref()).any(|tap| is_running(tap))
    }

    /// Completes what is being written, without deleting anything: for the end of the server.
    pub(crate) fn stop_all(&self) {
        let taps: Vec<_> = {
            let mut slots = self.slots.lock();
            slots.ended = true;
            slots.by_node.values_mut().filter_map(|slot| slot.running.take()).collect()
        };
        for tap in taps {
            if let (_, Err(error)) = tap.finish() {
                tracing::warn!("a recording did not end well: {error}");
            }
        }
    }
}

fn is_running(tap: &Tap) -> bool {
    matches!(tap.recorder.status().state, RecorderState::Recording)
}

impl Drop for Recordings {
    /// What is not kept belongs to its session: whoever wants it downloads it while the session lives.
    fn drop(&mut self) {
        self.stop_all();
        for path in &self.slots.lock().files {
            std::fs::remove_file(path).ok();
        }
    }
}
