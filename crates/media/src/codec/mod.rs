//! VP8 and constrained-baseline H.264, one picture in, one packet out.
//!
//! Both codecs run on the caller's thread: an [`Encoder`] or [`Decoder`] belongs on a thread of its own, never in an
//! async task. Encoders are set up for live video: no lookahead, no reordering, keyframes only when asked for.
//! Decoders take bytes from anyone: whatever the bytes, the answer is a picture, nothing, or a [`CodecError`].

mod ffi;
pub(crate) mod h264;

use bytes::Bytes;
use openh264::OpenH264API;
use openh264::formats::YUVSource;
use scope_frame::{Image, ImageError, MAX_DIMENSION};

/// Ticks a second of every `pts` in this crate: the RTP clock of video.
pub const CLOCK_RATE: i64 = 90_000;

/// Largest packet that a decoder looks at: more than any picture of [`MAX_DIMENSION`] at sane quality.
const MAX_PACKET_BYTES: usize = 16 << 20;
/// Smallest side that both encoders accept.
const MIN_ENCODED_SIDE: u32 = 16;
/// Kilobits a second that both encoders can aim at.
const KBPS_RANGE: std::ops::RangeInclusive<u32> = 10..=100_000;
/// libvpx: its fastest setting. Against -8 it takes 40 % less time at every size and gives the same quality on the moving
/// grain of the benchmark: 5.1 instead of 8.5 ms for 1280×720, at 41.9 instead of 41.8 dB. Threads of libvpx's own are no
/// remedy: they wait for each other by spinning, which on two busy cores made single pictures take over 100 ms.
const VP8_CPU_USED: i32 = -16;

/// A video codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VideoCodec {
    /// VP8 (RFC 6386) through libvpx.
    Vp8,
    /// H.264 through openh264: constrained baseline when encoding, Annex B packets.
    H264,
}

/// What an [`Encoder`] should produce.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EncoderConfig {
    /// Width of the pictures to come, in pixels.
    pub width: u32,
    /// Height of the pictures to come, in pixels.
    pub height: u32,
    /// Target rate in kilobits a second.
    pub bitrate_kbps: u32,
    /// Expected frames a second; the encoder follows the timestamps when they say otherwise.
    pub fps: f32,
}

/// One encoded picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedFrame {
    /// A VP8 frame, or the NAL units of an H.264 access unit in Annex B form (keyframes carry SPS and PPS).
    pub data: Bytes,
    /// Whether decoding can start here.
    pub keyframe: bool,
}

/// Why a codec failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The encoder cannot be made for this size.
    #[error("{codec:?} cannot encode {width}×{height}: choose sides from 16 to {limit} pixels", limit = max_size(*codec))]
    Size {
        /// The codec asked for.
        codec: VideoCodec,
        /// Requested width in pixels.
        width: u32,
        /// Requested height in pixels.
        height: u32,
    },
    /// A picture has another size than its encoder: make a new encoder.
    #[error(
        "the picture is {actual:?}, its encoder is for {expected:?}: make a new encoder for the new size"
    )]
    SizeChanged {
        /// Width and height that the encoder was made for.
        expected: (u32, u32),
        /// Width and height of the picture.
        actual: (u32, u32),
    },
    /// The codec library could not be set up.
    #[error("cannot set up {codec:?}: {reason}")]
    Setup {
        /// The codec asked for.
        codec: VideoCodec,
        /// What the library said.
        reason: String,
    },
    /// The codec library failed to encode: drop the frame; make a new encoder if it happens again.
    #[error("cannot encode {codec:?}: {reason}")]
    Encode {
        /// The codec in use.
        codec: VideoCodec,
        /// What the library said.
        reason: String,
    },
    /// The packet is damaged, or refers to one that is missing: ask the sender for a keyframe.
    #[error("cannot decode {codec:?}: {reason}; wait for a keyframe")]
    Bitstream {
        /// The codec in use.
        codec: VideoCodec,
        /// What the library said.
        reason: String,
    },
    /// The stream announces a picture that we refuse to allocate.
    #[error("the {codec:?} stream announces {width}×{height}, above {MAX_DIMENSION} pixels a side")]
    TooLarge {
        /// The codec in use.
        codec: VideoCodec,
        /// Announced width in pixels.
        width: u32,
        /// Announced height in pixels.
        height: u32,
    },
}

const fn max_size(codec: VideoCodec) -> &'static str {
    match codec {
        VideoCodec::Vp8 => "4096 × 4096",
        VideoCodec::H264 => "3840 × 2160 (or 2160 × 3840)",
    }
}

enum EncoderKind {
    Vp8(ffi::Vp8Encoder),
    H264(Box<H264Encoder>),
}

/// Encodes pictures of one size.
///
/// ```
/// use scope_frame::Image;
/// use scope_media::codec::{Decoder, Encoder, EncoderConfig, VideoCodec};
///
/// let config = EncoderConfig { width: 64, height: 48, bitrate_kbps: 500, fps: 30.0 };
/// let mut encoder = Encoder::new(VideoCodec::Vp8, &config)?;
/// let mut decoder = Decoder::new(VideoCodec::Vp8)?;
/// let image = Image::solid(64, 48, [200, 30, 30])?;
/// if let Some(frame) = encoder.encode(&image, 0, false)? {
///     assert!(frame.keyframe, "the first frame is always a keyframe");
///     let shown = decoder.decode(&frame.data)?;
///     assert_eq!(shown.map(|image| image.size()), Some((64, 48)));
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Encoder {
    kind: EncoderKind,
    codec: VideoCodec,
    source_size: (u32, u32),
    clock: Clock,
}

impl Encoder {
    /// An encoder for pictures of `config.width × config.height`. Bitrates are clamped to 10 kb/s … 100 Mb/s.
    ///
    /// # Errors
    /// [`CodecError::Size`] for sides below 16 pixels or above what the codec carries; [`CodecError::Setup`].
    pub fn new(codec: VideoCodec, config: &EncoderConfig) -> Result<Self, CodecError> {
        let &EncoderConfig { width, height, bitrate_kbps, fps } = config;
        let fits = match codec {
            VideoCodec::Vp8 => width.max(height) <= MAX_DIMENSION,
            VideoCodec::H264 => width.max(height) <= 3840 && width.min(height) <= 2160,
        };
        if !fits || width.min(height) < MIN_ENCODED_SIDE {
            return Err(CodecError::Size { codec, width, height });
        }
        let coded = (width.next_multiple_of(2), height.next_multiple_of(2));
        let kbps = bitrate_kbps.clamp(*KBPS_RANGE.start(), *KBPS_RANGE.end());
        let fps = if fps.is_finite() { fps.clamp(1.0, 120.0) } else { 30.0 };
        let kind = match codec {
            VideoCodec::Vp8 => {
                let encoder = ffi::Vp8Encoder::new(coded, kbps, VP8_CPU_USED);
                let refused =
                    || CodecError::Setup { codec, reason: "libvpx refused the settings".to_owned() };
                EncoderKind::Vp8(encoder.ok_or_else(refused)?)
            }
            VideoCodec::H264 => EncoderKind::H264(Box::new(H264Encoder::new(kbps, fps)?)),
        };
        Ok(Self { kind, codec, source_size: (width, height), clock: Clock::new(fps) })
    }

    /// Encodes `image`, of any format and the encoder's size, shown at `pts` ([`CLOCK_RATE`] ticks a second).
    ///
    /// Odd sides are padded by one pixel that repeats the edge. The first frame is a keyframe, later ones when
    /// `force_keyframe` is set. `None` when the codec chose to skip the frame. Timestamps that stand still or jump
    /// are taken as one frame's step; they steer only the rate control.
    ///
    /// # Errors
    /// [`CodecError::SizeChanged`] or [`CodecError::Encode`].
    pub fn encode(
        &mut self,
        image: &Image,
        pts: i64,
        force_keyframe: bool,
    ) -> Result<Option<EncodedFrame>, CodecError> {
        if image.size() != self.source_size {
            return Err(CodecError::SizeChanged { expected: self.source_size, actual: image.size() });
        }
        let codec = self.codec;
        let failed = |reason: String| CodecError::Encode { codec, reason };
        let image = even_i420(image).map_err(|error| failed(error.to_string()))?;
        let (ticks, step) = self.clock.advance(pts);
        let encoded = match &mut self.kind {
            EncoderKind::Vp8(encoder) => encoder.encode(&image, ticks, step, force_keyframe),
            EncoderKind::H264(encoder) => encoder.encode(&image, ticks, self.clock.fps(), force_keyframe),
        };
        Ok(encoded.map_err(failed)?.map(|(data, keyframe)| EncodedFrame { data, keyframe }))
    }

    /// Aims at another rate from the next frame on, without a keyframe. Clamped as in [`Encoder::new`].
    ///
    /// # Errors
    /// [`CodecError::Encode`] when the library refuses; the old rate stays.
    pub fn set_bitrate(&mut self, kbps: u32) -> Result<(), CodecError> {
        let kbps = kbps.clamp(*KBPS_RANGE.start(), *KBPS_RANGE.end());
        let codec = self.codec;
        match &mut self.kind {
            EncoderKind::Vp8(encoder) => encoder.set_bitrate(kbps),
            EncoderKind::H264(encoder) => encoder.set_bitrate(kbps),
        }
        .map_err(|reason| CodecError::Encode { codec, reason })
    }

    /// Width and height of the encoded pictures: the configured size, rounded up to even.
    pub const fn size(&self) -> (u32, u32) {
        let (width, height) = self.source_size;
        (width.next_multiple_of(2), height.next_multiple_of(2))
    }

    /// The codec in use.
    pub const fn codec(&self) -> VideoCodec {
        self.codec
    }
}

/// Turns timestamps into the strictly increasing, jump-free clock that rate control needs.
struct Clock {
    last_pts: Option<i64>,
    ticks: i64,
    /// Average step, in ticks.
    step: f32,
}

impl Clock {
    const MAX_STEP: i64 = CLOCK_RATE * 2;

    fn new(fps: f32) -> Self {
        Self { last_pts: None, ticks: 0, step: CLOCK_RATE as f32 / fps }
    }

    /// The time of the frame at `pts` and the time since the one before.
    fn advance(&mut self, pts: i64) -> (i64, u32) {
        let usual = self.step as i64;
        let step = match self.last_pts.replace(pts).and_then(|last| pts.checked_sub(last)) {
            Some(step @ 1..=Self::MAX_STEP) => {
                self.step += (step as f32 - self.step) / 16.0;
                self.ticks += step;
                step
            }
            Some(_) => {
                self.ticks += usual;
                usual
            }
            None => {
                self.ticks += if self.ticks == 0 { 0 } else { usual };
                usual
            }
        };
        (self.ticks, step as u32)
    }

    /// Average frames a second.
    fn fps(&self) -> f32 {
        CLOCK_RATE as f32 / self.step
    }
}

struct H264Encoder {
    inner: openh264::encoder::Encoder,
    started: bool,
    bitrate_bps: u32,
    budgeted_fps: f32,
}

impl H264Encoder {
    fn new(kbps: u32, fps: f32) -> Result<Self, CodecError> {
        let inner = Self::library(kbps * 1000, fps)
            .map_err(|reason| CodecError::Setup { codec: VideoCodec::H264, reason })?;
        Ok(Self { inner, started: false, bitrate_bps: kbps * 1000, budgeted_fps: fps })
    }

    fn library(bps: u32, fps: f32) -> Result<openh264::encoder::Encoder, String> {
        use openh264::encoder as oh;
        let config = oh::EncoderConfig::new()
            .bitrate(oh::BitRate::from_bps(bps))
            .max_frame_rate(oh::FrameRate::from_hz(fps))
            .rate_control_mode(oh::RateControlMode::Bitrate)
            .usage_type(oh::UsageType::CameraVideoRealTime)
            .sps_pps_strategy(oh::SpsPpsStrategy::ConstantId)
            .profile(oh::Profile::Baseline)
            .complexity(oh::Complexity::Low)
            .skip_frames(false)
            .scene_change_detect(false)
            .background_detection(false)
            .adaptive_quantization(false)
            .intra_frame_period(oh::IntraFramePeriod::from_num_frames(0))
            .qp(oh::QpRange::new(12, 46))
            // What `scope_frame` holds; players otherwise guess by picture size.
            .vui(oh::VuiConfig::bt601())
            .num_threads(1);
        let mut encoder = oh::Encoder::with_api_config(OpenH264API::from_source(), config)
            .map_err(|error| error.to_string())?;
        ffi::quiet_h264(&mut encoder);
        Ok(encoder)
    }

    fn encode(
        &mut self,
        image: &Image,
        ticks: i64,
        fps: f32,
        force_keyframe: bool,
    ) -> Result<Option<(Bytes, bool)>, String> {
        if self.started {
            // Its rate control divides the bitrate by a fixed frame rate.
            if (fps / self.budgeted_fps - 1.0).abs() > 0.15
                && ffi::set_h264_frame_rate(&mut self.inner, fps.clamp(1.0, 60.0))
            {
                self.budgeted_fps = fps;
            }
            if force_keyframe {
                self.inner.force_intra_frame();
            }
        }
        let millis = u64::try_from(ticks / (CLOCK_RATE / 1000)).unwrap_or(0);
        let time = openh264::Timestamp::from_millis(millis);
        let stream = self.inner.encode_at(&I420(image), time).map_err(|error| error.to_string())?;
        let keyframe = stream.frame_type() == openh264::encoder::FrameType::IDR;
        let data = stream.to_vec();
        if !self.started {
            self.started = true;
            // The wrapper sets the maximum equal to the target, which keeps the real rate below it.
            ffi::set_h264_bitrate(&mut self.inner, 0, self.bitrate_bps);
        }
        Ok((!data.is_empty()).then(|| (data.into(), keyframe)))
    }

    fn set_bitrate(&mut self, kbps: u32) -> Result<(), String> {
        let bps = kbps * 1000;
        if !self.started {
            // Options are refused before the first frame.
            self.inner = Self::library(bps, self.budgeted_fps)?;
        } else if !ffi::set_h264_bitrate(&mut self.inner, self.bitrate_bps, bps) {
            return Err(format!("openh264 refused {kbps} kb/s"));
        }
        self.bitrate_bps = bps;
        Ok(())
    }
}

/// An I420 image in openh264's terms.
struct I420<'a>(&'a Image);

impl YUVSource for I420<'_> {
    fn dimensions(&self) -> (usize, usize) {
        (self.0.width() as usize, self.0.height() as usize)
    }
    fn strides(&self) -> (usize, usize, usize) {
        let chroma = self.0.chroma_width();
        (self.0.width() as usize, chroma, chroma)
    }
    fn y(&self) -> &[u8] {
        self.0.planes().map_or(&[], |[y, _, _]| y)
    }
    fn u(&self) -> &[u8] {
        self.0.planes().map_or(&[], |[_, u, _]| u)
    }
    fn v(&self) -> &[u8] {
        self.0.planes().map_or(&[], |[_, _, v]| v)
    }
}

/// The picture as I420 with even sides. Chroma planes of odd pictures are rounded up already; only luma grows.
pub(crate) fn even_i420(image: &Image) -> Result<Image, ImageError> {
    let image = image.to_i420();
    let (w, h) = (image.width() as usize, image.height() as usize);
    let (even_w, even_h) = (w.next_multiple_of(2), h.next_multiple_of(2));
    let Some([y, u, v]) = image.planes().filter(|_| (even_w, even_h) != (w, h)) else {
        return Ok(image);
    };
    let mut data = Vec::with_capacity(image.format().byte_len(even_w as u32, even_h as u32));
    for row in 0..even_h {
        let source = &y[row.min(h - 1) * w..][..w];
        data.extend_from_slice(source);
        if even_w > w {
            data.push(source[w - 1]);
        }
    }
    data.extend_from_slice(u);
    data.extend_from_slice(v);
    Image::new(image.format(), even_w as u32, even_h as u32, data)
}

enum DecoderKind {
    Vp8(ffi::Vp8Decoder),
    H264(Box<openh264::decoder::Decoder>),
}

/// Decodes packets, each a VP8 frame or H.264 NAL units in Annex B form, in decoding order.
pub struct Decoder {
    kind: DecoderKind,
}

impl Decoder {
    /// A decoder that waits for its first keyframe.
    ///
    /// # Errors
    /// [`CodecError::Setup`].
    pub fn new(codec: VideoCodec) -> Result<Self, CodecError> {
        let failed = |reason: String| CodecError::Setup { codec, reason };
        let kind = match codec {
            VideoCodec::Vp8 => {
                let decoder = ffi::Vp8Decoder::new();
                DecoderKind::Vp8(decoder.ok_or_else(|| failed("libvpx is out of memory".to_owned()))?)
            }
            VideoCodec::H264 => {
                let config = openh264::decoder::DecoderConfig::new();
                let decoder = openh264::decoder::Decoder::with_api_config(OpenH264API::from_source(), config);
                DecoderKind::H264(Box::new(decoder.map_err(|error| failed(error.to_string()))?))
            }
        };
        Ok(Self { kind })
    }

    /// The picture that `packet` completes, as I420; `None` when there is none to show yet. The size may change at
    /// any keyframe.
    ///
    /// # Errors
    /// [`CodecError::Bitstream`]; [`CodecError::TooLarge`], before anything of that size is allocated. The decoder
    /// stays usable: the next keyframe starts afresh.
    pub fn decode(&mut self, packet: &[u8]) -> Result<Option<Image>, CodecError> {
        let codec = self.codec();
        let broken = |reason: &str| CodecError::Bitstream { codec, reason: reason.to_owned() };
        if packet.is_empty() || packet.len() > MAX_PACKET_BYTES {
            return Err(broken(if packet.is_empty() { "empty packet" } else { "packet above 16 MiB" }));
        }
        match &mut self.kind {
            DecoderKind::Vp8(decoder) => {
                if let Some((width, height)) = vp8_keyframe_size(packet)
                    && width.max(height) > MAX_DIMENSION
                {
                    return Err(CodecError::TooLarge { codec, width, height });
                }
                let image = decoder.decode(packet).map_err(|reason| broken(&reason))?;
                image.transpose().map_err(|error| broken(&error.to_string()))
            }
            DecoderKind::H264(decoder) => {
                for nal in h264::nal_units(packet) {
                    if !matches!(h264::nal_type(nal), h264::SPS | h264::SUBSET_SPS) {
                        continue;
                    }
                    let size = h264::sps_coded_size(nal);
                    let (width, height) = size.ok_or_else(|| broken("malformed sequence parameter set"))?;
                    if width.max(height) > MAX_DIMENSION {
                        return Err(CodecError::TooLarge { codec, width, height });
                    }
                }
                let picture = decoder.decode(packet).map_err(|error| broken(&error.to_string()))?;
                let Some(picture) = picture else { return Ok(None) };
                let (width, height) = picture.dimensions();
                let (y, u, v) = picture.strides();
                let planes = [picture.y(), picture.u(), picture.v()];
                let image = Image::from_i420_planes(width as u32, height as u32, planes, [y, u, v]);
                image.map(Some).map_err(|error| broken(&error.to_string()))
            }
        }
    }

    /// The codec in use.
    pub const fn codec(&self) -> VideoCodec {
        match self.kind {
            DecoderKind::Vp8(_) => VideoCodec::Vp8,
            DecoderKind::H264(_) => VideoCodec::H264,
        }
    }
}

/// Width and height that a VP8 keyframe's header announces (RFC 6386, 9.1).
fn vp8_keyframe_size(packet: &[u8]) -> Option<(u32, u32)> {
    match *packet {
        [tag, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1, ..] if tag & 1 == 0 => {
            let side = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
            Some((side(w0, w1), side(h0, h1)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
