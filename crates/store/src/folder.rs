//! A folder of models: what is there.

use crate::container::{self, Verdict};
use crate::ledger::{self, Ledger, Record};
use crate::manifest::{FileEntry, Manifest, PipelineEntry, Role, Settings};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a file on its way is called: its own name and this. The second is what other programs use that share the folder.
pub(crate) const PART_SUFFIX: &str = ".part";
pub(crate) const FOREIGN_PART_SUFFIX: &str = ".incomplete";

/// Files that an error names; there are seldom more than a dozen.
const MAX_NAMED: usize = 6;

/// Why a file that is there cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// It has another size than it should have.
    #[error("it has {found} bytes instead of {expected}")]
    Size {
        /// What it should have.
        expected: u64,
        /// What it has.
        found: u64,
    },
    /// Its structure says that it is not whole.
    #[error("{0}")]
    Structure(&'static str),
    /// Its content is not what it should be.
    #[error("its checksum is wrong")]
    Checksum,
    /// It is a folder, or something else that is no file.
    #[error("it is no file")]
    NotAFile,
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
}

/// Whether a file is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileState {
    /// It is not there.
    Missing,
    /// It is on its way, or was.
    Partial {
        /// Bytes that are there.
        bytes: u64,
    },
    /// It is there and cannot be used.
    Damaged(Damage),
    /// It is there, and nothing is known against it.
    Complete {
        /// Its size.
        bytes: u64,
        /// Whether it was read in full since it last changed, and had the right checksum.
        verified: bool,
    },
}

impl FileState {
    /// Whether it can be used.
    pub const fn is_complete(&self) -> bool {
        matches!(self, Self::Complete { .. })
    }
}

/// One file of a pipeline, as it is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileReport {
    /// What the manifest says about it.
    pub entry: FileEntry,
    /// Where it lies or will lie.
    pub path: PathBuf,
    /// Whether it is there.
    pub state: FileState,
    /// How many bytes it has or will have; from its server where that was asked, else roughly, from the manifest.
    pub size: Option<u64>,
    /// Whether `size` is exact.
    pub size_is_exact: bool,
}

impl FileReport {
    /// Bytes still to be downloaded.
    pub fn bytes_missing(&self) -> u64 {
        let size = self.size.unwrap_or(0);
        match self.state {
            FileState::Complete { .. } => 0,
            FileState::Partial { bytes } => size.saturating_sub(bytes),
            FileState::Missing | FileState::Damaged(_) => size,
        }
    }
}

/// A file that keeps a pipeline from being loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileProblem {
    /// Where it should lie, relative to the models folder.
    pub path: String,
    /// What it is to the pipeline.
    pub role: Role,
    /// What is wrong; never [`FileState::Complete`].
    pub state: FileState,
    /// Bytes still to be downloaded, roughly.
    pub bytes_missing: u64,
}

impl fmt::Display for FileProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.state {
            FileState::Damaged(damage) => write!(f, "{} is damaged ({damage})", self.path),
            FileState::Partial { .. } => write!(f, "{} is only partly there", self.path),
            _ => write!(f, "{} is missing", self.path),
        }
    }
}

/// Why a pipeline's files cannot be had. The text is for users.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unavailable {
    /// No manifest knows it.
    #[error("no files are known for the pipeline {0:?}")]
    UnknownPipeline(String),
    /// Some files are missing or damaged.
    #[error(
        "{} of the {total} files of {pipeline} {}, about {} to download: {}. Run `scope models download {pipeline}`, or download it in the interface",
        problems.len(), if problems.len() == 1 { "is not usable" } else { "are not usable" },
        format_bytes(*bytes_missing), Listed(problems)
    )]
    Files {
        /// The pipeline's id.
        pipeline: String,
        /// How many files it needs.
        total: usize,
        /// Those that cannot be used.
        problems: Vec<FileProblem>,
        /// Bytes still to be downloaded, roughly.
        bytes_missing: u64,
    },
}

struct Listed<'a>(&'a [FileProblem]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().take(MAX_NAMED).enumerate() {
            write!(f, "{}{problem}", if index == 0 { "" } else { ", " })?;
        }
        match self.0.len().saturating_sub(MAX_NAMED) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// A number of bytes for people: `6.7 GB`.
pub fn format_bytes(bytes: u64) -> String {
    const UNITS: [(&str, u64); 4] =
        [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1000)];
    let unit = UNITS.iter().find(|(_, size)| bytes >= *size);
    unit.map_or_else(
        || format!("{bytes} B"),
        |(name, size)| format!("{:.1} {name}", bytes as f64 / *size as f64),
    )
}

/// The files of a pipeline that can be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFiles {
    files: Vec<(Role, PathBuf)>,
}

impl ModelFiles {
    /// The file that is `role` to the pipeline; `None` when the settings do without one.
    pub fn path(&self, role: Role) -> Option<&Path> {
        self.files.iter().find(|(known, _)| *known == role).map(|(_, path)| path.as_path())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (Role, &Path)> {
        self.files.iter().map(|(role, path)| (*role, path.as_path()))
    }
}

/// A folder with models in it. Functions read the disk: not for async threads.
#[derive(Clone, Debug)]
pub struct ModelFolder {
    root: PathBuf,
    manifest: Arc<Manifest>,
}

impl ModelFolder {
    /// The folder `root` with the pipelines of this program. It need not exist.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self::with_manifest(root, Manifest::builtin())
    }

    /// The folder `root` with other pipelines.
    pub fn with_manifest(root: impl Into<PathBuf>, manifest: Arc<Manifest>) -> Self {
        Self { root: root.into(), manifest }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The pipelines that it may have files for.
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// The files that `pipeline` needs with these settings.
    ///
    /// # Errors
    /// [`Unavailable`], with everything that is missing or damaged. Sizes and structure are checked, not checksums.
    pub fn locate(&self, pipeline: &str, settings: &Settings) -> Result<ModelFiles, Unavailable> {
        let reports = self.needed(pipeline, settings)?;
        let problem = |report: &FileReport| FileProblem {
            path: report.entry.local.to_string(),
            role: report.entry.role,
            state: report.state.clone(),
            bytes_missing: report.bytes_missing(),
        };
        let problems: Vec<_> = reports.iter().filter(|it| !it.state.is_complete()).map(problem).collect();
        if problems.is_empty() {
            let files = reports.into_iter().map(|report| (report.entry.role, report.path)).collect();
            return Ok(ModelFiles { files });
        }
        let bytes_missing = problems.iter().map(|problem| problem.bytes_missing).sum();
        Err(Unavailable::Files {
            pipeline: pipeline.to_owned(),
            total: reports.len(),
            problems,
            bytes_missing,
        })
    }

    fn needed(&self, pipeline: &str, settings: &Settings) -> Result<Vec<FileReport>, Unavailable> {
        let mut reports = self.inspect(pipeline)?;
        reports.retain(|report| report.entry.is_needed(settings));
        Ok(reports)
    }

    /// All files of `pipeline`, whatever the settings, as they are on disk.
    ///
    /// # Errors
    /// [`Unavailable::UnknownPipeline`].
    pub fn inspect(&self, pipeline: &str) -> Result<Vec<FileReport>, Unavailable> {
        let pipeline = self.entry(pipeline)?;
        let ledger = Ledger::read(&self.root);
        Ok(pipeline.files.iter().map(|file| self.report(file, ledger.get(&file.local))).collect())
    }

    fn entry(&self, pipeline: &str) -> Result<&PipelineEntry, Unavailable> {
        let unknown = || Unavailable::UnknownPipeline(pipeline.chars().take(80).collect());
        self.manifest.pipeline(pipeline).ok_or_else(unknown)
    }

    fn report(&self, entry: &FileEntry, record: Option<&Record>) -> FileReport {
        let path = entry.local.below(&self.root);
        let state = state_of(&path, entry, record);
        let told = record.and_then(|record| record.remote.as_ref()?.size);
        let (size, size_is_exact) = match state {
            FileState::Complete { bytes, .. } => (Some(bytes), true),
            _ => match entry.size.or(told) {
                Some(size) => (Some(size), true),
                None => (entry.about_bytes, false),
            },
        };
        FileReport { entry: entry.clone(), path, state, size, size_is_exact }
    }
}

fn state_of(path: &Path, entry: &FileEntry, record: Option<&Record>) -> FileState {
    // Links are followed: people keep large files on other disks.
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return partial(path),
        Err(error) => return FileState::Damaged(Damage::Unreadable(error.kind().to_string())),
    };
    if !metadata.is_file() {
        return FileState::Damaged(Damage::NotAFile);
    }
    let (size, modified_ns) = ledger::stamp(&metadata);
    let seen = record.and_then(|record| record.seen.as_ref());
    let unchanged = seen.filter(|seen| (seen.size, seen.modified_ns) == (size, modified_ns));
    if let Some(expected) = entry.size.filter(|expected| *expected != size) {
        return FileState::Damaged(Damage::Size { expected, found: size });
    }
    match unchanged {
        Some(seen) if seen.intact => return FileState::Complete { bytes: size, verified: true },
        Some(_) => return FileState::Damaged(Damage::Checksum),
        None => {}
    }
    // It was right once and has another size now.
    if let Some(seen) = seen.filter(|seen| seen.intact && seen.size != size) {
        return FileState::Damaged(Damage::Size { expected: seen.size, found: size });
    }
    match container::look(path, size) {
        Ok(Verdict::Plausible) => FileState::Complete { bytes: size, verified: false },
        Ok(Verdict::Broken(problem)) => FileState::Damaged(Damage::Structure(problem)),
        Err(error) => FileState::Damaged(Damage::Unreadable(error.kind().to_string())),
    }
}

fn partial(path: &Path) -> FileState {
    part_of(path).map_or(FileState::Missing, |(_, bytes)| FileState::Partial { bytes })
}

/// The beginning of the file at `path`, and how long it is.
pub(crate) fn part_of(path: &Path) -> Option<(PathBuf, u64)> {
    [PART_SUFFIX, FOREIGN_PART_SUFFIX].into_iter().find_map(|suffix| {
        let part = with_suffix(path, suffix);
        let metadata = fs::metadata(&part).ok().filter(fs::Metadata::is_file)?;
        Some((part, metadata.len()))
    })
}

/// `path` with `suffix` after its name.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{ModelSize, VaeType};

    const MANIFEST: &str = r#"
        [[repository]]
        id = "o/base"
        [[pipeline]]
        id = "p"
        name = "P"
        files = [
          { repository = "o/base", path = "config.json", role = "config", size = 2 },
          { repository = "o/base", path = "sub/model.pt", role = "generator", about_bytes = 4_200_000_000 },
          { repository = "o/base", path = "full.pth", role = "vae", when = { vae_type = "wan" }, about_bytes = 500 },
          { repository = "o/base", path = "tiny.pth", role = "vae", when = { vae_type = "tae" }, about_bytes = 50 },
          { repository = "o/base", path = "vace.safetensors", role = "vace", when = { vace = true } },
          { repository = "o/base", path = "other.json", role = "companion" },
        ]
    "#;

    fn folder(dir: &tempfile::TempDir) -> ModelFolder {
        ModelFolder::with_manifest(dir.path(), Arc::new(Manifest::parse(MANIFEST).unwrap()))
    }

    fn put(dir: &tempfile::TempDir, path: &str, content: &[u8]) {
        let path = dir.path().join("base").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    const PLAIN: Settings = Settings { vae_type: VaeType::Tae, vace: false, model_size: ModelSize::Small };

    fn complete(dir: &tempfile::TempDir) {
        put(dir, "config.json", b"{}");
        put(dir, "sub/model.pt", b"weights");
        put(dir, "tiny.pth", b"vae");
    }

    #[test]
    fn files_are_found_by_what_they_are_for() {
        let dir = tempfile::tempdir().unwrap();
        complete(&dir);
        let files = folder(&dir).locate("p", &PLAIN).unwrap();
        assert_eq!(files.path(Role::Generator), Some(dir.path().join("base/sub/model.pt").as_path()));
        assert_eq!(files.path(Role::Vae), Some(dir.path().join("base/tiny.pth").as_path()));
        assert_eq!(files.path(Role::Vace), None);
        assert_eq!(files.iter().count(), 3);
    }

    #[test]
    fn what_is_missing_is_listed_with_its_bytes_and_a_remedy() {
        let dir = tempfile::tempdir().unwrap();
        complete(&dir);
        fs::remove_file(dir.path().join("base/sub/model.pt")).unwrap();
        put(&dir, "config.json", b"{");
        let error = folder(&dir).locate("p", &PLAIN).unwrap_err();
        assert_eq!(
            error.to_string(),
            "2 of the 3 files of p are not usable, about 4.2 GB to download: base/config.json is damaged (it has 1 bytes \
             instead of 2), base/sub/model.pt is missing. Run `scope models download p`, or download it in the interface"
        );
        let Unavailable::Files { problems, bytes_missing, .. } = error else { panic!() };
        assert_eq!((problems.len(), bytes_missing), (2, 4_200_000_002));
        assert!(matches!(folder(&dir).locate("q", &PLAIN), Err(Unavailable::UnknownPipeline(_))));
    }

    #[test]
    fn parts_count_for_what_they_have_whoever_left_them() {
        let dir = tempfile::tempdir().unwrap();
        let folder = folder(&dir);
        let state = |role| {
            let reports = folder.inspect("p").unwrap();
            let report = reports.into_iter().find(|it| it.entry.role == role).unwrap();
            (report.state.clone(), report.bytes_missing())
        };
        put(&dir, "sub/model.pt.part", &[0; 1000]);
        assert_eq!(state(Role::Generator), (FileState::Partial { bytes: 1000 }, 4_199_999_000));
        put(&dir, "full.pth.incomplete", &[0; 100]);
        assert_eq!(state(Role::Vae), (FileState::Partial { bytes: 100 }, 400));
    }

    #[test]
    fn truncated_and_empty_files_are_damaged_even_when_nobody_knows_their_size() {
        let dir = tempfile::tempdir().unwrap();
        complete(&dir);
        put(&dir, "sub/model.pt", b"PK\x03\x04 and no end");
        put(&dir, "tiny.pth", b"");
        put(&dir, "vace.safetensors", b"\x02\0\0\0\0\0\0\0{}");
        let reports = folder(&dir).inspect("p").unwrap();
        let damaged =
            reports.iter().filter(|it| matches!(it.state, FileState::Damaged(Damage::Structure(_))));
        assert_eq!(
            damaged.map(|it| it.entry.path.as_str()).collect::<Vec<_>>(),
            ["sub/model.pt", "tiny.pth"]
        );
        assert!(reports[4].state.is_complete());
        fs::create_dir(dir.path().join("base/full.pth")).unwrap();
        assert_eq!(folder(&dir).inspect("p").unwrap()[2].state, FileState::Damaged(Damage::NotAFile));
    }

    #[cfg(unix)]
    #[test]
    fn files_on_other_disks_are_found_through_links() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        complete(&dir);
        let link = dir.path().join("base/sub/model.pt");
        fs::rename(&link, other.path().join("model.pt")).unwrap();
        std::os::unix::fs::symlink(other.path().join("model.pt"), &link).unwrap();
        assert!(folder(&dir).locate("p", &PLAIN).is_ok());
    }

    #[test]
    fn bytes_are_written_for_people() {
        for (bytes, text) in [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (6_731_333_792, "6.7 GB")] {
            assert_eq!(format_bytes(bytes), text);
        }
    }
}
