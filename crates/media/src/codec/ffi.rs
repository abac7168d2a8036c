//! The only unsafe code of the crate: VP8 through `csrc/vpx_shim.c`, and the rate options of openh264 that its safe
//! wrapper does not offer.
#![allow(unsafe_code)]

use bytes::Bytes;
use scope_frame::{Image, ImageError, PixelFormat};
use std::ffi::{CStr, c_char, c_int, c_uint, c_ulong};
use std::ptr::{NonNull, null};

#[repr(C)]
struct RawEncoder {
    _opaque: [u8; 0],
}

#[repr(C)]
struct RawDecoder {
    _opaque: [u8; 0],
}

#[repr(C)]
struct RawPicture {
    planes: [*const u8; 3],
    strides: [c_int; 3],
    width: c_uint,
    height: c_uint,
}

unsafe extern "C" {
    fn scope_vp8_encoder_new(w: c_uint, h: c_uint, kbps: c_uint, cpu_used: c_int) -> *mut RawEncoder;
    fn scope_vp8_encoder_set_bitrate(encoder: *mut RawEncoder, kbps: c_uint) -> c_int;
    fn scope_vp8_encoder_encode(
        encoder: *mut RawEncoder,
        i420: *const u8,
        pts: i64,
        duration: c_ulong,
        force_keyframe: c_int,
        data: *mut *const u8,
        len: *mut usize,
        keyframe: *mut c_int,
    ) -> c_int;
    fn scope_vp8_encoder_free(encoder: *mut RawEncoder);
    fn scope_vp8_decoder_new() -> *mut RawDecoder;
    fn scope_vp8_decoder_decode(
        decoder: *mut RawDecoder,
        data: *const u8,
        len: c_uint,
        picture: *mut RawPicture,
    ) -> c_int;
    fn scope_vp8_decoder_free(decoder: *mut RawDecoder);
    fn scope_vpx_error(code: c_int) -> *const c_char;
}

/// What libvpx says a code means.
fn vpx_result(code: c_int) -> Result<(), String> {
    if code == 0 {
        return Ok(());
    }
    // SAFETY: the function returns a static, NUL-terminated string for every value.
    let text = unsafe { CStr::from_ptr(scope_vpx_error(code)) };
    Err(text.to_string_lossy().into_owned())
}

/// A libvpx VP8 encoder of one size.
pub(super) struct Vp8Encoder {
    raw: NonNull<RawEncoder>,
    size: (u32, u32),
}

// SAFETY: libvpx contexts have no thread affinity, this one is owned by the struct alone and every use needs `&mut`.
unsafe impl Send for Vp8Encoder {}

impl Vp8Encoder {
    /// `None` when libvpx refuses the settings.
    pub(super) fn new((width, height): (u32, u32), kbps: u32, cpu_used: i32) -> Option<Self> {
        // SAFETY: takes plain values; the result is NULL or an encoder that we now own.
        let raw = unsafe { scope_vp8_encoder_new(width, height, kbps, cpu_used) };
        NonNull::new(raw).map(|raw| Self { raw, size: (width, height) })
    }

    pub(super) fn set_bitrate(&mut self, kbps: u32) -> Result<(), String> {
        // SAFETY: `raw` is a live encoder that we own.
        vpx_result(unsafe { scope_vp8_encoder_set_bitrate(self.raw.as_ptr(), kbps) })
    }

    /// The encoded frame and whether it is a keyframe; `None` when the encoder skipped it.
    pub(super) fn encode(
        &mut self,
        image: &Image,
        pts: i64,
        duration: u32,
        force_keyframe: bool,
    ) -> Result<Option<(Bytes, bool)>, String> {
        if image.format() != PixelFormat::I420 || image.size() != self.size {
            return Err("the picture does not fit the encoder".to_owned());
        }
        let (mut data, mut len, mut keyframe) = (null(), 0, 0);
        // SAFETY: `raw` is a live encoder that we own. The picture is packed I420 of the encoder's size, checked above,
        // and its sides are even, as the shim expects (`Image` guarantees the length); libvpx only reads it. The out
        // pointers are to live locals.
        let code = unsafe {
            scope_vp8_encoder_encode(
                self.raw.as_ptr(),
                image.data().as_ptr(),
                pts,
                c_ulong::from(duration),
                c_int::from(force_keyframe),
                &mut data,
                &mut len,
                &mut keyframe,
            )
        };
        vpx_result(code)?;
        if data.is_null() || len == 0 {
            return Ok(None);
        }
        // SAFETY: the shim reports a packet of `len` bytes that lives until the next call on `raw`; we copy it now.
        let packet = unsafe { std::slice::from_raw_parts(data, len) };
        Ok(Some((Bytes::copy_from_slice(packet), keyframe != 0)))
    }
}

impl Drop for Vp8Encoder {
    fn drop(&mut self) {
        // SAFETY: `raw` is a live encoder that we own and nobody uses afterwards.
        unsafe { scope_vp8_encoder_free(self.raw.as_ptr()) }
    }
}

/// A libvpx VP8 decoder.
pub(super) struct Vp8Decoder {
    raw: NonNull<RawDecoder>,
}

// SAFETY: as for `Vp8Encoder`.
unsafe impl Send for Vp8Decoder {}

impl Vp8Decoder {
    /// `None` when libvpx cannot allocate.
    pub(super) fn new() -> Option<Self> {
        // SAFETY: takes nothing; the result is NULL or a decoder that we now own.
        NonNull::new(unsafe { scope_vp8_decoder_new() }).map(|raw| Self { raw })
    }

    /// The picture, if the packet shows one.
    pub(super) fn decode(&mut self, packet: &[u8]) -> Result<Option<Result<Image, ImageError>>, String> {
        let len = c_uint::try_from(packet.len()).map_err(|error| error.to_string())?;
        let mut picture = RawPicture { planes: [null(); 3], strides: [0; 3], width: 0, height: 0 };
        // SAFETY: `raw` is a live decoder that we own, `packet` is readable for `len` bytes and `picture` is a local
        // with the layout of the shim's struct.
        let code = unsafe { scope_vp8_decoder_decode(self.raw.as_ptr(), packet.as_ptr(), len, &mut picture) };
        vpx_result(code)?;
        let RawPicture { planes, strides, width, height } = picture;
        if planes[0].is_null() {
            return Ok(None);
        }
        if width == 0 || height == 0 || strides.iter().any(|&stride| stride <= 0) {
            return Err("the picture is empty".to_owned());
        }
        let strides = strides.map(|stride| stride as usize);
        let plane = |index: usize| {
            let (w, h) = if index == 0 { (width, height) } else { (width.div_ceil(2), height.div_ceil(2)) };
            let len = (h as usize - 1) * strides[index] + w as usize;
            // SAFETY: libvpx's pictures hold `h` rows, `stride` bytes apart, of at least `w` bytes each; they live
            // until the next call on `raw`, and the borrow of `self` outlasts the slice, which is copied below.
            unsafe { std::slice::from_raw_parts(planes[index], len) }
        };
        Ok(Some(Image::from_i420_planes(width, height, [plane(0), plane(1), plane(2)], strides)))
    }
}

impl Drop for Vp8Decoder {
    fn drop(&mut self) {
        // SAFETY: `raw` is a live decoder that we own and nobody uses afterwards.
        unsafe { scope_vp8_decoder_free(self.raw.as_ptr()) }
    }
}

/// Stops an openh264 encoder from writing to standard error, which the safe wrapper does too late.
pub(super) fn quiet_h264(encoder: &mut openh264::encoder::Encoder) {
    let mut level = openh264_sys2::WELS_LOG_QUIET as c_int;
    // SAFETY: the option reads one int, which lives across the call, and is allowed before initialisation.
    unsafe {
        encoder.raw_api().set_option(openh264_sys2::ENCODER_OPTION_TRACE_LEVEL, (&raw mut level).cast())
    };
}

/// Changes the target of a running openh264 encoder from `old` to `new` bits per second, with headroom above it.
///
/// The encoder refuses a target above its maximum, so the order of the two settings depends on the direction.
pub(super) fn set_h264_bitrate(encoder: &mut openh264::encoder::Encoder, old: u32, new: u32) -> bool {
    let max = || (openh264_sys2::ENCODER_OPTION_MAX_BITRATE, openh264_sys2::SPATIAL_LAYER_0, new / 2 * 3);
    let target = || (openh264_sys2::ENCODER_OPTION_BITRATE, openh264_sys2::SPATIAL_LAYER_ALL, new);
    let steps = if new > old { [max(), target()] } else { [target(), max()] };
    steps.into_iter().all(|(option, layer, bps)| {
        let mut info = openh264_sys2::SBitrateInfo { iLayer: layer, iBitrate: bps as c_int };
        // SAFETY: both options read a `SBitrateInfo`, which lives across the call; nothing the safe wrapper relies on
        // (size, format, layers) changes.
        unsafe { encoder.raw_api().set_option(option, (&raw mut info).cast()) == 0 }
    })
}

/// Tells a running openh264 encoder how many frames a second to budget for.
pub(super) fn set_h264_frame_rate(encoder: &mut openh264::encoder::Encoder, mut fps: f32) -> bool {
    let option = openh264_sys2::ENCODER_OPTION_FRAME_RATE;
    // SAFETY: the option reads one float, which lives across the call; the wrapper does not rely on it.
    unsafe { encoder.raw_api().set_option(option, (&raw mut fps).cast()) == 0 }
}
