//! Pictures without colour.

/// The luma of each pixel of `rgb`, in all three channels and between 0 and 1: `0.299 R + 0.587 G + 0.114 B` (ITU-R
/// BT.601). Bytes beyond the last whole pixel are left out.
#[must_use]
pub fn gray(rgb: &[u8]) -> Vec<f32> {
    let luma = |&[r, g, b]: &[u8; 3]| {
        let channel = |byte: u8| f32::from(byte) / 255.0;
        0.299 * channel(r) + 0.587 * channel(g) + 0.114 * channel(b)
    };
    rgb.as_chunks::<3>().0.iter().flat_map(|pixel| [luma(pixel); 3]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn luma_weighs_the_colours() {
        let grays = gray(&[255, 255, 255, 0, 0, 0, 255, 0, 0, 9]);
        assert_eq!(grays.len(), 9);
        assert!((grays[0] - 1.0).abs() < 1e-6 && grays[3] == 0.0);
        assert_eq!(grays[6..], [0.299; 3]);
    }
}
