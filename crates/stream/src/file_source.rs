//! A file on the server as a source: played in its own time, over and over.

use crate::session::Core;
use scope_frame::Timestamp;
use scope_media::file::FileSource;
use scope_pipelines::AssetLoader;
use std::time::Duration;

/// A still picture is sent this often.
const STILL_INTERVAL: Duration = Duration::from_millis(100);
/// The longest sleep between two looks at whether the session has ended.
const MAX_SLEEP: Duration = Duration::from_millis(100);
/// Frames in a row that may be damaged before the file is given up.
const MAX_DAMAGED: u32 = 100;

pub(crate) fn open(assets: &dyn AssetLoader, name: &str) -> Result<FileSource, String> {
    let path = assets.resolve(name)?;
    FileSource::open(path).map_err(|error| error.to_string())
}

/// Plays until the session ends.
pub(crate) fn run(mut file: FileSource, core: &Core, source: usize) {
    let spacing = file
        .info()
        .fps
        .filter(|fps| *fps > 0.0)
        .map_or(STILL_INTERVAL, |fps| Duration::from_secs_f64((1.0 / fps).clamp(0.004, 1.0)));
    let mut start = Timestamp::now();
    let mut end = Duration::ZERO;
    let mut damaged = 0;
    while !core.is_stopped() {
        match file.next_frame() {
            Ok(Some((image, time))) => {
                damaged = 0;
                let due = start + time;
                if !sleep_until(due, core) {
                    return;
                }
                end = time + spacing;
                core.push_input(source, image, due.min(Timestamp::now()));
            }
            Ok(None) => {
                // The next round begins where this one ends; after a stall, now.
                start = (start + end).max(Timestamp::now() - Duration::from_millis(500));
                sleep_until(start, core);
                end = Duration::ZERO;
                if let Err(error) = file.rewind() {
                    tracing::warn!(session = core.id, "cannot play the file again: {error}");
                    return;
                }
            }
            Err(error) => {
                damaged += 1;
                if damaged > MAX_DAMAGED {
                    tracing::warn!(session = core.id, "the file is given up: {error}");
                    return;
                }
            }
        }
    }
}

/// False when the session ended meanwhile.
fn sleep_until(due: Timestamp, core: &Core) -> bool {
    loop {
        let left = due.since(Timestamp::now());
        if left.is_zero() {
            return !core.is_stopped();
        }
        std::thread::sleep(left.min(MAX_SLEEP));
        if core.is_stopped() {
            return false;
        }
    }
}
