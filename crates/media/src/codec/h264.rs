//! The little of the H.264 syntax that we must know ourselves: where NAL units begin and how large a picture is.

/// `nal_unit_type` of a sequence parameter set.
pub(crate) const SPS: u8 = 7;
/// `nal_unit_type` of a picture parameter set.
pub(crate) const PPS: u8 = 8;
/// `nal_unit_type` of an access unit delimiter.
pub(crate) const DELIMITER: u8 = 9;
/// `nal_unit_type` of a subset sequence parameter set, which starts like a sequence parameter set.
pub(crate) const SUBSET_SPS: u8 = 15;

/// The type of a NAL unit, from its first byte.
pub(crate) fn nal_type(nal: &[u8]) -> u8 {
    nal.first().map_or(0, |byte| byte & 0x1f)
}

/// The NAL units of an Annex B byte stream (ITU-T H.264, B.1), without start codes or trailing zeros.
pub(crate) fn nal_units(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = after_start_code(stream);
    std::iter::from_fn(move || {
        let current = rest?;
        let end = start_code(current).unwrap_or(current.len());
        rest = after_start_code(&current[end..]);
        let mut nal = &current[..end];
        while let [head @ .., 0] = nal {
            nal = head;
        }
        Some(nal)
    })
    .filter(|nal| !nal.is_empty())
}

fn start_code(bytes: &[u8]) -> Option<usize> {
    bytes.windows(3).position(|window| window == [0, 0, 1])
}

fn after_start_code(bytes: &[u8]) -> Option<&[u8]> {
    start_code(bytes).and_then(|at| bytes.get(at + 3..))
}

/// Width and height in pixels, before cropping, that a sequence parameter set announces (ITU-T H.264, 7.3.2.1.1);
/// `None` when it is cut short or malformed.
pub(crate) fn sps_coded_size(nal: &[u8]) -> Option<(u32, u32)> {
    let mut bits = Bits::new(nal.get(1..)?);
    let profile = bits.take(8)?;
    bits.take(16)?; // constraint flags, level
    bits.ue()?; // seq_parameter_set_id
    if matches!(profile, 100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135) {
        let chroma_format = bits.ue()?;
        if chroma_format == 3 {
            bits.take(1)?;
        }
        bits.ue()?; // bit_depth_luma_minus8
        bits.ue()?; // bit_depth_chroma_minus8
        bits.take(1)?;
        if bits.take(1)? == 1 {
            for list in 0..if chroma_format == 3 { 12 } else { 8 } {
                if bits.take(1)? == 1 {
                    bits.skip_scaling_list(if list < 6 { 16 } else { 64 })?;
                }
            }
        }
    }
    bits.ue()?; // log2_max_frame_num_minus4
    match bits.ue()? {
        0 => _ = bits.ue()?,
        1 => {
            bits.take(1)?;
            bits.ue()?; // offset_for_non_ref_pic: signed, but the same number of bits
            bits.ue()?; // offset_for_top_to_bottom_field
            let cycle = bits.ue()?;
            if cycle > 255 {
                return None;
            }
            for _ in 0..cycle {
                bits.ue()?;
            }
        }
        2 => {}
        _ => return None,
    }
    bits.ue()?; // max_num_ref_frames
    bits.take(1)?;
    let width = bits.ue()?.checked_add(1)?.checked_mul(16)?;
    let map_units = bits.ue()?.checked_add(1)?.checked_mul(16)?;
    let frames_only = bits.take(1)? == 1;
    Some((width, map_units.checked_mul(if frames_only { 1 } else { 2 })?))
}

/// Reads bits of a NAL unit's payload, leaving out emulation prevention bytes (7.4.1.1).
struct Bits<'a> {
    bytes: &'a [u8],
    position: usize,
    bit: u32,
    zeros: u8,
}

impl<'a> Bits<'a> {
    const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0, bit: 0, zeros: 0 }
    }

    fn next(&mut self) -> Option<u32> {
        if self.bit == 0 && self.zeros >= 2 && self.bytes.get(self.position) == Some(&3) {
            self.position += 1;
            self.zeros = 0;
        }
        let byte = *self.bytes.get(self.position)?;
        let value = u32::from(byte >> (7 - self.bit)) & 1;
        self.bit += 1;
        if self.bit == 8 {
            self.bit = 0;
            self.position += 1;
            self.zeros = if byte == 0 { self.zeros.saturating_add(1) } else { 0 };
        }
        Some(value)
    }

    fn take(&mut self, count: u32) -> Option<u32> {
        (0..count).try_fold(0, |value, _| Some(value << 1 | self.next()?))
    }

    /// An unsigned Exp-Golomb code (9.1) of at most 32 bits.
    fn ue(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.next()? == 0 {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        Some((1 << zeros) - 1 + self.take(zeros)?)
    }

    fn skip_scaling_list(&mut self, size: u32) -> Option<()> {
        let mut next_scale = 8i64;
        for _ in 0..size {
            let code = i64::from(self.ue()?);
            let delta = if code % 2 == 1 { (code + 1) / 2 } else { -code / 2 };
            next_scale = (next_scale + delta).rem_euclid(256);
            if next_scale == 0 {
                break;
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nal_units_are_split_at_both_kinds_of_start_code() {
        let stream = [9, 9, 0, 0, 0, 1, 0x67, 1, 2, 0, 0, 1, 0x68, 3, 0, 0, 0, 1, 0, 0, 1, 0x65];
        let units: Vec<&[u8]> = nal_units(&stream).collect();
        assert_eq!(units, [&[0x67, 1, 2][..], &[0x68, 3], &[0x65]]);
        assert_eq!(nal_units(&[0, 0]).count(), 0);
    }

    #[test]
    fn the_size_of_a_foreign_high_profile_stream_is_read() {
        // x264, 1920×1080, High: 1080 is coded as 68 rows of macroblocks and cropped.
        let sps = [
            0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0x00, 0x00, 0x03,
            0x00, 0x04, 0x00, 0x00, 0x03, 0x00, 0xc0, 0x3c, 0x60, 0xc6, 0x58,
        ];
        assert_eq!(sps_coded_size(&sps), Some((1920, 1088)));
        for len in 0..9 {
            assert_eq!(sps_coded_size(&sps[..len]), None, "cut to {len} bytes");
        }
    }

    #[test]
    fn absurd_sizes_are_read_or_refused_but_never_wrap() {
        for fill in 0..=255 {
            for profile in [66, 100] {
                let sps = [&[0x67, profile, 0, 40][..], &[fill; 60]].concat();
                let _ = sps_coded_size(&sps);
            }
        }
    }
}
