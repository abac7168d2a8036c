//! Names that uploads may take.

use std::path::{Path, PathBuf};

/// Turns the name a client asks for into a path below the assets directory: subdirectories are allowed, leaving is not, and
/// neither is any name that some operating system or our own directory listing treats specially.
///
/// # Errors
/// A text for the user.
pub(super) fn sanitize(name: &str) -> Result<PathBuf, String> {
    let parts: Vec<&str> = name.split(['/', '\\']).collect();
    if name.is_empty() || name.len() > 400 || parts.len() > 8 {
        return Err("the file name is empty or too long".into());
    }
    match parts.iter().find(|part| !acceptable(part)) {
        Some(part) => Err(format!("{part:?} cannot be part of a file name")),
        None => Ok(parts.into_iter().collect()),
    }
}

/// Whether `part` can be the name of one file, on every system.
pub(crate) fn acceptable(part: &str) -> bool {
    const RESERVED: [&str; 4] = ["con", "prn", "aux", "nul"];
    let stem = part.split('.').next().unwrap_or("").to_ascii_lowercase();
    let numbered = |prefix: &str| stem.strip_prefix(prefix).is_some_and(|rest| rest.len() == 1);
    let odd = |c: char| c.is_control() || matches!(c, '/' | '\\' | '<' | '>' | ':' | '"' | '|' | '?' | '*');
    !part.is_empty()
        && part.len() <= 200
        && !part.starts_with(['.', ' '])
        && !part.ends_with(['.', ' '])
        && !part.contains(odd)
        && !RESERVED.contains(&stem.as_str())
        && !numbered("com")
        && !numbered("lpt")
}

/// `path` itself, then `stem-1.ext`, `stem-2.ext`, …
pub(super) fn alternatives(path: &Path) -> impl Iterator<Item = PathBuf> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let extension = path.extension().unwrap_or_default().to_string_lossy().into_owned();
    let numbered = path.to_owned();
    std::iter::once(path.to_owned())
        .chain((1..1000).map(move |n| numbered.with_file_name(format!("{stem}-{n}.{extension}"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subdirectories_are_kept_and_tricks_refused() {
        assert_eq!(sanitize("set one/a.b.png"), Ok(PathBuf::from("set one/a.b.png")));
        assert_eq!(sanitize("été.png"), Ok(PathBuf::from("été.png")));
        assert_eq!(sanitize(r"a\b.png"), Ok(PathBuf::from("a/b.png")));
        for name in [
            "",
            "/a.png",
            "../a.png",
            "a/../b.png",
            r"..\a.png",
            "a//b.png",
            "C:/a.png",
            ".hidden.png",
            "a\0.png",
            "nul.png",
            "COM1.png",
            "a.png/",
            "a.png.",
            "a\n.png",
            "a.png:stream",
        ] {
            assert!(sanitize(name).is_err(), "{name:?}");
        }
        assert!(sanitize(&"x".repeat(401)).is_err());
    }

    #[test]
    fn taken_names_get_a_number_before_the_extension() {
        let names: Vec<_> = alternatives(Path::new("d/a.b.png")).take(3).collect();
        assert_eq!(names, [Path::new("d/a.b.png"), Path::new("d/a.b-1.png"), Path::new("d/a.b-2.png")]);
    }
}
