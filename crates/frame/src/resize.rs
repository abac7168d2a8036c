use crate::{Image, ImageError, MAX_DIMENSION, PixelFormat};
use fast_image_resize::images::{Image as Pixels, TypedImageRef};
use fast_image_resize::pixels::{U8, U8x3};
use fast_image_resize::{FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer};
use std::cell::RefCell;

/// How a picture is brought to another shape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fit {
    /// Stretch both axes; the aspect ratio is not kept.
    #[default]
    Stretch,
    /// Crop the longer axis around the centre, keep the aspect ratio.
    Cover,
    /// Keep the aspect ratio and everything: black bars fill up the shorter axis.
    Contain,
}

impl Image {
    /// The picture at `width × height` in the same format, bilinear with antialiasing; free when the size matches.
    ///
    /// # Errors
    /// [`ImageError::Dimensions`] for a size out of range.
    pub fn resized(&self, width: u32, height: u32, fit: Fit) -> Result<Self, ImageError> {
        if self.size() == (width, height) {
            return Ok(self.clone());
        }
        if !(1..=MAX_DIMENSION).contains(&width) || !(1..=MAX_DIMENSION).contains(&height) {
            return Err(ImageError::Dimensions { width, height });
        }
        let crop = match fit {
            Fit::Stretch => (0.0, 0.0, 1.0, 1.0),
            Fit::Cover => cover(self.size(), (width, height)),
            Fit::Contain => {
                let (inner_width, inner_height) = contained(self.size(), (width, height));
                return self.resized(inner_width, inner_height, Fit::Stretch)?.framed(width, height);
            }
        };
        let mut data = Vec::with_capacity(self.format().byte_len(width, height));
        match self.planes() {
            None => data = plane::<U8x3>(self.data(), self.size(), (width, height), crop)?,
            Some(planes) => {
                for (index, source) in planes.into_iter().enumerate() {
                    let half = |(w, h): (u32, u32)| {
                        if index == 0 { (w, h) } else { (w.div_ceil(2), h.div_ceil(2)) }
                    };
                    let (from, to) = (half(self.size()), half((width, height)));
                    data.extend(plane::<U8>(source, from, to, crop)?);
                }
            }
        }
        Self::new(self.format(), width, height, data)
    }

    /// The picture in the middle of a black one that is at least as large, in the same format.
    fn framed(&self, width: u32, height: u32) -> Result<Self, ImageError> {
        let mut data = Vec::with_capacity(self.format().byte_len(width, height));
        // An even distance, so that each chroma sample stays with its pixels.
        let (left, top) = ((width - self.width()) / 4 * 2, (height - self.height()) / 4 * 2);
        let mut frame = |source: &[u8], per_pixel: usize, shift: u32, black: u8| {
            let side = |length: u32| (length as usize).div_ceil(1 << shift);
            let (from, to) = (side(self.width()) * per_pixel, side(width) * per_pixel);
            let start = data.len();
            data.resize(start + to * side(height), black);
            let first = start + (top as usize >> shift) * to + (left as usize >> shift) * per_pixel;
            for (row, source) in source.chunks_exact(from).enumerate() {
                data[first + row * to..][..from].copy_from_slice(source);
            }
        };
        match self.planes() {
            None => frame(self.data(), 3, 0, 0),
            Some([luma, blue, red]) => {
                frame(luma, 1, 0, 16);
                frame(blue, 1, 1, 128);
                frame(red, 1, 1, 128);
            }
        }
        Self::new(self.format(), width, height, data)
    }

    /// The picture padded to even width and height by repeating its last column and row, as codecs need it.
    pub fn padded_to_even(&self) -> Self {
        let (w, h) = (self.width() as usize, self.height() as usize);
        if w % 2 == 0 && h % 2 == 0 {
            return self.clone();
        }
        let rgb = self.to_rgb8();
        let (even_w, even_h) = (w + w % 2, h + h % 2);
        let mut data = Vec::with_capacity(even_w * even_h * 3);
        for row in 0..even_h {
            let source = &rgb.data()[row.min(h - 1) * w * 3..][..w * 3];
            data.extend_from_slice(source);
            if w % 2 == 1 {
                data.extend_from_slice(&source[(w - 1) * 3..]);
            }
        }
        let padded = Self::new(PixelFormat::Rgb8, even_w as u32, even_h as u32, data);
        // Only a picture of exactly MAX_DIMENSION, which is even, could not grow.
        padded.unwrap_or_else(|_| self.clone())
    }
}

/// The centred part of `from`, as fractions (left, top, width, height), that has the aspect ratio of `to`.
fn cover(from: (u32, u32), to: (u32, u32)) -> (f64, f64, f64, f64) {
    let from_ratio = f64::from(from.0) / f64::from(from.1);
    let to_ratio = f64::from(to.0) / f64::from(to.1);
    if from_ratio > to_ratio {
        let part = to_ratio / from_ratio;
        ((1.0 - part) / 2.0, 0.0, part, 1.0)
    } else {
        let part = from_ratio / to_ratio;
        (0.0, (1.0 - part) / 2.0, 1.0, part)
    }
}

/// The largest size with the aspect ratio of `from` inside `to`.
fn contained(from: (u32, u32), to: (u32, u32)) -> (u32, u32) {
    let ratio = f64::from(from.0) / f64::from(from.1);
    // Even, so that no chroma sample belongs to picture and bar.
    let side = |length: f64, most: u32| ((length / 2.0).round() as u32 * 2).clamp(2.min(most), most);
    if ratio * f64::from(to.1) > f64::from(to.0) {
        (to.0, side(f64::from(to.0) / ratio, to.1))
    } else {
        (side(f64::from(to.1) * ratio, to.0), to.1)
    }
}

/// Generic over the pixel: with the type known only at run time the code of all fifteen would be compiled into this crate.
fn plane<P: PixelTrait>(
    source: &[u8],
    (from_w, from_h): (u32, u32),
    (to_w, to_h): (u32, u32),
    (left, top, part_w, part_h): (f64, f64, f64, f64),
) -> Result<Vec<u8>, ImageError> {
    thread_local! {
        // The resizer keeps its scratch buffers between frames.
        static RESIZER: RefCell<Resizer> = RefCell::new(Resizer::new());
    }
    let failed = |error: &dyn std::fmt::Display| ImageError::Resize(error.to_string());
    let (w, h) = (f64::from(from_w), f64::from(from_h));
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(FilterType::Bilinear))
        .use_alpha(false)
        .crop(left * w, top * h, part_w * w, part_h * h);
    let source = TypedImageRef::<P>::from_buffer(from_w, from_h, source).map_err(|error| failed(&error))?;
    let mut target = Pixels::new(to_w, to_h, P::pixel_type());
    // Just made of such pixels.
    let mut pixels = target.typed_image_mut::<P>().ok_or_else(|| failed(&"pixels of another kind"))?;
    RESIZER
        .with_borrow_mut(|resizer| resizer.resize_typed(&source, &mut pixels, &options))
        .map_err(|error| failed(&error))?;
    Ok(target.into_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fits() -> impl Strategy<Value = Fit> {
        prop_oneof![Just(Fit::Stretch), Just(Fit::Cover), Just(Fit::Contain)]
    }

    proptest! {
        #[test]
        fn any_size_resizes_to_any_size(w in 1u32..70, h in 1u32..70, tw in 1u32..70, th in 1u32..70, fit in fits()) {
            let image = Image::solid(w, h, [200, 40, 90]).unwrap();
            for image in [image.clone(), image.to_i420()] {
                let small = image.resized(tw, th, fit).unwrap();
                prop_assert_eq!(small.size(), (tw, th));
                prop_assert_eq!(small.format(), image.format());
                // Bars are darker.
                let red = small.to_rgb8().data().chunks_exact(3).map(|pixel| pixel[0]).max().unwrap();
                prop_assert!(red.abs_diff(200) < 6, "colour changed to {}", red);
            }
        }
    }

    #[test]
    fn cover_keeps_the_centre_and_the_aspect_ratio() {
        // Left third red, middle third green, right third blue; a square cut keeps the green middle.
        let mut data = Vec::new();
        for _ in 0..10 {
            for x in 0..30 {
                data.extend(match x / 10 {
                    0 => [255, 0, 0],
                    1 => [0, 255, 0],
                    _ => [0, 0, 255],
                });
            }
        }
        let image = Image::new(PixelFormat::Rgb8, 30, 10, data).unwrap();
        let square = image.resized(10, 10, Fit::Cover).unwrap();
        for pixel in square.data().chunks_exact(3) {
            assert_eq!(pixel, [0, 255, 0]);
        }
    }

    #[test]
    fn contain_keeps_everything_between_black_bars() {
        let image = Image::solid(20, 10, [200, 40, 90]).unwrap();
        for image in [image.clone(), image.to_i420()] {
            let tall = image.resized(12, 17, Fit::Contain).unwrap().to_rgb8();
            let red: Vec<u8> = tall.data().chunks_exact(36).map(|row| row[18]).collect();
            let (bar, inside) = (|red: &u8| *red == 0, |red: &u8| red.abs_diff(200) < 6);
            assert!(
                red[..4].iter().all(bar) && red[4..10].iter().all(inside) && red[10..].iter().all(bar),
                "{red:?}"
            );
        }
    }

    #[test]
    fn padding_repeats_the_edge() {
        let data = [[1, 1, 1], [2, 2, 2], [3, 3, 3]].concat();
        let image = Image::new(PixelFormat::Rgb8, 3, 1, data).unwrap().padded_to_even();
        assert_eq!(image.size(), (4, 2));
        let row = [[1, 1, 1], [2, 2, 2], [3, 3, 3], [3, 3, 3]].concat();
        assert_eq!(image.data(), [row.clone(), row].concat());
    }
}
