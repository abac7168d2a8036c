//! The engine converts pictures where models run, `scope_frame` everywhere else: neither knows the other, and both must
//! make the same bytes.
#![allow(clippy::unwrap_used)]

use proptest::collection::vec;
use proptest::prelude::*;
use scope_engine::{Cpu, Device, Tensor, ops};
use scope_frame::{Image, PixelFormat};
use std::num::NonZeroUsize;

fn device(threads: usize) -> Device {
    Cpu::new(NonZeroUsize::new(threads)).unwrap().into()
}

/// I420 of packed RGB, by the engine and by `scope_frame`.
fn planar(device: &Device, rgb: &[u8], [height, width]: [usize; 2]) -> [Vec<u8>; 2] {
    let values: Vec<f32> = rgb.iter().map(|&byte| f32::from(byte) / 127.5 - 1.0).collect();
    let x = Tensor::from_f32(device, &[1, height, width, 3], &values).unwrap();
    let ours = ops::to_i420(&x, 127.5, 128.0).unwrap().into_vec().unwrap();
    let image = Image::new(PixelFormat::Rgb8, width as u32, height as u32, rgb.to_vec()).unwrap();
    [ours, image.to_i420().data().to_vec()]
}

/// Packed RGB of I420, by the engine and by `scope_frame`.
fn packed(device: &Device, planar: &[u8], size: [usize; 2]) -> [Vec<u8>; 2] {
    let x = Tensor::from_u8(device, &[1, planar.len()], planar).unwrap();
    let ours = ops::rgb_from_i420(&x, size).unwrap().to_vec();
    let [height, width] = size.map(|side| side as u32);
    let image = Image::new(PixelFormat::I420, width, height, planar.to_vec()).unwrap();
    [ours.iter().map(|&value| value as u8).collect(), image.to_rgb8().data().to_vec()]
}

/// Any bytes, and the outermost ones more often.
fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![any::<u8>(), Just(0), Just(255)]
}

proptest! {
    #[test]
    fn pictures_of_any_size_become_the_same_i420(
        size in [1usize..40, 1usize..150],
        bytes in vec(byte(), 40 * 150 * 3),
    ) {
        let [ours, theirs] = planar(&device(1), &bytes[..size[0] * size[1] * 3], size);
        prop_assert_eq!(ours.len(), ops::i420_len(size));
        prop_assert_eq!(ours, theirs);
    }

    #[test]
    fn i420_of_any_size_becomes_the_same_pictures(
        size in [1usize..40, 1usize..150],
        bytes in vec(byte(), 40 * 150 * 3),
    ) {
        let [ours, theirs] = packed(&device(1), &bytes[..ops::i420_len(size)], size);
        prop_assert_eq!(ours, theirs);
    }
}

#[test]
fn every_colour_becomes_the_same_and_so_do_pictures_that_threads_share() {
    let device = device(3);
    // A pixel of each colour, at every fifth value; the sides are odd.
    let levels: Vec<u8> = (0..=255).step_by(5).collect();
    let colours = levels.iter().flat_map(|&r| {
        let levels = &levels;
        levels.iter().flat_map(move |&g| levels.iter().flat_map(move |&b| [r, g, b]))
    });
    let size = [371, 379];
    let rgb: Vec<u8> = colours.chain(std::iter::repeat(77)).take(size[0] * size[1] * 3).collect();
    let [ours, theirs] = planar(&device, &rgb, size);
    assert!(ours == theirs);
    let [ours, theirs] = packed(&device, &ours, size);
    assert!(ours == theirs);
    // All luma with all chroma of one plane, and the other at its ends.
    for other in [0, 128, 255] {
        let size = [512, 512];
        let luma = (0..512usize * 512).map(|i| (i / 1024 * 2 + i % 2) as u8);
        let u = (0..256usize * 256).map(|i| (i % 256) as u8);
        let bytes: Vec<u8> = luma.chain(u).chain(std::iter::repeat_n(other, 256 * 256)).collect();
        let [ours, theirs] = packed(&device, &bytes, size);
        assert!(ours == theirs, "{other}");
    }
}
