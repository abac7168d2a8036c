//! Weights from files: safetensors, and what `torch.save` writes.
//!
//! [`Checkpoint::open`] looks at a file's content, maps it into memory and reads its table of tensors; the tensors'
//! bytes stay where they are. A [`Selection`] picks the part of a file that a network wants and renames it, a
//! [`NetworkDescription`] checks that every tensor is there in the right shape.
//!
//! Files come from anywhere, so no content may panic, run anything, or take memory beyond a bound: a torch file's
//! pickle is read by an interpreter that can build tensors, dictionaries and lists and nothing else.
//!
//! Sources: the safetensors format (<https://huggingface.co/docs/safetensors>), APPNOTE.TXT of PKWARE for zip, Python's
//! `pickletools` for the pickle opcodes, and files written by torch itself.

mod ahead;
mod decode;
mod description;
mod dtype;
mod error;
mod index;
mod map;
mod safetensors;
mod selection;
#[cfg(test)]
pub(crate) mod test_files;
#[cfg(test)]
mod tests;
mod torch;
mod view;

pub use ahead::ReadAhead;
pub(crate) use decode::{narrow_to_bf16, widen_e4m3};
pub use description::{ExpectedTensor, Extent, Linear, Mismatch, NetworkDescription, Unexpected};
pub use dtype::FileDType;
pub(crate) use error::shown;
pub use error::{CheckpointError, CheckpointProblem, NameList};
pub use selection::{Selection, Unwrap};
pub use view::TensorView;

use crate::weights::{Numbers, TensorSource, WeightError};
use ahead::Progress;
use map::FileBytes;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// More tensors than any supported checkpoint has, training state included.
const MAX_TENSORS: usize = 100_000;
/// Bytes of a tensor's full name.
const MAX_NAME_BYTES: usize = 1024;
/// Axes of a tensor.
const MAX_RANK: usize = 8;

/// The tensors of one file, or of a set of shards, by name. Cloning is cheap: the bytes are shared.
#[derive(Clone)]
pub struct Checkpoint {
    file: Arc<str>,
    sources: Arc<[FileBytes]>,
    /// Sorted by name.
    entries: Vec<Entry>,
    metadata: Arc<BTreeMap<String, String>>,
    /// For whoever reads ahead.
    progress: Option<Arc<Progress>>,
}

/// One tensor of a file. Its readers have checked that the range lies inside the source and holds every element.
#[derive(Clone, Debug)]
struct Entry {
    name: String,
    /// Length of the dictionary key that the name starts with, if the tensor lies in a dictionary of the top one.
    group_bytes: Option<usize>,
    dtype: FileDType,
    shape: Box<[usize]>,
    strides: Option<Box<[usize]>>,
    source: usize,
    start: usize,
    len: usize,
}

impl Entry {
    fn group(&self) -> Option<&str> {
        self.group_bytes.and_then(|len| self.name.get(..len))
    }
}

/// What a reader finds in one file.
struct Table {
    entries: Vec<Entry>,
    metadata: BTreeMap<String, String>,
}

impl Checkpoint {
    /// Opens a checkpoint: a safetensors file, a torch zip archive (`.pt`, `.pth`, `.pkl`), or the
    /// `.safetensors.index.json` of a model in several safetensors files. The kind is told from the content.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is of another kind, or is damaged. See [`CheckpointProblem`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, CheckpointError> {
        let path = path.as_ref();
        let file = error::file_name(path);
        let bytes = FileBytes::map(path).map_err(|problem| CheckpointError::new(&*file, problem))?;
        if index::is_index(&bytes) {
            return index::open(path, &file, &bytes);
        }
        Self::from_file_bytes(&file, bytes)
    }

    /// A checkpoint that is already in memory, as for tests. `file` is the name for messages. Index files are not
    /// understood, since they name other files.
    ///
    /// # Errors
    ///
    /// As [`Checkpoint::open`].
    pub fn from_bytes(file: &str, bytes: Vec<u8>) -> Result<Self, CheckpointError> {
        Self::from_file_bytes(file, FileBytes::Owned(bytes))
    }

    /// A checkpoint that is part of the program, which nothing is copied of. Otherwise as [`Checkpoint::from_bytes`].
    ///
    /// # Errors
    ///
    /// As [`Checkpoint::open`].
    pub fn from_static(file: &str, bytes: &'static [u8]) -> Result<Self, CheckpointError> {
        Self::from_file_bytes(file, FileBytes::Static(bytes))
    }

    fn from_file_bytes(file: &str, bytes: FileBytes) -> Result<Self, CheckpointError> {
        let read = || {
            let table = read_table(&bytes)?;
            let mut checkpoint = Self {
                file: file.into(),
                sources: Arc::new([]),
                entries: table.entries,
                metadata: Arc::new(table.metadata),
                progress: None,
            };
            checkpoint.sort()?;
            Ok(checkpoint)
        };
        let checkpoint = read().map_err(|problem| CheckpointError::new(file, problem))?;
        Ok(Self { sources: Arc::new([bytes]), ..checkpoint })
    }

    /// Sorts by name, which [`Checkpoint::get`] relies on.
    fn sort(&mut self) -> Result<(), CheckpointProblem> {
        self.entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        match self.entries.windows(2).find(|pair| pair[0].name == pair[1].name) {
            Some(pair) => Err(CheckpointProblem::Duplicate(shown(&pair[0].name))),
            None => Ok(()),
        }
    }

    /// The file's name for messages, without its folder.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// How many tensors there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no tensor.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The tensors in the order of their names.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = TensorView<'_>> {
        self.entries.iter().map(|entry| self.view(entry))
    }

    /// The tensor of a name, if there is one.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<TensorView<'_>> {
        let at = self.entries.binary_search_by(|entry| entry.name.as_str().cmp(name)).ok()?;
        Some(self.view(&self.entries[at]))
    }

    /// The tensor of a name.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn get(&self, name: &str) -> Result<TensorView<'_>, CheckpointError> {
        self.find(name)
            .ok_or_else(|| CheckpointError::new(&*self.file, CheckpointProblem::MissingTensor(shown(name))))
    }

    /// The outermost extent of the tensor `name`.
    ///
    /// # Errors
    /// [`CheckpointError`] when there is none.
    pub fn rows(&self, name: &str) -> Result<usize, CheckpointError> {
        Ok(self.get(name)?.shape().first().copied().unwrap_or(1))
    }

    /// Free text that a safetensors file carries beside its tensors.
    #[must_use]
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    fn view<'a>(&'a self, entry: &'a Entry) -> TensorView<'a> {
        TensorView {
            name: &entry.name,
            dtype: entry.dtype,
            shape: &entry.shape,
            strides: entry.strides.as_deref(),
            data: &self.sources[entry.source][entry.start..entry.start + entry.len],
        }
    }
}

impl Checkpoint {
    /// The tensor of a name, which is about to be read.
    fn wanted(&self, name: &str) -> Result<TensorView<'_>, WeightError> {
        let tensor = self.find(name).ok_or_else(|| WeightError::Missing(shown(name)))?;
        if let Some(progress) = &self.progress {
            progress.add(tensor.data.len());
        }
        Ok(tensor)
    }
}

impl TensorSource for Checkpoint {
    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.find(name).map(|tensor| tensor.shape().to_vec())
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, WeightError> {
        self.wanted(name).map(|tensor| tensor.to_f32())
    }

    fn is_e4m3(&self, name: &str) -> bool {
        self.find(name).is_some_and(|tensor| tensor.dtype() == FileDType::F8E4M3)
    }

    fn numbers(&self, name: &str) -> Result<Numbers<'_>, WeightError> {
        let tensor = self.wanted(name)?;
        Ok(match (tensor.dtype(), tensor.bf16s()) {
            (FileDType::F8E4M3, _) => Numbers::F8E4M3(tensor.bytes()),
            (_, Some(values)) => Numbers::Bf16(Cow::Borrowed(values)),
            (_, None) => Numbers::Bf16(Cow::Owned(tensor.to_bf16())),
        })
    }
}

impl fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {} tensors", self.file, self.entries.len())
    }
}

/// Tells the kind of a file by its first bytes, and reads its table of tensors.
fn read_table(bytes: &[u8]) -> Result<Table, CheckpointProblem> {
    const GIT_LFS: &[u8] = b"version https://git-lfs";
    // The pickle of the number that old torch files begin with.
    const LEGACY_TORCH: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e";
    if bytes.starts_with(b"PK\x03\x04") {
        return torch::read(bytes);
    }
    if safetensors::is_safetensors(bytes) {
        return safetensors::read(bytes);
    }
    Err(match bytes {
        [] => CheckpointProblem::UnknownFormat("empty"),
        _ if bytes.starts_with(LEGACY_TORCH) => CheckpointProblem::LegacyTorch,
        _ if bytes.starts_with(GIT_LFS) => CheckpointProblem::UnknownFormat(
            "a Git LFS pointer, which stands for the weights but does not hold them",
        ),
        _ if bytes.starts_with(b"GGUF") => CheckpointProblem::UnknownFormat("a GGUF file"),
        [b'<', ..] => {
            CheckpointProblem::UnknownFormat("a web page, perhaps what the server said instead of the file")
        }
        [0x80, ..] => CheckpointProblem::UnknownFormat("a Python pickle without tensors' data"),
        _ => CheckpointProblem::UnknownFormat("in no format that Scope knows"),
    })
}

/// The product of extents, if it is a number of elements that memory could hold.
fn checked_elements(shape: &[usize]) -> Option<usize> {
    // A zero extent must not hide an overflow of the others.
    shape.iter().try_fold(1usize, |product, &extent| product.checked_mul(extent.max(1)))?;
    Some(shape.iter().product())
}
