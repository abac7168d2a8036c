//! The assets directory: listing, storing and removing.

use super::kind::AssetKind;
use super::name;
use super::sandbox::{Sandbox, SandboxError};
use serde::Serialize;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use utoipa::ToSchema;

/// Files that a listing shows at most, and directories that it descends.
const MAX_LISTED: usize = 10_000;
const MAX_DEPTH: usize = 16;

/// One uploaded file, as clients read it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct AssetEntry {
    /// File name without its extension.
    pub name: String,
    /// Absolute path; clients send it back in parameters.
    pub path: String,
    /// Size in MiB, rounded to two places.
    pub size_mb: f64,
    /// Directory below the assets directory, if any.
    pub folder: Option<String>,
    /// Kind of file.
    #[serde(rename = "type")]
    pub kind: AssetKind,
    /// When it was stored: seconds since 1970.
    pub created_at: f64,
}

/// The directory of uploads. All functions read or write the disk: not for async threads.
#[derive(Clone, Debug)]
pub struct AssetStore {
    root: PathBuf,
    sandbox: Sandbox,
}

impl AssetStore {
    /// A store in `root`, which is created when something is stored.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        let root = std::path::absolute(&root).unwrap_or(root);
        Self { sandbox: Sandbox::new([root.clone()]), root }
    }

    /// Where recordings are kept.
    pub fn recordings(&self) -> PathBuf {
        self.root.join("recordings")
    }

    /// All assets, newest first; of one kind when asked.
    pub fn list(&self, kind: Option<AssetKind>) -> Vec<AssetEntry> {
        let mut found = Vec::new();
        self.walk(&self.root, 0, kind, &mut found);
        found.sort_by(|a, b| b.created_at.total_cmp(&a.created_at).then_with(|| a.path.cmp(&b.path)));
        found
    }

    fn walk(&self, dir: &Path, depth: usize, kind: Option<AssetKind>, found: &mut Vec<AssetEntry>) {
        let Ok(entries) = fs::read_dir(dir) else { return };
        for entry in entries.flatten() {
            let hidden = entry.file_name().to_string_lossy().starts_with('.');
            // Of the entry itself: links are not followed.
            let Ok(file_type) = entry.file_type() else { continue };
            if hidden || found.len() >= MAX_LISTED {
                continue;
            }
            if file_type.is_dir() && depth < MAX_DEPTH {
                self.walk(&entry.path(), depth + 1, kind, found);
            } else if file_type.is_file() {
                let listed = self.entry(&entry.path()).filter(|it| kind.is_none_or(|kind| it.kind == kind));
                found.extend(listed);
            }
        }
    }

    /// The entry of the file at `path`; `None` when it is no asset.
    pub fn entry(&self, path: &Path) -> Option<AssetEntry> {
        let (kind, _) = AssetKind::of(path)?;
        let metadata = fs::metadata(path).ok()?;
        let stored = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        let folder = path.strip_prefix(&self.root).ok()?.parent()?;
        Some(AssetEntry {
            name: path.file_stem()?.to_string_lossy().into_owned(),
            path: path.to_string_lossy().into_owned(),
            size_mb: (metadata.len() as f64 / 1_048_576.0 * 100.0).round() / 100.0,
            folder: (folder != Path::new("")).then(|| folder.to_string_lossy().into_owned()),
            kind,
            created_at: stored.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64()),
        })
    }

    /// Opens an asset. `path` is relative to the assets directory, or absolute; an absolute path of another machine or
    /// time is reduced to its last part, as clients expect.
    ///
    /// # Errors
    /// [`SandboxError`].
    pub fn open(&self, path: &str) -> Result<(File, PathBuf), SandboxError> {
        self.sandbox.open(&self.relative(path))
    }

    /// Removes an asset.
    ///
    /// # Errors
    /// [`SandboxError`].
    pub fn remove(&self, path: &str) -> Result<(), SandboxError> {
        let found = self.sandbox.resolve(&self.relative(path))?;
        fs::remove_file(found).map_err(|_| SandboxError::NotFound(path.into()))
    }

    fn relative(&self, path: &str) -> String {
        let given = Path::new(path);
        // The leading slash of an absolute path may have been taken for the one in front of the parameter.
        let rooted = Path::new("/").join(given);
        if let Ok(inside) = rooted.strip_prefix(&self.root) {
            return inside.to_string_lossy().into_owned();
        }
        if given.is_absolute() || path.starts_with("root/") {
            return given.file_name().unwrap_or_default().to_string_lossy().into_owned();
        }
        path.to_owned()
    }

    /// Begins to store a file under `name`, or under the next free name when that is taken.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn begin(&self, name: &str) -> Result<Upload, StoreError> {
        let relative = name::sanitize(name).map_err(StoreError::Name)?;
        if AssetKind::of(&relative).is_none() {
            let known = AssetKind::extensions();
            return Err(StoreError::Name(format!("{name:?} is not of a known type; these are: {known}")));
        }
        let target = self.root.join(&relative);
        let parent = target.parent().unwrap_or(&self.root);
        fs::create_dir_all(parent)?;
        // A directory that is a link leads elsewhere.
        if !fs::canonicalize(parent)?.starts_with(fs::canonicalize(&self.root)?) {
            return Err(StoreError::Name(format!("{name:?} leads outside the assets directory")));
        }
        let temporary = self.root.join(format!(".upload-{}.part", uuid::Uuid::new_v4().simple()));
        let file = File::options().write(true).create_new(true).open(&temporary)?;
        Ok(Upload { file, temporary, target, store: self.clone() })
    }
}

/// Why a file could not be stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The name cannot be used.
    #[error("{0}")]
    Name(String),
    /// The disk refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A file on its way into the store. Dropped before [`Upload::finish`], it leaves nothing behind.
#[derive(Debug)]
pub struct Upload {
    file: File,
    temporary: PathBuf,
    target: PathBuf,
    store: AssetStore,
}

impl Upload {
    /// Where to write.
    pub const fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Gives the file its name, and says which one it got.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn finish(self) -> Result<AssetEntry, StoreError> {
        for target in name::alternatives(&self.target) {
            // Creating the name exclusively reserves it; renaming over it is atomic.
            match File::options().write(true).create_new(true).open(&target) {
                Ok(_) => {
                    if let Err(error) = fs::rename(&self.temporary, &target) {
                        fs::remove_file(&target).ok();
                        return Err(error.into());
                    }
                    let gone = || StoreError::Io(io::ErrorKind::NotFound.into());
                    return self.store.entry(&target).ok_or_else(gone);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Name("a thousand files of this name exist already".into()))
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // Gone already when it was finished.
        fs::remove_file(&self.temporary).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    fn put(store: &AssetStore, name: &str, content: &[u8]) -> AssetEntry {
        let mut upload = store.begin(name).unwrap();
        upload.file().write_all(content).unwrap();
        upload.finish().unwrap()
    }

    fn read(store: &AssetStore, path: &str) -> Vec<u8> {
        let mut content = Vec::new();
        store.open(path).unwrap().0.read_to_end(&mut content).unwrap();
        content
    }

    #[test]
    fn a_taken_name_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let store = AssetStore::new(dir.path());
        put(&store, "a.png", b"one");
        assert_eq!(put(&store, "a.png", b"two").name, "a-1");
        assert_eq!(read(&store, "a.png"), b"one");
        assert_eq!(read(&store, "a-1.png"), b"two");
    }

    #[test]
    fn listings_are_newest_first_and_by_kind() {
        let dir = tempfile::tempdir().unwrap();
        let store = AssetStore::new(dir.path());
        let old = put(&store, "old.png", b"1");
        File::options().write(true).open(&old.path).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        put(&store, "sets/new.mp4", &vec![0; 3 << 20]);
        fs::write(dir.path().join("notes.txt"), b"no asset").unwrap();
        fs::write(dir.path().join(".hidden.png"), b"hidden").unwrap();
        let list = store.list(None);
        assert_eq!(list.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["new", "old"]);
        assert_eq!((list[0].folder.as_deref(), list[0].size_mb), (Some("sets"), 3.0));
        assert_eq!(store.list(Some(AssetKind::Audio)), []);
    }

    #[test]
    fn an_abandoned_upload_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = AssetStore::new(dir.path());
        drop(store.begin("a.png").unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn absolute_paths_work_whether_or_not_they_are_ours() {
        let dir = tempfile::tempdir().unwrap();
        let store = AssetStore::new(dir.path());
        let entry = put(&store, "sub/a.png", b"x");
        put(&store, "b.png", b"y");
        assert_eq!(read(&store, &entry.path), b"x");
        assert_eq!(read(&store, entry.path.trim_start_matches('/')), b"x");
        assert_eq!(read(&store, "/home/somebody/assets/b.png"), b"y");
        assert!(store.open("/etc/passwd").is_err());
    }

    #[test]
    fn only_known_types_are_stored() {
        let dir = tempfile::tempdir().unwrap();
        let store = AssetStore::new(dir.path());
        for name in ["a.html", "a.svg", "a", "a.png.exe", "../a.png"] {
            assert!(matches!(store.begin(name), Err(StoreError::Name(_))), "{name}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_linked_directory_is_not_written_through() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::os::unix::fs::symlink(other.path(), dir.path().join("out")).unwrap();
        assert!(matches!(AssetStore::new(dir.path()).begin("out/a.png"), Err(StoreError::Name(_))));
    }
}
