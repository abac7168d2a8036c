//! Bringing I420 of other conventions to ours: BT.601, limited range.

use crate::{Image, PixelFormat};

/// How I420 samples stand for colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColorSpace {
    /// The luma coefficients.
    pub matrix: Matrix,
    /// Whether samples use all of 0…255, instead of 16…235 (chroma 16…240).
    pub full_range: bool,
}

/// Luma coefficients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matrix {
    /// Rec. ITU-R BT.601, also that of JPEG.
    Bt601,
    /// Rec. ITU-R BT.709.
    Bt709,
}

impl ColorSpace {
    /// What every [`Image`] in I420 means.
    pub const STANDARD: Self = Self { matrix: Matrix::Bt601, full_range: false };
}

impl Matrix {
    /// The weights of red and blue in luma.
    const fn weights(self) -> (f64, f64) {
        match self {
            Self::Bt601 => (0.299, 0.114),
            Self::Bt709 => (0.2126, 0.0722),
        }
    }
}

/// Fractional bits of the integer coefficients.
const BITS: u32 = 14;

/// Integer coefficients from one convention to [`ColorSpace::STANDARD`]. Grey stays grey, so chroma needs no luma.
struct Coefficients {
    luma: [i32; 3],
    luma_offset: i32,
    u: [i32; 2],
    v: [i32; 2],
}

impl Coefficients {
    fn new(from: ColorSpace) -> Self {
        let (kr, kb) = from.matrix.weights();
        let kg = 1.0 - kr - kb;
        // Columns: what one unit of y, u, v (in 0…1 and ±½) contributes to red, green, blue.
        let rgb_from_u = [0.0, -2.0 * kb * (1.0 - kb) / kg, 2.0 * (1.0 - kb)];
        let rgb_from_v = [2.0 * (1.0 - kr), -2.0 * kr * (1.0 - kr) / kg, 0.0];
        let (kr, kb) = Matrix::Bt601.weights();
        let kg = 1.0 - kr - kb;
        let y_of = |[r, g, b]: [f64; 3]| kr * r + kg * g + kb * b;
        let u_of = |rgb: [f64; 3]| (rgb[2] - y_of(rgb)) / (2.0 * (1.0 - kb));
        let v_of = |rgb: [f64; 3]| (rgb[0] - y_of(rgb)) / (2.0 * (1.0 - kr));
        let (y_unit, c_unit, y_zero) =
            if from.full_range { (255.0, 255.0, 0.0) } else { (219.0, 224.0, 16.0) };
        let fixed = |x: f64| (x * f64::from(1 << BITS)).round() as i32;
        let y_scale = 219.0 / y_unit;
        Self {
            luma: [
                fixed(y_scale),
                fixed(219.0 / c_unit * y_of(rgb_from_u)),
                fixed(219.0 / c_unit * y_of(rgb_from_v)),
            ],
            luma_offset: fixed(16.0 - y_zero * y_scale),
            u: [fixed(224.0 / c_unit * u_of(rgb_from_u)), fixed(224.0 / c_unit * u_of(rgb_from_v))],
            v: [fixed(224.0 / c_unit * v_of(rgb_from_u)), fixed(224.0 / c_unit * v_of(rgb_from_v))],
        }
    }
}

impl Image {
    /// The picture in our convention, if its I420 samples are of the convention `from`; free where they agree, and for RGB.
    #[must_use]
    pub fn standardised(self, from: ColorSpace) -> Self {
        let Some([y, u, v]) = self.planes() else { return self };
        if from == ColorSpace::STANDARD {
            return self;
        }
        let k = Coefficients::new(from);
        let (w, h) = (self.width() as usize, self.height() as usize);
        let cw = self.chroma_width();
        let half = 1 << (BITS - 1);
        let centred = |sample: u8| i32::from(sample) - 128;
        let mut out = vec![0; self.data().len()];
        let (luma, chroma) = out.split_at_mut(w * h);
        for (row, target) in luma.chunks_exact_mut(w).enumerate() {
            let us = &u[row / 2 * cw..][..cw];
            let vs = &v[row / 2 * cw..][..cw];
            let ys = y[row * w..][..w].chunks(2);
            for (((target, ys), &u), &v) in target.chunks_mut(2).zip(ys).zip(us).zip(vs) {
                let shift = k.luma[1] * centred(u) + k.luma[2] * centred(v) + k.luma_offset + half;
                for (target, &y) in target.iter_mut().zip(ys) {
                    *target = ((k.luma[0] * i32::from(y) + shift) >> BITS).clamp(0, 255) as u8;
                }
            }
        }
        let (us, vs) = chroma.split_at_mut(u.len());
        for (((out_u, out_v), &u), &v) in us.iter_mut().zip(vs).zip(u).zip(v) {
            let (u, v) = (centred(u), centred(v));
            *out_u = (((k.u[0] * u + k.u[1] * v + half) >> BITS) + 128).clamp(0, 255) as u8;
            *out_v = (((k.v[0] * u + k.v[1] * v + half) >> BITS) + 128).clamp(0, 255) as u8;
        }
        let (width, height) = self.size();
        // The same format and size need the same number of bytes.
        Self::new(PixelFormat::I420, width, height, out).unwrap_or(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Solid I420 of a colour in a convention, straight from the definition.
    fn encode(rgb: [u8; 3], space: ColorSpace) -> Image {
        let [r, g, b] = rgb.map(|c| f64::from(c) / 255.0);
        let (kr, kb) = space.matrix.weights();
        let y = kr * r + (1.0 - kr - kb) * g + kb * b;
        let (u, v) = ((b - y) / (2.0 * (1.0 - kb)), (r - y) / (2.0 * (1.0 - kr)));
        let (scale, zero, chroma) = if space.full_range { (255.0, 0.0, 255.0) } else { (219.0, 16.0, 224.0) };
        let sample = |x: f64| x.round().clamp(0.0, 255.0) as u8;
        let luma = [sample(zero + scale * y); 6];
        let (u, v) = ([sample(128.0 + chroma * u); 2], [sample(128.0 + chroma * v); 2]);
        Image::new(PixelFormat::I420, 3, 2, [&luma[..], &u, &v].concat()).unwrap()
    }

    #[test]
    fn every_convention_comes_out_as_the_same_colour() {
        for rgb in [[0, 128, 0], [255, 0, 0], [20, 40, 250], [128, 128, 128], [255, 255, 255], [0, 0, 0]] {
            for matrix in [Matrix::Bt601, Matrix::Bt709] {
                for full_range in [false, true] {
                    let space = ColorSpace { matrix, full_range };
                    let out = encode(rgb, space).standardised(space).to_rgb8();
                    for (got, want) in out.data().iter().zip(rgb.iter().cycle()) {
                        assert!(
                            got.abs_diff(*want) <= 5,
                            "{rgb:?} in {space:?} became {:?}",
                            &out.data()[..3]
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn our_own_convention_is_left_alone() {
        let image = encode([10, 200, 30], ColorSpace::STANDARD);
        assert_eq!(image.clone().standardised(ColorSpace::STANDARD), image);
    }
}
