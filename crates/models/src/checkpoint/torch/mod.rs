//! What `torch.save` writes since version 1.6: a zip archive of a pickle, which describes the tensors, and one
//! uncompressed entry of raw bytes per storage.

mod pickle;
mod rebuild;
mod value;
mod zip;

use super::{CheckpointProblem, Table};
use std::collections::BTreeMap;
use value::Heap;
use zip::Archive;

/// Bytes of the pickle: a hundred times what the largest supported model has.
const MAX_PICKLE_BYTES: usize = 32 << 20;

/// Reads the table of tensors.
pub(super) fn read(bytes: &[u8]) -> Result<Table, CheckpointProblem> {
    let archive = Archive::parse(bytes)?;
    let prefix = archive.prefix()?;
    if archive.contains(&format!("{prefix}/constants.pkl")) {
        return Err(CheckpointProblem::TorchScript);
    }
    match archive.find(&format!("{prefix}/byteorder"))?.map(|range| &bytes[range]) {
        None | Some(b"little") => {}
        Some(b"big") => return Err(CheckpointProblem::BigEndian),
        Some(_) => {
            return Err(CheckpointProblem::malformed("entry byteorder", "it says neither little nor big"));
        }
    }
    let Some(pickle) = archive.find(&format!("{prefix}/data.pkl"))? else {
        return Err(CheckpointProblem::malformed(
            "archive",
            "there is no data.pkl; torch.save did not write it",
        ));
    };
    if pickle.len() > MAX_PICKLE_BYTES {
        return Err(CheckpointProblem::too_large(MAX_PICKLE_BYTES, "bytes in its pickle"));
    }
    let mut heap = Heap::default();
    let root = pickle::run(&bytes[pickle], &mut heap)?;
    let entries = rebuild::tensors(&heap, root, &archive, prefix)?;
    Ok(Table { entries, metadata: BTreeMap::new() })
}
