//! What can be wrong with a checkpoint, in words that say what happened, to which file, and what to do next.

use super::{FileDType, Mismatch};
use std::fmt;
use std::path::Path;

/// A checkpoint that cannot be used. Names the file without its folder, so that the message may be shown to a
/// client.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {problem}")]
pub struct CheckpointError {
    file: String,
    pub(super) problem: CheckpointProblem,
}

impl CheckpointError {
    pub(super) fn new(file: impl Into<String>, problem: CheckpointProblem) -> Self {
        Self { file: file.into(), problem }
    }

    /// The file's name, without the folders that lead to it.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// What is wrong with it.
    #[must_use]
    pub fn problem(&self) -> &CheckpointProblem {
        &self.problem
    }
}

/// What is wrong with a checkpoint. Text that comes from the file is cut and escaped before it is shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointProblem {
    /// The operating system refused.
    #[error("cannot be read ({0}); check that the file is there and that its permissions allow reading")]
    Io(#[source] std::io::Error),
    /// A folder, a device, a pipe.
    #[error("is not a regular file; give the path of the weights' file itself")]
    NotAFile,
    /// Neither of the two formats.
    #[error("is {0}; give a .safetensors file or one that torch.save wrote (.pt, .pth)")]
    UnknownFormat(&'static str),
    /// `torch.save` before torch 1.6, which wrote a bare pickle.
    #[error(
        "is in the torch format from before version 1.6; load it with torch and store it again with torch.save or \
         as safetensors"
    )]
    LegacyTorch,
    /// A program exported by TorchScript, of which weights are only a part.
    #[error("is a TorchScript program; store its state_dict() with torch.save or as safetensors")]
    TorchScript,
    /// Written on a big-endian machine.
    #[error("holds big-endian numbers; load it with torch and store it again on a little-endian machine")]
    BigEndian,
    /// Shorter than it says itself.
    #[error("ends after {found_bytes} bytes where {needed_bytes} are needed; fetch the file again")]
    Truncated {
        /// Bytes that the file's own structure asks for.
        needed_bytes: u64,
        /// Bytes that are there.
        found_bytes: u64,
    },
    /// A structure that contradicts itself or the format.
    #[error("has a damaged {part}: {detail}; fetch the file again")]
    Malformed {
        /// Which structure.
        part: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// Beyond what any real checkpoint needs. Refused before memory is spent on it.
    #[error("has more than {limit} {what}; this is no checkpoint of a supported model")]
    TooLarge {
        /// How much would have been accepted.
        limit: u64,
        /// What there is too much of.
        what: &'static str,
    },
    /// A zip entry that is packed or encrypted. Torch stores its entries as they are.
    #[error(
        "has the compressed entry {entry}; torch stores weights uncompressed, so unpack the archive and zip it with \
         compression off, or store it again with torch.save"
    )]
    Compressed {
        /// The entry's name.
        entry: String,
    },
    /// The pickle asks for something that is not needed to hold tensors. Nothing is ever run.
    #[error(
        "asks for the Python object {global}, which Scope never runs; store only the state_dict() with torch.save or \
         as safetensors"
    )]
    ForbiddenGlobal {
        /// `module.name`.
        global: String,
    },
    /// One tensor's description is wrong.
    #[error("tensor {name}: {detail}")]
    Tensor {
        /// The tensor.
        name: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A tensor of a type that no network uses.
    #[error(
        "tensor {name} has the element type {dtype}, which Scope cannot read; convert the file to bf16 or f32"
    )]
    UnsupportedDType {
        /// The tensor.
        name: String,
        /// The type, as the file spells it.
        dtype: String,
    },
    /// A tensor that is no list of whole numbers, or holds some beyond 32 bits, was asked for as such.
    #[error("tensor {name} of {dtype} does not fit 32-bit integers")]
    NotInteger {
        /// The tensor.
        name: String,
        /// Its type.
        dtype: FileDType,
    },
    /// Two tensors of one name.
    #[error("holds the tensor {0} twice; it is not clear which one to use")]
    Duplicate(String),
    /// The dictionary that should hold the weights is not there.
    #[error("has no entry {key}, only {found}; it is a checkpoint of another model")]
    MissingKey {
        /// The key that was looked for.
        key: String,
        /// Keys that are there.
        found: String,
    },
    /// Nothing to load.
    #[error("holds no tensors that this model can use; it is a checkpoint of another model")]
    NoTensors,
    /// A tensor that was asked for by name.
    #[error("has no tensor {0}; it is a checkpoint of another model or version")]
    MissingTensor(String),
    /// An index file and its shards don't agree.
    #[error("{detail}; fetch the index and all of its parts again")]
    Index {
        /// What is wrong.
        detail: String,
    },
    /// Names or shapes are not the network's.
    #[error(transparent)]
    Mismatch(Box<Mismatch>),
}

impl CheckpointProblem {
    pub(super) fn malformed(part: &'static str, detail: impl Into<String>) -> Self {
        Self::Malformed { part, detail: detail.into() }
    }

    pub(super) fn tensor(name: &str, detail: impl Into<String>) -> Self {
        Self::Tensor { name: shown(name), detail: detail.into() }
    }

    pub(super) fn too_large(limit: usize, what: &'static str) -> Self {
        Self::TooLarge { limit: limit as u64, what }
    }
}

/// The last part of a path, for messages.
pub(super) fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(|| "checkpoint".to_owned(), |name| shown(&name.to_string_lossy()))
}

/// Text from a file, cut to a length that a message can hold, control characters escaped.
pub(crate) fn shown(text: &str) -> String {
    const LIMIT_CHARS: usize = 120;
    let mut out: String = text.chars().take(LIMIT_CHARS).flat_map(char::escape_debug).collect();
    if text.chars().nth(LIMIT_CHARS).is_some() {
        out.push('…');
    }
    out
}

/// Some names of many: at most [`NameList::SHOWN`] are kept, the rest only counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameList {
    shown: Vec<String>,
    total: usize,
}

impl NameList {
    /// How many names a message spells out.
    pub const SHOWN: usize = 12;

    /// Counts a name, and keeps it while there is room.
    pub fn push(&mut self, name: &str) {
        if self.shown.len() < Self::SHOWN {
            self.shown.push(shown(name));
        }
        self.total += 1;
    }

    /// How many names there were.
    #[must_use]
    pub fn total(&self) -> usize {
        self.total
    }

    /// The first names.
    #[must_use]
    pub fn shown(&self) -> &[String] {
        &self.shown
    }

    /// Whether there was none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }
}

impl<S: AsRef<str>> FromIterator<S> for NameList {
    fn from_iter<I: IntoIterator<Item = S>>(names: I) -> Self {
        let mut list = Self::default();
        for name in names {
            list.push(name.as_ref());
        }
        list
    }
}

impl fmt::Display for NameList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown.join(", "))?;
        match self.total - self.shown.len() {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_a_file_is_cut_and_escaped() {
        assert_eq!(shown("a\nb\u{1b}[31m"), "a\\nb\\u{1b}[31m");
        let long = shown(&"é".repeat(5000));
        assert!(long.chars().count() == 121 && long.ends_with('…'));
    }

    #[test]
    fn a_list_of_names_is_bounded_and_counts_the_rest() {
        let list: NameList = (0..20).map(|i| format!("n{i}")).collect();
        assert_eq!(list.total(), 20);
        assert_eq!(list.to_string(), "n0, n1, n2, n3, n4, n5, n6, n7, n8, n9, n10, n11 and 8 more");
        assert_eq!(["a"].iter().collect::<NameList>().to_string(), "a");
    }

    #[test]
    fn only_the_name_of_the_file_is_shown() {
        assert_eq!(file_name(Path::new("/home/user/secret/model.pt")), "model.pt");
        assert_eq!(file_name(Path::new("/")), "checkpoint");
    }
}
