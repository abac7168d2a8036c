//! Pictures that parameters name, decoded once.

use super::{AssetKind, Sandbox};
use parking_lot::Mutex;
use scope_frame::Image;
use scope_pipelines::AssetLoader;
use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::time::SystemTime;

/// Bytes that a picture's file may have.
const MAX_FILE_BYTES: u64 = 64 << 20;
/// Decoded bytes kept for the next chunk that names the same picture.
const CACHE_BYTES: usize = 128 << 20;

/// Decodes the bytes of a picture, or says in words for the user why it cannot.
pub type Decode = fn(&[u8]) -> Result<Image, String>;

/// An [`AssetLoader`] over a [`Sandbox`], with a small cache of decoded pictures.
pub struct SandboxedAssets {
    sandbox: Sandbox,
    decode: Decode,
    /// Most recently used last.
    cache: Mutex<VecDeque<Cached>>,
}

struct Cached {
    path: PathBuf,
    modified: Option<SystemTime>,
    len: u64,
    image: Image,
}

impl SandboxedAssets {
    /// A loader of the files in `sandbox`.
    pub const fn new(sandbox: Sandbox, decode: Decode) -> Self {
        Self { sandbox, decode, cache: Mutex::new(VecDeque::new()) }
    }

    fn cached(&self, path: &PathBuf, modified: Option<SystemTime>, len: u64) -> Option<Image> {
        let mut cache = self.cache.lock();
        let index = cache.iter().position(|it| {
            it.path == *path && it.modified == modified && it.len == len && modified.is_some()
        })?;
        let hit = cache.remove(index)?;
        let image = hit.image.clone();
        cache.push_back(hit);
        Some(image)
    }

    fn keep(&self, entry: Cached) {
        let mut cache = self.cache.lock();
        cache.retain(|it| it.path != entry.path);
        cache.push_back(entry);
        let mut held: usize = cache.iter().map(|it| it.image.data().len()).sum();
        while held > CACHE_BYTES {
            let Some(oldest) = cache.pop_front() else { break };
            held -= oldest.image.data().len();
        }
    }
}

impl AssetLoader for SandboxedAssets {
    fn image(&self, path: &str) -> Result<Image, String> {
        let (file, found) = self.sandbox.open(path).map_err(|error| error.to_string())?;
        if !matches!(AssetKind::of(&found), Some((AssetKind::Image, _))) {
            return Err(format!("{path} is no picture: use png, jpg, webp or bmp"));
        }
        let unreadable = |error: std::io::Error| format!("{path} cannot be read: {error}");
        let metadata = file.metadata().map_err(unreadable)?;
        let (modified, len) = (metadata.modified().ok(), metadata.len());
        if let Some(image) = self.cached(&found, modified, len) {
            return Ok(image);
        }
        let image = (self.decode)(&read(file, len).map_err(unreadable)?)
            .map_err(|error| format!("{path} is no picture that can be read: {error}"))?;
        self.keep(Cached { path: found, modified, len, image: image.clone() });
        Ok(image)
    }

    fn resolve(&self, path: &str) -> Result<PathBuf, String> {
        self.sandbox.resolve(path).map_err(|error| error.to_string())
    }
}

fn read(file: File, len: u64) -> std::io::Result<Vec<u8>> {
    if len > MAX_FILE_BYTES {
        return Err(std::io::Error::other(format!("it has more than {} MB", MAX_FILE_BYTES >> 20)));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or(0));
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn a_picture_is_decoded_once_until_it_changes() {
        static DECODED: AtomicUsize = AtomicUsize::new(0);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.png");
        fs::write(&path, b"1").unwrap();
        let loader = SandboxedAssets::new(Sandbox::new([dir.path().to_owned()]), |_| {
            DECODED.fetch_add(1, Ordering::Relaxed);
            Image::solid(2, 2, [1, 2, 3]).map_err(|error| error.to_string())
        });
        for _ in 0..3 {
            loader.image("a.png").unwrap();
        }
        assert_eq!(DECODED.load(Ordering::Relaxed), 1);
        fs::write(&path, b"22").unwrap();
        loader.image("a.png").unwrap();
        assert_eq!(DECODED.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn the_cache_gives_up_the_picture_unused_for_longest() {
        let dir = tempfile::tempdir().unwrap();
        let loader = SandboxedAssets::new(Sandbox::new([dir.path().to_owned()]), |_| {
            Image::solid(4096, 4096, [0; 3]).map_err(|error| error.to_string())
        });
        for name in ["a.png", "b.png", "c.png"] {
            fs::write(dir.path().join(name), b"x").unwrap();
        }
        for name in ["a.png", "b.png", "a.png", "c.png"] {
            loader.image(name).unwrap();
        }
        let kept: Vec<_> =
            loader.cache.lock().iter().map(|it| it.path.file_name().unwrap().to_owned()).collect();
        assert_eq!(kept, ["a.png", "c.png"]);
    }

    #[test]
    fn refusals_name_the_file_and_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.mp4"), b"x").unwrap();
        let loader = SandboxedAssets::new(Sandbox::new([dir.path().to_owned()]), |_| Err("no".into()));
        assert!(loader.image("/etc/hostname").unwrap_err().contains("--root"));
        assert!(loader.image("a.mp4").unwrap_err().contains("no picture"));
    }
}
