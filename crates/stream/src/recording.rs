//! Recordings of a session: its primary sink, and every record node, each on request and at any time.

use crate::bus::{FrameBus, FrameTap};
use parking_lot::Mutex;
use scope_frame::Frame;
use scope_media::record::{RecordError, Recorder, RecorderConfig, RecorderState};
use std::collections::HashMap;
use std::path::PathBuf;
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
}

/// All recordings of a session, by record node; `None` is the session's own. Files live as long as the session.
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
    fn finish(&self) -> Result<PathBuf, RecordError> {
        self.closed.store(true, Ordering::Release);
        self.recorder.stop().map(|summary| summary.path)
    }
}

impl Recordings {
    pub(crate) fn new(dir: PathBuf, session_id: &str) -> Self {
        // Ids of sessions are ours; keep what is safe in a file name whatever they become.
        let name = session_id.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(64).collect();
        Self { dir, name, slots: Mutex::default(), count: AtomicU64::new(0) }
    }

    /// Starts to record `bus`; false when that is already going on.
    ///
    /// # Errors
    /// [`RecordingError`].
    pub fn start(&self, node: Option<&str>, bus: &FrameBus) -> Result<bool, RecordingError> {
        let mut slots = self.slots.lock();
        if slots.ended {
            return Err(RecordingError::Ended);
        }
        let running = |slot: &Slot| slot.running.as_ref().is_some_and(|tap| is_running(tap));
        if slots.by_node.get(&node.map(str::to_owned)).is_some_and(running) {
            return Ok(false);
        }
        std::fs::create_dir_all(&self.dir).map_err(RecordingError::Directory)?;
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let path = self.dir.join(format!("scope_recording_{}_{number}.mp4", self.name));
        let recorder = Recorder::start(&path, RecorderConfig::default())?;
        let tap = Arc::new(Tap { recorder, path: path.clone(), closed: AtomicBool::new(false) });
        slots.files.push(path);
        slots.by_node.entry(node.map(str::to_owned)).or_default().running = Some(Arc::clone(&tap));
        drop(slots);
        if let Some(last) = bus.last() {
            // A picture that stands still is recorded too.
            tap.push(&last);
        }
        bus.attach(tap);
        Ok(true)
    }

    /// Stops; false when nothing was going on. Waits for the file to be complete.
    ///
    /// # Errors
    /// [`RecordingError`]; what was written until then stays.
    pub fn stop(&self, node: Option<&str>) -> Result<bool, RecordingError> {
        let key = node.map(str::to_owned);
        let Some(tap) = self.slots.lock().by_node.get_mut(&key).and_then(|slot| slot.running.take()) else {
            return Ok(false);
        };
        let finished = tap.finish();
        if let Some(slot) = self.slots.lock().by_node.get_mut(&key) {
            slot.last = Some(tap.path.clone());
        }
        finished?;
        Ok(true)
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
            if let Err(error) = tap.finish() {
                tracing::warn!("a recording did not end well: {error}");
            }
        }
    }
}

fn is_running(tap: &Tap) -> bool {
    matches!(tap.recorder.status().state, RecorderState::Recording)
}

impl Drop for Recordings {
    /// Recordings belong to their session: whoever wants one downloads it while the session lives.
    fn drop(&mut self) {
        self.stop_all();
        for path in &self.slots.lock().files {
            std::fs::remove_file(path).ok();
        }
    }
}
