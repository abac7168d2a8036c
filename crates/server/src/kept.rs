//! Recordings that are kept: their names, and what becomes of them when a server dies.

use crate::assets::AssetStore;
use scope_stream::Keep;
use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

/// Where a film goes that is kept, which begins now: `PREFIX-DATE-TIME`.
pub(crate) fn keep(assets: &AssetStore, prefix: &str) -> Keep {
    let name = format!("{prefix}-{}", jiff::Zoned::now().strftime("%Y-%m-%d-%H-%M-%S"));
    Keep { folder: assets.recordings(), name }
}

/// Names what a killed server left unfinished in `folder`, unless another server may be writing there: each holds a
/// shared lock on the file `lock` while it runs. The result is to be held that long.
pub(crate) fn claim(lock: &Path, folder: &Path) -> Option<File> {
    match try_claim(lock, folder) {
        Ok(file) => Some(file),
        Err(error) => {
            tracing::warn!("unfinished recordings in {} are left as they are: {error}", folder.display());
            None
        }
    }
}

fn try_claim(lock: &Path, folder: &Path) -> io::Result<File> {
    let file = File::options().create(true).truncate(false).write(true).open(lock)?;
    match file.try_lock() {
        Ok(()) => {
            let count = scope_stream::recover_recordings(folder)?;
            if count > 0 {
                tracing::info!("recovered {count} unfinished recording(s) in {}", folder.display());
            }
            file.unlock()?;
        }
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) => return Err(error),
    }
    match file.try_lock_shared() {
        // Somebody who starts at this moment has it for himself; that is no reason to wait or to fail.
        Ok(()) | Err(TryLockError::WouldBlock) => Ok(file),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn only_the_first_server_on_a_folder_touches_what_is_unfinished() {
        let dir = tempfile::tempdir().unwrap();
        let (lock, folder) = (dir.path().join("lock"), dir.path().join("recordings"));
        let first = claim(&lock, &folder).unwrap();
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join(".recording-a_0.mp4"), "half a film").unwrap();
        let second = claim(&lock, &folder).unwrap();
        assert!(folder.join(".recording-a_0.mp4").exists());
        drop((first, second));
        let third = claim(&lock, &folder);
        assert_eq!(fs::read(folder.join("recovered.mp4")).unwrap(), b"half a film");
        drop(third);
    }
}
