//! The box structure of ISO/IEC 14496-12: building nested boxes in memory and walking over bytes.

use super::Mp4Error;

/// Four-character name of a box.
pub(super) type Kind = [u8; 4];

/// `handler_name` by which we know our own files.
pub(super) const HANDLER_NAME: &[u8] = b"Scope recorder\0";
/// `sample_flags` of a keyframe: depends on no other sample.
pub(super) const SYNC_SAMPLE: u32 = 0x0200_0000;
/// `sample_flags` of any other frame: depends on others, is no sync sample.
pub(super) const NON_SYNC_SAMPLE: u32 = 0x0101_0000;

/// Appends a box whose content `fill` writes.
pub(super) fn write_box(out: &mut Vec<u8>, kind: &Kind, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(kind);
    fill(out);
    let size = (out.len() - start) as u32;
    out[start..start + 4].copy_from_slice(&size.to_be_bytes());
}

/// Appends a box that starts with a version and flags.
pub(super) fn write_full_box(
    out: &mut Vec<u8>,
    kind: &Kind,
    version: u8,
    flags: u32,
    fill: impl FnOnce(&mut Vec<u8>),
) {
    write_box(out, kind, |out| {
        put32(out, u32::from(version) << 24 | flags);
        fill(out);
    });
}

pub(super) fn put16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub(super) fn put32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub(super) fn put64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// A position in the bytes of a box; reading past the end is an error.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a>(pub(super) &'a [u8]);

impl<'a> Cursor<'a> {
    pub(super) fn bytes(&mut self, len: usize) -> Result<&'a [u8], Mp4Error> {
        let (head, tail) = self.0.split_at_checked(len).ok_or(Mp4Error::Malformed("a box is cut short"))?;
        self.0 = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Mp4Error> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N)?);
        Ok(array)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Mp4Error> {
        Ok(self.array::<1>()?[0])
    }

    pub(super) fn u16(&mut self) -> Result<u16, Mp4Error> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Mp4Error> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Mp4Error> {
        self.array().map(u64::from_be_bytes)
    }

    /// Version and flags of a full box.
    pub(super) fn version(&mut self) -> Result<(u8, u32), Mp4Error> {
        let word = self.u32()?;
        Ok(((word >> 24) as u8, word & 0x00ff_ffff))
    }

    /// The content of the first child box named `kind`, if there is one.
    pub(super) fn find(self, kind: &Kind) -> Result<Option<Self>, Mp4Error> {
        let mut rest = self;
        while !rest.0.is_empty() {
            let size = rest.u32()? as usize;
            let name: Kind = rest.array()?;
            let len = size.checked_sub(8).ok_or(Mp4Error::Malformed("a box is smaller than its header"))?;
            let content = Cursor(rest.bytes(len)?);
            if name == *kind {
                return Ok(Some(content));
            }
        }
        Ok(None)
    }

    /// The content of the box at the end of `path`, child by child.
    pub(super) fn child(self, path: &[&Kind]) -> Result<Self, Mp4Error> {
        path.iter().try_fold(self, |cursor, kind| {
            cursor.find(kind)?.ok_or(Mp4Error::Malformed("a box that every recording has is missing"))
        })
    }
}
