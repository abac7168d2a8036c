//! What may be uploaded, by file extension.

use serde::Serialize;
use std::path::Path;

/// Kinds of assets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AssetKind {
    /// A still picture.
    Image,
    /// A video.
    Video,
    /// Sound.
    Audio,
}

/// Extension, kind, media type.
const TYPES: [(&str, AssetKind, &str); 14] = [
    ("png", AssetKind::Image, "image/png"),
    ("jpg", AssetKind::Image, "image/jpeg"),
    ("jpeg", AssetKind::Image, "image/jpeg"),
    ("webp", AssetKind::Image, "image/webp"),
    ("bmp", AssetKind::Image, "image/bmp"),
    ("mp4", AssetKind::Video, "video/mp4"),
    ("avi", AssetKind::Video, "video/x-msvideo"),
    ("mov", AssetKind::Video, "video/quicktime"),
    ("mkv", AssetKind::Video, "video/x-matroska"),
    ("webm", AssetKind::Video, "video/webm"),
    ("wav", AssetKind::Audio, "audio/wav"),
    ("mp3", AssetKind::Audio, "audio/mpeg"),
    ("flac", AssetKind::Audio, "audio/flac"),
    ("ogg", AssetKind::Audio, "audio/ogg"),
];

impl AssetKind {
    /// The kind and media type of a file, by its extension; `None` for files that are no assets.
    pub fn of(path: &Path) -> Option<(Self, &'static str)> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        let (_, kind, mime) = TYPES.iter().find(|(known, ..)| *known == extension)?;
        Some((*kind, mime))
    }

    /// Whether a file of this kind may begin with `head`. Pictures are told by their signature; of video and sound there are
    /// too many kinds, and nothing reads them in this process.
    pub fn accepts(self, head: &[u8]) -> bool {
        let riff_webp = head.starts_with(b"RIFF") && head.get(8..12) == Some(b"WEBP");
        self != Self::Image
            || riff_webp
            || [&b"\x89PNG\r\n\x1a\n"[..], b"\xff\xd8\xff", b"BM"].iter().any(|known| head.starts_with(known))
    }

    /// The kind that a query names.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "image" => Some(Self::Image),
            "video" => Some(Self::Video),
            "audio" => Some(Self::Audio),
            _ => None,
        }
    }

    /// All accepted extensions, for error messages.
    pub fn extensions() -> String {
        TYPES.map(|(extension, ..)| extension).join(", ")
    }
}
