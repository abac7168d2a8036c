//! Which files on disk clients may reach.

use std::fs::{self, File};
use std::io;
use std::path::{Component, Path, PathBuf};

/// Why a path was refused. The texts name the path as the client gave it and say nothing about what is on the disk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// Not a path: empty, too long, a URL, or with control characters.
    #[error("{0:?} is not a file path")]
    Malformed(String),
    /// Not below an allowed directory.
    #[error(
        "{0} is outside the directories that may be read; upload the file, or start the server with --root DIRECTORY"
    )]
    Outside(String),
    /// Allowed, but there is no such file.
    #[error("{0} does not exist")]
    NotFound(String),
    /// A directory, device or pipe.
    #[error("{0} is not a regular file")]
    NotAFile(String),
}

/// Directories whose files may be read, and nothing else.
///
/// A path is judged three times: as written, before the disk is touched, so that refusals do not tell which files exist;
/// with all symbolic links resolved; and after opening, in case something moved in between.
#[derive(Clone, Debug, Default)]
pub struct Sandbox {
    roots: Vec<PathBuf>,
}

impl Sandbox {
    /// A sandbox of these directories, which need not exist yet.
    pub fn new(roots: impl IntoIterator<Item = PathBuf>) -> Self {
        Self { roots: roots.into_iter().map(|root| std::path::absolute(&root).unwrap_or(root)).collect() }
    }

    /// The canonical path of the regular file at `path`. A relative path is looked for in every root, in their order.
    ///
    /// Reads the disk: not for async threads.
    ///
    /// # Errors
    /// [`SandboxError`].
    pub fn resolve(&self, path: &str) -> Result<PathBuf, SandboxError> {
        let malformed = path.is_empty()
            || path.len() > 4096
            || path.chars().any(char::is_control)
            || path.contains("://")
            || Path::new(path).components().any(|part| part == Component::ParentDir);
        if malformed {
            return Err(SandboxError::Malformed(path.chars().take(80).collect()));
        }
        let given = Path::new(path);
        if given.is_relative() {
            let found = self.roots.iter().find_map(|root| self.canonical(&root.join(given)).ok());
            return found
                .map_or_else(|| Err(SandboxError::NotFound(path.into())), |found| regular(found, path));
        }
        let inside = |root: &PathBuf| {
            given.starts_with(root) || fs::canonicalize(root).is_ok_and(|root| given.starts_with(root))
        };
        if !self.roots.iter().any(inside) {
            return Err(SandboxError::Outside(path.into()));
        }
        let found = self.canonical(given).map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => SandboxError::Outside(path.into()),
            _ => SandboxError::NotFound(path.into()),
        })?;
        regular(found, path)
    }

    /// Opens the regular file at `path`, and says where it is.
    ///
    /// # Errors
    /// [`SandboxError`].
    pub fn open(&self, path: &str) -> Result<(File, PathBuf), SandboxError> {
        let found = self.resolve(path)?;
        let file = File::open(&found).map_err(|_| SandboxError::NotFound(path.into()))?;
        // What was opened must still be what was judged.
        let unmoved = self.canonical(&found).is_ok_and(|again| again == found) && same_file(&file, &found);
        if unmoved { Ok((file, found)) } else { Err(SandboxError::Outside(path.into())) }
    }

    /// `path` without symbolic links, when that is still below a root.
    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        let found = fs::canonicalize(path)?;
        let inside =
            self.roots.iter().any(|root| fs::canonicalize(root).is_ok_and(|root| found.starts_with(root)));
        if inside { Ok(found) } else { Err(io::ErrorKind::PermissionDenied.into()) }
    }
}

fn regular(found: PathBuf, given: &str) -> Result<PathBuf, SandboxError> {
    if fs::metadata(&found).is_ok_and(|metadata| metadata.is_file()) {
        Ok(found)
    } else {
        Err(SandboxError::NotAFile(given.into()))
    }
}

#[cfg(unix)]
fn same_file(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()) && a.is_file(),
        _ => false,
    }
}

#[cfg(not(unix))]
fn same_file(file: &File, _path: &Path) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Tree {
        dir: tempfile::TempDir,
        sandbox: Sandbox,
    }

    /// `root/sub/in.png`, and next to the root a directory whose name begins with the root's.
    fn tree() -> Tree {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("root/sub")).unwrap();
        fs::create_dir_all(dir.path().join("root-other")).unwrap();
        fs::write(dir.path().join("root/sub/in.png"), b"in").unwrap();
        fs::write(dir.path().join("root-other/out.png"), b"out").unwrap();
        let sandbox = Sandbox::new([dir.path().join("root")]);
        Tree { dir, sandbox }
    }

    fn text(path: &Path) -> String {
        path.to_str().unwrap().to_owned()
    }

    #[test]
    fn files_are_found_by_absolute_and_by_relative_path() {
        let Tree { dir, sandbox } = tree();
        let expected = fs::canonicalize(dir.path().join("root/sub/in.png")).unwrap();
        assert_eq!(sandbox.resolve("sub/in.png"), Ok(expected.clone()));
        assert_eq!(sandbox.resolve(&text(&dir.path().join("root/sub/in.png"))), Ok(expected.clone()));
        assert_eq!(sandbox.open("sub/in.png").unwrap().1, expected);
    }

    #[test]
    fn a_directory_with_a_similar_name_is_outside() {
        let Tree { dir, sandbox } = tree();
        let path = text(&dir.path().join("root-other/out.png"));
        assert_eq!(sandbox.resolve(&path), Err(SandboxError::Outside(path)));
    }

    #[test]
    fn refusals_do_not_tell_which_files_exist() {
        let Tree { dir, sandbox } = tree();
        for name in ["root-other/out.png", "root-other/none.png"] {
            let path = text(&dir.path().join(name));
            assert_eq!(sandbox.resolve(&path), Err(SandboxError::Outside(path)));
        }
    }

    #[test]
    fn traversal_urls_and_control_characters_are_malformed() {
        let Tree { dir, sandbox } = tree();
        let up = text(&dir.path().join("root/../root-other/out.png"));
        for path in [
            "",
            "../root-other/out.png",
            "sub/../../x",
            &up,
            "file:///etc/passwd",
            "http://x/y",
            "a\0b",
            "a\nb",
        ] {
            assert!(matches!(sandbox.resolve(path), Err(SandboxError::Malformed(_))), "{path:?}");
        }
    }

    #[test]
    fn directories_are_not_files() {
        assert_eq!(tree().sandbox.resolve("sub"), Err(SandboxError::NotAFile("sub".into())));
    }

    #[cfg(unix)]
    #[test]
    fn symbolic_links_lead_nowhere_outside() {
        let Tree { dir, sandbox } = tree();
        let link = dir.path().join("root/link.png");
        std::os::unix::fs::symlink(dir.path().join("root-other/out.png"), &link).unwrap();
        std::os::unix::fs::symlink(dir.path().join("root-other"), dir.path().join("root/dir")).unwrap();
        assert!(sandbox.resolve("link.png").is_err());
        assert!(matches!(sandbox.resolve(&text(&link)), Err(SandboxError::Outside(_))));
        assert!(sandbox.resolve("dir/out.png").is_err());
        std::os::unix::fs::symlink(dir.path().join("root/sub/in.png"), dir.path().join("root/ok.png"))
            .unwrap();
        assert!(sandbox.resolve("ok.png").is_ok());
    }

    #[cfg(unix)]
    #[test]
    fn a_root_may_itself_be_a_link() {
        let Tree { dir, .. } = tree();
        std::os::unix::fs::symlink(dir.path().join("root"), dir.path().join("alias")).unwrap();
        let sandbox = Sandbox::new([dir.path().join("alias")]);
        assert!(sandbox.resolve(&text(&dir.path().join("alias/sub/in.png"))).is_ok());
        assert!(sandbox.resolve(&text(&dir.path().join("root/sub/in.png"))).is_ok());
    }

    proptest! {
        #[test]
        fn nothing_outside_is_ever_resolved(path in "(/|\\.\\./|\\./|sub/|root-other/|in\\.png|out\\.png|[a-z]{1,3}|\\\\|%2e){0,8}") {
            let Tree { dir, sandbox } = tree();
            if let Ok(found) = sandbox.resolve(&path) {
                prop_assert!(found.starts_with(fs::canonicalize(dir.path().join("root")).unwrap()));
            }
        }
    }
}
