use crate::{MAX_DIMENSION, Timestamp, convert};
use bytes::Bytes;

/// How the bytes of an [`Image`] are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PixelFormat {
    /// A full-size Y plane, then U and V planes of `ceil(w/2) × ceil(h/2)`, rows without padding, limited range.
    I420,
    /// Rows of packed R, G, B bytes, full range.
    Rgb8,
}

impl PixelFormat {
    /// Bytes of a `width × height` image in this format.
    pub const fn byte_len(self, width: u32, height: u32) -> usize {
        let (w, h) = (width as usize, height as usize);
        match self {
            Self::I420 => w * h + 2 * w.div_ceil(2) * h.div_ceil(2),
            Self::Rgb8 => w * h * 3,
        }
    }
}

/// Why bytes are not an [`Image`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// Width or height is zero or above [`MAX_DIMENSION`].
    #[error("image size {width}×{height} is outside 1…{MAX_DIMENSION} pixels")]
    Dimensions {
        /// Requested width in pixels.
        width: u32,
        /// Requested height in pixels.
        height: u32,
    },
    /// The buffer's length does not fit the size and format.
    #[error("a {width}×{height} {format:?} image has {expected} bytes, not {actual}")]
    Length {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// The format asked for.
        format: PixelFormat,
        /// Bytes that the size and format need.
        expected: usize,
        /// Bytes given.
        actual: usize,
    },
    /// The resizer refused the picture.
    #[error("cannot resize: {0}")]
    Resize(String),
}

/// An immutable picture whose bytes are shared between clones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    format: PixelFormat,
    width: u32,
    height: u32,
    data: Bytes,
}

impl Image {
    /// An image over `data`, whose length must be [`PixelFormat::byte_len`].
    ///
    /// # Errors
    /// [`ImageError::Dimensions`] or [`ImageError::Length`].
    pub fn new(
        format: PixelFormat,
        width: u32,
        height: u32,
        data: impl Into<Bytes>,
    ) -> Result<Self, ImageError> {
        let data = data.into();
        if !(1..=MAX_DIMENSION).contains(&width) || !(1..=MAX_DIMENSION).contains(&height) {
            return Err(ImageError::Dimensions { width, height });
        }
        let expected = format.byte_len(width, height);
        if data.len() != expected {
            return Err(ImageError::Length { width, height, format, expected, actual: data.len() });
        }
        Ok(Self { format, width, height, data })
    }

    /// A picture of one colour.
    ///
    /// # Errors
    /// [`ImageError::Dimensions`].
    pub fn solid(width: u32, height: u32, rgb: [u8; 3]) -> Result<Self, ImageError> {
        if !(1..=MAX_DIMENSION).contains(&width) || !(1..=MAX_DIMENSION).contains(&height) {
            return Err(ImageError::Dimensions { width, height });
        }
        let data = rgb.repeat(width as usize * height as usize);
        Self::new(PixelFormat::Rgb8, width, height, data)
    }

    /// Builds an I420 image from planes with row strides, as decoders hand them out.
    ///
    /// # Errors
    /// [`ImageError::Dimensions`]; [`ImageError::Length`] when a plane is shorter than its stride and size demand.
    pub fn from_i420_planes(
        width: u32,
        height: u32,
        planes: [&[u8]; 3],
        strides: [usize; 3],
    ) -> Result<Self, ImageError> {
        if !(1..=MAX_DIMENSION).contains(&width) || !(1..=MAX_DIMENSION).contains(&height) {
            return Err(ImageError::Dimensions { width, height });
        }
        let expected = PixelFormat::I420.byte_len(width, height);
        let mut data = Vec::with_capacity(expected);
        for (index, (plane, stride)) in planes.into_iter().zip(strides).enumerate() {
            let (w, h) = if index == 0 { (width, height) } else { (width.div_ceil(2), height.div_ceil(2)) };
            let (w, h) = (w as usize, h as usize);
            for row in 0..h {
                let bytes = plane.get(row * stride..row * stride + w).ok_or(ImageError::Length {
                    width,
                    height,
                    format: PixelFormat::I420,
                    expected,
                    actual: plane.len(),
                })?;
                data.extend_from_slice(bytes);
            }
        }
        Self::new(PixelFormat::I420, width, height, data)
    }

    /// Layout of [`Image::data`].
    pub const fn format(&self) -> PixelFormat {
        self.format
    }

    /// Width in pixels.
    pub const fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels.
    pub const fn height(&self) -> u32 {
        self.height
    }

    /// Width and height in pixels.
    pub const fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// All bytes, laid out as [`Image::format`] says.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// The Y, U and V planes; `None` for RGB.
    pub fn planes(&self) -> Option<[&[u8]; 3]> {
        if self.format != PixelFormat::I420 {
            return None;
        }
        let luma = self.width as usize * self.height as usize;
        let chroma = self.chroma_width() * self.height.div_ceil(2) as usize;
        let (y, uv) = self.data.split_at(luma);
        let (u, v) = uv.split_at(chroma);
        Some([y, u, v])
    }

    /// Width of a chroma plane in samples.
    pub const fn chroma_width(&self) -> usize {
        self.width.div_ceil(2) as usize
    }

    /// The same picture as I420; free when it is already.
    pub fn to_i420(&self) -> Self {
        match self.format {
            PixelFormat::I420 => self.clone(),
            PixelFormat::Rgb8 => Self {
                format: PixelFormat::I420,
                data: convert::i420_from_rgb(&self.data, self.width as usize, self.height as usize).into(),
                ..*self
            },
        }
    }

    /// The same picture as packed RGB; free when it is already.
    pub fn to_rgb8(&self) -> Self {
        match self.planes() {
            None => self.clone(),
            Some(planes) => Self {
                format: PixelFormat::Rgb8,
                data: convert::rgb_from_i420(planes, self.width as usize, self.height as usize).into(),
                ..*self
            },
        }
    }
}

/// A picture with its place in time.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The pixels.
    pub image: Image,
    /// When the picture was captured (camera, decoder) or, for generated pictures without an input, scheduled.
    pub captured_at: Timestamp,
    /// Bumped by a reset: frames of an older epoch are stale and may be dropped at any hop.
    pub epoch: u64,
    /// The chunk (one call of a pipeline) that produced the frame; 0 for frames straight from a source.
    pub chunk: u64,
    /// The newest parameter update that influenced the frame.
    pub revision: u64,
}

impl Frame {
    /// A frame of epoch 0 straight from a source.
    pub const fn new(image: Image, captured_at: Timestamp) -> Self {
        Self { image, captured_at, epoch: 0, chunk: 0, revision: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_of_the_wrong_length_is_refused_at_every_length() {
        let right = PixelFormat::I420.byte_len(3, 5);
        for len in 0..right + 4 {
            let image = Image::new(PixelFormat::I420, 3, 5, vec![0; len]);
            assert_eq!(image.is_ok(), len == right, "length {len}");
        }
    }

    #[test]
    fn sizes_out_of_range_are_refused() {
        for (w, h) in [(0, 4), (4, 0), (MAX_DIMENSION + 1, 4), (4, u32::MAX)] {
            assert_eq!(
                Image::solid(w, h, [0; 3]),
                Err(ImageError::Dimensions { width: w, height: h }),
                "{w}×{h}"
            );
        }
    }

    #[test]
    fn planes_with_padding_are_packed() {
        let y = [1, 2, 9, 3, 4, 9];
        let image = Image::from_i420_planes(2, 2, [&y, &[5, 9], &[6]], [3, 2, 1]).unwrap();
        assert_eq!(image.data(), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn short_planes_are_an_error() {
        assert!(Image::from_i420_planes(2, 2, [&[1, 2, 3], &[5], &[6]], [2, 1, 1]).is_err());
    }
}
