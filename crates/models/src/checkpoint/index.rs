//! Models in several safetensors files: an index in JSON says which tensor lies in which file beside it.

use super::error::shown;
use super::map::FileBytes;
use super::{Checkpoint, CheckpointError, CheckpointProblem, Entry, MAX_TENSORS, safetensors};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::{Component, Path};
use std::sync::Arc;

/// Bytes of an index file.
const MAX_INDEX_BYTES: usize = 32 << 20;
/// Files that a model is split into.
const MAX_SHARDS: usize = 512;

/// Whether the bytes are an index rather than a safetensors file: JSON from the first byte on, not after a length.
pub(super) fn is_index(bytes: &[u8]) -> bool {
    bytes.first() == Some(&b'{') && !safetensors::is_safetensors(bytes)
}

/// Opens every shard that the index names.
pub(super) fn open(path: &Path, file: &str, bytes: &[u8]) -> Result<Checkpoint, CheckpointError> {
    let in_index = |problem| CheckpointError::new(file, problem);
    let shards = read_index(bytes).map_err(in_index)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut sources = Vec::with_capacity(shards.len());
    let mut entries = Vec::new();
    for (shard, names) in shards {
        let (bytes, mut found) =
            open_shard(&folder.join(shard)).map_err(|problem| CheckpointError::new(shown(shard), problem))?;
        for name in names {
            let Some(mut entry) = found.remove(name) else {
                let detail =
                    format!("names the tensor {} in {}, which is not there", shown(name), shown(shard));
                return Err(in_index(CheckpointProblem::Index { detail }));
            };
            entry.source = sources.len();
            entries.push(entry);
        }
        sources.push(bytes);
    }
    let mut checkpoint = Checkpoint {
        file: file.into(),
        sources: sources.into(),
        entries,
        metadata: Arc::new(BTreeMap::new()),
        progress: None,
    };
    checkpoint.sort().map_err(in_index)?;
    Ok(checkpoint)
}

fn open_shard(path: &Path) -> Result<(FileBytes, HashMap<String, Entry>), CheckpointProblem> {
    let bytes = FileBytes::map(path)?;
    if !safetensors::is_safetensors(&bytes) {
        return Err(CheckpointProblem::UnknownFormat("named as a part of a model, but no safetensors file"));
    }
    let table = safetensors::read(&bytes)?;
    let mut found = HashMap::with_capacity(table.entries.len());
    for entry in table.entries {
        if let Some(twice) = found.insert(entry.name.clone(), entry) {
            return Err(CheckpointProblem::Duplicate(shown(&twice.name)));
        }
    }
    Ok((bytes, found))
}

/// Tensor names by shard.
type Shards<'a> = BTreeMap<&'a str, Vec<&'a str>>;

fn read_index(bytes: &[u8]) -> Result<Shards<'_>, CheckpointProblem> {
    if bytes.len() > MAX_INDEX_BYTES {
        return Err(CheckpointProblem::too_large(MAX_INDEX_BYTES, "bytes in its index"));
    }
    let index: Index<'_> = serde_json::from_slice(bytes)
        .map_err(|error| CheckpointProblem::malformed("index", shown(&error.to_string())))?;
    let mut shards = Shards::new();
    for (name, shard) in index.weight_map.0 {
        shards.entry(shard).or_default().push(name);
    }
    if shards.is_empty() {
        return Err(CheckpointProblem::NoTensors);
    }
    if shards.len() > MAX_SHARDS {
        return Err(CheckpointProblem::too_large(MAX_SHARDS, "parts"));
    }
    for shard in shards.keys() {
        if !is_plain_file_name(shard) {
            let detail = format!("names the part {}, which is not a file beside it", shown(shard));
            return Err(CheckpointProblem::Index { detail });
        }
    }
    Ok(shards)
}

/// One plain component, on every system: an index must not lead to another folder, drive or stream.
fn is_plain_file_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    matches!(components.next(), Some(Component::Normal(first)) if first == name)
        && components.next().is_none()
        && !name.contains(['/', '\\', ':', '\0'])
}

#[derive(serde::Deserialize)]
struct Index<'a> {
    #[serde(borrow)]
    weight_map: WeightMap<'a>,
}

/// Pairs of tensor and shard. Names with JSON escapes are not worth supporting: no network has such.
struct WeightMap<'a>(Vec<(&'a str, &'a str)>);

impl<'de: 'a, 'a> Deserialize<'de> for WeightMap<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = WeightMap<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object that maps tensors to files")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<WeightMap<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    if pairs.len() == MAX_TENSORS {
                        return Err(A::Error::custom(format_args!("more than {MAX_TENSORS} tensors")));
                    }
                    pairs.push(pair);
                }
                Ok(WeightMap(pairs))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::test_files::safetensors_file;

    fn folder(index: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("one.safetensors"), safetensors_file(&[("a", &[1], &[1.0])]))
            .unwrap();
        let second = safetensors_file(&[("b", &[1], &[2.0]), ("spare", &[1], &[3.0])]);
        std::fs::write(folder.path().join("two.safetensors"), second).unwrap();
        let path = folder.path().join("model.safetensors.index.json");
        std::fs::write(&path, index).unwrap();
        (folder, path)
    }

    fn refusal(weight_map: &str) -> String {
        let (_folder, path) = folder(&format!("{{\"weight_map\":{weight_map}}}"));
        Checkpoint::open(path).unwrap_err().to_string()
    }

    #[test]
    fn a_model_in_two_files_is_one_checkpoint() {
        let (_folder, path) = folder(
            r#"{"metadata":{"total_size":8},"weight_map":{"b":"two.safetensors","a":"one.safetensors"}}"#,
        );
        let read = Checkpoint::open(path).unwrap();
        let found: Vec<_> =
            read.tensors().map(|tensor| (tensor.name().to_owned(), tensor.to_f32())).collect();
        assert_eq!(found, [("a".to_owned(), vec![1.0]), ("b".to_owned(), vec![2.0])]);
    }

    #[test]
    fn an_index_cannot_lead_out_of_its_folder() {
        for shard in
            ["../one.safetensors", "/etc/passwd", "x/one.safetensors", "..", "", ".", "C:one", "a\\\\b"]
        {
            let error = refusal(&format!("{{\"a\":\"{shard}\"}}"));
            assert!(error.contains("not a file beside it") || error.contains("damaged index"), "{error}");
        }
    }

    #[test]
    fn an_index_that_does_not_fit_its_files_is_refused() {
        assert_eq!(
            refusal(r#"{"c":"one.safetensors"}"#),
            "model.safetensors.index.json: names the tensor c in one.safetensors, which is not there; fetch the index \
             and all of its parts again"
        );
        assert!(refusal(r#"{"a":"three.safetensors"}"#).starts_with("three.safetensors: cannot be read"));
        assert!(refusal(r#"{"a":"model.safetensors.index.json"}"#).contains("no safetensors file"));
        assert!(refusal(r#"{"a":"one.safetensors","a":"two.safetensors"}"#).contains("tensor a"));
        assert!(refusal("{}").contains("holds no tensors"));
        assert!(refusal("[]").contains("damaged index"));
        let many: Vec<String> = (0..=MAX_SHARDS).map(|i| format!("\"t{i}\":\"s{i}\"")).collect();
        assert!(refusal(&format!("{{{}}}", many.join(","))).contains("more than 512 parts"));
    }
}
