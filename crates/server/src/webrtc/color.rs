//! The colour-space RTP header extension: how a sender's I420 samples stand for colours.
//!
//! VP8 has no field for it, and browsers send canvases and screens as full-range BT.709. The extension comes with key
//! frames and on changes only. Format: <http://www.webrtc.org/experiments/rtp-hdrext/color-space>; code points of
//! primaries, transfer and matrix are those of ITU-T H.273.

use scope_frame::{ColorSpace, Matrix};
use str0m::rtp::{ExtensionSerializer, ExtensionValues};

/// Reads the extension into [`ExtensionValues::user_values`] as a [`ColorSpace`]; never writes it: what we send is the default.
#[derive(Debug)]
pub(super) struct ColorSpaceReader;

impl ExtensionSerializer for ColorSpaceReader {
    fn write_to(&self, _: &mut [u8], _: &ExtensionValues) -> usize {
        0
    }

    fn parse_value(&self, bytes: &[u8], values: &mut ExtensionValues) -> bool {
        if let Some(space) = parse(bytes) {
            values.user_values.set(space);
        }
        true
    }

    fn is_video(&self) -> bool {
        true
    }

    fn is_audio(&self) -> bool {
        false
    }

    /// The short form cannot say "nothing", which is all that we write.
    fn requires_two_byte_form(&self, _: &ExtensionValues) -> bool {
        false
    }
}

fn parse(bytes: &[u8]) -> Option<ColorSpace> {
    let [_primaries, _transfer, matrix, range_and_siting, ..] = *bytes else { return None };
    let matrix = if matrix == 1 { Matrix::Bt709 } else { Matrix::Bt601 };
    let full_range = (range_and_siting >> 4) & 0b11 == 2;
    Some(ColorSpace { matrix, full_range })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_browsers_send_for_a_canvas_is_full_range_709() {
        assert_eq!(parse(&[1, 13, 1, 0x20]), Some(ColorSpace { matrix: Matrix::Bt709, full_range: true }));
        assert_eq!(parse(&[6, 6, 6, 0x10]), Some(ColorSpace::STANDARD));
    }

    #[test]
    fn short_values_say_nothing() {
        for length in 0..4 {
            assert_eq!(parse(&[1, 1, 1, 0x20][..length]), None);
        }
    }
}
