use super::boxes::{Cursor, HANDLER_NAME, SYNC_SAMPLE};
use super::{Mp4Error, duration_from_ticks, io_error};
use crate::codec::CLOCK_RATE;
use scope_frame::MAX_DIMENSION;
use std::io::{Read, Seek, SeekFrom};
use std::time::Duration;

/// Largest movie or fragment box that is read: the table of a recording of more than a day.
const MAX_BOX_BYTES: u64 = 64 << 20;
/// Most boxes that are looked at, two a fragment: a week of recording.
const MAX_BOXES: usize = 1 << 22;
/// Most frames that a file may list: more than a day at 30 a second.
const MAX_SAMPLES: usize = 1 << 22;
const MAX_SAMPLE_BYTES: u32 = 16 << 20;
const TIMELESS: Mp4Error = Mp4Error::Malformed("frames without time");

/// One frame of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When it is shown, in 90 kHz ticks from the first frame.
    pub pts: i64,
    /// Whether decoding can start here.
    pub keyframe: bool,
    /// The access unit in Annex B form, ready for an H.264 [`Decoder`](crate::codec::Decoder); keyframes carry their
    /// parameter sets.
    pub data: Vec<u8>,
}

impl Sample {
    /// [`Sample::pts`] as time.
    pub fn time(&self) -> Duration {
        duration_from_ticks(self.pts)
    }
}

#[derive(Clone, Copy)]
struct Entry {
    offset: u64,
    pts: i64,
    size: u32,
    keyframe: bool,
}

/// Reads recordings of [`Mp4Writer`](crate::mp4::Mp4Writer), finished or cut off at any byte.
///
/// Takes files from anyone: memory is bounded by the file's own length, sizes by [`MAX_DIMENSION`], and damage is an
/// error or the end of the recording.
pub struct Mp4Reader<R> {
    input: R,
    size: (u32, u32),
    /// SPS and PPS, each behind a start code.
    parameter_sets: Vec<u8>,
    entries: Vec<Entry>,
    end: i64,
    next: usize,
}

impl<R: Read + Seek> Mp4Reader<R> {
    /// Reads the index of `input`.
    ///
    /// # Errors
    /// [`Mp4Error::Foreign`] for files of other programs, [`Mp4Error::Malformed`], [`Mp4Error::Empty`] when no frame
    /// is complete, [`Mp4Error::Io`].
    pub fn new(mut input: R) -> Result<Self, Mp4Error> {
        let len = input.seek(SeekFrom::End(0)).map_err(io_error("read"))?;
        let mut reader =
            Self { input, size: (0, 0), parameter_sets: Vec::new(), entries: Vec::new(), end: 0, next: 0 };
        let (mut position, mut fragmented, mut inside) = (0, false, None);
        for _ in 0..MAX_BOXES {
            let header = reader.header(position, len)?;
            if let Some(Header { kind: [b'm', b'd', b'a', b't'], content, .. }) = header
                && !fragmented
            {
                inside = Some(content);
            }
            // A file cut off inside a box ends there.
            let Some(Header { kind, start, content, end }) = header.filter(|header| header.end <= len) else {
                match inside.take().filter(|_| reader.entries.is_empty()) {
                    // A finished file that lost its table still has its fragments.
                    Some(fragments) => position = fragments,
                    None => break,
                }
                continue;
            };
            match &kind {
                b"ftyp" => {}
                _ if position == 0 => return Err(Mp4Error::Foreign("it is no MP4 file")),
                b"moov" if !fragmented => {
                    let bytes = reader.content(content, end)?;
                    let moov = Cursor(&bytes);
                    reader.read_description(moov)?;
                    if moov.find(b"mvex")?.is_none() {
                        reader.read_table(moov, len)?;
                        break;
                    }
                    fragmented = true;
                }
                b"moof" if fragmented => {
                    let bytes = reader.content(content, end)?;
                    reader.read_fragment(Cursor(&bytes), start, len)?;
                }
                _ => {}
            }
            position = end;
        }
        if reader.parameter_sets.is_empty() {
            return Err(Mp4Error::Foreign("it is no MP4 file, or cut off before its description"));
        }
        if reader.entries.is_empty() {
            return Err(Mp4Error::Empty);
        }
        Ok(reader)
    }

    /// Width and height in pixels.
    pub const fn size(&self) -> (u32, u32) {
        self.size
    }

    /// From the first frame to the end of the last.
    pub fn duration(&self) -> Duration {
        duration_from_ticks(self.end)
    }

    /// Frames in the file.
    pub const fn frames(&self) -> usize {
        self.entries.len()
    }

    /// The next frame, in order; `None` at the end.
    ///
    /// # Errors
    /// [`Mp4Error::Malformed`] or [`Mp4Error::Io`]; the frame after is tried next.
    pub fn next_sample(&mut self) -> Result<Option<Sample>, Mp4Error> {
        let Some(&Entry { offset, pts, size, keyframe }) = self.entries.get(self.next) else {
            return Ok(None);
        };
        self.next += 1;
        let payload = self.content(offset, offset + u64::from(size))?;
        let mut data = Vec::with_capacity(payload.len() + self.parameter_sets.len());
        if keyframe {
            data.extend_from_slice(&self.parameter_sets);
        }
        let mut rest = Cursor(&payload);
        while !rest.0.is_empty() {
            let len = rest.u32()? as usize;
            data.extend_from_slice(&[0, 0, 0, 1]);
            data.extend_from_slice(rest.bytes(len)?);
        }
        Ok(Some(Sample { pts, keyframe, data }))
    }

    /// Starts again at the first frame.
    pub const fn rewind(&mut self) {
        self.next = 0;
    }

    /// The box header at `position`; `None` at the end of the file.
    fn header(&mut self, position: u64, len: u64) -> Result<Option<Header>, Mp4Error> {
        if len - position < 8 {
            return Ok(None);
        }
        self.input.seek(SeekFrom::Start(position)).map_err(io_error("read"))?;
        let mut head = [0; 8];
        self.input.read_exact(&mut head).map_err(io_error("read"))?;
        let [s0, s1, s2, s3, kind @ ..] = head;
        let mut size = u64::from(u32::from_be_bytes([s0, s1, s2, s3]));
        let mut header = 8;
        if size == 1 && len - position >= 16 {
            let mut large = [0; 8];
            self.input.read_exact(&mut large).map_err(io_error("read"))?;
            size = u64::from_be_bytes(large);
            header = 16;
        }
        let end = position.checked_add(size).filter(|_| size >= header);
        let end = end.ok_or(Mp4Error::Malformed("a box is smaller than its header"))?;
        Ok(Some(Header { kind, start: position, content: position + header, end }))
    }

    /// The bytes from `start` to `end`. Grows with what is really there, never ahead of it.
    fn content(&mut self, start: u64, end: u64) -> Result<Vec<u8>, Mp4Error> {
        let len = end.saturating_sub(start);
        if len > MAX_BOX_BYTES {
            return Err(Mp4Error::Malformed("a box is too large"));
        }
        self.input.seek(SeekFrom::Start(start)).map_err(io_error("read"))?;
        let mut bytes = Vec::new();
        self.input.by_ref().take(len).read_to_end(&mut bytes).map_err(io_error("read"))?;
        if bytes.len() as u64 == len { Ok(bytes) } else { Err(Mp4Error::Malformed("a box is cut short")) }
    }

    fn read_description(&mut self, moov: Cursor<'_>) -> Result<(), Mp4Error> {
        let media = moov.child(&[b"trak", b"mdia"])?;
        let handler = media.child(&[b"hdlr"])?;
        if handler.0.get(24..) != Some(HANDLER_NAME) {
            return Err(Mp4Error::Foreign("another program wrote it"));
        }
        let mut header = media.child(&[b"mdhd"])?;
        if header.version()? != (1, 0) {
            return Err(Mp4Error::Malformed("the media header has another version"));
        }
        header.bytes(16)?;
        if i64::from(header.u32()?) != CLOCK_RATE {
            return Err(Mp4Error::Malformed("the clock does not run at 90 kHz"));
        }
        let mut descriptions = media.child(&[b"minf", b"stbl", b"stsd"])?;
        descriptions.bytes(8)?;
        let mut avc1 = descriptions.child(&[b"avc1"])?;
        avc1.bytes(24)?;
        let (width, height) = (u32::from(avc1.u16()?), u32::from(avc1.u16()?));
        if !(1..=MAX_DIMENSION).contains(&width) || !(1..=MAX_DIMENSION).contains(&height) {
            return Err(Mp4Error::Malformed("the picture size is out of range"));
        }
        self.size = (width, height);
        avc1.bytes(50)?;
        let mut config = avc1.child(&[b"avcC"])?;
        config.bytes(4)?;
        if config.u16()? != 0xffe1 {
            return Err(Mp4Error::Malformed("the decoder configuration is not ours"));
        }
        for pps in [false, true] {
            if pps && config.u8()? != 1 {
                return Err(Mp4Error::Malformed("the decoder configuration is not ours"));
            }
            let len = config.u16()?;
            self.parameter_sets.extend_from_slice(&[0, 0, 0, 1]);
            self.parameter_sets.extend_from_slice(config.bytes(usize::from(len))?);
        }
        Ok(())
    }

    fn push(&mut self, entry: Entry, ticks: u32, len: u64) -> Result<(), Mp4Error> {
        if self.entries.len() >= MAX_SAMPLES || entry.size > MAX_SAMPLE_BYTES {
            return Err(Mp4Error::Malformed("too many frames, or one too large"));
        }
        // The last fragment may be cut off.
        if entry.offset.checked_add(u64::from(entry.size)).is_some_and(|end| end <= len) {
            self.end = entry.pts + i64::from(ticks);
            self.entries.push(entry);
        }
        Ok(())
    }

    fn read_fragment(&mut self, moof: Cursor<'_>, start: u64, len: u64) -> Result<(), Mp4Error> {
        let traf = moof.child(&[b"traf"])?;
        if traf.child(&[b"tfhd"])?.version()?.1 != 0x02_0000 {
            return Err(Mp4Error::Malformed("a fragment header has other fields"));
        }
        let mut time = traf.child(&[b"tfdt"])?;
        if time.version()?.0 != 1 {
            return Err(Mp4Error::Malformed("a fragment time has another version"));
        }
        let mut pts = i64::try_from(time.u64()? & (u64::MAX >> 4)).unwrap_or(0);
        if self.entries.last().is_some_and(|last| pts <= last.pts) {
            return Err(Mp4Error::Malformed("time runs backwards"));
        }
        let mut run = traf.child(&[b"trun"])?;
        if run.version()? != (0, 0x701) {
            return Err(Mp4Error::Malformed("a fragment has other fields"));
        }
        let count = run.u32()?;
        let mut offset = start.saturating_add(u64::from(run.u32()?));
        for _ in 0..count {
            let (ticks, size, flags) = (run.u32()?, run.u32()?, run.u32()?);
            if ticks == 0 {
                return Err(TIMELESS);
            }
            self.push(Entry { offset, pts, size, keyframe: flags == SYNC_SAMPLE }, ticks, len)?;
            offset = offset.saturating_add(u64::from(size));
            pts = pts.saturating_add(i64::from(ticks));
        }
        Ok(())
    }

    fn read_table(&mut self, moov: Cursor<'_>, len: u64) -> Result<(), Mp4Error> {
        let table = moov.child(&[b"trak", b"mdia", b"minf", b"stbl"])?;
        let open = |kind| -> Result<(Cursor<'_>, u32), Mp4Error> {
            let mut cursor = table.child(&[kind])?;
            cursor.version()?;
            if kind == b"stsz" && cursor.u32()? != 0 {
                return Err(Mp4Error::Malformed("frame sizes are not listed"));
            }
            let count = cursor.u32()?;
            Ok((cursor, count))
        };
        let (mut sizes, count) = open(b"stsz")?;
        let (mut times, mut time_runs) = open(b"stts")?;
        let (mut keys, mut keys_left) = open(b"stss")?;
        let (mut layout, mut layout_runs) = open(b"stsc")?;
        let (mut offsets, chunks) = open(b"co64")?;
        let mut next_key = next_u32(&mut keys, &mut keys_left)?;
        let (mut ticks, mut ticks_left) = (0, 0);
        let (mut per_chunk, mut next_run) = (0, None);
        if layout_runs > 0 {
            next_run = Some((layout.u32()?, layout.u32()?, layout.u32()?));
            layout_runs -= 1;
        }
        let mut number = 1;
        let mut pts = 0i64;
        for chunk in 1..=chunks {
            if let Some((_, samples, _)) = next_run.filter(|run| run.0 == chunk) {
                per_chunk = samples;
                next_run = None;
                if layout_runs > 0 {
                    next_run = Some((layout.u32()?, layout.u32()?, layout.u32()?));
                    layout_runs -= 1;
                }
            }
            let mut offset = offsets.u64()?;
            for _ in 0..per_chunk {
                if number > count {
                    return Err(Mp4Error::Malformed("chunks hold more frames than there are"));
                }
                if ticks_left == 0 {
                    time_runs = time_runs.checked_sub(1).ok_or(TIMELESS)?;
                    (ticks_left, ticks) = (times.u32()?, times.u32()?);
                }
                ticks_left = ticks_left.checked_sub(1).filter(|_| ticks > 0).ok_or(TIMELESS)?;
                let size = sizes.u32()?;
                let keyframe = next_key == Some(number);
                if keyframe {
                    next_key = next_u32(&mut keys, &mut keys_left)?;
                }
                self.push(Entry { offset, pts, size, keyframe }, ticks, len)?;
                offset = offset.saturating_add(u64::from(size));
                pts = pts.saturating_add(i64::from(ticks));
                number += 1;
            }
        }
        Ok(())
    }
}

struct Header {
    kind: [u8; 4],
    start: u64,
    content: u64,
    end: u64,
}

fn next_u32(list: &mut Cursor<'_>, left: &mut u32) -> Result<Option<u32>, Mp4Error> {
    match left.checked_sub(1) {
        Some(rest) => {
            *left = rest;
            list.u32().map(Some)
        }
        None => Ok(None),
    }
}
