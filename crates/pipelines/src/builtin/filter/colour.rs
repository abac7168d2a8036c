//! `color`: brightness, contrast, saturation and hue.

use super::{BLACK, NO_CHROMA, WHITE, slider};
use crate::{PipelineSchema, Snapshot, schema::Usage};
use scope_frame::{Image, ImageError, PixelFormat};

pub(super) fn schema() -> PipelineSchema {
    let mut schema = PipelineSchema::new("color", "Color", "ColorConfig")
        .with_property("brightness", slider("Brightness", "Added to every pixel.", [-1.0, 0.0, 1.0], 1))
        .with_property("contrast", slider("Contrast", "Around a medium gray.", [0.0, 1.0, 2.0], 2))
        .with_property("saturation", slider("Saturation", "0 is gray.", [0.0, 1.0, 2.0], 3))
        .with_property("hue", slider("Hue", "Turns all colours, in degrees.", [-180.0, 0.0, 180.0], 4));
    schema.description = "Brightness, contrast, saturation and hue.".into();
    schema.usage = vec![Usage::Preprocessor, Usage::Postprocessor];
    schema
}

/// Brightness and contrast change luma, contrast and saturation the distance of chroma from gray, hue its direction.
pub(super) fn adjust(image: &Image, parameters: &Snapshot) -> Result<Image, ImageError> {
    let setting = |key: &str, least: f64, default: f64, most: f64| {
        parameters.f64(key).map_or(default, |value| value.clamp(least, most))
    };
    let brightness = setting("brightness", -1.0, 0.0, 1.0);
    let contrast = setting("contrast", 0.0, 1.0, 2.0);
    let saturation = setting("saturation", 0.0, 1.0, 2.0);
    let hue = setting("hue", -180.0, 0.0, 180.0).to_radians();
    if (brightness, contrast, saturation, hue) == (0.0, 1.0, 1.0, 0.0) {
        return Ok(image.clone());
    }
    let image = image.to_i420();
    let (width, height) = image.size();
    let Some([luma, blue, red]) = image.planes() else { return Ok(image) };
    let range = f64::from(WHITE - BLACK);
    let table: [u8; 256] = std::array::from_fn(|value| {
        let value = (value as f64 - f64::from(BLACK)) / range;
        let value = (value - 0.5) * contrast + 0.5 + brightness;
        (value.clamp(0.0, 1.0) * range + f64::from(BLACK)).round() as u8
    });
    let mut data = Vec::with_capacity(PixelFormat::I420.byte_len(width, height));
    data.extend(luma.iter().map(|&value| table[usize::from(value)]));
    // A turn by `hue` and a stretch, in fixed point with 16 binary places.
    let (sin, cos) = hue.sin_cos();
    let fixed = |factor: f64| (factor * contrast * saturation * 65536.0).round() as i32;
    let (sin, cos) = (fixed(sin), fixed(cos));
    let turned = |along: u8, across: u8, sin: i32| {
        let [along, across] = [along, across].map(|value| i32::from(value) - i32::from(NO_CHROMA));
        let value = (along * cos + across * sin + 32768) >> 16;
        (value + i32::from(NO_CHROMA)).clamp(i32::from(BLACK), 240) as u8
    };
    data.extend(blue.iter().zip(red).map(|(&blue, &red)| turned(blue, red, -sin)));
    data.extend(blue.iter().zip(red).map(|(&blue, &red)| turned(red, blue, sin)));
    Image::new(PixelFormat::I420, width, height, data)
}
