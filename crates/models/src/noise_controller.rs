//! Noise that follows the motion of video input: much motion, little noise, so that the result keeps up (the
//! motion-aware noise controller of StreamDiffusion V2, Feng et al. 2025, arXiv 2511.07399).

use scope_engine::{Result, Tensor, ops::mean_square_difference};

/// Root-mean-square difference of successive frames, of values in [-1, 1], that counts as full motion.
const FULL_MOTION: f64 = 0.2;

/// Watches the input frames and proposes the share of noise.
#[derive(Clone, Debug)]
pub struct NoiseController {
    window: usize,
    last_frame: Option<Tensor>,
}

impl NoiseController {
    /// A controller that measures motion over `window` frames of each chunk: all of them, four times its latents, where
    /// nothing speaks against it. With fewer, only the newest are seen, and the first of those is compared with the last
    /// frame of the chunk before. (The published reference passes the number of latents.)
    #[must_use]
    pub fn new(window: usize) -> Self {
        Self { window, last_frame: None }
    }

    /// The noise scale for a chunk: nine tenths from its motion, between 0.6 (full motion) and 0.8 (none), and one tenth
    /// `noise_scale`, the one before. `video` is `[frames, height, width, 3]` with values in [-1, 1].
    ///
    /// # Errors
    /// [`scope_engine::Error::DType`] unless the video is `f32`.
    pub fn update(&mut self, video: &Tensor, noise_scale: f64) -> Result<f64> {
        let motion = self.motion(video)?;
        if video.dim(0) > 0 {
            self.last_frame = Some(video.narrow(video.dim(0) - 1, 1)?);
        }
        Ok(0.9 * (0.8 - 0.2 * motion) + 0.1 * noise_scale)
    }

    /// Forgets the frame before: the next chunk does not continue it.
    pub fn forget(&mut self) {
        self.last_frame = None;
    }

    /// The largest difference of successive frames, 0 to 1.
    fn motion(&self, video: &Tensor) -> Result<f64> {
        let frames = video.dim(0);
        // A remembered picture of another size belongs to another video.
        let last = self.last_frame.as_ref().filter(|last| last.shape()[1..] == video.shape()[1..]);
        let compared = self.window.min(if last.is_some() { frames } else { frames.saturating_sub(1) });
        let mut largest = 0.0f32;
        let mut compare = |before: &Tensor, after: &Tensor| -> Result<()> {
            largest = mean_square_difference(before, after)?.into_iter().fold(largest, f32::max);
            Ok(())
        };
        let first = frames - compared;
        let (from, len) = match last {
            Some(last) if compared > 0 => {
                compare(last, &video.narrow(first, 1)?)?;
                (first, compared - 1)
            }
            _ => (first.saturating_sub(1), compared),
        };
        if len > 0 {
            compare(&video.narrow(from, len)?, &video.narrow(from + 1, len)?)?;
        }
        Ok((f64::from(largest).sqrt() / FULL_MOTION).clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use scope_engine::{Cpu, Device};

    use super::*;

    /// Frames of one grey each.
    fn video(greys: &[f32]) -> Tensor {
        let device = Device::from(Cpu::new(None).unwrap());
        let values: Vec<f32> = greys.iter().flat_map(|&grey| [grey; 2 * 2 * 3]).collect();
        Tensor::from_f32(&device, &[greys.len(), 2, 2, 3], &values).unwrap()
    }

    fn close(got: f64, expected: f64) {
        assert!((got - expected).abs() < 1e-6, "{got} for {expected}");
    }

    #[test]
    fn motion_lowers_the_noise() {
        let mut controller = NoiseController::new(12);
        close(controller.update(&video(&[0.1; 4]), 0.8).unwrap(), 0.8);
        // Motion from the chunk before into this one counts, and so does motion anywhere in the chunk.
        close(controller.update(&video(&[0.2; 4]), 0.8).unwrap(), 0.71);
        close(controller.update(&video(&[0.2, 0.3, 0.3, 0.3]), 0.8).unwrap(), 0.71);
        close(controller.update(&video(&[-0.5, 0.5, 0.5, 0.5]), 0.8).unwrap(), 0.62);
    }

    #[test]
    fn a_narrow_window_sees_only_the_end() {
        let mut controller = NoiseController::new(2);
        close(controller.update(&video(&[0.9, 0.1, 0.1, 0.1]), 0.8).unwrap(), 0.8);
        close(controller.update(&video(&[0.1, 0.9, 0.1, 0.1]), 0.8).unwrap(), 0.8);
    }

    #[test]
    fn what_is_forgotten_is_no_motion() {
        let mut controller = NoiseController::new(12);
        controller.update(&video(&[0.9; 4]), 0.8).unwrap();
        controller.forget();
        close(controller.update(&video(&[0.1]), 0.8).unwrap(), 0.8);
        close(controller.update(&video(&[]), 0.8).unwrap(), 0.8);
    }
}
