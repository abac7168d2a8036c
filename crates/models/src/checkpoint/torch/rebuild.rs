//! From the objects of a pickle to tensors with names, checked against the storages that hold their bytes.

use super::value::{Heap, Tensor, Value};
use super::zip::Archive;
use crate::checkpoint::error::shown;
use crate::checkpoint::{CheckpointProblem, Entry, MAX_NAME_BYTES, MAX_RANK, MAX_TENSORS, checked_elements};
use std::fmt::Write as _;

/// Dictionaries and lists inside each other.
const MAX_DEPTH: usize = 32;
/// Objects looked at. One container may be held by many others, so that their number says nothing about this one.
const MAX_VISITS: usize = 2_000_000;

/// Finds the tensors in dictionaries, lists and tuples. Their names are the keys and positions that lead to them,
/// joined by dots.
pub(super) fn tensors<'a>(
    heap: &Heap<'a>,
    root: Value<'a>,
    archive: &Archive<'_>,
    prefix: &str,
) -> Result<Vec<Entry>, CheckpointProblem> {
    if !may_lead_to_tensors(root) || matches!(root, Value::Tensor(_)) {
        let detail = format!("it holds {} where a dict of tensors is expected", root.kind());
        return Err(CheckpointProblem::malformed("pickle", detail));
    }
    let mut walk = Walk {
        heap,
        archive,
        prefix,
        name: String::new(),
        group_bytes: None,
        visits: 0,
        entries: Vec::new(),
    };
    walk.visit(root, 0)?;
    if walk.entries.is_empty() {
        return Err(CheckpointProblem::NoTensors);
    }
    Ok(walk.entries)
}

struct Walk<'a, 'w> {
    heap: &'w Heap<'a>,
    archive: &'w Archive<'w>,
    prefix: &'w str,
    /// Where the walk is.
    name: String,
    /// Length of the top dictionary's key in it, below that dictionary's own dictionaries.
    group_bytes: Option<usize>,
    visits: usize,
    entries: Vec<Entry>,
}

impl<'a> Walk<'a, '_> {
    fn visit(&mut self, value: Value<'a>, depth: usize) -> Result<(), CheckpointProblem> {
        if depth > MAX_DEPTH {
            return Err(CheckpointProblem::too_large(MAX_DEPTH, "dictionaries inside each other"));
        }
        if depth == 1 {
            self.group_bytes = Some(self.name.len());
        }
        let heap = self.heap;
        match value {
            Value::Dict(dict) => {
                let items = &heap.dicts[dict as usize];
                self.count(items.len())?;
                // Anything may be a key; only one that leads to tensors has to make a name.
                for &(key, value) in items.iter().filter(|(_, value)| may_lead_to_tensors(*value)) {
                    self.visit_at(key, value, depth)?;
                }
            }
            Value::List(_) | Value::Tuple { .. } => {
                let items = heap.sequence(value).unwrap_or_default();
                self.count(items.len())?;
                for (position, &value) in
                    items.iter().enumerate().filter(|(_, value)| may_lead_to_tensors(**value))
                {
                    self.visit_at(Value::Int(position as i64), value, depth)?;
                }
            }
            Value::Tensor(tensor) => {
                if self.entries.len() == MAX_TENSORS {
                    return Err(CheckpointProblem::too_large(MAX_TENSORS, "tensors"));
                }
                let mut entry = self.entry(&heap.tensors[tensor as usize])?;
                entry.group_bytes = if depth > 1 { self.group_bytes } else { None };
                self.entries.push(entry);
            }
            _ => {}
        }
        Ok(())
    }

    fn count(&mut self, items: usize) -> Result<(), CheckpointProblem> {
        self.visits = self.visits.saturating_add(items);
        if self.visits > MAX_VISITS {
            return Err(CheckpointProblem::too_large(MAX_VISITS, "objects"));
        }
        Ok(())
    }

    fn visit_at(&mut self, key: Value<'a>, value: Value<'a>, depth: usize) -> Result<(), CheckpointProblem> {
        let parent_bytes = self.name.len();
        if depth > 0 {
            self.name.push('.');
        }
        match key {
            Value::Text(text) if text.len() <= MAX_NAME_BYTES => self.name.push_str(text),
            Value::Text(_) => return Err(long_name()),
            Value::Int(number) => _ = write!(self.name, "{number}"),
            other => {
                let detail = format!("the key of a tensor is {}, neither text nor a number", other.kind());
                return Err(CheckpointProblem::malformed("pickle", detail));
            }
        }
        if self.name.len() > MAX_NAME_BYTES {
            return Err(long_name());
        }
        self.visit(value, depth + 1)?;
        self.name.truncate(parent_bytes);
        Ok(())
    }

    /// Checks a tensor against its storage.
    fn entry(&self, tensor: &Tensor<'a>) -> Result<Entry, CheckpointProblem> {
        let bad = |detail: String| CheckpointProblem::tensor(&self.name, detail);
        let Some(shape) = self.extents(tensor.shape) else {
            return Err(bad(format!(
                "its shape is not a tuple of at most {MAX_RANK} extents; fetch the file again"
            )));
        };
        let Some(strides) = self.extents(tensor.strides).filter(|strides| strides.len() == shape.len())
        else {
            return Err(bad("its strides do not fit its shape; fetch the file again".to_owned()));
        };
        let element_bytes = tensor.dtype.size_bytes();
        let too_large = || bad(format!("the shape {shape:?} is too large; fetch the file again"));
        let elements = checked_elements(&shape).ok_or_else(too_large)?;

        let stored = self.storage(tensor)?;
        // The elements that the tensor spans, from its first to its last.
        let mut span = usize::from(elements > 0);
        if elements > 0 {
            for (&extent, &stride) in shape.iter().zip(&strides) {
                span = (extent - 1)
                    .checked_mul(stride)
                    .and_then(|far| far.checked_add(span))
                    .ok_or_else(too_large)?;
            }
        }
        let start = usize::try_from(tensor.offset).ok().and_then(|offset| offset.checked_mul(element_bytes));
        let len = span.checked_mul(element_bytes);
        let end = start.zip(len).and_then(|(start, len)| start.checked_add(len));
        let (Some(start), Some(len), Some(end)) = (start, len, end) else { return Err(too_large()) };
        if end > stored.len() {
            return Err(bad(format!(
                "it reaches to byte {end} of a storage of {} bytes; fetch the file again",
                stored.len()
            )));
        }
        let contiguous = elements == 0 || is_row_major(&shape, &strides);
        if !contiguous && elements > span {
            return Err(bad("elements share their memory; store it again after .contiguous()".to_owned()));
        }
        Ok(Entry {
            name: self.name.clone(),
            group_bytes: None,
            dtype: tensor.dtype,
            shape: shape.into(),
            strides: (!contiguous).then(|| strides.into()),
            source: 0,
            start: stored.start + start,
            len,
        })
    }

    /// Where the bytes of a tensor's storage lie in the file.
    fn storage(&self, tensor: &Tensor<'a>) -> Result<std::ops::Range<usize>, CheckpointProblem> {
        let storage = tensor.storage;
        let element_bytes = storage.dtype.map_or(1, crate::checkpoint::FileDType::size_bytes) as u64;
        // A storage key leads nowhere but to an entry of this archive.
        let found = self.archive.find(&format!("{}/data/{}", self.prefix, storage.key))?;
        let needed = storage.elements.checked_mul(element_bytes);
        match (found, needed) {
            (Some(found), Some(needed)) if needed <= found.len() as u64 => {
                Ok(found.start..found.start + needed as usize)
            }
            (Some(found), _) => Err(CheckpointProblem::tensor(
                &self.name,
                format!(
                    "its storage has {} bytes where {} elements of {element_bytes} are described; fetch the file again",
                    found.len(),
                    storage.elements,
                ),
            )),
            (None, _) => Err(CheckpointProblem::tensor(
                &self.name,
                format!(
                    "its storage data/{} is not in the archive; fetch the file again",
                    shown(storage.key)
                ),
            )),
        }
    }

    fn extents(&self, value: Value<'a>) -> Option<Vec<usize>> {
        let items = self.heap.sequence(value).filter(|items| items.len() <= MAX_RANK)?;
        let extent = |item: &Value<'a>| match item {
            Value::Int(extent) => usize::try_from(*extent).ok(),
            _ => None,
        };
        items.iter().map(extent).collect()
    }
}

fn may_lead_to_tensors(value: Value<'_>) -> bool {
    matches!(value, Value::Dict(_) | Value::List(_) | Value::Tuple { .. } | Value::Tensor(_))
}

/// Whether neighbours along the last axis are neighbours in memory, and so on outwards. The stride of an axis of one
/// element says nothing. There is at least one element, and their number is no overflow.
fn is_row_major(shape: &[usize], strides: &[usize]) -> bool {
    let mut expected = 1;
    for (&extent, &stride) in shape.iter().zip(strides).rev() {
        if extent != 1 && stride != expected {
            return false;
        }
        expected *= extent;
    }
    true
}

fn long_name() -> CheckpointProblem {
    CheckpointProblem::too_large(MAX_NAME_BYTES, "bytes in the name of a tensor")
}
