//! The safetensors format: a length, a JSON table, and the tensors' bytes without gaps.
//!
//! The table is read here and not by the reference library, whose header may take 100 MB and whose errors don't say
//! which tensor is wrong.

use super::error::shown;
use super::{
    CheckpointProblem, Entry, FileDType, MAX_NAME_BYTES, MAX_RANK, MAX_TENSORS, Table, checked_elements,
};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// Bytes of the JSON table: a thousand times what the largest supported model has.
const MAX_HEADER_BYTES: usize = 32 << 20;
const LENGTH_BYTES: usize = 8;

/// Whether the bytes look like a length and the beginning of a JSON object.
pub(super) fn is_safetensors(bytes: &[u8]) -> bool {
    bytes.get(LENGTH_BYTES) == Some(&b'{')
}

/// Reads the table, and checks that the tensors fill the rest of the file without gap or overlap.
pub(super) fn read(bytes: &[u8]) -> Result<Table, CheckpointProblem> {
    let truncated =
        |needed_bytes| CheckpointProblem::Truncated { needed_bytes, found_bytes: bytes.len() as u64 };
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH_BYTES>() else {
        return Err(truncated(LENGTH_BYTES as u64));
    };
    let header_bytes = u64::from_le_bytes(*length);
    if header_bytes > MAX_HEADER_BYTES as u64 {
        return Err(CheckpointProblem::too_large(MAX_HEADER_BYTES, "bytes in its table of tensors"));
    }
    let header_len = header_bytes as usize;
    let Some((header, data)) = rest.split_at_checked(header_len) else {
        return Err(truncated(header_bytes + LENGTH_BYTES as u64));
    };
    let Header { tensors, metadata } = serde_json::from_slice(header)
        .map_err(|error| CheckpointProblem::malformed("table of tensors", shown(&error.to_string())))?;
    let data_start = LENGTH_BYTES + header_len;
    let mut entries =
        tensors.into_iter().map(|(name, raw)| raw.into_entry(name)).collect::<Result<Vec<_>, _>>()?;

    entries.sort_by_key(|entry| (entry.start, entry.len));
    let mut end = 0;
    for entry in &mut entries {
        if entry.start != end {
            let what = if entry.start < end { "overlaps the tensor before it" } else { "follows a gap" };
            return Err(CheckpointProblem::tensor(&entry.name, format!("{what}; fetch the file again")));
        }
        // Cannot overflow: `into_entry` has checked it.
        end = entry.start + entry.len;
        if end > data.len() {
            let last = (data_start as u64).saturating_add(end as u64);
            return Err(truncated(last));
        }
        entry.start += data_start;
    }
    if end != data.len() {
        let extra = data.len() - end;
        return Err(CheckpointProblem::malformed("end", format!("{extra} bytes belong to no tensor")));
    }
    Ok(Table { entries, metadata })
}

/// The JSON table.
struct Header<'a> {
    tensors: Vec<(Cow<'a, str>, RawTensor<'a>)>,
    metadata: BTreeMap<String, String>,
}

/// One tensor of the table, as written.
#[derive(serde::Deserialize)]
struct RawTensor<'a> {
    #[serde(borrow)]
    dtype: Cow<'a, str>,
    shape: Shape,
    data_offsets: [usize; 2],
}

impl RawTensor<'_> {
    fn into_entry(self, name: Cow<'_, str>) -> Result<Entry, CheckpointProblem> {
        if name.len() > MAX_NAME_BYTES {
            return Err(CheckpointProblem::too_large(MAX_NAME_BYTES, "bytes in the name of a tensor"));
        }
        let Some(dtype) = FileDType::from_safetensors(&self.dtype) else {
            return Err(CheckpointProblem::UnsupportedDType {
                name: shown(&name),
                dtype: shown(&self.dtype),
            });
        };
        let bytes =
            checked_elements(&self.shape.0).and_then(|elements| elements.checked_mul(dtype.size_bytes()));
        let [start, end] = self.data_offsets;
        let len = end.checked_sub(start);
        if len.is_none() || len != bytes {
            return Err(CheckpointProblem::tensor(
                &name,
                format!("bytes {start} to {end} do not fit {dtype} {:?}; fetch the file again", self.shape.0),
            ));
        }
        Ok(Entry {
            name: name.into_owned(),
            group_bytes: None,
            dtype,
            shape: self.shape.0.into(),
            strides: None,
            source: 0,
            start,
            len: end - start,
        })
    }
}

/// Extents, refused beyond [`MAX_RANK`] before they take memory.
struct Shape(Vec<usize>);

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Extents;
        impl<'de> Visitor<'de> for Extents {
            type Value = Shape;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {MAX_RANK} extents")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Shape, A::Error> {
                let mut extents = Vec::new();
                while let Some(extent) = seq.next_element()? {
                    if extents.len() == MAX_RANK {
                        return Err(A::Error::invalid_length(MAX_RANK + 1, &self));
                    }
                    extents.push(extent);
                }
                Ok(Shape(extents))
            }
        }
        deserializer.deserialize_seq(Extents)
    }
}

impl<'de> Deserialize<'de> for Header<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Header<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object that maps names to tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header<'de>, A::Error> {
                let mut header = Header { tensors: Vec::new(), metadata: BTreeMap::new() };
                while let Some(Name(name)) = map.next_key()? {
                    if name == "__metadata__" {
                        header.metadata = map.next_value()?;
                    } else if header.tensors.len() == MAX_TENSORS {
                        return Err(A::Error::custom(format_args!("more than {MAX_TENSORS} tensors")));
                    } else {
                        header.tensors.push((name, map.next_value()?));
                    }
                }
                Ok(header)
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// A key of the table, borrowed unless it has escapes.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{Checkpoint, CheckpointError};

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
    }

    fn open(header: &str, data: &[u8]) -> Result<Checkpoint, CheckpointError> {
        Checkpoint::from_bytes("test.safetensors", file(header, data))
    }

    fn refusal(header: &str, data: &[u8]) -> String {
        open(header, data).unwrap_err().to_string()
    }

    #[test]
    fn tensors_and_metadata_of_the_reference_writer_are_read() {
        use ::safetensors::tensor::{Dtype, TensorView};
        let values: Vec<u8> = [1.0f32, -2.0, 3.5, 4.0].iter().flat_map(|value| value.to_le_bytes()).collect();
        let metadata = [("format".to_owned(), "pt".to_owned())].into();
        let bytes = ::safetensors::serialize(
            [
                ("w", TensorView::new(Dtype::F32, vec![2, 2], &values).unwrap()),
                ("é\"", TensorView::new(Dtype::F8_E4M3, vec![3], &[0x38, 0xfe, 0x01]).unwrap()),
                ("none", TensorView::new(Dtype::BF16, vec![0, 7], &[]).unwrap()),
                ("one", TensorView::new(Dtype::I64, vec![], &7i64.to_le_bytes()).unwrap()),
            ],
            Some(metadata),
        )
        .unwrap();
        let read = Checkpoint::from_bytes("test.safetensors", bytes).unwrap();
        assert_eq!(read.metadata()["format"], "pt");
        let w = read.get("w").unwrap();
        assert_eq!((w.shape(), w.to_f32()), (&[2, 2][..], vec![1.0, -2.0, 3.5, 4.0]));
        assert_eq!(read.get("é\"").unwrap().to_f32(), [1.0, -448.0, 0.001_953_125]);
        assert!(read.get("none").unwrap().to_f32().is_empty());
        let one = read.get("one").unwrap();
        assert_eq!((one.shape(), one.to_i32().unwrap()), (&[][..], vec![7]));
        assert_eq!(
            read.get("two").unwrap_err().to_string(),
            "test.safetensors: has no tensor two; it is a checkpoint of another model or version"
        );
    }

    #[test]
    fn a_lying_length_is_refused_before_memory_is_taken() {
        let mut bytes = file(r#"{"a":{}}"#, &[]);
        bytes[..8].copy_from_slice(&(u64::MAX / 2).to_le_bytes());
        let error = Checkpoint::from_bytes("x", bytes.clone()).unwrap_err();
        assert!(matches!(error.problem(), CheckpointProblem::TooLarge { .. }), "{error}");
        bytes[..8].copy_from_slice(&1000u64.to_le_bytes());
        let error = Checkpoint::from_bytes("x", bytes).unwrap_err();
        assert_eq!(error.to_string(), "x: ends after 16 bytes where 1008 are needed; fetch the file again");
    }

    #[test]
    fn overlaps_gaps_and_rests_are_refused() {
        let two = |a: [u8; 2], b: [u8; 2]| {
            format!(
                r#"{{"a":{{"dtype":"U8","shape":[2],"data_offsets":{a:?}}},"b":{{"dtype":"U8","shape":[2],"data_offsets":{b:?}}}}}"#
            )
        };
        assert!(open(&two([2, 4], [0, 2]), &[0; 4]).is_ok());
        assert_eq!(
            refusal(&two([0, 2], [1, 3]), &[0; 4]),
            "test.safetensors: tensor b: overlaps the tensor before it; fetch the file again"
        );
        assert!(refusal(&two([0, 2], [3, 5]), &[0; 5]).contains("tensor b: follows a gap"));
        assert!(refusal(&two([0, 2], [2, 4]), &[0; 5]).contains("1 bytes belong to no tensor"));
        assert!(refusal(&two([0, 2], [2, 4]), &[0; 3]).contains("where"));
    }

    #[test]
    fn descriptions_that_contradict_themselves_are_refused() {
        let one = |dtype: &str, shape: &str, offsets: &str| {
            format!(r#"{{"a":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#)
        };
        assert!(refusal(&one("F32", "[2]", "[0,4]"), &[0; 4]).contains("bytes 0 to 4 do not fit F32 [2]"));
        assert!(refusal(&one("F32", "[1]", "[4,0]"), &[0; 4]).contains("do not fit"));
        assert!(refusal(&one("U8", "[4294967296,4294967296]", "[0,0]"), &[]).contains("do not fit"));
        assert!(refusal(&one("U8", "[0,4294967296,4294967296]", "[0,0]"), &[]).contains("do not fit"));
        assert!(refusal(&one("U8", "[-1]", "[0,1]"), &[0]).contains("damaged table"));
        assert!(refusal(&one("U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]"), &[0]).contains("at most 8 extents"));
        assert_eq!(
            refusal(&one("F4", "[2]", "[0,1]"), &[0]),
            "test.safetensors: tensor a has the element type F4, which Scope cannot read; convert the file to bf16 or f32"
        );
        let same = r#"{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#;
        assert!(refusal(same, &[0]).contains("holds the tensor a twice"));
        let long = format!(
            r#"{{"{}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}}}"#,
            "a".repeat(MAX_NAME_BYTES + 1)
        );
        assert!(refusal(&long, &[]).contains("more than 1024 bytes in the name of a tensor"));
    }

    #[test]
    fn nesting_and_wrong_types_in_the_table_are_refused() {
        let deep = format!("{{\"a\":{}", "[".repeat(1 << 20));
        assert!(refusal(&deep, &[]).len() < 400);
        assert!(refusal(r#"{"a":"b"}"#, &[]).contains("damaged table"));
        assert!(refusal(r#"{"__metadata__":{"a":1}}"#, &[]).contains("damaged table"));
    }
}
