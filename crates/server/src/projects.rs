//! Named projects: documents of the web interface, kept where every browser that uses this server finds them.
//!
//! What a project holds is the interface's own affair: the server keeps any JSON object. Two browsers may have the same
//! project open, so a writer can say which state it has seen and is refused when there is a newer one.

use crate::assets::is_file_name;
use crate::security::write_private;
use parking_lot::Mutex;
use serde::Serialize;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use utoipa::ToSchema;

/// Bytes of one project.
pub(crate) const MAX_BYTES: usize = 8 << 20;
/// Projects.
const MAX_PROJECTS: usize = 1000;
/// Bytes of a project's name.
const MAX_NAME_BYTES: usize = 120;
const EXTENSION: &str = "json";

/// One kept project, as clients read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ProjectEntry {
    /// Its name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// When it was last saved: RFC 3339, UTC.
    pub modified: String,
}

/// Why a project cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// No file can have this name.
    #[error(
        "{0:?} cannot be the name of a project: use up to {MAX_NAME_BYTES} bytes, no / \\ : * ? \" < > |, and no dot in front"
    )]
    Name(String),
    /// There is none of this name.
    #[error("there is no project {0:?}")]
    NotFound(String),
    /// It is not in the state that the writer has seen.
    #[error("the project {0:?} has been changed by somebody else")]
    Changed(String),
    /// There are too many.
    #[error("there are {MAX_PROJECTS} projects; delete one first")]
    Full,
    /// The disk refuses.
    #[error("the project cannot be kept: {0}")]
    Io(#[from] io::Error),
}

/// The state that a writer expects to replace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Expected {
    /// Whatever is there.
    #[default]
    Any,
    /// Nothing: the name must be free.
    Nothing,
    /// The state with this entity tag.
    Tag(String),
}

/// The directory of projects. All functions read or write the disk: not for async threads.
#[derive(Debug)]
pub struct ProjectStore {
    root: PathBuf,
    /// Held from the check of what is there to its replacement.
    writing: Mutex<()>,
}

impl ProjectStore {
    /// A store in `root`, which is created when something is kept.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), writing: Mutex::new(()) }
    }

    /// All projects, last saved first.
    pub fn list(&self) -> Vec<ProjectEntry> {
        let mut found: Vec<_> = self.files().filter_map(|path| entry(&path)).collect();
        found.sort_by(|(a, time_a), (b, time_b)| time_b.cmp(time_a).then_with(|| a.name.cmp(&b.name)));
        found.into_iter().map(|(entry, _)| entry).collect()
    }

    fn files(&self) -> impl Iterator<Item = PathBuf> {
        let entries = fs::read_dir(&self.root).into_iter().flatten().flatten();
        // Of the entry itself: links are not followed.
        let entries = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
        let paths = entries.map(|entry| entry.path());
        paths.filter(|path| path.extension().is_some_and(|it| it == EXTENSION)).take(MAX_PROJECTS)
    }

    /// A project and its entity tag.
    ///
    /// # Errors
    /// [`ProjectError`].
    pub fn read(&self, name: &str) -> Result<(Vec<u8>, String), ProjectError> {
        let content = self.content(name, &self.path(name)?)?;
        content.ok_or_else(|| ProjectError::NotFound(name.to_owned()))
    }

    fn content(&self, name: &str, path: &Path) -> Result<Option<(Vec<u8>, String)>, ProjectError> {
        let meta = match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        if !meta.is_file() || meta.len() > MAX_BYTES as u64 {
            return Err(ProjectError::NotFound(name.to_owned()));
        }
        let bytes = fs::read(path)?;
        let tag = tag(&bytes);
        Ok(Some((bytes, tag)))
    }

    /// Keeps a project, whole or not at all, and answers its new entity tag.
    ///
    /// # Errors
    /// [`ProjectError`]; what was there before is then untouched.
    pub fn write(&self, name: &str, bytes: &[u8], expected: &Expected) -> Result<String, ProjectError> {
        let path = self.path(name)?;
        let _writing = self.writing.lock();
        let present = self.content(name, &path)?.map(|(_, tag)| tag);
        let as_expected = match expected {
            Expected::Any => true,
            Expected::Nothing => present.is_none(),
            Expected::Tag(tag) => present.as_ref() == Some(tag),
        };
        if !as_expected {
            return Err(ProjectError::Changed(name.to_owned()));
        }
        if present.is_none() && self.files().count() >= MAX_PROJECTS {
            return Err(ProjectError::Full);
        }
        fs::create_dir_all(&self.root)?;
        write_private(&path, bytes)?;
        Ok(tag(bytes))
    }

    /// Throws a project away.
    ///
    /// # Errors
    /// [`ProjectError`].
    pub fn remove(&self, name: &str) -> Result<(), ProjectError> {
        let path = self.path(name)?;
        let _writing = self.writing.lock();
        if self.content(name, &path)?.is_none() {
            return Err(ProjectError::NotFound(name.to_owned()));
        }
        Ok(fs::remove_file(path)?)
    }

    fn path(&self, name: &str) -> Result<PathBuf, ProjectError> {
        if name.len() > MAX_NAME_BYTES || !is_file_name(name) {
            return Err(ProjectError::Name(name.to_owned()));
        }
        Ok(self.root.join(format!("{name}.{EXTENSION}")))
    }
}

fn entry(path: &Path) -> Option<(ProjectEntry, jiff::Timestamp)> {
    let metadata = fs::metadata(path).ok()?;
    let saved = jiff::Timestamp::try_from(metadata.modified().ok()?).ok()?;
    let name = path.file_stem()?.to_str()?.to_owned();
    let modified = saved.round(jiff::Unit::Millisecond).ok()?.to_string();
    Some((ProjectEntry { name, bytes: metadata.len(), modified }, saved))
}

/// A strong entity tag.
fn tag(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    let hex: String = digest.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, ProjectStore) {
        let dir = tempfile::tempdir().unwrap();
        let store = ProjectStore::new(dir.path().join("projects"));
        (dir, store)
    }

    #[test]
    fn a_project_is_kept_listed_and_thrown_away() {
        let (_dir, store) = store();
        assert_eq!(store.list(), []);
        let tag = store.write("Été 1", b"{}", &Expected::Any).unwrap();
        assert_eq!(store.read("Été 1").unwrap(), (b"{}".to_vec(), tag));
        let listed = store.list();
        assert_eq!((listed[0].name.as_str(), listed[0].bytes, listed.len()), ("Été 1", 2, 1));
        assert!(listed[0].modified.ends_with('Z'), "{}", listed[0].modified);
        store.remove("Été 1").unwrap();
        assert!(matches!(store.read("Été 1"), Err(ProjectError::NotFound(_))));
        assert!(matches!(store.remove("Été 1"), Err(ProjectError::NotFound(_))));
    }

    #[test]
    fn a_writer_who_has_seen_an_older_state_changes_nothing() {
        let (_dir, store) = store();
        let first = store.write("a", b"{}", &Expected::Nothing).unwrap();
        assert!(matches!(store.write("a", b"1", &Expected::Nothing), Err(ProjectError::Changed(_))));
        let second = store.write("a", b"{\"b\":1}", &Expected::Tag(first.clone())).unwrap();
        assert!(matches!(store.write("a", b"1", &Expected::Tag(first)), Err(ProjectError::Changed(_))));
        assert_eq!(store.read("a").unwrap(), (b"{\"b\":1}".to_vec(), second.clone()));
        store.remove("a").unwrap();
        assert!(matches!(store.write("a", b"1", &Expected::Tag(second)), Err(ProjectError::Changed(_))));
    }

    #[test]
    fn of_simultaneous_writers_of_one_state_one_succeeds() {
        let (_dir, store) = store();
        let seen = Expected::Tag(store.write("a", b"{}", &Expected::Any).unwrap());
        let wins = std::thread::scope(|scope| {
            let write = |n: u8| {
                let (store, seen) = (&store, &seen);
                scope.spawn(move || store.write("a", &[n], seen).is_ok())
            };
            let writers: Vec<_> = (b'1'..=b'8').map(write).collect();
            writers.into_iter().map(|it| it.join().unwrap()).filter(|won| *won).count()
        });
        assert_eq!(wins, 1);
    }

    #[test]
    fn names_cannot_leave_the_folder() {
        let (dir, store) = store();
        fs::write(dir.path().join("secret.json"), b"{}").unwrap();
        for name in ["../secret", "a/b", r"a\b", "", ".hidden", "nul", "a\0", &"x".repeat(121)] {
            assert!(matches!(store.read(name), Err(ProjectError::Name(_))), "{name:?}");
            assert!(
                matches!(store.write(name, b"{}", &Expected::Any), Err(ProjectError::Name(_))),
                "{name:?}"
            );
        }
        #[cfg(unix)]
        {
            fs::create_dir_all(dir.path().join("projects")).unwrap();
            let link = dir.path().join("projects/link.json");
            std::os::unix::fs::symlink(dir.path().join("secret.json"), link).unwrap();
            assert!(matches!(store.read("link"), Err(ProjectError::NotFound(_))));
            assert_eq!(store.list(), []);
        }
    }
}
