//! Pictures for tests.

use scope_frame::{Image, PixelFormat};

/// A picture with gradients, edges and a box that moves with `index`.
pub(crate) fn moving_picture(width: u32, height: u32, index: u32) -> Image {
    let mut data = Vec::with_capacity(width as usize * height as usize * 3);
    let side = (width.min(height) / 4).max(1);
    let (left, top) = (index * 2 % width, index % height);
    for y in 0..height {
        for x in 0..width {
            let inside = (left..left + side).contains(&x) && (top..top + side).contains(&y);
            data.extend(if inside {
                [230, 180, 20]
            } else {
                [(x * 200 / width) as u8, (y * 200 / height) as u8, ((x + y + index) / 4 % 128) as u8]
            });
        }
    }
    Image::new(PixelFormat::Rgb8, width, height, data).unwrap()
}

/// Peak signal-to-noise ratio of two pictures' luma, in dB.
pub(crate) fn psnr(a: &Image, b: &Image) -> f64 {
    assert_eq!(a.size(), b.size());
    let (a, b) = (a.to_i420(), b.to_i420());
    let (a, b) = (a.planes().unwrap()[0], b.planes().unwrap()[0]);
    let squares: u64 = a.iter().zip(b).map(|(&a, &b)| u64::from(a.abs_diff(b)).pow(2)).sum();
    10.0 * (255.0f64.powi(2) * a.len() as f64 / (squares as f64).max(1e-9)).log10()
}

/// A small deterministic random source (xorshift64*).
pub(crate) struct Noise(u64);

impl Noise {
    pub(crate) fn new(seed: u32) -> Self {
        Self((u64::from(seed) << 1 | 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit.max(1)
    }

    /// `image` with grain, which costs an encoder bits.
    pub(crate) fn over(&mut self, image: &Image) -> Image {
        let data = image.data().iter().map(|&byte| byte.saturating_add(self.below(24) as u8));
        Image::new(image.format(), image.width(), image.height(), data.collect::<Vec<u8>>()).unwrap()
    }
}

/// What ffprobe says about a file; `None`, with a message, where it is not installed.
pub(crate) fn ffprobe(path: &std::path::Path, arguments: &[&str]) -> Option<String> {
    let output =
        std::process::Command::new("ffprobe").args(["-v", "error"]).args(arguments).arg(path).output();
    match output {
        Ok(output) => {
            print!("{}", String::from_utf8_lossy(&output.stderr));
            Some(String::from_utf8(output.stdout).unwrap())
        }
        Err(error) => {
            println!("skipped: cannot run ffprobe: {error}");
            None
        }
    }
}
