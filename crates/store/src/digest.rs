//! Checksums of files: SHA-256, and git's object id, which is what Hugging Face tells about small files.

use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use std::fmt::Write as _;
use std::io::{self, Read};

/// Bytes read at a time.
const PIECE: usize = 1 << 20;

/// What a file should be. Whatever is unknown is not checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Expected {
    /// Size in bytes.
    pub(crate) size: Option<u64>,
    /// SHA-256 in lower-case hexadecimal.
    pub(crate) sha256: Option<String>,
    /// What it begins with, where no more of it is known.
    pub(crate) sha256_begins: Option<String>,
    /// Git's object id of the content, in lower-case hexadecimal. Only known together with the size.
    pub(crate) git_blob: Option<String>,
}

impl Expected {
    /// Whether something tells the right bytes from wrong ones.
    pub(crate) fn has_digest(&self) -> bool {
        self.sha256.is_some()
            || self.sha256_begins.is_some()
            || (self.git_blob.is_some() && self.size.is_some())
    }
}

/// The checksums of one file, computed while its bytes come in.
#[derive(Clone)]
pub(crate) struct Digests {
    sha256: Context,
    git_blob: Option<Context>,
    len: u64,
}

/// Finished checksums.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finished {
    pub(crate) len: u64,
    pub(crate) sha256: String,
    git_blob: Option<String>,
}

impl Digests {
    /// Checksums of nothing yet, for a file that should be `expected`.
    pub(crate) fn new(expected: &Expected) -> Self {
        let git_blob = expected.git_blob.as_ref().and(expected.size).map(|size| {
            // Git hashes `blob SIZE\0` before the content.
            let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
            context.update(format!("blob {size}\0").as_bytes());
            context
        });
        Self { sha256: Context::new(&SHA256), git_blob, len: 0 }
    }

    /// Takes the next bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        if let Some(context) = &mut self.git_blob {
            context.update(bytes);
        }
        self.len += bytes.len() as u64;
    }

    /// Takes everything that `reader` has left, while `go_on` says so; whether it came to the end.
    pub(crate) fn update_from(
        &mut self,
        mut reader: impl Read,
        go_on: impl Fn(u64) -> bool,
    ) -> io::Result<bool> {
        let mut piece = vec![0; PIECE];
        loop {
            if !go_on(self.len) {
                return Ok(false);
            }
            match reader.read(&mut piece) {
                Ok(0) => return Ok(true),
                Ok(count) => self.update(&piece[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The checksums of everything taken.
    pub(crate) fn finish(self) -> Finished {
        Finished {
            len: self.len,
            sha256: hex(self.sha256.finish().as_ref()),
            git_blob: self.git_blob.map(|context| hex(context.finish().as_ref())),
        }
    }
}

impl Finished {
    /// Whether these are the checksums of what was expected, as far as that is known.
    pub(crate) fn agrees_with(&self, expected: &Expected) -> bool {
        let same = |found: &Option<String>, wanted: &Option<String>| match (found, wanted) {
            (Some(found), Some(wanted)) => found == wanted,
            _ => true,
        };
        expected.size.is_none_or(|size| size == self.len)
            && expected.sha256.as_ref().is_none_or(|wanted| *wanted == self.sha256)
            && expected.sha256_begins.as_ref().is_none_or(|wanted| self.sha256.starts_with(wanted))
            && same(&self.git_blob, &expected.git_blob)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(content: &[u8], expected: &Expected) -> Finished {
        let mut digests = Digests::new(expected);
        assert!(digests.update_from(content, |_| true).unwrap());
        digests.finish()
    }

    #[test]
    fn checksums_are_those_of_other_tools() {
        // printf hello | sha256sum; printf hello | git hash-object --stdin
        let expected = Expected {
            size: Some(5),
            sha256: Some("2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824".into()),
            git_blob: Some("b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0".into()),
            ..Expected::default()
        };
        assert!(of(b"hello", &expected).agrees_with(&expected));
        assert!(!of(b"hellp", &expected).agrees_with(&expected));
        let only_git = Expected { sha256: None, ..expected.clone() };
        assert!(only_git.has_digest() && !of(b"hellp", &only_git).agrees_with(&only_git));
        let begins = |text: &str| Expected { sha256_begins: Some(text.into()), ..Expected::default() };
        assert!(
            begins("2cf24dba").has_digest()
                && of(b"hello", &begins("2cf24dba")).agrees_with(&begins("2cf24dba"))
        );
        assert!(!of(b"hellp", &begins("2cf24dba")).agrees_with(&begins("2cf24dba")));
        let no_size = Expected { size: None, sha256: None, ..expected };
        assert!(!no_size.has_digest());
    }

    #[test]
    fn reading_stops_when_it_is_told_to() {
        let mut digests = Digests::new(&Expected::default());
        let long = vec![0; 3 * PIECE];
        assert!(!digests.update_from(long.as_slice(), |len| len < PIECE as u64).unwrap());
        assert_eq!(digests.len, PIECE as u64);
    }
}
