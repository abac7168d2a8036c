//! The directory of a zip archive whose entries are stored as they are (PKWARE APPNOTE.TXT 6.3.10; section numbers
//! below). Checksums are not compared: torch has a switch that leaves them out, and comparing means reading every
//! weight before the first is used.

use crate::checkpoint::CheckpointProblem;
use crate::checkpoint::error::shown;
use std::collections::HashMap;
use std::ops::Range;

/// Entries of an archive, one per storage and a few more.
const MAX_ENTRIES: usize = 200_000;
/// Bytes of an entry's name.
const MAX_ENTRY_NAME_BYTES: usize = 512;

const LOCAL_HEADER: u32 = 0x0403_4b50;
const LOCAL_HEADER_BYTES: u64 = 30;
const DIRECTORY_HEADER: u32 = 0x0201_4b50;
const DIRECTORY_END: u32 = 0x0605_4b50;
const DIRECTORY_END_BYTES: usize = 22;
const ZIP64_END: u32 = 0x0606_4b50;
const ZIP64_LOCATOR: u32 = 0x0706_4b50;
const ZIP64_LOCATOR_BYTES: usize = 20;
/// Extra field with the 64-bit sizes (4.5.3).
const ZIP64_EXTRA: u16 = 1;
const FLAG_ENCRYPTED: u16 = 1;
const METHOD_STORED: u16 = 0;

/// The entries of an archive by name.
pub(super) struct Archive<'a> {
    bytes: &'a [u8],
    entries: HashMap<&'a str, ZipEntry>,
    first: Option<&'a str>,
    /// Where the directory begins, and so where the last entry ends at most.
    directory_start: u64,
}

#[derive(Clone, Copy)]
struct ZipEntry {
    local_header: u64,
    stored_bytes: u64,
    /// Whether the bytes lie in the archive as they are.
    plain: bool,
}

/// Where the directory lies and how many entries it has.
struct Directory {
    start: u64,
    bytes: u64,
    entries: u64,
}

impl<'a> Archive<'a> {
    /// Reads the directory at the end of the archive.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, CheckpointProblem> {
        let directory = find_directory(bytes)?;
        if directory.entries > MAX_ENTRIES as u64 {
            return Err(CheckpointProblem::too_large(MAX_ENTRIES, "zip entries"));
        }
        let mut cursor = slice(bytes, directory.start, directory.bytes).map(Cursor)?;
        let mut archive =
            Archive { bytes, entries: HashMap::new(), first: None, directory_start: directory.start };
        for _ in 0..directory.entries {
            let (name, entry) = read_entry(&mut cursor)?;
            archive.first.get_or_insert(name);
            if archive.entries.insert(name, entry).is_some() {
                return Err(damaged(format!("the entry {} is there twice", shown(name))));
            }
        }
        Ok(archive)
    }

    /// The folder that all entries of a torch archive lie in.
    pub(super) fn prefix(&self) -> Result<&'a str, CheckpointProblem> {
        self.first
            .and_then(|name| name.split_once('/'))
            .map(|(prefix, _)| prefix)
            .ok_or_else(|| damaged("its entries lie in no folder; torch.save did not write it"))
    }

    /// Whether there is an entry of this name.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// Where the bytes of an entry lie, if there is one of this name.
    pub(super) fn find(&self, name: &str) -> Result<Option<Range<usize>>, CheckpointProblem> {
        let Some(entry) = self.entries.get(name) else { return Ok(None) };
        if !entry.plain {
            return Err(CheckpointProblem::Compressed { entry: shown(name) });
        }
        // The local header repeats the name and has extra fields of its own, with which torch aligns the data.
        let mut header = slice(self.bytes, entry.local_header, LOCAL_HEADER_BYTES).map(Cursor)?;
        let signature = header.u32()?;
        header.skip(22)?;
        let (name_bytes, extra_bytes) = (u64::from(header.u16()?), u64::from(header.u16()?));
        // None of these can overflow: the header lies inside the file.
        let name_start = entry.local_header + LOCAL_HEADER_BYTES;
        if signature != LOCAL_HEADER || slice(self.bytes, name_start, name_bytes)? != name.as_bytes() {
            return Err(damaged(format!("the entry {} is not where the directory says", shown(name))));
        }
        let start = name_start + name_bytes + extra_bytes;
        match start.checked_add(entry.stored_bytes) {
            Some(end) if end <= self.directory_start => Ok(Some(start as usize..end as usize)),
            _ => Err(damaged(format!("the entry {} reaches beyond the entries", shown(name)))),
        }
    }
}

fn find_directory(bytes: &[u8]) -> Result<Directory, CheckpointProblem> {
    // The end record has a comment of up to 65,535 bytes behind it; it is the last one whose comment fills the file.
    let last = bytes.len().checked_sub(DIRECTORY_END_BYTES);
    let first = last.map_or(0, |last| last.saturating_sub(usize::from(u16::MAX)));
    let at = last.and_then(|last| {
        (first..=last).rev().find(|&at| {
            let mut record = Cursor(&bytes[at..]);
            record.u32().is_ok_and(|signature| signature == DIRECTORY_END)
                && record
                    .skip(16)
                    .and_then(|()| record.u16())
                    .is_ok_and(|comment| at + DIRECTORY_END_BYTES + usize::from(comment) == bytes.len())
        })
    });
    let Some(at) = at else { return Err(damaged("its end with the directory is missing")) };

    let mut record = Cursor(&bytes[at + 4..]);
    let [disk, directory_disk, entries_here, entries] =
        [record.u16()?, record.u16()?, record.u16()?, record.u16()?];
    let (directory_bytes, start) = (record.u32()?, record.u32()?);
    let narrow =
        Directory { start: u64::from(start), bytes: u64::from(directory_bytes), entries: u64::from(entries) };
    let full = |value: u32| value == u32::MAX;
    if entries == u16::MAX || full(directory_bytes) || full(start) || disk == u16::MAX {
        return find_zip64_directory(bytes, at);
    }
    if disk != 0 || directory_disk != 0 || entries_here != entries {
        return Err(damaged("it is one part of several"));
    }
    Ok(narrow)
}

/// The wide end record (4.3.14), by the locator that lies before the narrow one (4.3.15).
fn find_zip64_directory(bytes: &[u8], end_at: usize) -> Result<Directory, CheckpointProblem> {
    let missing = || damaged("its wide end record is missing");
    let locator_at = end_at.checked_sub(ZIP64_LOCATOR_BYTES).ok_or_else(missing)?;
    let mut locator = Cursor(&bytes[locator_at..end_at]);
    if locator.u32()? != ZIP64_LOCATOR {
        return Err(missing());
    }
    locator.skip(4)?;
    let mut record = slice(bytes, locator.u64()?, 56).map(Cursor)?;
    if record.u32()? != ZIP64_END {
        return Err(missing());
    }
    record.skip(12)?;
    let (disk, directory_disk) = (record.u32()?, record.u32()?);
    let (entries_here, entries) = (record.u64()?, record.u64()?);
    if disk != 0 || directory_disk != 0 || entries_here != entries {
        return Err(damaged("it is one part of several"));
    }
    let (directory_bytes, start) = (record.u64()?, record.u64()?);
    Ok(Directory { start, bytes: directory_bytes, entries })
}

/// One header of the directory (4.3.12).
fn read_entry<'a>(cursor: &mut Cursor<'a>) -> Result<(&'a str, ZipEntry), CheckpointProblem> {
    if cursor.u32()? != DIRECTORY_HEADER {
        return Err(damaged("its directory has something else than entries"));
    }
    cursor.skip(4)?;
    let (flags, method) = (cursor.u16()?, cursor.u16()?);
    cursor.skip(8)?;
    let (mut stored, mut unpacked) = (u64::from(cursor.u32()?), u64::from(cursor.u32()?));
    let (name_bytes, extra_bytes, comment_bytes) = (cursor.u16()?, cursor.u16()?, cursor.u16()?);
    cursor.skip(8)?;
    let mut local_header = u64::from(cursor.u32()?);
    if usize::from(name_bytes) > MAX_ENTRY_NAME_BYTES {
        return Err(CheckpointProblem::too_large(MAX_ENTRY_NAME_BYTES, "bytes in the name of a zip entry"));
    }
    let name = std::str::from_utf8(cursor.take(name_bytes.into())?)
        .map_err(|_| damaged("the name of an entry is not UTF-8"))?;
    let mut extra = Cursor(cursor.take(extra_bytes.into())?);
    cursor.skip(comment_bytes.into())?;

    let wide = |value: u64| value == u64::from(u32::MAX);
    if wide(stored) || wide(unpacked) || wide(local_header) {
        while !extra.0.is_empty() {
            let (kind, len) = (extra.u16()?, extra.u16()?);
            let mut field = Cursor(extra.take(len.into())?);
            if kind == ZIP64_EXTRA {
                // Only the values that did not fit are there, in this order.
                for value in [&mut unpacked, &mut stored, &mut local_header] {
                    if wide(*value) {
                        *value = field.u64()?;
                    }
                }
                break;
            }
        }
    }
    let plain = method == METHOD_STORED && flags & FLAG_ENCRYPTED == 0;
    if plain && stored != unpacked {
        return Err(damaged(format!("the entry {} has two sizes", shown(name))));
    }
    Ok((name, ZipEntry { local_header, stored_bytes: stored, plain }))
}

fn damaged(detail: impl Into<String>) -> CheckpointProblem {
    CheckpointProblem::malformed("zip archive", detail)
}

fn slice(bytes: &[u8], start: u64, len: u64) -> Result<&[u8], CheckpointProblem> {
    let range = start.checked_add(len).and_then(|end| Some(start.try_into().ok()?..end.try_into().ok()?));
    range.and_then(|range: Range<usize>| bytes.get(range)).ok_or(CheckpointProblem::Truncated {
        needed_bytes: start.saturating_add(len),
        found_bytes: bytes.len() as u64,
    })
}

/// A position in a record; reading past its end is an error.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], CheckpointProblem> {
        let (head, tail) = self.0.split_at_checked(len).ok_or_else(|| damaged("a record is cut short"))?;
        self.0 = tail;
        Ok(head)
    }

    fn skip(&mut self, len: usize) -> Result<(), CheckpointProblem> {
        self.take(len).map(|_| ())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], CheckpointProblem> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn u16(&mut self) -> Result<u16, CheckpointProblem> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, CheckpointProblem> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, CheckpointProblem> {
        self.array().map(u64::from_le_bytes)
    }
}
