//! BT.601 limited-range colour conversion in integers: plain loops over exact chunks, which the compiler vectorises.

/// Packed RGB (`w·h·3` bytes) to I420 with 2×2 box-filtered chroma. Odd edges repeat their last row or column.
pub(crate) fn i420_from_rgb(rgb: &[u8], w: usize, h: usize) -> Vec<u8> {
    let (cw, ch) = (w.div_ceil(2), h.div_ceil(2));
    let mut out = vec![0; w * h + 2 * cw * ch];
    let (luma, chroma) = out.split_at_mut(w * h);
    let (u_plane, v_plane) = chroma.split_at_mut(cw * ch);
    for (pixel, y) in rgb.chunks_exact(3).zip(luma.iter_mut()) {
        let (r, g, b) = (i32::from(pixel[0]), i32::from(pixel[1]), i32::from(pixel[2]));
        *y = (((66 * r + 129 * g + 25 * b + 128) >> 8) + 16) as u8;
    }
    for row in 0..ch {
        let top = &rgb[row * 2 * w * 3..][..w * 3];
        let bottom = if row * 2 + 1 < h { &rgb[(row * 2 + 1) * w * 3..][..w * 3] } else { top };
        let us = &mut u_plane[row * cw..][..cw];
        let vs = &mut v_plane[row * cw..][..cw];
        let pairs = top.chunks_exact(6).zip(bottom.chunks_exact(6));
        for (((t, b), u), v) in pairs.zip(us.iter_mut()).zip(vs.iter_mut()) {
            let mean = |c: usize| {
                (i32::from(t[c]) + i32::from(t[c + 3]) + i32::from(b[c]) + i32::from(b[c + 3]) + 2) >> 2
            };
            (*u, *v) = chroma_from_rgb(mean(0), mean(1), mean(2));
        }
        if w % 2 == 1 {
            let (t, b) = (&top[(w - 1) * 3..], &bottom[(w - 1) * 3..]);
            let mean = |c: usize| (i32::from(t[c]) + i32::from(b[c]) + 1) >> 1;
            (us[cw - 1], vs[cw - 1]) = chroma_from_rgb(mean(0), mean(1), mean(2));
        }
    }
    out
}

#[inline]
fn chroma_from_rgb(r: i32, g: i32, b: i32) -> (u8, u8) {
    let u = ((-38 * r - 74 * g + 112 * b + 128) >> 8) + 128;
    let v = ((112 * r - 94 * g - 18 * b + 128) >> 8) + 128;
    (u as u8, v as u8)
}

/// I420 to packed RGB with nearest chroma.
pub(crate) fn rgb_from_i420([y, u, v]: [&[u8]; 3], w: usize, h: usize) -> Vec<u8> {
    let cw = w.div_ceil(2);
    let mut out = vec![0; w * h * 3];
    for (row, rgb) in out.chunks_exact_mut(w * 3).enumerate() {
        let ys = &y[row * w..][..w];
        let us = &u[row / 2 * cw..][..cw];
        let vs = &v[row / 2 * cw..][..cw];
        for (((pixels, lumas), &u), &v) in rgb.chunks_mut(6).zip(ys.chunks(2)).zip(us).zip(vs) {
            let (d, e) = (i32::from(u) - 128, i32::from(v) - 128);
            let (red, green, blue) = (409 * e + 128, -100 * d - 208 * e + 128, 516 * d + 128);
            for (pixel, &luma) in pixels.chunks_exact_mut(3).zip(lumas) {
                let c = 298 * (i32::from(luma) - 16);
                pixel[0] = ((c + red) >> 8).clamp(0, 255) as u8;
                pixel[1] = ((c + green) >> 8).clamp(0, 255) as u8;
                pixel[2] = ((c + blue) >> 8).clamp(0, 255) as u8;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use crate::{Image, PixelFormat};
    use proptest::prelude::*;

    proptest! {
        /// A flat colour has no chroma detail to lose: only rounding remains.
        #[test]
        fn flat_colours_survive_the_round_trip(rgb: [u8; 3], w in 1u32..40, h in 1u32..40) {
            let image = Image::solid(w, h, rgb).unwrap();
            let back = image.to_i420().to_rgb8();
            prop_assert_eq!(back.size(), (w, h));
            for pixel in back.data().chunks_exact(3) {
                for (a, b) in pixel.iter().zip(rgb) {
                    prop_assert!(a.abs_diff(b) <= 3, "{:?} became {:?}", rgb, pixel);
                }
            }
        }
    }

    #[test]
    fn reference_colours_match_bt601() {
        // Rec. ITU-R BT.601-7, 8-bit limited range.
        for (rgb, yuv) in [
            ([255, 255, 255], [235, 128, 128]),
            ([0, 0, 0], [16, 128, 128]),
            ([255, 0, 0], [82, 90, 240]),
            ([0, 255, 0], [145, 54, 34]),
            ([0, 0, 255], [41, 240, 110]),
        ] {
            let image = Image::solid(2, 2, rgb).unwrap().to_i420();
            let [y, u, v] = image.planes().unwrap();
            for (got, want) in [y[0], u[0], v[0]].into_iter().zip(yuv) {
                assert!(u8::abs_diff(got, want) <= 1, "{rgb:?}: {:?} is not {yuv:?}", [y[0], u[0], v[0]]);
            }
        }
    }

    #[test]
    fn odd_sizes_keep_their_last_column_and_row() {
        let mut rgb = vec![0; 3 * 3 * 3];
        rgb[8 * 3..].copy_from_slice(&[255, 255, 255]);
        let image = Image::new(PixelFormat::Rgb8, 3, 3, rgb).unwrap().to_i420().to_rgb8();
        assert_eq!(image.data()[8 * 3..], [255, 255, 255]);
    }
}
