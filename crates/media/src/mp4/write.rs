use super::boxes::{
    HANDLER_NAME, NON_SYNC_SAMPLE, SYNC_SAMPLE, put16, put32, put64, write_box, write_full_box,
};
use super::{Mp4Error, duration_from_ticks, io_error};
use crate::codec::{CLOCK_RATE, h264};
use std::io::{Seek, SeekFrom, Write};
use std::time::Duration;

/// A fragment is written once it spans this many ticks…
const FRAGMENT_TICKS: i64 = CLOCK_RATE / 2;
/// …or holds this many bytes.
const FRAGMENT_BYTES: usize = 8 << 20;
/// How long the last frame is shown when there is nothing to tell.
const DEFAULT_TICKS: u32 = (CLOCK_RATE / 30) as u32;
/// Matches what the reader and the decoder accept.
const MAX_FRAME_BYTES: usize = 16 << 20;
const IDENTITY_MATRIX: [u32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];

/// What [`Mp4Writer::finish`] made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mp4Summary {
    /// From the first frame to the end of the last.
    pub duration: Duration,
    /// Frames in the file.
    pub frames: u64,
    /// Size of the file.
    pub bytes: u64,
}

#[derive(Clone, Copy)]
struct Entry {
    pts: i64,
    size: u32,
    keyframe: bool,
}

/// Frames that lie side by side in the file.
struct Chunk {
    offset: u64,
    samples: u32,
}

struct Track {
    /// Box `avcC` and the parameter sets that it came from.
    sps: Vec<u8>,
    pps: Vec<u8>,
    origin: i64,
}

/// Writes H.264 frames into a crash-safe MP4 file; see [the module](crate::mp4).
pub struct Mp4Writer<W> {
    out: W,
    size: (u32, u32),
    track: Option<Track>,
    /// Every frame so far; the last `pending` of them are not yet in the file.
    entries: Vec<Entry>,
    chunks: Vec<Chunk>,
    pending: usize,
    payload: Vec<u8>,
    /// Where the next fragment goes: a fragment that failed half-way is overwritten by the next attempt.
    end: u64,
    /// Offset of the `free` box that becomes `mdat`.
    reserve: u64,
}

impl<W: Write + Seek> Mp4Writer<W> {
    /// A writer of `width × height` pictures into the empty file `out`. Nothing is written before the first frame.
    pub const fn new(out: W, (width, height): (u32, u32)) -> Self {
        Self {
            out,
            size: (width, height),
            track: None,
            entries: Vec::new(),
            chunks: Vec::new(),
            pending: 0,
            payload: Vec::new(),
            end: 0,
            reserve: 0,
        }
    }

    /// Adds the access unit `data` (Annex B), shown at `pts` (90 kHz ticks, any origin).
    ///
    /// The frame reaches the file with its fragment: about half a second later, at [`Mp4Writer::flush`], or when
    /// finishing.
    ///
    /// # Errors
    /// [`Mp4Error::NoKeyframe`], [`Mp4Error::Order`], [`Mp4Error::ParameterSets`] or [`Mp4Error::TooLarge`], with the
    /// frame left out; [`Mp4Error::Io`], after which frames are kept and the next call tries again.
    pub fn write(&mut self, pts: i64, data: &[u8], keyframe: bool) -> Result<(), Mp4Error> {
        if data.len() > MAX_FRAME_BYTES {
            return Err(Mp4Error::TooLarge { bytes: data.len() });
        }
        let find = |kind| h264::nal_units(data).find(|nal| h264::nal_type(nal) == kind);
        let (sps, pps) = (find(h264::SPS), find(h264::PPS));
        let origin = match &self.track {
            Some(track) => {
                let same = |new: Option<&[u8]>, old: &[u8]| new.is_none_or(|new| new == old);
                if !same(sps, &track.sps) || !same(pps, &track.pps) {
                    return Err(Mp4Error::ParameterSets);
                }
                track.origin
            }
            None => {
                let (Some(sps @ [_, _, _, _, ..]), Some(pps), true) = (sps, pps, keyframe) else {
                    return Err(Mp4Error::NoKeyframe);
                };
                if sps.len().max(pps.len()) > usize::from(u16::MAX) {
                    return Err(Mp4Error::NoKeyframe);
                }
                self.track = Some(Track { sps: sps.to_vec(), pps: pps.to_vec(), origin: pts });
                pts
            }
        };
        let time = pts.checked_sub(origin).ok_or(Mp4Error::Order { last: origin, pts })?;
        if let Some(last) = self.entries.last()
            && !(1..=i64::from(u32::MAX)).contains(&(time - last.pts))
        {
            return Err(Mp4Error::Order { last: last.pts + origin, pts });
        }
        let start = self.entries.len() - self.pending;
        if let Some(first) = self.entries.get(start)
            && (time - first.pts >= FRAGMENT_TICKS || self.payload.len() >= FRAGMENT_BYTES)
        {
            self.write_fragment(Some(time))?;
        }
        let before = self.payload.len();
        for nal in h264::nal_units(data) {
            if !matches!(h264::nal_type(nal), h264::SPS | h264::PPS | h264::DELIMITER) {
                put32(&mut self.payload, nal.len() as u32);
                self.payload.extend_from_slice(nal);
            }
        }
        let size = (self.payload.len() - before) as u32;
        self.entries.push(Entry { pts: time, size, keyframe });
        self.pending += 1;
        Ok(())
    }

    /// Writes what is pending, for sources that pause: how long the last frame will be shown is guessed for now.
    ///
    /// # Errors
    /// [`Mp4Error::Io`].
    pub fn flush(&mut self) -> Result<(), Mp4Error> {
        if self.pending == 0 { Ok(()) } else { self.write_fragment(None) }
    }

    /// Bytes in the file so far.
    pub const fn bytes(&self) -> u64 {
        self.end
    }

    /// Time from the first frame to the start of the last.
    pub fn elapsed(&self) -> Duration {
        duration_from_ticks(self.entries.last().map_or(0, |last| last.pts))
    }

    /// Writes the rest and turns the file into a plain MP4 with duration and sample table.
    ///
    /// # Errors
    /// [`Mp4Error::Empty`] when there was no frame; [`Mp4Error::Io`], with the file playable up to its last whole
    /// fragment.
    pub fn finish(mut self) -> Result<(W, Mp4Summary), Mp4Error> {
        self.flush()?;
        let ticks = self.total_ticks().ok_or(Mp4Error::Empty)?;
        let mut moov = Vec::new();
        self.write_moov(&mut moov, Some(ticks));
        self.write_at_end(&moov, "finish")?;
        // From here on players see one media data box and the table behind it; before, the fragments.
        let media = self.end - moov.len() as u64 - self.reserve;
        let mut header = 1u32.to_be_bytes().to_vec();
        header.extend_from_slice(b"mdat");
        put64(&mut header, media);
        self.out.seek(SeekFrom::Start(self.reserve)).map_err(io_error("finish"))?;
        self.out.write_all(&header).map_err(io_error("finish"))?;
        self.out.flush().map_err(io_error("finish"))?;
        let summary = Mp4Summary {
            duration: duration_from_ticks(ticks),
            frames: self.entries.len() as u64,
            bytes: self.end,
        };
        Ok((self.out, summary))
    }

    fn write_at_end(&mut self, bytes: &[u8], action: &'static str) -> Result<(), Mp4Error> {
        self.out.seek(SeekFrom::Start(self.end)).map_err(io_error(action))?;
        self.out.write_all(bytes).map_err(io_error(action))?;
        self.out.flush().map_err(io_error(action))?;
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// How long frame `index` is shown, given when the one after the last starts.
    fn ticks(&self, index: usize, next: Option<i64>) -> u32 {
        let start = self.entries[index].pts;
        let end = self.entries.get(index + 1).map(|entry| entry.pts).or(next);
        match end {
            Some(end) => (end - start) as u32,
            None if index > 0 => (start - self.entries[index - 1].pts).min(CLOCK_RATE) as u32,
            None => DEFAULT_TICKS,
        }
    }

    fn total_ticks(&self) -> Option<i64> {
        let last = self.entries.len().checked_sub(1)?;
        Some(self.entries[last].pts + i64::from(self.ticks(last, None)))
    }

    fn write_fragment(&mut self, next: Option<i64>) -> Result<(), Mp4Error> {
        if self.end == 0 {
            let mut head = Vec::new();
            write_box(&mut head, b"ftyp", |out| {
                out.extend_from_slice(b"isom\0\0\x02\0isomiso6avc1mp41");
            });
            self.reserve = head.len() as u64;
            write_box(&mut head, b"free", |out| put64(out, 0));
            self.write_moov(&mut head, None);
            self.write_at_end(&head, "start")?;
        }
        let first = self.entries.len() - self.pending;
        let mut fragment = Vec::with_capacity(self.payload.len() + 12 * self.pending + 128);
        let mut data_offset_at = 0;
        write_box(&mut fragment, b"moof", |out| {
            write_full_box(out, b"mfhd", 0, 0, |out| put32(out, self.chunks.len() as u32 + 1));
            write_box(out, b"traf", |out| {
                // default-base-is-moof
                write_full_box(out, b"tfhd", 0, 0x02_0000, |out| put32(out, 1));
                write_full_box(out, b"tfdt", 1, 0, |out| put64(out, self.entries[first].pts as u64));
                // data offset; then per sample duration, size and flags
                write_full_box(out, b"trun", 0, 0x701, |out| {
                    put32(out, self.pending as u32);
                    data_offset_at = out.len();
                    put32(out, 0);
                    for index in first..self.entries.len() {
                        let entry = self.entries[index];
                        put32(out, self.ticks(index, next));
                        put32(out, entry.size);
                        put32(out, if entry.keyframe { SYNC_SAMPLE } else { NON_SYNC_SAMPLE });
                    }
                });
            });
        });
        let data_offset = fragment.len() as u32 + 8;
        fragment[data_offset_at..data_offset_at + 4].copy_from_slice(&data_offset.to_be_bytes());
        write_box(&mut fragment, b"mdat", |out| out.extend_from_slice(&self.payload));
        let offset = self.end + u64::from(data_offset);
        self.write_at_end(&fragment, "write")?;
        self.chunks.push(Chunk { offset, samples: self.pending as u32 });
        self.pending = 0;
        self.payload.clear();
        Ok(())
    }

    /// The movie box: with a sample table of `finished` ticks, or announcing fragments.
    fn write_moov(&self, out: &mut Vec<u8>, finished: Option<i64>) {
        let (width, height) = self.size;
        let ticks = finished.unwrap_or(0) as u64;
        write_box(out, b"moov", |out| {
            write_full_box(out, b"mvhd", 1, 0, |out| {
                [0, 0].into_iter().for_each(|time| put64(out, time));
                put32(out, CLOCK_RATE as u32);
                put64(out, ticks);
                put32(out, 0x1_0000); // rate
                put16(out, 0x100); // volume
                out.extend_from_slice(&[0; 10]);
                IDENTITY_MATRIX.into_iter().for_each(|value| put32(out, value));
                out.extend_from_slice(&[0; 24]);
                put32(out, 2); // next track
            });
            write_box(out, b"trak", |out| {
                // enabled, in movie
                write_full_box(out, b"tkhd", 1, 3, |out| {
                    [0, 0].into_iter().for_each(|time| put64(out, time));
                    put32(out, 1);
                    put32(out, 0);
                    put64(out, ticks);
                    out.extend_from_slice(&[0; 16]);
                    IDENTITY_MATRIX.into_iter().for_each(|value| put32(out, value));
                    put32(out, width << 16);
                    put32(out, height << 16);
                });
                write_box(out, b"mdia", |out| {
                    write_full_box(out, b"mdhd", 1, 0, |out| {
                        [0, 0].into_iter().for_each(|time| put64(out, time));
                        put32(out, CLOCK_RATE as u32);
                        put64(out, ticks);
                        put16(out, 0x55c4); // language: undetermined
                        put16(out, 0);
                    });
                    write_full_box(out, b"hdlr", 0, 0, |out| {
                        put32(out, 0);
                        out.extend_from_slice(b"vide");
                        out.extend_from_slice(&[0; 12]);
                        out.extend_from_slice(HANDLER_NAME);
                    });
                    write_box(out, b"minf", |out| {
                        write_full_box(out, b"vmhd", 0, 1, |out| put64(out, 0));
                        write_box(out, b"dinf", |out| {
                            write_full_box(out, b"dref", 0, 0, |out| {
                                put32(out, 1);
                                write_full_box(out, b"url ", 0, 1, |_| {});
                            });
                        });
                        write_box(out, b"stbl", |out| {
                            self.write_description(out);
                            self.write_table(out, finished.is_some());
                        });
                    });
                });
            });
            if finished.is_none() {
                write_box(out, b"mvex", |out| {
                    write_full_box(out, b"trex", 0, 0, |out| {
                        [1, 1, 0, 0, 0].into_iter().for_each(|value| put32(out, value));
                    });
                });
            }
        });
    }

    /// What the frames are (ISO/IEC 14496-15, 5.3.4).
    fn write_description(&self, out: &mut Vec<u8>) {
        let Some(Track { sps, pps, .. }) = &self.track else { return };
        let (width, height) = self.size;
        write_full_box(out, b"stsd", 0, 0, |out| {
            put32(out, 1);
            write_box(out, b"avc1", |out| {
                out.extend_from_slice(&[0; 6]);
                put16(out, 1);
                out.extend_from_slice(&[0; 16]);
                put16(out, width as u16);
                put16(out, height as u16);
                put32(out, 0x48_0000); // 72 dpi
                put32(out, 0x48_0000);
                put32(out, 0);
                put16(out, 1); // frames a sample
                out.extend_from_slice(&[0; 32]); // compressor name
                put16(out, 0x18); // depth
                put16(out, 0xffff);
                write_box(out, b"avcC", |out| {
                    // Version, profile, compatibility, level; four-byte lengths; one SPS.
                    out.extend_from_slice(&[1, sps[1], sps[2], sps[3], 0xff, 0xe1]);
                    put16(out, sps.len() as u16);
                    out.extend_from_slice(sps);
                    out.push(1);
                    put16(out, pps.len() as u16);
                    out.extend_from_slice(pps);
                });
                write_box(out, b"colr", |out| {
                    out.extend_from_slice(b"nclx");
                    // BT.601 primaries, transfer and matrix, limited range: what `scope_frame` holds.
                    [6, 6, 6].into_iter().for_each(|value| put16(out, value));
                    out.push(0);
                });
            });
        });
    }

    /// The sample table, empty while recording.
    fn write_table(&self, out: &mut Vec<u8>, filled: bool) {
        let (entries, chunks) =
            if filled { (&self.entries[..], &self.chunks[..]) } else { (&[][..], &[][..]) };
        let durations = runs((0..entries.len()).map(|index| self.ticks(index, None)));
        write_full_box(out, b"stts", 0, 0, |out| {
            put32(out, durations.len() as u32);
            for &(_, ticks, count) in &durations {
                put32(out, count);
                put32(out, ticks);
            }
        });
        if filled {
            let keys: Vec<_> = (1u32..).zip(entries).filter(|(_, entry)| entry.keyframe).collect();
            write_full_box(out, b"stss", 0, 0, |out| {
                put32(out, keys.len() as u32);
                keys.iter().for_each(|(number, _)| put32(out, *number));
            });
        }
        let lengths = runs(chunks.iter().map(|chunk| chunk.samples));
        write_full_box(out, b"stsc", 0, 0, |out| {
            put32(out, lengths.len() as u32);
            for &(first, samples, _) in &lengths {
                put32(out, first + 1);
                put32(out, samples);
                put32(out, 1);
            }
        });
        write_full_box(out, b"stsz", 0, 0, |out| {
            put32(out, 0);
            put32(out, entries.len() as u32);
            entries.iter().for_each(|entry| put32(out, entry.size));
        });
        write_full_box(out, b"co64", 0, 0, |out| {
            put32(out, chunks.len() as u32);
            chunks.iter().for_each(|chunk| put64(out, chunk.offset));
        });
    }
}

/// Runs of equal values: (index of the first, value, length).
fn runs(values: impl Iterator<Item = u32>) -> Vec<(u32, u32, u32)> {
    let mut runs: Vec<(u32, u32, u32)> = Vec::new();
    for (index, value) in (0..).zip(values) {
        match runs.last_mut() {
            Some((_, last, count)) if *last == value => *count += 1,
            _ => runs.push((index, value, 1)),
        }
    }
    runs
}
