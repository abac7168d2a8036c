//! What is known about files besides their bytes: what servers said, and what was found when a file was read in full.
//!
//! It lies in the models folder, so that it goes where the files go. Losing it costs knowledge, not files.

use crate::path::StorePath;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
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
