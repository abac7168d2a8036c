//! Taking files out of a wheel, which is a zip archive (PEP 427).
//!
//! Only files that the table lists are written, and only to the places that the table lists: what an archive calls its other
//! entries does not matter. A file ends where the table says that it ends, so that an archive cannot fill the disk.

use super::packages::WheelFile;
use flate2::bufread::DeflateDecoder;
use rawzip::{CompressionMethod, RECOMMENDED_BUFFER_SIZE, ZipArchive};
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

/// Entries that an archive may have; NVIDIA's have a few dozen.
const MAX_ENTRIES: u64 = 10_000;
/// Bytes that are unpacked at a time.
const PIECE: usize = 1 << 20;

/// Why a wheel cannot be unpacked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WheelError {
    /// It is no zip archive, or a damaged one.
    #[error("it is no intact archive: {0}")]
    Archive(rawzip::Error),
    /// It has more entries than any wheel.
    #[error("it has more than {MAX_ENTRIES} entries")]
    TooManyEntries,
    /// It lacks a file.
    #[error("it has no {0}")]
    Absent(String),
    /// It has a file twice, or packed in a way that wheels are not, or of another size.
    #[error("{file} {problem}")]
    Entry {
        /// The file.
        file: String,
        /// What is wrong.
        problem: String,
    },
    /// The disk refused.
    #[error("{file} cannot be written: {error}")]
    Disk {
        /// The file.
        file: String,
        /// What the system says.
        error: io::Error,
    },
    /// It was not wanted any more.
    #[error("cancelled")]
    Cancelled,
}

/// Writes `files` of the wheel at `path` below the folder `into`, which nobody else uses. `go_on` is told how many bytes were
/// written since it was last asked, and may end it.
pub(super) fn unpack(
    path: &Path,
    files: &[WheelFile],
    into: &Path,
    go_on: &dyn Fn(u64) -> bool,
) -> Result<(), WheelError> {
    let open = |error: io::Error| WheelError::Archive(error.into());
    let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
    let archive =
        ZipArchive::from_file(File::open(path).map_err(open)?, &mut buffer).map_err(WheelError::Archive)?;
    let mut found = vec![false; files.len()];
    let mut entries = archive.entries(&mut buffer);
    let mut count = 0;
    while let Some(entry) = entries.next_entry().map_err(WheelError::Archive)? {
        count += 1;
        if count > MAX_ENTRIES {
            return Err(WheelError::TooManyEntries);
        }
        let name = entry.file_path();
        let Some(index) = files.iter().position(|file| file.path.as_str().as_bytes() == name.as_ref()) else {
            continue;
        };
        let file = &files[index];
        let refuse =
            |problem: &str| WheelError::Entry { file: file.path.to_string(), problem: problem.into() };
        if std::mem::replace(&mut found[index], true) {
            return Err(refuse("is in it twice"));
        }
        if entry.uncompressed_size_hint() != file.size {
            return Err(refuse("has another size than it should have"));
        }
        let packed = match entry.compression_method() {
            CompressionMethod::STORE => false,
            CompressionMethod::DEFLATE => true,
            _ => return Err(refuse("is packed in a way that wheels are not")),
        };
        let content = archive.get_entry(entry.wayfinder()).map_err(WheelError::Archive)?;
        let raw = content.reader();
        if packed {
            let decoder = DeflateDecoder::new(BufReader::with_capacity(PIECE, raw));
            write(content.verifying_reader(decoder), file, into, go_on)?;
        } else {
            write(content.verifying_reader(raw), file, into, go_on)?;
        }
    }
    match files.iter().zip(&found).find(|(_, found)| !**found) {
        Some((file, _)) => Err(WheelError::Absent(file.path.to_string())),
        None => Ok(()),
    }
}

/// Writes one file, no further than its size. Its checksum is compared at its end.
fn write(
    content: impl Read,
    file: &WheelFile,
    into: &Path,
    go_on: &dyn Fn(u64) -> bool,
) -> Result<(), WheelError> {
    let disk = |error| WheelError::Disk { file: file.path.to_string(), error };
    let damaged = |error: io::Error| WheelError::Entry {
        file: file.path.to_string(),
        problem: format!("is damaged: {error}"),
    };
    let path = file.path.below(into);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(disk)?;
    }
    let mut out = File::options().write(true).create_new(true).open(&path).map_err(disk)?;
    // One byte more than there may be tells a longer content from one that ends here.
    let mut content = content.take(file.size.saturating_add(1));
    let mut piece = vec![0; PIECE];
    let mut len = 0;
    loop {
        let count = match content.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(damaged(error)),
        };
        len += count as u64;
        if len > file.size {
            return Err(damaged(io::Error::other("it goes on after its end")));
        }
        out.write_all(&piece[..count]).map_err(disk)?;
        if !go_on(count as u64) {
            return Err(WheelError::Cancelled);
        }
    }
    if len < file.size {
        return Err(damaged(io::ErrorKind::UnexpectedEof.into()));
    }
    out.sync_all().map_err(disk)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rawzip::ZipArchiveWriter;

    const LIBRARY: &str = "nvidia/lib/liba.so.1";

    /// An archive of entries, each with its name, content, and whether it is packed.
    fn archive(entries: &[(&str, &[u8], bool)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut archive = ZipArchiveWriter::new(&mut bytes);
        for (name, content, packed) in entries {
            let method = if *packed { CompressionMethod::DEFLATE } else { CompressionMethod::STORE };
            let (mut entry, config) = archive.new_file(name).compression_method(method).start().unwrap();
            if *packed {
                let encoder = flate2::write::DeflateEncoder::new(&mut entry, flate2::Compression::fast());
                let mut writer = config.wrap(encoder);
                writer.write_all(content).unwrap();
                let (encoder, descriptor) = writer.finish().unwrap();
                encoder.finish().unwrap();
                entry.finish(descriptor).unwrap();
            } else {
                let mut writer = config.wrap(&mut entry);
                writer.write_all(content).unwrap();
                let (_, descriptor) = writer.finish().unwrap();
                entry.finish(descriptor).unwrap();
            }
        }
        archive.finish().unwrap();
        bytes
    }

    fn wanted(files: &[(&str, u64)]) -> Vec<WheelFile> {
        files.iter().map(|(path, size)| WheelFile { path: path.parse().unwrap(), size: *size }).collect()
    }

    struct Bench {
        home: tempfile::TempDir,
    }

    impl Bench {
        fn new() -> Self {
            let home = tempfile::tempdir().unwrap();
            fs::create_dir(home.path().join("into")).unwrap();
            Self { home }
        }

        fn unpack(&self, bytes: &[u8], files: &[(&str, u64)]) -> Result<(), WheelError> {
            let wheel = self.home.path().join("a.whl");
            fs::write(&wheel, bytes).unwrap();
            unpack(&wheel, &wanted(files), &self.home.path().join("into"), &|_| true)
        }

        /// All files below the whole folder, sorted.
        fn files(&self) -> Vec<String> {
            let mut files = Vec::new();
            let mut folders = vec![self.home.path().to_owned()];
            while let Some(folder) = folders.pop() {
                for entry in fs::read_dir(folder).unwrap().flatten() {
                    let path = entry.path();
                    if path.is_dir() {
                        folders.push(path);
                    } else {
                        files.push(path.strip_prefix(self.home.path()).unwrap().to_str().unwrap().to_owned());
                    }
                }
            }
            files.sort();
            files
        }
    }

    #[test]
    fn listed_files_are_written_and_no_others_wherever_they_want_to_go() {
        let bench = Bench::new();
        let content = vec![7; 3 << 20];
        let evil = ["../evil.so", "/tmp/evil.so", "nvidia/lib/../../../evil.so", "nvidia\\lib\\..\\evil.dll"];
        // The archive's writer refuses such names: others of the same length are replaced afterwards.
        let tame = [("a", evil[0]), ("b", evil[1]), ("c", evil[2]), ("d", evil[3])];
        let tame = tame.map(|(letter, name)| letter.repeat(name.len()));
        let mut bytes = archive(&[
            (&tame[0], b"evil", false),
            (&tame[1], b"evil", false),
            (&tame[2], b"evil", true),
            (&tame[3], b"evil", false),
            (LIBRARY, &content, true),
            ("nvidia/include/a.h", b"header", true),
            ("a.dist-info/License.txt", b"terms", false),
        ]);
        for (tame, evil) in tame.iter().zip(evil).rev() {
            let places: Vec<_> = (0..bytes.len() - tame.len())
                .filter(|at| bytes[*at..].starts_with(tame.as_bytes()))
                .collect();
            // In front of the content, and in the directory.
            assert_eq!(places.len(), 2, "{evil}");
            places.iter().for_each(|at| bytes[*at..*at + evil.len()].copy_from_slice(evil.as_bytes()));
        }
        bench.unpack(&bytes, &[(LIBRARY, 3 << 20), ("a.dist-info/License.txt", 5)]).unwrap();
        assert_eq!(bench.files(), ["a.whl", "into/a.dist-info/License.txt", "into/nvidia/lib/liba.so.1"]);
        assert_eq!(fs::read(bench.home.path().join("into").join(LIBRARY)).unwrap(), content);
    }

    #[test]
    fn what_is_larger_or_smaller_than_listed_is_refused_before_it_is_unpacked() {
        let bench = Bench::new();
        let bomb = archive(&[(LIBRARY, &vec![0; 4 << 20], true)]);
        assert!(bomb.len() < 64 << 10);
        for size in [1000, 5 << 20] {
            let refused = bench.unpack(&bomb, &[(LIBRARY, size)]);
            assert!(matches!(refused, Err(WheelError::Entry { .. })), "{refused:?}");
        }
        assert_eq!(bench.files(), ["a.whl"]);
    }

    #[test]
    fn an_entry_that_lies_about_its_size_ends_where_it_should() {
        let bench = Bench::new();
        let mut bytes = archive(&[(LIBRARY, &vec![0; 4 << 20], true)]);
        // The directory is told apart from the entry by its signature; sizes are 24 bytes after that.
        let directory = bytes.windows(4).rposition(|it| it == b"PK\x01\x02").unwrap();
        bytes[directory + 24..directory + 28].copy_from_slice(&1000_u32.to_le_bytes());
        let refused = bench.unpack(&bytes, &[(LIBRARY, 1000)]);
        assert!(matches!(refused, Err(WheelError::Entry { .. })), "{refused:?}");
        let written = fs::metadata(bench.home.path().join("into").join(LIBRARY)).map_or(0, |it| it.len());
        assert!(written <= 1000);
    }

    #[test]
    fn a_file_that_is_missing_or_there_twice_is_named() {
        let bench = Bench::new();
        let refused = bench.unpack(&archive(&[("other", b"x", false)]), &[(LIBRARY, 1)]);
        assert!(matches!(refused, Err(WheelError::Absent(name)) if name == LIBRARY));
        let twice = archive(&[(LIBRARY, b"x", false), (LIBRARY, b"y", false)]);
        let refused = bench.unpack(&twice, &[(LIBRARY, 1)]).unwrap_err().to_string();
        assert_eq!(refused, format!("{LIBRARY} is in it twice"));
    }

    /// Every byte of a small archive is changed, and every end is cut: nothing panics, and nothing wrong is called right.
    #[test]
    fn damage_anywhere_is_an_error_or_without_effect() {
        let content = b"the quick brown fox jumps over the lazy dog, twice, the quick brown fox";
        let whole = archive(&[(LIBRARY, content, true)]);
        let files = [(LIBRARY, content.len() as u64)];
        for cut in 0..whole.len() {
            assert!(Bench::new().unpack(&whole[..cut], &files).is_err(), "cut at {cut}");
        }
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x55;
            let bench = Bench::new();
            if bench.unpack(&bytes, &files).is_ok() {
                assert_eq!(fs::read(bench.home.path().join("into").join(LIBRARY)).unwrap(), content, "{at}");
            }
        }
    }

    #[test]
    fn it_ends_when_it_is_told_to() {
        let bench = Bench::new();
        let wheel = bench.home.path().join("a.whl");
        fs::write(&wheel, archive(&[(LIBRARY, &vec![1; 5 << 20], false)])).unwrap();
        let ended =
            unpack(&wheel, &wanted(&[(LIBRARY, 5 << 20)]), &bench.home.path().join("into"), &|_| false);
        assert!(matches!(ended, Err(WheelError::Cancelled)));
    }
}
