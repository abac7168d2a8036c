//! Reading a file before its tensors are asked for.

use super::{Checkpoint, map::FileBytes};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Bytes that are asked for at once.
const STEP: usize = 16 << 20;
/// Bytes that are read before they are needed, at most: enough for a disk to be busy, and little beside the memory that a
/// large model takes anyway.
const LIMIT: usize = 1 << 30;

/// Bytes of tensors that were read so far.
#[derive(Debug, Default)]
pub(super) struct Progress {
    bytes: AtomicUsize,
    ends: Mutex<bool>,
    moved: Condvar,
}

impl Progress {
    pub(super) fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        // Whoever has looked at the bytes and is about to wait holds the lock.
        drop(self.ends.lock().unwrap_or_else(PoisonError::into_inner));
        self.moved.notify_all();
    }

    fn end(&self) {
        *self.ends.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.moved.notify_all();
    }

    /// Waits until no more than so many bytes lie between what is needed and what was read. Is there more to do?
    fn wait_until_near(&self, at: usize) -> bool {
        let ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        let far = |ends: &mut bool| !*ends && at > self.bytes.load(Ordering::Relaxed) + LIMIT;
        !*self.moved.wait_while(ends, far).unwrap_or_else(PoisonError::into_inner)
    }
}

/// The operating system reads a file's tensors in the background, as long as this lives.
#[derive(Debug)]
pub struct ReadAhead {
    progress: Arc<Progress>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for ReadAhead {
    fn drop(&mut self) {
        self.progress.end();
        if let Some(thread) = self.thread.take() {
            // It has nothing to say.
            let _ = thread.join();
        }
    }
}

impl Checkpoint {
    /// Has the operating system read the tensors in the background, some way ahead of those that this checkpoint was asked
    /// for: layers after each other, which is the order of networks and often not that of files. Without it a file is read when
    /// it is waited for, piece by piece. Does nothing where the system can't be asked.
    #[must_use = "reading ahead ends when this is dropped"]
    pub fn read_ahead(&mut self) -> ReadAhead {
        let progress = Arc::<Progress>::default();
        self.progress = Some(Arc::clone(&progress));
        let mut entries: Vec<_> = self.entries.iter().collect();
        entries.sort_by_cached_key(|entry| in_order(&entry.name));
        let places: Vec<_> = entries.iter().map(|entry| (entry.source, entry.start, entry.len)).collect();
        let (sources, seen) = (Arc::clone(&self.sources), Arc::clone(&progress));
        let run = move || read_in_steps(&sources, &places, &seen);
        let thread = std::thread::Builder::new().name("read ahead".to_owned()).spawn(run);
        ReadAhead { progress, thread: thread.ok() }
    }
}

fn read_in_steps(sources: &[FileBytes], places: &[(usize, usize, usize)], progress: &Progress) {
    let mut read = 0;
    for &(source, start, len) in places {
        for at in (0..len).step_by(STEP) {
            let step = STEP.min(len - at);
            if !progress.wait_until_near(read + step) {
                return;
            }
            sources[source].will_need(start + at, step);
            read += step;
        }
    }
}

/// Sorts `blocks.2` before `blocks.10`.
fn in_order(name: &str) -> Vec<(usize, String)> {
    name.split('.').map(|part| (part.parse().unwrap_or(usize::MAX), part.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::test_files::safetensors_file;
    use crate::weights::TensorSource;

    #[test]
    fn layers_come_in_the_order_of_their_numbers() {
        let mut names = ["blocks.10.a", "head", "blocks.2.b", "blocks.2.a", "blocks.x"];
        names.sort_by_cached_key(|name| in_order(name));
        assert_eq!(names, ["blocks.2.a", "blocks.2.b", "blocks.10.a", "blocks.x", "head"]);
    }

    #[test]
    fn a_file_that_is_read_ahead_holds_the_same_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("two.safetensors");
        std::fs::write(&path, safetensors_file(&[("a", &[2], &[1.0, 2.0]), ("b", &[1], &[3.0])])).unwrap();
        let mut read = Checkpoint::open(&path).unwrap();
        let ahead = read.read_ahead();
        assert_eq!(read.read("b").unwrap(), [3.0]);
        drop(ahead);
        assert_eq!(read.read("a").unwrap(), [1.0, 2.0]);
    }

    #[test]
    fn reading_stays_near_what_is_needed_and_ends_when_told() {
        let progress = Progress::default();
        assert!(progress.wait_until_near(LIMIT));
        std::thread::scope(|scope| {
            let next = scope.spawn(|| progress.wait_until_near(LIMIT + 7));
            progress.add(3);
            progress.add(4);
            assert!(next.join().unwrap());
            let never = scope.spawn(|| progress.wait_until_near(2 * LIMIT));
            progress.end();
            assert!(!never.join().unwrap());
        });
    }
}
