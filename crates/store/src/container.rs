//! Whether a file can be whole, told from its structure: for files of which nobody said how long they should be.
//!
//! A copy that broke off lacks its end. Safetensors files say in their table how long they are, and torch's zip files end with a
//! directory; both are told in a few reads, whatever the size.

use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// Bytes of a safetensors table that are read, several times what the largest model has.
const MAX_TABLE_BYTES: u64 = 32 << 20;
/// Bytes of a JSON document that are read.
const MAX_JSON_BYTES: u64 = 64 << 20;
/// An end-of-central-directory record, and the longest comment after it.
const ZIP_END_BYTES: u64 = 22;
const MAX_ZIP_COMMENT: u64 = 65_535;

/// What the structure of a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing is wrong, as far as can be told.
    Plausible,
    /// It cannot be whole.
    Broken(&'static str),
}

/// Looks at the structure of `path`, which has `len` bytes, as far as its name tells what it should be.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn look(path: &Path, len: u64) -> io::Result<Verdict> {
    if len == 0 {
        return Ok(Verdict::Broken("it is empty"));
    }
    let extension = path.extension().and_then(|it| it.to_str()).unwrap_or("").to_ascii_lowercase();
    let mut file = File::open(path)?;
    match extension.as_str() {
        "safetensors" => Ok(match safetensors_length(&mut file)? {
            Some(expected) if expected == len => Verdict::Plausible,
            Some(expected) if expected > len => Verdict::Broken("it is cut short"),
            Some(_) => Verdict::Broken("it has bytes after its end"),
            None => Verdict::Broken("its table of tensors cannot be read"),
        }),
        "pt" | "pth" => zip_end(&mut file, len),
        "json" => json(file, len),
        _ => Ok(Verdict::Plausible),
    }
}

/// How long a safetensors file should be, by its table.
fn safetensors_length(file: &mut impl Read) -> io::Result<Option<u64>> {
    Ok(read_table(file)?.map(|table| table.length))
}

/// The table at the beginning of a safetensors file.
pub(crate) struct Table {
    /// How long the file should be.
    pub(crate) length: u64,
    /// How many tensors it has.
    pub(crate) tensors: usize,
    /// What its maker wrote into it.
    pub(crate) metadata: BTreeMap<String, String>,
}

/// Reads the table of a safetensors file; `None` when it has none.
pub(crate) fn read_table(file: &mut impl Read) -> io::Result<Option<Table>> {
    #[derive(Deserialize)]
    struct Tensor {
        data_offsets: (u64, u64),
    }
    let mut length = [0; 8];
    if !fill(file, &mut length)? {
        return Ok(None);
    }
    let length = u64::from_le_bytes(length);
    if length > MAX_TABLE_BYTES {
        return Ok(None);
    }
    let mut table = vec![0; usize::try_from(length).unwrap_or(0)];
    if !fill(file, &mut table)? {
        return Ok(None);
    }
    let Ok(mut table) = serde_json::from_slice::<BTreeMap<String, Value>>(&table) else { return Ok(None) };
    let metadata = table.remove("__metadata__").and_then(|metadata| serde_json::from_value(metadata).ok());
    let tensors = table.len();
    let mut end = 0;
    for tensor in table.into_values() {
        let Ok(tensor) = serde_json::from_value::<Tensor>(tensor) else { return Ok(None) };
        end = end.max(tensor.data_offsets.1);
    }
    let length = length.checked_add(8).and_then(|head| head.checked_add(end));
    Ok(length.map(|length| Table { length, tensors, metadata: metadata.unwrap_or_default() }))
}

/// Fills `buffer`; `false` when the file ends before.
fn fill(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// Torch files that are zip archives end with a record whose comment reaches exactly to the end; older ones are let pass.
fn zip_end(file: &mut File, len: u64) -> io::Result<Verdict> {
    let mut magic = [0; 4];
    if !fill(file, &mut magic)? || magic != *b"PK\x03\x04" {
        return Ok(Verdict::Plausible);
    }
    let tail = len.min(ZIP_END_BYTES + MAX_ZIP_COMMENT);
    file.seek(SeekFrom::Start(len - tail))?;
    let mut end = vec![0; usize::try_from(tail).unwrap_or(0)];
    if !fill(file, &mut end)? {
        return Ok(Verdict::Broken("it is cut short"));
    }
    let closes = |at: usize| {
        let comment = u16::from_le_bytes([end[at + 20], end[at + 21]]);
        end[at..].starts_with(b"PK\x05\x06") && at + 22 + usize::from(comment) == end.len()
    };
    let found = end.len().checked_sub(22).is_some_and(|last| (0..=last).rev().any(closes));
    Ok(if found { Verdict::Plausible } else { Verdict::Broken("it is cut short") })
}

fn json(file: File, len: u64) -> io::Result<Verdict> {
    if len > MAX_JSON_BYTES {
        return Ok(Verdict::Broken("it is too long for a JSON document"));
    }
    let reader = io::BufReader::new(file.take(MAX_JSON_BYTES));
    Ok(match serde_json::from_reader::<_, serde::de::IgnoredAny>(reader) {
        Ok(_) => Verdict::Plausible,
        Err(error) if error.is_io() => return Err(error.into()),
        Err(_) => Verdict::Broken("it is no JSON document"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn verdict(name: &str, content: &[u8]) -> Verdict {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        fs::write(&path, content).unwrap();
        look(&path, content.len() as u64).unwrap()
    }

    fn every_truncation_is_broken(name: &str, whole: &[u8]) {
        assert_eq!(verdict(name, whole), Verdict::Plausible);
        // The magic of a zip file has to be there to know that it is one.
        let from = if name.ends_with(".pt") { 4 } else { 0 };
        for len in from..whole.len() {
            assert_ne!(verdict(name, &whole[..len]), Verdict::Plausible, "{name} cut to {len}");
        }
    }

    #[test]
    fn every_truncation_of_a_safetensors_file_shows() {
        let table = br#"{"__metadata__":{"a":"b"},"x":{"dtype":"U8","shape":[5],"data_offsets":[0,5]}}"#;
        let mut whole = (table.len() as u64).to_le_bytes().to_vec();
        whole.extend(table);
        whole.extend([1, 2, 3, 4, 5]);
        every_truncation_is_broken("a.safetensors", &whole);
        whole.push(6);
        assert_eq!(verdict("a.safetensors", &whole), Verdict::Broken("it has bytes after its end"));
    }

    #[test]
    fn every_truncation_of_a_torch_archive_shows() {
        let mut whole = b"PK\x03\x04 some entries".to_vec();
        whole.extend(b"PK\x05\x06");
        whole.extend([0; 16]);
        whole.extend(3_u16.to_le_bytes());
        whole.extend(b"end");
        every_truncation_is_broken("a.pt", &whole);
        assert_eq!(verdict("old.pth", b"\x80\x02 a pickle without an archive"), Verdict::Plausible);
    }

    #[test]
    fn every_truncation_of_a_json_document_shows() {
        every_truncation_is_broken("config.json", br#"{"dim": [1, 2]}"#);
    }

    #[test]
    fn a_table_that_claims_too_much_is_not_read() {
        assert_eq!(
            verdict("a.safetensors", &[0xff; 64]),
            Verdict::Broken("its table of tensors cannot be read")
        );
        assert_eq!(verdict("a.bin", b"anything"), Verdict::Plausible);
        assert_eq!(verdict("a.bin", b""), Verdict::Broken("it is empty"));
    }
}
