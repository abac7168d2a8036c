//! The models folder at work: downloads in the background, one of each file at a time.

mod status;
mod upkeep;

pub use status::{DownloadProgress, FileStatus, PipelineState, PipelineStatus, RepositoryStatus};
pub use upkeep::{Outcome, Removed, Verification};

use crate::digest::Expected;
use crate::disk::Disk;
use crate::fetch::{self, FetchError, Patience, Probed, Retry};
use crate::folder::{FileReport, FileState, ModelFolder, Unavailable, format_bytes};
use crate::ledger::{self, Ledger, Remote, Seen};
use crate::manifest::{FileEntry, Settings};
use crate::network::{Network, NetworkError, NetworkOptions, Secrets, base_url};
use crate::path::StorePath;
use crate::schedule::{Action, AlreadyRunning, Failure, JobState, Limits, Scheduler, Wish};
use parking_lot::Mutex;
use reqwest::Url;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;
use tokio::sync::{Notify, RwLock, watch};

/// The most bytes that a file of a model may have.
const MAX_MODEL_BYTES: u64 = 1 << 40;

/// What a store is made of.
pub struct StoreOptions {
    /// The models folder.
    pub folder: ModelFolder,
    /// The network.
    pub network: NetworkOptions,
    /// Where keys come from.
    pub secrets: Arc<dyn Secrets>,
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// How much happens at a time.
    pub limits: Limits,
    /// How patient downloads are.
    pub patience: Patience,
}

/// Why something cannot be done with a pipeline's files. The text is for users.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No files are known for it.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// It is being downloaded.
    #[error("{0} is being downloaded; wait until it is there, or cancel the download")]
    Downloading(String),
    /// A place in the folder leads outside.
    #[error("{0} leads outside the models folder through a link; nothing was removed")]
    Outside(String),
    /// The disk refused.
    #[error("{path}: {error}")]
    Disk {
        /// The file, relative to the models folder.
        path: String,
        /// What the system says.
        error: io::Error,
    },
    /// The program made a mistake.
    #[error("an internal error: {0}")]
    Internal(String),
}

/// What became of a request to download.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Started {
    /// It has begun.
    Downloading {
        /// Files to be fetched.
        files: usize,
    },
    /// Everything is there.
    AlreadyThere,
}

/// A models folder, and what is fetched into it. Downloads run on the tokio runtime that they were asked for on, and go on
/// whoever asked.
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    folder: ModelFolder,
    network: Network,
    disk: Arc<dyn Disk>,
    patience: Patience,
    scheduler: Mutex<Scheduler>,
    /// What goes on, and how to stop it.
    going_on: Mutex<HashMap<StorePath, watch::Sender<bool>>>,
    /// What servers said about files since this store began.
    remotes: Mutex<HashMap<StorePath, Remote>>,
    /// Held for reading while a download is asked for, and for writing while files are removed.
    upkeep: RwLock<()>,
    wake: Arc<Notify>,
    changes: watch::Sender<u64>,
    is_driven: AtomicBool,
}

impl Store {
    /// A store that does nothing yet.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(options: StoreOptions) -> Result<Self, NetworkError> {
        let inner = Inner {
            folder: options.folder,
            network: Network::new(options.network, options.secrets)?,
            disk: options.disk,
            patience: options.patience,
            scheduler: Mutex::new(Scheduler::new(options.limits)),
            going_on: Mutex::default(),
            remotes: Mutex::default(),
            upkeep: RwLock::default(),
            wake: Arc::default(),
            changes: watch::Sender::new(0),
            is_driven: AtomicBool::new(false),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The folder.
    pub fn folder(&self) -> &ModelFolder {
        &self.inner.folder
    }

    /// A number that changes whenever a download may have.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changes.subscribe()
    }

    /// Begins to download what `pipeline` lacks: for some settings, or for all. Files that another pipeline's download fetches
    /// already are shared with it; what is there in part is resumed.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Downloading`].
    pub async fn download(&self, pipeline: &str, settings: Option<Settings>) -> Result<Started, StoreError> {
        let _nothing_is_removed = self.inner.upkeep.read().await;
        let inner = Arc::clone(&self.inner);
        let id = pipeline.to_owned();
        let reports = blocking(move || inner.folder.inspect(&id)).await??;
        let is_wanted =
            |report: &&FileReport| settings.is_none_or(|settings| report.entry.belongs_to(&settings));
        let lacking = reports.iter().filter(is_wanted).filter(|report| !report.state.is_complete());
        let wishes: Vec<Wish> = lacking.map(wish).collect();
        if wishes.is_empty() {
            let mut scheduler = self.inner.scheduler.lock();
            if scheduler.is_running(pipeline) {
                return Err(StoreError::Downloading(pipeline.into()));
            }
            scheduler.forget(pipeline);
            return Ok(Started::AlreadyThere);
        }
        let files = wishes.len();
        let asked = self.inner.scheduler.lock().request(pipeline, wishes, Instant::now());
        asked.map_err(|AlreadyRunning| StoreError::Downloading(pipeline.into()))?;
        tracing::info!(pipeline, files, "download begins");
        self.inner.changed();
        if !self.inner.is_driven.swap(true, Ordering::AcqRel) {
            tokio::spawn(drive(Arc::downgrade(&self.inner), Arc::clone(&self.inner.wake)));
        }
        Ok(Started::Downloading { files })
    }

    /// Ends the download of `pipeline`; whether there was one. What was fetched stays, and is resumed by the next.
    pub fn cancel(&self, pipeline: &str) -> bool {
        let was_running = self.inner.scheduler.lock().cancel(pipeline);
        self.inner.changed();
        was_running
    }

    /// Ends all downloads.
    pub fn cancel_all(&self) {
        let mut scheduler = self.inner.scheduler.lock();
        for id in scheduler.jobs().map(str::to_owned).collect::<Vec<_>>() {
            scheduler.cancel(&id);
        }
        drop(scheduler);
        self.inner.changed();
    }

    /// Waits until the download of `pipeline` has ended, and says how.
    ///
    /// # Errors
    /// The reason why it failed or did not take place.
    pub async fn wait(&self, pipeline: &str) -> Result<(), DownloadEnded> {
        let mut changes = self.changes();
        loop {
            changes.mark_unchanged();
            let status = self.inner.scheduler.lock().status(pipeline, Instant::now());
            match status.map(|status| (status.state, status.problem, status.code)) {
                None | Some((JobState::Done, ..)) => return Ok(()),
                Some((JobState::Cancelled, ..)) => return Err(DownloadEnded::Cancelled),
                Some((JobState::Failed, problem, code)) => {
                    let message = problem.unwrap_or_default();
                    return Err(DownloadEnded::Failed { code: code.unwrap_or("download_failed"), message });
                }
                Some(_) => {}
            }
            if changes.changed().await.is_err() {
                return Err(DownloadEnded::Cancelled);
            }
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.cancel_all();
    }
}

/// Why a download has ended early.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DownloadEnded {
    /// Somebody cancelled it.
    #[error("the download was cancelled; it can be resumed")]
    Cancelled,
    /// It failed.
    #[error("{message}")]
    Failed {
        /// A word for programs.
        code: &'static str,
        /// What happened.
        message: String,
    },
}

fn wish(report: &FileReport) -> Wish {
    let have = match report.state {
        FileState::Partial { bytes } => bytes,
        _ => 0,
    };
    let optional = report.entry.role == crate::Role::Companion;
    Wish { key: report.entry.local.clone(), have, size: report.size, optional }
}

/// Does what the scheduler says, until the store is gone.
async fn drive(store: Weak<Inner>, wake: Arc<Notify>) {
    loop {
        let Some(inner) = store.upgrade() else { return };
        Inner::act(&inner);
        let next = inner.scheduler.lock().next_wake(Instant::now());
        drop(inner);
        match next {
            Some(at) => drop(tokio::time::timeout_at(at.into(), wake.notified()).await),
            None => wake.notified().await,
        }
    }
}

impl Inner {
    fn changed(&self) {
        self.wake.notify_one();
        self.changes.send_modify(|count| *count += 1);
    }

    fn act(this: &Arc<Self>) {
        while let Some(action) = { this.scheduler.lock().poll(Instant::now()) } {
            match action {
                Action::Probe(key) => Self::spawn(this, key, Self::probe),
                Action::Fetch(key) => Self::spawn(this, key, Self::fetch),
                Action::Stop(key) => {
                    if let Some(cancel) = this.going_on.lock().get(&key) {
                        cancel.send_replace(true);
                    }
                }
                Action::CheckRoom { job, bytes } => {
                    let this = Arc::clone(this);
                    tokio::task::spawn_blocking(move || this.check_room(&job, bytes));
                }
            }
        }
    }

    /// Runs `deed` for a file. Whatever happens to it, panics included, the scheduler hears of an end.
    fn spawn<F>(this: &Arc<Self>, key: StorePath, deed: fn(Arc<Self>, FileEntry, watch::Receiver<bool>) -> F)
    where
        F: Future<Output = Result<Ended, FetchError>> + Send + 'static,
    {
        let (cancel, cancelled) = watch::channel(false);
        this.going_on.lock().insert(key.clone(), cancel);
        let this = Arc::clone(this);
        tokio::spawn(async move {
            let ended = match this.entry(&key) {
                Some(entry) => {
                    let deed = tokio::spawn(deed(Arc::clone(&this), entry, cancelled));
                    deed.await.unwrap_or_else(|error| Err(FetchError::Disk(io::Error::other(error))))
                }
                None => Err(FetchError::Disk(io::ErrorKind::NotFound.into())),
            };
            this.going_on.lock().remove(&key);
            let mut scheduler = this.scheduler.lock();
            match ended {
                Ok(Ended::Probed { size, have }) => scheduler.probed(&key, size, have),
                Ok(Ended::Fetched { size }) => scheduler.finished(&key, size, Instant::now()),
                Err(error) => {
                    if error.retry() == Retry::Never && !matches!(error, FetchError::Cancelled) {
                        tracing::warn!(file = %key, "download failed: {error}");
                    }
                    let failure = Failure {
                        code: error.code(),
                        message: format!("{}: {error}", key.file_name()),
                        retry: error.retry(),
                    };
                    scheduler.failed(&key, failure, Instant::now());
                }
            }
            drop(scheduler);
            this.changed();
        });
    }

    fn entry(&self, key: &StorePath) -> Option<FileEntry> {
        let files = self.folder.manifest().pipelines().iter().flat_map(|pipeline| &pipeline.files);
        files.into_iter().find(|file| file.local == *key).cloned()
    }

    /// Where a file comes from.
    fn url(&self, entry: &FileEntry) -> Result<Url, FetchError> {
        let unusable = || FetchError::Disk(io::ErrorKind::InvalidInput.into());
        let repository = self.folder.manifest().repository(&entry.repository);
        let server = repository.and_then(|repository| repository.server.as_deref());
        let mut url = match server {
            Some(server) => base_url(server).ok_or_else(unusable)?,
            None => self.network.options().hub.clone(),
        };
        let mut segments = url.path_segments_mut().map_err(|()| unusable())?;
        segments.pop_if_empty();
        if server.is_none() {
            let revision = repository.map_or("main", |repository| repository.revision.as_str());
            segments.extend(entry.repository.split('/')).push("resolve").extend(revision.split('/'));
        }
        segments.extend(entry.path.as_str().split('/'));
        drop(segments);
        Ok(url)
    }

    async fn probe(
        self: Arc<Self>,
        entry: FileEntry,
        cancelled: watch::Receiver<bool>,
    ) -> Result<Ended, FetchError> {
        let Probed { remote, .. } = self.ask(&entry, cancelled).await?;
        let host = self.url(&entry)?.host_str().unwrap_or("the server").to_owned();
        match (entry.size, remote.size) {
            (Some(expected), Some(found)) if expected != found => {
                return Err(FetchError::WrongLength { host, expected, found });
            }
            _ => {}
        }
        let size = entry.size.or(remote.size);
        let have = blocking(move || self.learn(&entry, remote)).await.map_err(other)??;
        Ok(Ended::Probed { size, have })
    }

    async fn ask(
        &self,
        entry: &FileEntry,
        mut cancelled: watch::Receiver<bool>,
    ) -> Result<Probed, FetchError> {
        let url = self.url(entry)?;
        tokio::select! {
            biased;
            _ = cancelled.wait_for(|cancelled| *cancelled) => Err(FetchError::Cancelled),
            probed = fetch::probe(&self.network, &self.patience, &url) => probed,
        }
    }

    /// Keeps what a server said; how much of that file is on disk. A part of another version of the file is thrown away, and so
    /// is one that nothing could tell from it.
    fn learn(&self, entry: &FileEntry, remote: Remote) -> Result<u64, FetchError> {
        let root = self.folder.root();
        fs::create_dir_all(root)?;
        let known = Ledger::read(root).get(&entry.local).and_then(|record| record.remote.clone());
        let expected = expected(entry, Some(&remote));
        let same = known.as_ref().is_some_and(|known| known.etag.is_some() && known.etag == remote.etag);
        let fits = same || (known.is_none() && expected.has_digest());
        let path = entry.local.below(root);
        let part = crate::folder::part_of(&path);
        let have = match part {
            Some((part, _)) if !fits => {
                fs::remove_file(part)?;
                0
            }
            Some((_, len)) => len,
            None => 0,
        };
        let for_ledger = remote.clone();
        Ledger::change(root, |files| {
            files.entry(entry.local.clone()).or_default().remote = Some(for_ledger);
        })?;
        self.remotes.lock().insert(entry.local.clone(), remote);
        Ok(have)
    }

    async fn fetch(
        self: Arc<Self>,
        entry: FileEntry,
        cancelled: watch::Receiver<bool>,
    ) -> Result<Ended, FetchError> {
        let remote = self.remotes.lock().get(&entry.local).cloned();
        let request = fetch::Request {
            url: self.url(&entry)?,
            root: self.folder.root().to_owned(),
            target: entry.local.below(self.folder.root()),
            expected: expected(&entry, remote.as_ref()),
            afresh: false,
            max_bytes: MAX_MODEL_BYTES,
        };
        let progress = |have| {
            self.scheduler.lock().progressed(&entry.local, have, Instant::now());
            self.changes.send_modify(|count| *count += 1);
        };
        let fetched = fetch::fetch(&self.network, &self.patience, &request, &progress, cancelled).await?;
        tracing::info!(file = %entry.local, bytes = fetched.size, "downloaded");
        let (this, key) = (Arc::clone(&self), entry.local.clone());
        blocking(move || this.saw(&key, fetched.sha256, true)).await.map_err(other)??;
        Ok(Ended::Fetched { size: fetched.size })
    }

    /// Keeps what a file was when it was read in full.
    fn saw(&self, key: &StorePath, sha256: String, intact: bool) -> io::Result<()> {
        let root = self.folder.root();
        let (size, modified_ns) = ledger::stamp(&fs::metadata(key.below(root))?);
        let seen = Seen { size, modified_ns, sha256, intact };
        Ledger::change(root, |files| files.entry(key.clone()).or_default().seen = Some(seen))
    }

    fn check_room(&self, job: &str, bytes: u64) {
        let room = match self.disk.free_bytes(self.folder.root()) {
            Ok(free) if free < bytes => {
                let message = format!(
                    "not enough disk space: {} are needed, {} are free; make room, or choose another models folder",
                    format_bytes(bytes),
                    format_bytes(free)
                );
                Err(Failure { code: "disk_full", message, retry: Retry::Never })
            }
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::warn!(%error, "the system does not say how much room the disk has");
                Ok(())
            }
        };
        self.scheduler.lock().has_room(job, room);
        self.changed();
    }
}

enum Ended {
    Probed { size: Option<u64>, have: u64 },
    Fetched { size: u64 },
}

/// What a file should be: what the manifest says, and else what its server says.
fn expected(entry: &FileEntry, remote: Option<&Remote>) -> Expected {
    let told = |of: fn(&Remote) -> Option<String>| remote.and_then(of);
    Expected {
        size: entry.size.or_else(|| remote?.size),
        sha256: entry.sha256.clone().or_else(|| told(|remote| remote.sha256.clone())),
        sha256_begins: entry.sha256_begins.clone(),
        // Whose checksum is pinned needs no other, and what another server calls a tag may only look like git's.
        git_blob: told(|remote| remote.git_blob.clone()).filter(|_| entry.sha256.is_none()),
    }
}

fn other(error: StoreError) -> FetchError {
    FetchError::Disk(io::Error::other(error))
}

/// Runs `work` on a thread that may wait for the disk.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| StoreError::Internal(error.to_string()))
}
