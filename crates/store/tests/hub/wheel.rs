//! Small wheels as PyPI has them, and the table that lists them.

#![allow(dead_code, clippy::unwrap_used)]

use rawzip::{CompressionMethod, ZipArchiveWriter};
use std::io::Write;

/// A wheel with these files.
pub(crate) fn wheel(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut archive = ZipArchiveWriter::new(&mut bytes);
    for (name, content) in files {
        let method = CompressionMethod::DEFLATE;
        let (mut entry, config) = archive.new_file(name).compression_method(method).start().unwrap();
        let encoder = flate2::write::DeflateEncoder::new(&mut entry, flate2::Compression::fast());
        let mut writer = config.wrap(encoder);
        writer.write_all(content).unwrap();
        let (encoder, descriptor) = writer.finish().unwrap();
        encoder.finish().unwrap();
        entry.finish(descriptor).unwrap();
    }
    archive.finish().unwrap();
    bytes
}

/// A table of one package for one platform, from whose wheel all `files` are taken.
pub(crate) fn table(
    platform: &str,
    path: &str,
    wheel: &[u8],
    sha256: &str,
    files: &[(&str, &[u8])],
) -> String {
    let files: Vec<_> = files
        .iter()
        .map(|(path, content)| format!("{{ path = \"{path}\", size = {} }}", content.len()))
        .collect();
    format!(
        "[[package]]\nname = \"nvidia-tiny\"\nversion = \"1.2\"\nlicence = \"https://example.com/terms\"\n\
         [[package.wheel]]\nplatform = \"{platform}\"\npath = \"{path}\"\nsize = {}\nsha256 = \"{sha256}\"\nfiles = [{}]\n",
        wheel.len(),
        files.join(", ")
    )
}
