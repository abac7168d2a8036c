//! Log files: one per start, rotated by size, with offsets that survive the rotation.

use parking_lot::Mutex;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Bytes of a file before it is rotated, and rotated files kept.
const MAX_BYTES: u64 = 5 << 20;
const KEPT: usize = 5;
/// Files of earlier starts older than this are deleted.
const MAX_AGE: Duration = Duration::from_secs(24 * 3600);
/// Bytes that one request for new lines reads at most.
const MAX_TAIL_BYTES: u64 = 1 << 20;

/// A log that can be appended to and read from the end.
///
/// Positions count the bytes written since the start, also those in rotated files, so that they only ever grow.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    max_bytes: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: File,
    /// Position of the current file's first byte.
    base: u64,
    /// Bytes in the current file.
    len: u64,
}

/// Lines, and the position after them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tail {
    /// Without line ends.
    pub lines: Vec<String>,
    /// Where the next read begins.
    pub offset: u64,
}

impl LogFile {
    /// Creates `scope-logs-STAMP.log` in `dir`, and deletes what earlier starts left there more than a day ago.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn create(dir: &Path, stamp: &str, now: SystemTime) -> io::Result<Self> {
        Self::with_limit(dir, stamp, now, MAX_BYTES)
    }

    fn with_limit(dir: &Path, stamp: &str, now: SystemTime, max_bytes: u64) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        remove_old(dir, now);
        let path = dir.join(format!("scope-logs-{stamp}.log"));
        let file = File::options().append(true).create(true).open(&path)?;
        let len = file.metadata()?.len();
        Ok(Self { path, max_bytes, state: Mutex::new(State { file, base: 0, len }) })
    }

    /// Where the current file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a line, which must end in a line feed.
    ///
    /// # Errors
    /// When the disk refuses; the line is lost.
    pub fn append(&self, line: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock();
        if state.len > 0 && state.len + line.len() as u64 > self.max_bytes {
            self.rotate(&mut state)?;
        }
        state.file.write_all(line)?;
        state.len += line.len() as u64;
        Ok(())
    }

    fn rotate(&self, state: &mut State) -> io::Result<()> {
        for n in (1..KEPT).rev() {
            // Not all of them exist yet.
            fs::rename(self.rotated(n), self.rotated(n + 1)).ok();
        }
        fs::rename(&self.path, self.rotated(1))?;
        state.file = File::options().append(true).create(true).open(&self.path)?;
        state.base += state.len;
        state.len = 0;
        Ok(())
    }

    fn rotated(&self, n: usize) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{n}"));
        name.into()
    }

    /// The whole current file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(&self) -> io::Result<File> {
        File::open(&self.path)
    }

    /// The last `count` lines of the current file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn last_lines(&self, count: usize) -> io::Result<Tail> {
        let state = self.state.lock();
        let from = state.len.saturating_sub(MAX_TAIL_BYTES);
        let text = read_from(&self.path, from, state.len - from)?;
        let mut lines = whole_lines(&text).0;
        if from > 0 && !lines.is_empty() {
            lines.remove(0);
        }
        let skip = lines.len().saturating_sub(count);
        Ok(Tail { lines: lines.split_off(skip), offset: state.base + state.len })
    }

    /// The lines written since `offset`, through a rotation if there was one; `None` when the position is unknown: from
    /// another start of the server, or too long ago.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn lines_since(&self, offset: u64) -> io::Result<Option<Tail>> {
        let state = self.state.lock();
        let end = state.base + state.len;
        if offset > end {
            return Ok(None);
        }
        let mut text = Vec::new();
        if offset < state.base {
            let previous = self.rotated(1);
            let start = state.base - fs::metadata(&previous).map_or(0, |metadata| metadata.len());
            if offset < start {
                return Ok(None);
            }
            text = read_from(&previous, offset - start, MAX_TAIL_BYTES)?;
        }
        if offset + text.len() as u64 >= state.base {
            let from = (offset + text.len() as u64) - state.base;
            let room = MAX_TAIL_BYTES.saturating_sub(text.len() as u64);
            text.extend(read_from(&self.path, from, room.min(state.len - from))?);
        }
        let (lines, used) = whole_lines(&text);
        Ok(Some(Tail { lines, offset: offset + used as u64 }))
    }
}

/// The complete lines of `text`, and how many bytes they take.
fn whole_lines(text: &[u8]) -> (Vec<String>, usize) {
    let used = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    (String::from_utf8_lossy(&text[..used]).lines().map(str::to_owned).collect(), used)
}

fn read_from(path: &Path, from: u64, count: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let mut text = Vec::new();
    file.take(count).read_to_end(&mut text)?;
    Ok(text)
}

fn remove_old(dir: &Path, now: SystemTime) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let ours = name.to_string_lossy().starts_with("scope-logs-");
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        let old = modified.is_ok_and(|time| now.duration_since(time).is_ok_and(|age| age > MAX_AGE));
        if ours && old {
            fs::remove_file(entry.path()).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(max_bytes: u64) -> (tempfile::TempDir, LogFile) {
        let dir = tempfile::tempdir().unwrap();
        let log =
            LogFile::with_limit(dir.path(), "2026-01-02-03-04-05", SystemTime::now(), max_bytes).unwrap();
        (dir, log)
    }

    #[test]
    fn a_reader_loses_no_line_to_a_rotation() {
        let (_dir, log) = log(64);
        let (mut offset, mut seen) = (0, Vec::new());
        for n in 0..100 {
            log.append(format!("line number {n}\n").as_bytes()).unwrap();
            if n % 3 == 0 {
                let tail = log.lines_since(offset).unwrap().unwrap();
                seen.extend(tail.lines);
                offset = tail.offset;
            }
        }
        assert_eq!(seen, (0..100).map(|n| format!("line number {n}")).collect::<Vec<_>>());
    }

    #[test]
    fn positions_of_another_start_are_unknown() {
        let (_dir, log) = log(MAX_BYTES);
        log.append(b"one\n").unwrap();
        assert_eq!(log.lines_since(1_000_000).unwrap(), None);
        assert_eq!(log.last_lines(10).unwrap(), Tail { lines: vec!["one".into()], offset: 4 });
    }

    #[test]
    fn positions_from_long_ago_are_unknown() {
        let (_dir, log) = log(16);
        for _ in 0..10 {
            log.append(b"0123456789\n").unwrap();
        }
        assert_eq!(log.lines_since(1).unwrap(), None);
    }

    #[test]
    fn half_a_line_waits_for_its_end() {
        let (_dir, log) = log(MAX_BYTES);
        log.append(b"one\ntw").unwrap();
        let tail = log.lines_since(0).unwrap().unwrap();
        assert_eq!((tail.lines, tail.offset), (vec!["one".into()], 4));
        log.append(b"o\n").unwrap();
        assert_eq!(log.lines_since(4).unwrap().unwrap().lines, ["two"]);
    }

    #[test]
    fn at_most_five_rotated_files_are_kept() {
        let (dir, log) = log(16);
        for _ in 0..20 {
            log.append(b"0123456789\n").unwrap();
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1 + KEPT);
    }

    #[test]
    fn yesterdays_files_go_and_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["scope-logs-old.log", "scope-logs-old.log.1", "keep.txt"] {
            fs::write(dir.path().join(name), b"x").unwrap();
        }
        let tomorrow = SystemTime::now() + MAX_AGE + Duration::from_secs(60);
        LogFile::create(dir.path(), "new", tomorrow).unwrap();
        let mut names: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|it| it.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["keep.txt", "scope-logs-new.log"]);
    }
}
