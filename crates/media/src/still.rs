//! Single pictures: JPEG and PNG out; JPEG, PNG, WebP and BMP in.
//!
//! Files come from anyone: sizes and memory are limited before anything is allocated.

use bytes::Bytes;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{DynamicImage, ExtendedColorType, ImageDecoder, ImageEncoder, ImageReader, Limits};
use scope_frame::{Image, ImageError, MAX_DIMENSION, PixelFormat};
use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Seek};
use std::path::Path;

/// Memory that decoding one picture may take: 16-bit RGBA of the largest size.
const MAX_ALLOCATION: u64 = 8 * (MAX_DIMENSION as u64).pow(2);

/// Why a still picture cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StillError {
    /// The file cannot be read.
    #[error("cannot read the picture: {0}")]
    Io(#[from] std::io::Error),
    /// The bytes are in none of the formats that we read.
    #[error("not a picture that can be read: use JPEG, PNG, WebP or BMP")]
    Format,
    /// The picture is too large.
    #[error("the picture is too large: at most {MAX_DIMENSION}×{MAX_DIMENSION} pixels are accepted")]
    TooLarge,
    /// The bytes are damaged.
    #[error("the picture is damaged: {0}")]
    Malformed(String),
    /// The encoder failed.
    #[error("cannot encode the picture: {0}")]
    Encode(String),
}

/// A JPEG of `image` at `quality` 1 (smallest) to 100 (best); other values are clamped.
///
/// # Errors
/// [`StillError::Encode`].
pub fn encode_jpeg(image: &Image, quality: u8) -> Result<Bytes, StillError> {
    let mut out = Vec::new();
    write(image, JpegEncoder::new_with_quality(&mut out, quality.clamp(1, 100)))?;
    Ok(out.into())
}

/// A PNG of `image`.
///
/// # Errors
/// [`StillError::Encode`].
pub fn encode_png(image: &Image) -> Result<Bytes, StillError> {
    let mut out = Vec::new();
    write(image, PngEncoder::new(&mut out))?;
    Ok(out.into())
}

fn write(image: &Image, encoder: impl ImageEncoder) -> Result<(), StillError> {
    let rgb = image.to_rgb8();
    encoder
        .write_image(rgb.data(), rgb.width(), rgb.height(), ExtendedColorType::Rgb8)
        .map_err(|error| StillError::Encode(error.to_string()))
}

/// The picture in `bytes` as RGB: turned upright as its EXIF orientation says, transparent parts over black.
///
/// # Errors
/// [`StillError::Format`], [`StillError::TooLarge`] or [`StillError::Malformed`].
pub fn decode(bytes: &[u8]) -> Result<Image, StillError> {
    read(Cursor::new(bytes))
}

/// The picture in a file; see [`decode`]. The format is told from the content, not from the name.
///
/// # Errors
/// As [`decode`]; [`StillError::Io`].
pub fn open(path: impl AsRef<Path>) -> Result<Image, StillError> {
    read(BufReader::new(File::open(path)?))
}

fn read(input: impl BufRead + Seek) -> Result<Image, StillError> {
    let mut reader = ImageReader::new(input).with_guessed_format()?;
    if reader.format().is_none() {
        return Err(StillError::Format);
    }
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_DIMENSION);
    limits.max_image_height = Some(MAX_DIMENSION);
    limits.max_alloc = Some(MAX_ALLOCATION);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(refused)?;
    let orientation = decoder.orientation().map_err(refused)?;
    let mut picture = DynamicImage::from_decoder(decoder).map_err(refused)?;
    picture.apply_orientation(orientation);
    let (width, height) = (picture.width(), picture.height());
    let data = if picture.color().has_alpha() {
        over_black(&picture.into_rgba8().into_raw())
    } else {
        picture.into_rgb8().into_raw()
    };
    Image::new(PixelFormat::Rgb8, width, height, data).map_err(|error| match error {
        ImageError::Dimensions { .. } => StillError::TooLarge,
        error => StillError::Malformed(error.to_string()),
    })
}

fn over_black(rgba: &[u8]) -> Vec<u8> {
    let mut rgb = Vec::with_capacity(rgba.len() / 4 * 3);
    for pixel in rgba.chunks_exact(4) {
        let alpha = u16::from(pixel[3]);
        rgb.extend(pixel[..3].iter().map(|&value| ((u16::from(value) * alpha + 127) / 255) as u8));
    }
    rgb
}

fn refused(error: image::ImageError) -> StillError {
    match error {
        image::ImageError::Limits(_) => StillError::TooLarge,
        image::ImageError::Unsupported(_) => StillError::Format,
        image::ImageError::IoError(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => {
            StillError::Io(error)
        }
        error => StillError::Malformed(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Noise, moving_picture, psnr};
    use image::codecs::{bmp::BmpEncoder, webp::WebPEncoder};

    fn encoded() -> Vec<(&'static str, Bytes)> {
        let image = moving_picture(37, 21, 3);
        let (mut webp, mut bmp) = (Vec::new(), Vec::new());
        write(&image, WebPEncoder::new_lossless(&mut webp)).unwrap();
        write(&image, BmpEncoder::new(&mut bmp)).unwrap();
        vec![
            ("jpeg", encode_jpeg(&image, 90).unwrap()),
            ("png", encode_png(&image).unwrap()),
            ("webp", webp.into()),
            ("bmp", bmp.into()),
        ]
    }

    #[test]
    fn every_format_is_read_back() {
        let image = moving_picture(37, 21, 3);
        for (name, bytes) in encoded() {
            let back = decode(&bytes).unwrap();
            if name == "jpeg" {
                assert!(psnr(&image, &back) > 30.0, "{:.1} dB", psnr(&image, &back));
            } else {
                assert_eq!(back, image, "{name}");
            }
        }
    }

    #[test]
    fn quality_trades_size_and_out_of_range_is_clamped() {
        let image = Noise::new(2).over(&moving_picture(64, 64, 0));
        let size = |quality| encode_jpeg(&image, quality).unwrap().len();
        assert!(size(10) < size(85) && size(85) < size(100));
        assert_eq!((size(0), size(255)), (size(1), size(100)));
    }

    #[test]
    fn files_are_told_by_content() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("picture.txt");
        for (name, bytes) in encoded() {
            std::fs::write(&path, &bytes).unwrap();
            assert_eq!(open(&path).unwrap().size(), (37, 21), "{name}");
        }
        std::fs::write(&path, "text").unwrap();
        assert!(matches!(open(&path), Err(StillError::Format)));
        assert!(matches!(open(directory.path().join("missing")), Err(StillError::Io(_))));
    }

    #[test]
    fn transparent_parts_are_black() {
        let mut out = Vec::new();
        let rgba = [200, 100, 50, 0, 200, 100, 50, 255, 200, 100, 50, 128];
        PngEncoder::new(&mut out).write_image(&rgba, 3, 1, ExtendedColorType::Rgba8).unwrap();
        assert_eq!(decode(&out).unwrap().data(), [0, 0, 0, 200, 100, 50, 100, 50, 25]);
    }

    #[test]
    fn a_picture_taken_sideways_is_turned_upright() {
        // A PNG with an EXIF chunk: orientation 6, rotate by 90° clockwise to show.
        let image = moving_picture(8, 4, 0);
        let mut out = Vec::new();
        let mut encoder = PngEncoder::new(&mut out);
        let exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
        encoder.set_exif_metadata(exif.to_vec()).unwrap();
        write(&image, encoder).unwrap();
        let upright = decode(&out).unwrap();
        assert_eq!(upright.size(), (4, 8));
        assert_eq!(upright.data()[3 * 3..4 * 3], image.data()[..3], "top left became top right");
    }

    #[test]
    fn pictures_beyond_the_limit_are_refused_before_they_are_decoded() {
        // A BMP header that promises 60,000 × 60,000 pixels.
        let mut bmp = encoded().pop().unwrap().1.to_vec();
        bmp[18..22].copy_from_slice(&60_000u32.to_le_bytes());
        bmp[22..26].copy_from_slice(&60_000u32.to_le_bytes());
        assert!(matches!(decode(&bmp), Err(StillError::TooLarge | StillError::Malformed(_))));
        let wide = image::RgbImage::new(MAX_DIMENSION + 1, 1);
        let mut png = Vec::new();
        wide.write_with_encoder(PngEncoder::new(&mut png)).unwrap();
        assert!(matches!(decode(&png), Err(StillError::TooLarge)));
        let largest = image::RgbImage::new(MAX_DIMENSION, 1);
        let mut png = Vec::new();
        largest.write_with_encoder(PngEncoder::new(&mut png)).unwrap();
        assert_eq!(decode(&png).unwrap().size(), (MAX_DIMENSION, 1));
    }

    #[test]
    fn damaged_files_never_panic() {
        let mut noise = Noise::new(5);
        for (_, bytes) in encoded() {
            for len in 0..bytes.len() {
                let _ = decode(&bytes[..len]);
                let mut damaged = bytes.to_vec();
                damaged[len] ^= 1 << noise.below(8);
                let _ = decode(&damaged);
            }
        }
    }
}
