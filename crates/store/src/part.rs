//! A file on its way: written beside its final place under a name of its own, and given its name when it is whole and right.

use crate::digest::{Digests, Expected, Finished};
use crate::folder::{FOREIGN_PART_SUFFIX, PART_SUFFIX, with_suffix};
use std::fs::{self, File, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Why a part cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PartError {
    /// Another program, or another download of this one, has it.
    #[error("another download of this file is running")]
    Busy,
    /// Its place is outside the folder.
    #[error("its folder is a link that leads outside")]
    Outside,
    /// The user gave up.
    #[error("cancelled")]
    Cancelled,
    /// The disk refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The beginning of a file, locked while it is open.
pub(crate) struct Part {
    file: File,
    path: PathBuf,
    target: PathBuf,
    expected: Expected,
    digests: Digests,
    len: u64,
}

impl Part {
    /// Opens what there is of `target`, below `root`, or begins it. What is there is read again for the checksums; `go_on` may
    /// end that. With `afresh` it is thrown away.
    pub(crate) fn open(
        root: &Path,
        target: &Path,
        expected: &Expected,
        afresh: bool,
        go_on: impl Fn(u64) -> bool,
    ) -> Result<Self, PartError> {
        let folder = target.parent().unwrap_or(root);
        fs::create_dir_all(folder)?;
        if !fs::canonicalize(folder)?.starts_with(fs::canonicalize(root)?) {
            return Err(PartError::Outside);
        }
        let path = with_suffix(target, PART_SUFFIX);
        adopt(&path, &with_suffix(target, FOREIGN_PART_SUFFIX))?;
        // A link would be written through.
        if fs::symlink_metadata(&path).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(PartError::Outside);
        }
        let file = File::options().read(true).write(true).create(true).truncate(false).open(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(PartError::Busy),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        let digests = Digests::new(expected);
        let mut part =
            Self { file, path, target: target.to_owned(), expected: expected.clone(), digests, len: 0 };
        let len = part.file.metadata()?.len();
        let too_long = expected.size.is_some_and(|size| len > size);
        if afresh || too_long {
            part.restart()?;
        } else if !part.digests.update_from(&part.file, go_on)? {
            return Err(PartError::Cancelled);
        }
        part.len = part.file.metadata()?.len();
        Ok(part)
    }

    /// Bytes that are there.
    pub(crate) const fn len(&self) -> u64 {
        self.len
    }

    /// Throws away what is there.
    pub(crate) fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.digests = Digests::new(&self.expected);
        self.len = 0;
        Ok(())
    }

    /// Adds bytes at the end. Bytes that the disk took only in part are taken back.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all(bytes) {
            self.file.set_len(self.len)?;
            self.file.seek(SeekFrom::Start(self.len))?;
            return Err(error);
        }
        self.digests.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// The checksums of what is there.
    pub(crate) fn digests(&self) -> Finished {
        self.digests.clone().finish()
    }

    /// Gives the file its name. What has that name is replaced.
    pub(crate) fn finish(self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, &self.target)?;
        sync_folder(&self.target);
        Ok(())
    }

    /// Where it lies.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the file its name, unless something has it.
    pub(crate) fn finish_new(self) -> io::Result<()> {
        self.file.sync_all()?;
        // Creating the name exclusively reserves it; renaming over it is atomic.
        File::options().write(true).create_new(true).open(&self.target)?;
        if let Err(error) = fs::rename(&self.path, &self.target) {
            fs::remove_file(&self.target).ok();
            return Err(error);
        }
        sync_folder(&self.target);
        Ok(())
    }

    /// Removes what is there.
    pub(crate) fn discard(self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }
}

/// Goes on with what another program left.
fn adopt(ours: &Path, foreign: &Path) -> io::Result<()> {
    let is_file = |path: &Path| fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file());
    if fs::symlink_metadata(ours).is_err() && is_file(foreign) {
        fs::rename(foreign, ours)?;
    }
    Ok(())
}

/// Makes a rename last through a power cut, where the system can.
fn sync_folder(path: &Path) {
    if let Some(folder) = path.parent()
        && let Ok(folder) = File::open(folder)
    {
        // Not every system opens folders as files.
        folder.sync_all().ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(dir: &Path, expected: &Expected) -> Result<Part, PartError> {
        Part::open(dir, &dir.join("sub/a.bin"), expected, false, |_| true)
    }

    #[test]
    fn a_part_goes_on_where_it_ended_with_the_same_checksum() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = open(dir.path(), &Expected::default()).unwrap();
        first.append(b"hel").unwrap();
        drop(first);
        let mut second = open(dir.path(), &Expected::default()).unwrap();
        assert_eq!(second.len(), 3);
        second.append(b"lo").unwrap();
        let sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        assert_eq!(second.digests().sha256, sha256);
        second.finish().unwrap();
        assert_eq!(fs::read(dir.path().join("sub/a.bin")).unwrap(), b"hello");
        assert_eq!(fs::read_dir(dir.path().join("sub")).unwrap().count(), 1);
    }

    #[test]
    fn only_one_can_write() {
        let dir = tempfile::tempdir().unwrap();
        let first = open(dir.path(), &Expected::default()).unwrap();
        assert!(matches!(open(dir.path(), &Expected::default()), Err(PartError::Busy)));
        drop(first);
        assert!(open(dir.path(), &Expected::default()).is_ok());
    }

    #[test]
    fn a_part_of_another_program_is_taken_over_and_one_that_is_too_long_is_not() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        fs::write(dir.path().join("sub/a.bin.incomplete"), b"hel").unwrap();
        assert_eq!(open(dir.path(), &Expected::default()).unwrap().len(), 3);
        assert!(!dir.path().join("sub/a.bin.incomplete").exists());
        let expected = Expected { size: Some(2), ..Expected::default() };
        assert_eq!(open(dir.path(), &expected).unwrap().len(), 0);
    }

    #[test]
    fn reading_what_is_there_can_be_cancelled() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path(), &Expected::default()).unwrap().append(b"hel").unwrap();
        let cancelled =
            Part::open(dir.path(), &dir.path().join("sub/a.bin"), &Expected::default(), false, |_| false);
        assert!(matches!(cancelled, Err(PartError::Cancelled)));
    }

    #[test]
    fn a_new_file_does_not_replace_one() {
        let dir = tempfile::tempdir().unwrap();
        let part = open(dir.path(), &Expected::default()).unwrap();
        fs::write(dir.path().join("sub/a.bin"), b"theirs").unwrap();
        assert_eq!(part.finish_new().unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(dir.path().join("sub/a.bin")).unwrap(), b"theirs");
    }

    #[cfg(unix)]
    #[test]
    fn links_are_not_written_through() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::os::unix::fs::symlink(other.path(), dir.path().join("sub")).unwrap();
        assert!(matches!(open(dir.path(), &Expected::default()), Err(PartError::Outside)));
        fs::remove_file(dir.path().join("sub")).unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        let target = other.path().join("victim");
        fs::write(&target, b"theirs").unwrap();
        std::os::unix::fs::symlink(&target, dir.path().join("sub/a.bin.part")).unwrap();
        assert!(matches!(open(dir.path(), &Expected::default()), Err(PartError::Outside)));
        assert_eq!(fs::read(&target).unwrap(), b"theirs");
    }
}
