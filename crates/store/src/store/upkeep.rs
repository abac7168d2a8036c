//! Checking what is there, and removing it.

use super::{Inner, Store, StoreError, blocking, expected};
use crate::fetch::read_digests;
use crate::folder::{FOREIGN_PART_SUFFIX, FileReport, FileState, PART_SUFFIX, with_suffix};
use crate::ledger::Ledger;
use crate::manifest::FileEntry;
use crate::path::StorePath;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::watch;

/// What a check of a file found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Its checksum is right.
    Intact,
    /// Its checksum is wrong, or it cannot be whole.
    Damaged,
    /// It looks whole, and nobody could say what its checksum should be.
    Unknown,
    /// It is not there, or not all of it.
    Missing,
}

/// A checked file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// Its place in the models folder.
    pub path: String,
    /// What was found.
    pub outcome: Outcome,
    /// What is wrong with it.
    pub problem: Option<String>,
}

/// What was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Removed {
    /// Files, relative to the models folder.
    pub files: Vec<String>,
    /// Bytes that are free now.
    pub bytes: u64,
    /// Files that stay because another pipeline needs them.
    pub kept: Vec<String>,
}

impl Store {
    /// Reads all files of `pipeline` in full and compares their checksums with what their servers say. `progress` gets the file
    /// and the bytes of it that were read.
    ///
    /// # Errors
    /// [`StoreError`]; a server that cannot be asked is none.
    pub async fn verify(
        &self,
        pipeline: &str,
        progress: impl Fn(&str, u64) + Send + Sync + 'static,
    ) -> Result<Vec<Verification>, StoreError> {
        if self.inner.scheduler.lock().is_running(pipeline) {
            return Err(StoreError::Downloading(pipeline.into()));
        }
        let (inner, id) = (Arc::clone(&self.inner), pipeline.to_owned());
        let reports = blocking(move || inner.folder.inspect(&id)).await??;
        let progress = Arc::new(progress);
        let mut found = Vec::new();
        for report in reports.into_iter().filter(|report| report.entry.role != crate::Role::Companion) {
            if report.state.is_complete()
                || matches!(report.state, FileState::Damaged(crate::Damage::Checksum))
            {
                Arc::clone(&self.inner).learn_checksum(&report.entry).await;
            }
            let (inner, progress) = (Arc::clone(&self.inner), Arc::clone(&progress));
            found.push(blocking(move || inner.verify(&report, &*progress)).await??);
        }
        self.inner.changed();
        Ok(found)
    }

    /// Removes the files of `pipeline`, and what was begun of them, except those that another pipeline needs that is complete or
    /// being downloaded.
    ///
    /// # Errors
    /// [`StoreError`]. When a file's place leads outside, nothing is removed.
    pub async fn remove(&self, pipeline: &str) -> Result<Removed, StoreError> {
        let _no_download_begins = self.inner.upkeep.write().await;
        let (inner, id) = (Arc::clone(&self.inner), pipeline.to_owned());
        let removed = blocking(move || inner.remove(&id)).await?;
        self.inner.changed();
        removed
    }
}

impl Inner {
    /// Asks the server for a checksum unless one is known.
    async fn learn_checksum(self: Arc<Self>, entry: &FileEntry) {
        let this = Arc::clone(&self);
        let key = entry.local.clone();
        let known = blocking(move || {
            Ledger::read(this.folder.root()).get(&key).and_then(|record| record.remote.clone())
        });
        if expected(entry, known.await.ok().flatten().as_ref()).has_digest() {
            return;
        }
        let (_cancel, cancelled) = watch::channel(false);
        match self.ask(entry, cancelled).await {
            Ok(probed) => {
                let entry = entry.clone();
                // Not knowing is no failure.
                blocking(move || self.learn(&entry, probed.remote)).await.ok();
            }
            Err(error) => tracing::debug!(file = %entry.local, "no checksum: {error}"),
        }
    }

    fn verify(&self, report: &FileReport, progress: &dyn Fn(&str, u64)) -> Result<Verification, StoreError> {
        let key = &report.entry.local;
        let verification =
            |outcome, problem: Option<String>| Ok(Verification { path: key.to_string(), outcome, problem });
        match &report.state {
            FileState::Missing => return verification(Outcome::Missing, None),
            FileState::Partial { .. } => {
                return verification(Outcome::Missing, Some("only a part is there".into()));
            }
            FileState::Damaged(damage) if *damage != crate::Damage::Checksum => {
                return verification(Outcome::Damaged, Some(damage.to_string()));
            }
            _ => {}
        }
        let remote = Ledger::read(self.folder.root()).get(key).and_then(|record| record.remote.clone());
        let expected = expected(&report.entry, remote.as_ref());
        if !expected.has_digest() {
            return verification(Outcome::Unknown, Some("no checksum is known".into()));
        }
        let failed = |error| StoreError::Disk { path: key.to_string(), error };
        let found = read_digests(&report.path, &expected, |len| {
            progress(key.as_str(), len);
            true
        });
        // It is never told to stop.
        let Some(found) = found.map_err(failed)? else { return verification(Outcome::Unknown, None) };
        let intact = found.agrees_with(&expected);
        self.saw(key, found.sha256, intact).map_err(failed)?;
        if intact {
            verification(Outcome::Intact, None)
        } else {
            verification(Outcome::Damaged, Some(crate::Damage::Checksum.to_string()))
        }
    }

    fn remove(&self, pipeline: &str) -> Result<Removed, StoreError> {
        let reports = self.folder.inspect(pipeline)?;
        if self.scheduler.lock().is_running(pipeline) {
            return Err(StoreError::Downloading(pipeline.into()));
        }
        let needed = self.needed_by_others(pipeline);
        let mut removed = Removed::default();
        let mut doomed = Vec::new();
        for report in &reports {
            let key = &report.entry.local;
            if needed.contains(key) || self.scheduler.lock().is_busy(key) {
                if report.state != FileState::Missing {
                    removed.kept.push(key.to_string());
                }
                continue;
            }
            self.check_inside(key)?;
            doomed.push(key);
        }
        for key in doomed {
            let path = key.below(self.folder.root());
            let mut gone = false;
            for place in
                [path.clone(), with_suffix(&path, PART_SUFFIX), with_suffix(&path, FOREIGN_PART_SUFFIX)]
            {
                let bytes =
                    remove_file(&place).map_err(|error| StoreError::Disk { path: key.to_string(), error })?;
                gone |= bytes.is_some();
                removed.bytes += bytes.unwrap_or(0);
            }
            if gone {
                removed.files.push(key.to_string());
            }
            self.remove_empty_folders(&path);
        }
        let forget =
            |key: &StorePath| !reports.iter().any(|it| it.entry.local == *key) || needed.contains(key);
        // The ledger only knows; without it the files are as gone.
        if !removed.files.is_empty() {
            Ledger::change(self.folder.root(), |files| files.retain(|key, _| forget(key))).ok();
        }
        self.scheduler.lock().forget(pipeline);
        Ok(removed)
    }

    /// Files that other pipelines need which are complete with some settings, or on their way.
    fn needed_by_others(&self, pipeline: &str) -> BTreeSet<StorePath> {
        let manifest = self.folder.manifest();
        let others = manifest.pipelines().iter().filter(|other| other.id != pipeline);
        let complete = others.filter(|other| {
            self.scheduler.lock().is_running(&other.id)
                || crate::manifest::all_settings()
                    .any(|settings| self.folder.locate(&other.id, &settings).is_ok())
        });
        complete.flat_map(|other| other.files.iter().map(|file| file.local.clone())).collect()
    }

    /// Refuses places that a link takes outside the folder.
    fn check_inside(&self, key: &StorePath) -> Result<(), StoreError> {
        let root = self.folder.root();
        let path = key.below(root);
        let parent = path.parent().unwrap_or(root);
        let inside = |root: &Path, parent: &Path| match (fs::canonicalize(root), fs::canonicalize(parent)) {
            (Ok(root), Ok(parent)) => parent.starts_with(root),
            // What does not exist cannot be removed.
            (_, Err(error)) => error.kind() == io::ErrorKind::NotFound,
            _ => false,
        };
        if inside(root, parent) { Ok(()) } else { Err(StoreError::Outside(key.to_string())) }
    }

    /// Removes the folders of a file that nothing is left in, but never the models folder itself.
    fn remove_empty_folders(&self, path: &Path) {
        let root = self.folder.root();
        for folder in
            path.ancestors().skip(1).take_while(|folder| *folder != root && folder.starts_with(root))
        {
            // Refuses what is not empty.
            if fs::remove_dir(folder).is_err() {
                return;
            }
        }
    }
}

/// Removes a file, or a link to one; its bytes, or `None` when there was none.
fn remove_file(path: &Path) -> io::Result<Option<u64>> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if metadata.is_dir() {
        return Ok(None);
    }
    fs::remove_file(path)?;
    // Of a link only the link goes.
    Ok(Some(if metadata.is_file() { metadata.len() } else { 0 }))
}
