//! NVIDIA's runtime libraries: fetched as wheels from PyPI, and unpacked into a folder of ours.
//!
//! Which wheels and which of their files is data (`packages.toml`), pinned by checksum. A wheel comes like a model's file:
//! resumed, checked, with a look at the disk first. The folder of libraries gets its name when everything is in it, so that
//! there is all of it or nothing. What is there is told by names and sizes alone.

mod packages;
mod wheel;

pub use packages::{GpuPackages, PackagesError, Wheel, WheelFile, this_platform};
pub use wheel::WheelError;

use crate::digest::Expected;
use crate::disk::Disk;
use crate::fetch::{Patience, read_digests};
use crate::folder::{FileReport, ModelFolder, format_bytes};
use crate::network::{NetworkError, NetworkOptions, NoSecrets};
use crate::schedule::Limits;
use crate::store::{DownloadEnded, DownloadProgress, Store, StoreError, StoreOptions};
use packages::{DOWNLOAD, as_manifest};
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::mpsc;

/// What is below the folder of [`GpuLibraries`]: the libraries, wheels on their way, libraries on their way, the lock.
const LIBRARIES: &str = "libraries";
const WHEELS: &str = "wheels";
const UNPACKED: &str = "unpacked";
const LOCK: &str = "lock";

/// Why libraries could not be installed or removed. The text is for users.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GpuError {
    /// There are none.
    #[error("NVIDIA offers no such libraries for this kind of machine ({0}); models run on the CPU here")]
    Unsupported(String),
    /// No network.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// They could not be fetched.
    #[error(transparent)]
    Download(#[from] DownloadEnded),
    /// The disk is too small.
    #[error(
        "not enough disk space in {}: {needed} are needed, {free} are free; make room, or choose another disk with --data-dir",
        .folder.display()
    )]
    DiskFull {
        /// Where.
        folder: PathBuf,
        /// Bytes, for people.
        needed: String,
        /// Bytes, for people.
        free: String,
    },
    /// A wheel is not what was fetched.
    #[error(
        "{0} was changed on disk after its download, and was thrown away; the same command fetches it again"
    )]
    Changed(String),
    /// A wheel cannot be unpacked.
    #[error("{name}: {problem}")]
    Wheel {
        /// The package.
        name: String,
        /// What is wrong.
        problem: WheelError,
    },
    /// Somebody else is at it.
    #[error("another `scope setup-gpu` is at work in {}; wait for it to end", .0.display())]
    Busy(PathBuf),
    /// The disk refused.
    #[error("{} cannot be used: {error}{}", .path.display(), if cfg!(windows) { "; end other programs that use these libraries" } else { "" })]
    Disk {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The program made a mistake.
    #[error("an internal error: {0}")]
    Internal(String),
}

impl GpuError {
    /// Whether it ended because it was told to.
    pub fn is_cancelled(&self) -> bool {
        let unpacking = matches!(self, Self::Wheel { problem: WheelError::Cancelled, .. });
        unpacking || matches!(self, Self::Download(DownloadEnded::Cancelled))
    }
}

impl From<StoreError> for GpuError {
    fn from(error: StoreError) -> Self {
        Self::Internal(error.to_string())
    }
}

/// How far an installation is.
#[derive(Clone, Debug, PartialEq)]
pub enum GpuProgress {
    /// Wheels are being fetched.
    Downloading(DownloadProgress),
    /// They are being unpacked.
    Unpacking {
        /// Bytes that were written.
        bytes: u64,
        /// Bytes that there will be.
        total_bytes: u64,
    },
}

/// What libraries are installed with.
pub struct GpuOptions {
    /// The folder for them and for what is on its way; see [`GpuLibraries::root_in`].
    pub root: PathBuf,
    /// The table of packages.
    pub packages: Arc<GpuPackages>,
    /// The kind of machine; see [`this_platform`].
    pub platform: String,
    /// The network: [`NetworkOptions::pypi`].
    pub network: NetworkOptions,
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// How much happens at a time.
    pub limits: Limits,
    /// How patient downloads are.
    pub patience: Patience,
}

/// NVIDIA's libraries in a folder of ours.
pub struct GpuLibraries {
    root: PathBuf,
    wheels: Vec<Wheel>,
    store: Store,
    disk: Arc<dyn Disk>,
    spare_bytes: u64,
    cancelled: Arc<AtomicBool>,
}

impl GpuLibraries {
    /// The folder that they have in a data folder.
    pub fn root_in(data: &Path) -> PathBuf {
        data.join("gpu")
    }

    /// The folder in which whoever loads them may look, in a data folder. It need not exist.
    pub fn folder_in(data: &Path) -> PathBuf {
        Self::root_in(data).join(LIBRARIES)
    }

    /// Libraries that may or may not be there.
    ///
    /// # Errors
    /// [`GpuError::Unsupported`], [`GpuError::Network`].
    pub fn new(options: GpuOptions) -> Result<Self, GpuError> {
        let wheels = options.packages.wheels_for(&options.platform);
        if wheels.is_empty() {
            return Err(GpuError::Unsupported(options.platform));
        }
        let server = options.network.hub.join("packages/");
        let server = server.map_err(|error| NetworkError::Address(error.to_string()))?;
        let manifest = Arc::new(as_manifest(&wheels, server.into()));
        let spare_bytes = options.limits.spare_bytes;
        let store = Store::new(StoreOptions {
            folder: ModelFolder::with_manifest(options.root.join(WHEELS), manifest),
            network: options.network,
            secrets: Arc::new(NoSecrets),
            disk: Arc::clone(&options.disk),
            limits: options.limits,
            patience: options.patience,
        })?;
        let cancelled = Arc::default();
        Ok(Self { root: options.root, wheels, store, disk: options.disk, spare_bytes, cancelled })
    }

    /// Where they are, or will be.
    pub fn folder(&self) -> PathBuf {
        self.root.join(LIBRARIES)
    }

    /// The packages that they come from.
    pub fn wheels(&self) -> &[Wheel] {
        &self.wheels
    }

    /// Bytes to be downloaded when nothing is there.
    pub fn download_bytes(&self) -> u64 {
        self.wheels.iter().map(|wheel| wheel.size).sum()
    }

    /// Bytes that they take.
    pub fn unpacked_bytes(&self) -> u64 {
        self.files().map(|file| file.size).sum()
    }

    fn files(&self) -> impl Iterator<Item = &WheelFile> {
        self.wheels.iter().flat_map(|wheel| &wheel.files)
    }

    /// Whether all of them are there, in just these versions. Reads the disk.
    pub fn are_installed(&self) -> bool {
        let folder = self.folder();
        let is_there = |file: &WheelFile| {
            fs::metadata(file.path.below(&folder)).is_ok_and(|it| it.is_file() && it.len() == file.size)
        };
        self.files().all(is_there)
    }

    /// Ends an installation soon. What was downloaded stays, and is resumed by the next.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
        self.store.cancel(DOWNLOAD);
    }

    /// Fetches and unpacks what is missing; whether anything was.
    ///
    /// # Errors
    /// [`GpuError`]. The libraries that were there before still are, and none that are only half there.
    pub async fn install(&self, progress: &(dyn Fn(GpuProgress) + Sync)) -> Result<bool, GpuError> {
        let _lock = self.lock()?;
        if self.are_installed() {
            return Ok(false);
        }
        self.check_room()?;
        self.download(progress).await?;
        self.unpack(progress).await?;
        Ok(true)
    }

    /// Removes them, and whatever is on its way; how many bytes that were.
    ///
    /// # Errors
    /// [`GpuError::Busy`], [`GpuError::Disk`].
    pub fn remove(&self) -> Result<u64, GpuError> {
        if !self.root.exists() {
            return Ok(0);
        }
        let lock = self.lock()?;
        let folders = [LIBRARIES, UNPACKED, WHEELS].map(|name| self.root.join(name));
        let bytes = folders.iter().map(|folder| bytes_below(folder)).sum();
        for folder in &folders {
            remove_folder(folder)?;
        }
        drop(lock);
        fs::remove_file(self.root.join(LOCK)).ok();
        // Not if somebody keeps something else in it.
        fs::remove_dir(&self.root).ok();
        Ok(bytes)
    }

    /// Keeps other programs from doing the same.
    fn lock(&self) -> Result<File, GpuError> {
        fs::create_dir_all(&self.root).map_err(|error| disk(&self.root, error))?;
        let path = self.root.join(LOCK);
        let file = File::options().write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(|error| disk(&path, error))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(GpuError::Busy(self.root.clone())),
            Err(TryLockError::Error(error)) => Err(disk(&path, error)),
        }
    }

    /// Whether wheels and libraries fit beside each other.
    fn check_room(&self) -> Result<(), GpuError> {
        let reports = self.store.folder().inspect(DOWNLOAD).map_err(StoreError::from)?;
        let missing: u64 = reports.iter().map(FileReport::bytes_missing).sum();
        let needed = missing.saturating_add(self.unpacked_bytes()).saturating_add(self.spare_bytes);
        match self.disk.free_bytes(&self.root) {
            Ok(free) if free < needed => Err(GpuError::DiskFull {
                folder: self.root.clone(),
                needed: format_bytes(needed),
                free: format_bytes(free),
            }),
            // A system that does not say how much room there is will say when there is none.
            _ => Ok(()),
        }
    }

    async fn download(&self, progress: &(dyn Fn(GpuProgress) + Sync)) -> Result<(), GpuError> {
        let mut changes = self.store.changes();
        self.store.download(DOWNLOAD, None).await?;
        let mut ended = std::pin::pin!(self.store.wait(DOWNLOAD));
        loop {
            tokio::select! {
                ended = &mut ended => return Ok(ended?),
                changed = changes.changed() => {
                    if changed.is_ok() && let Some(now) = self.store.progress(DOWNLOAD) {
                        progress(GpuProgress::Downloading(now));
                    }
                }
            }
        }
    }

    async fn unpack(&self, progress: &(dyn Fn(GpuProgress) + Sync)) -> Result<(), GpuError> {
        let total_bytes = self.unpacked_bytes();
        let (send, mut written) = mpsc::channel(1);
        let (root, wheels, cancelled) = (self.root.clone(), self.wheels.clone(), Arc::clone(&self.cancelled));
        let work = tokio::task::spawn_blocking(move || {
            let bytes = AtomicU64::new(0);
            replace(&root, &wheels, &|count| {
                let bytes = bytes.fetch_add(count, Ordering::Relaxed) + count;
                // Whoever watches may miss some of it.
                send.try_send(bytes).ok();
                !cancelled.load(Ordering::Relaxed)
            })
        });
        while let Some(bytes) = written.recv().await {
            progress(GpuProgress::Unpacking { bytes, total_bytes });
        }
        work.await.map_err(|error| GpuError::Internal(error.to_string()))?
    }
}

/// Unpacks the wheels, and puts what comes out of them where the libraries are.
fn replace(root: &Path, wheels: &[Wheel], go_on: &dyn Fn(u64) -> bool) -> Result<(), GpuError> {
    let (new, folder) = (root.join(UNPACKED), root.join(LIBRARIES));
    remove_folder(&new)?;
    fs::create_dir(&new).map_err(|error| disk(&new, error))?;
    let unpacked = wheels.iter().try_for_each(|wheel| {
        let path = wheel.path.below(&root.join(WHEELS));
        check(wheel, &path)?;
        let wrong = |problem| GpuError::Wheel { name: wheel.name.clone(), problem };
        wheel::unpack(&path, &wheel.files, &new, go_on).map_err(wrong)
    });
    if let Err(error) = unpacked {
        // It is of no use, and large.
        fs::remove_dir_all(&new).ok();
        return Err(error);
    }
    remove_folder(&folder)?;
    fs::rename(&new, &folder).map_err(|error| disk(&folder, error))?;
    // They would be fetched again if they were needed again.
    remove_folder(&root.join(WHEELS))
}

/// Makes sure that what is about to be unpacked is what was pinned, whatever happened since its download.
fn check(wheel: &Wheel, path: &Path) -> Result<(), GpuError> {
    let expected =
        Expected { size: Some(wheel.size), sha256: Some(wheel.sha256.clone()), ..Expected::default() };
    let found = read_digests(path, &expected, |_| true).map_err(|error| disk(path, error))?;
    if found.is_some_and(|found| found.agrees_with(&expected)) {
        return Ok(());
    }
    fs::remove_file(path).map_err(|error| disk(path, error))?;
    Err(GpuError::Changed(wheel.name.clone()))
}

fn disk(path: &Path, error: io::Error) -> GpuError {
    GpuError::Disk { path: path.to_owned(), error }
}

/// Removes a folder with all that is in it, or a link in its place.
fn remove_folder(path: &Path) -> Result<(), GpuError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    };
    removed.map_err(|error| disk(path, error))
}

/// Bytes of all files below a folder; links count nothing.
fn bytes_below(folder: &Path) -> u64 {
    let mut bytes = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => folders.push(entry.path()),
                Ok(metadata) if metadata.is_file() => bytes += metadata.len(),
                _ => {}
            }
        }
    }
    bytes
}
