//! What is known about files besides their bytes: what servers said, and what was found when a file was read in full.
//!
//! It lies in the models folder, so that it goes where the files go. Losing it costs knowledge, not files.

use crate::path::StorePath;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::UNIX_EPOCH;

/// Our own folder in the models folder. No file of a manifest can lie here: names do not begin with a dot.
const OWN_FOLDER: &str = ".scope";
const FILE: &str = "files.json";
/// Bytes of the ledger that are read.
const MAX_BYTES: u64 = 8 << 20;

/// What a server said about a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Remote {
    /// Size in bytes.
    pub(crate) size: Option<u64>,
    /// SHA-256, for large files.
    pub(crate) sha256: Option<String>,
    /// Git's object id (SHA-1), for small ones.
    pub(crate) git_blob: Option<String>,
    /// The entity tag: what changes when the file does.
    pub(crate) etag: Option<String>,
}

/// What a file was when it was read in full.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// Size in bytes.
    pub(crate) size: u64,
    /// Time of modification, in nanoseconds since 1970; together with the size it tells whether the file is still the same.
    pub(crate) modified_ns: u64,
    /// Its SHA-256.
    pub(crate) sha256: String,
    /// Whether that was what it should be.
    pub(crate) intact: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Record {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remote: Option<Remote>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seen: Option<Seen>,
}

/// The ledger of one models folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Ledger {
    files: BTreeMap<StorePath, Record>,
}

impl Ledger {
    /// Reads the ledger of `root`; one that cannot be read is empty.
    pub(crate) fn read(root: &Path) -> Self {
        let read = || -> io::Result<Self> {
            let mut text = Vec::new();
            File::open(root.join(OWN_FOLDER).join(FILE))?.take(MAX_BYTES).read_to_end(&mut text)?;
            Ok(serde_json::from_slice(&text)?)
        };
        read().unwrap_or_default()
    }

    /// Changes the ledger of `root`. Other threads and other programs wait meanwhile.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(crate) fn change(
        root: &Path,
        change: impl FnOnce(&mut BTreeMap<StorePath, Record>),
    ) -> io::Result<()> {
        let folder = root.join(OWN_FOLDER);
        fs::create_dir_all(&folder)?;
        let lock = File::options().create(true).truncate(false).write(true).open(folder.join("lock"))?;
        lock.lock()?;
        let mut ledger = Self::read(root);
        let before = ledger.clone();
        change(&mut ledger.files);
        if ledger == before {
            return Ok(());
        }
        let text = serde_json::to_vec_pretty(&ledger)?;
        let temporary = folder.join(format!("{FILE}.part"));
        let mut file = File::create(&temporary)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(temporary, folder.join(FILE))
    }

    /// What is known about the file `path`.
    pub(crate) fn get(&self, path: &StorePath) -> Option<&Record> {
        self.files.get(path)
    }
}

/// Size and time of modification of the file at `path`.
pub(crate) fn stamp(metadata: &fs::Metadata) -> (u64, u64) {
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let nanos = modified.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX));
    (metadata.len(), nanos)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn changes_from_several_threads_are_all_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = |n: usize| format!("r/{n}").parse::<StorePath>().unwrap();
        thread::scope(|scope| {
            for n in 0..8 {
                let root = dir.path();
                scope.spawn(move || {
                    let record = Record { remote: Some(Remote::default()), seen: None };
                    Ledger::change(root, |files| drop(files.insert(path(n), record))).unwrap();
                });
            }
        });
        let ledger = Ledger::read(dir.path());
        assert!((0..8).all(|n| ledger.get(&path(n)).is_some()));
    }

    #[test]
    fn a_ledger_that_is_none_is_empty_and_hostile_names_do_not_get_in() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(OWN_FOLDER)).unwrap();
        for text in ["", "[]", "{\"files\": {\"../x\": {}}}", "{\"files\": 3}"] {
            fs::write(dir.path().join(OWN_FOLDER).join(FILE), text).unwrap();
            assert_eq!(Ledger::read(dir.path()), Ledger::default(), "{text}");
        }
    }
}
