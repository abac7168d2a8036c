//! Pictures to the tensors that models work on, and back.
//!
//! A model's video is `[frames, height, width, 3]` in RGB with values in [-1, 1]; masks are `[frames, height, width, 1]`
//! with values in [0, 1].

mod flow_colors;
mod gray;

use scope_engine::{
    Device, Tensor,
    ops::{PendingBytes, affine_clamped, crop, i420_len, resize_bytes, rgb_from_i420, to_bytes, to_i420},
};

pub use flow_colors::flow_colors;
pub use gray::gray;

/// How the bytes of a picture are laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// Row by row without gaps, channels together: red, green, blue, or one in a mask. `height · width · channels` bytes.
    #[default]
    Packed,
    /// As video codecs take them: see [`to_i420`] and [`i420_len`].
    I420,
}

/// A picture in host memory.
#[derive(Clone, Copy, Debug)]
pub struct Picture<'a> {
    /// Rows.
    pub height: usize,
    /// Pixels of a row.
    pub width: usize,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// How they are laid out.
    pub layout: Layout,
}

impl Picture<'_> {
    /// The picture as bytes `[1, height, width, channels]`, with colours converted where the device is. `index` names it in
    /// errors.
    fn upload(&self, device: &Device, index: usize, channels: usize) -> Result<Tensor, FrameError> {
        let Self { height, width, bytes, layout } = *self;
        let expected = match layout {
            Layout::Packed => height * width * channels,
            Layout::I420 if channels == 3 => i420_len([height, width]),
            Layout::I420 => return Err(FrameError::Layout { index }),
        };
        if bytes.len() != expected {
            return Err(FrameError::Bytes { index, expected, found: bytes.len() });
        }
        Ok(match layout {
            Layout::Packed => Tensor::from_u8(device, &[1, height, width, channels], bytes)?,
            Layout::I420 => rgb_from_i420(&Tensor::from_u8(device, &[1, expected], bytes)?, [height, width])?,
        })
    }
}

/// Why pictures could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// There is no picture to make frames of.
    #[error("there is no picture")]
    Empty,
    /// A picture does not have as many bytes as its size says.
    #[error("picture {index} has {found} bytes where its size needs {expected}")]
    Bytes {
        /// Its place, from 0.
        index: usize,
        /// What its size and layout need.
        expected: usize,
        /// What it has.
        found: usize,
    },
    /// A mask has one channel, and so is packed.
    #[error("picture {index} is a mask in I420; masks have one byte for each pixel")]
    Layout {
        /// Its place, from 0.
        index: usize,
    },
    /// The engine refused an operator: a picture or the target has no area, say.
    #[error("{0}")]
    Engine(#[from] scope_engine::Error),
}

/// Which of `count` frames stand for `target` frames: evenly spread from the first to the last, to the nearest, halves
/// to the even one.
#[must_use]
pub fn sample(count: usize, target: usize) -> Vec<usize> {
    let (span, steps) = (count.saturating_sub(1), target.saturating_sub(1).max(1));
    let nearest = |index: usize| {
        let (whole, rest) = (index * span / steps, index * span % steps);
        let up = match (2 * rest).cmp(&steps) {
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal => whole % 2 == 1,
            std::cmp::Ordering::Greater => true,
        };
        whole + usize::from(up)
    };
    (0..target).map(nearest).collect()
}

/// A model's video of `count` frames of size `[height, width]` from pictures of any sizes and number.
///
/// # Errors
/// [`FrameError`] without a picture, or when one has another number of bytes than its size says.
pub fn video(
    device: &Device,
    pictures: &[Picture<'_>],
    size: [usize; 2],
    count: usize,
) -> Result<Tensor, FrameError> {
    frames(device, pictures, 3, size, count, [-1.0, 1.0])
}

/// Masks, like [`video`]: black is 0, white is 1.
///
/// # Errors
/// As [`video`].
pub fn masks(
    device: &Device,
    pictures: &[Picture<'_>],
    size: [usize; 2],
    count: usize,
) -> Result<Tensor, FrameError> {
    frames(device, pictures, 1, size, count, [0.0, 1.0])
}

/// A picture `[1, height, width, 3]` that fills `size`: enlarged or shrunk until it covers it, and cut evenly at the edges
/// that stick out.
///
/// # Errors
/// [`FrameError`] when the picture has another number of bytes than its size says, or no area.
pub fn cover(device: &Device, picture: &Picture<'_>, size: [usize; 2]) -> Result<Tensor, FrameError> {
    if picture.height * picture.width == 0 {
        return Err(FrameError::Empty);
    }
    let bytes = picture.upload(device, 0, 3)?;
    let old = [picture.height, picture.width];
    let scale = (size[0] as f64 / old[0] as f64).max(size[1] as f64 / old[1] as f64);
    // Rounding down must not uncover an edge.
    let covering = [0, 1].map(|axis| ((old[axis] as f64 * scale) as usize).max(size[axis]));
    let resized = resize_bytes(&bytes, covering, [-1.0, 1.0])?;
    Ok(crop(&resized, [0, 1].map(|axis| (covering[axis] - size[axis]) / 2), size)?)
}

fn frames(
    device: &Device,
    pictures: &[Picture<'_>],
    channels: usize,
    [height, width]: [usize; 2],
    count: usize,
    range: [f32; 2],
) -> Result<Tensor, FrameError> {
    if pictures.is_empty() {
        return Err(FrameError::Empty);
    }
    let mut out = Tensor::zeros(device, &[count, height, width, channels])?;
    let mut last: Option<(usize, Tensor)> = None;
    for (place, index) in sample(pictures.len(), count).into_iter().enumerate() {
        // A picture that stands for several frames is resized once.
        let frame = match last.take() {
            Some((at, frame)) if at == index => frame,
            _ => resize_bytes(&pictures[index].upload(device, index, channels)?, [height, width], range)?,
        };
        out.write(place, &frame)?;
        last = Some((index, frame));
    }
    Ok(out)
}

/// A decoded video with values in [0, 1], for display.
///
/// # Errors
/// [`scope_engine::Error::DType`] unless the video is `f32`.
pub fn for_display(video: Tensor) -> scope_engine::Result<Tensor> {
    affine_clamped(video, 0.5, 0.5, [0.0, 1.0])
}

/// A decoded video as bytes, to the nearest.
///
/// # Errors
/// [`scope_engine::Error::DType`] unless the video is `f32`, [`scope_engine::Error::Shape`] where I420 is asked for and
/// it is no video.
pub fn bytes(video: &Tensor, layout: Layout) -> scope_engine::Result<PendingBytes> {
    // -1 is 0 and 1 is 255; the half makes the truncation a rounding.
    let [scale, shift] = [127.5, 128.0];
    match layout {
        Layout::Packed => to_bytes(video, scale, shift),
        Layout::I420 => to_i420(video, scale, shift),
    }
}

#[cfg(test)]
mod tests {
    use scope_engine::Cpu;

    use super::*;

    fn device() -> Device {
        Cpu::new(None).unwrap().into()
    }

    fn packed([height, width]: [usize; 2], bytes: &[u8]) -> Picture<'_> {
        Picture { height, width, bytes, layout: Layout::Packed }
    }

    #[test]
    fn samples_are_spread_evenly_and_halves_go_to_the_even_frame() {
        assert_eq!(sample(12, 12), (0..12).collect::<Vec<_>>());
        assert_eq!(sample(12, 13), [0, 1, 2, 3, 4, 5, 6, 6, 7, 8, 9, 10, 11]);
        assert_eq!(sample(5, 2), [0, 4]);
        assert_eq!(sample(1, 3), [0, 0, 0]);
        assert_eq!(sample(4, 1), [0]);
        assert!(sample(4, 0).is_empty());
        for (count, target) in (1..30).flat_map(|count| (2..30).map(move |target| (count, target))) {
            for (index, frame) in sample(count, target).into_iter().enumerate() {
                let exact = index as f64 * (count - 1) as f64 / (target - 1) as f64;
                assert_eq!(frame, exact.round_ties_even() as usize);
            }
        }
    }

    #[test]
    fn pictures_of_any_size_become_frames_of_one_size() {
        let (white, black) = ([255; 6 * 4 * 3], [0; 2 * 2 * 3]);
        let pictures = [packed([6, 4], &white), packed([2, 2], &black)];
        let video = video(&device(), &pictures, [4, 8], 3).unwrap();
        assert_eq!(*video.shape(), [3, 4, 8, 3]);
        let values = video.to_vec();
        // Half way is a tie, which goes to the even frame.
        assert!(values[..2 * 4 * 8 * 3].iter().all(|&v| v == 1.0));
        assert!(values[2 * 4 * 8 * 3..].iter().all(|&v| v == -1.0));
    }

    #[test]
    fn masks_have_one_channel_from_zero_to_one() {
        let mask = packed([1, 2], &[0, 255]);
        let masks = masks(&device(), &[mask], [1, 4], 1).unwrap();
        assert_eq!(*masks.shape(), [1, 1, 4, 1]);
        assert_eq!(masks.to_vec(), [0.0, 0.25, 0.75, 1.0]);
    }

    #[test]
    fn unusable_pictures_are_named() {
        assert!(matches!(video(&device(), &[], [2, 2], 1), Err(FrameError::Empty)));
        let short = packed([2, 2], &[0; 11]);
        let error = video(&device(), &[short], [2, 2], 1).unwrap_err();
        assert!(matches!(error, FrameError::Bytes { index: 0, expected: 12, found: 11 }));
        let short = Picture { layout: Layout::I420, ..short };
        let error = video(&device(), &[short], [2, 2], 1).unwrap_err();
        assert!(matches!(error, FrameError::Bytes { index: 0, expected: 6, found: 11 }));
        let mask = Picture { bytes: &[0; 6], ..short };
        assert!(matches!(masks(&device(), &[mask], [2, 2], 1), Err(FrameError::Layout { index: 0 })));
        let flat = packed([0, 2], &[]);
        assert!(matches!(video(&device(), &[flat], [2, 2], 1), Err(FrameError::Engine(_))));
    }

    #[test]
    fn bytes_survive_the_way_through_a_model() {
        let values: Vec<u8> = (0..=255).flat_map(|v| [v; 3]).collect();
        let picture = packed([16, 16], &values);
        let video = video(&device(), &[picture], [16, 16], 1).unwrap();
        assert_eq!(bytes(&video, Layout::Packed).unwrap().wait().unwrap(), values);
        let planar = bytes(&video, Layout::I420).unwrap().into_vec().unwrap();
        assert_eq!(planar.len(), 16 * 16 * 3 / 2);
        let again = Picture { bytes: &planar, layout: Layout::I420, ..picture };
        let colours =
            rgb_from_i420(&Tensor::from_u8(&device(), &[1, planar.len()], &planar).unwrap(), [16, 16]);
        let colours: Vec<u8> = colours.unwrap().to_vec().iter().map(|&v| v as u8).collect();
        let same = super::video(&device(), &[packed([16, 16], &colours)], [9, 16], 1).unwrap();
        let planar = super::video(&device(), &[again], [9, 16], 1).unwrap();
        assert_eq!(planar.to_vec(), same.to_vec());
        assert_eq!(
            cover(&device(), &again, [16, 9]).unwrap().to_vec(),
            cover(&device(), &packed([16, 16], &colours), [16, 9]).unwrap().to_vec()
        );
        let shown = for_display(video).unwrap().to_vec();
        assert!(shown.iter().zip(&values).all(|(shown, &v)| (shown - f32::from(v) / 255.0).abs() < 1e-6));
    }
}
