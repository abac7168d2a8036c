//! The files of the web interface, compressed by the build script.

mod folder;

use anyhow::{Context as _, Result};
use scope_server::{Ui, UiFile};
use std::collections::BTreeMap;
use std::path::Path;

/// The interface in this binary.
pub(crate) const UI: Ui = Ui(include!(concat!(env!("OUT_DIR"), "/ui_files.rs")));

/// Reads a built interface for the rest of the program's life, for those who work on it: a change of the page then asks
/// for no new binary.
pub(crate) fn from_folder(folder: &Path) -> Result<Ui> {
    let mut paths = BTreeMap::new();
    folder::collect(folder, "", &mut paths)
        .with_context(|| format!("the web interface in {} cannot be read", folder.display()))?;
    anyhow::ensure!(
        paths.contains_key("index.html"),
        "{} holds no web interface: it has no index.html; `npm run build` in web/ makes one",
        folder.display()
    );
    let mut files = Vec::with_capacity(paths.len());
    for (name, path) in paths {
        let body = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        files.push(UiFile {
            mime: folder::media_type(&name),
            etag: format!("\"{:016x}\"", folder::hash(&body)).leak(),
            path: name.leak(),
            body: body.leak(),
            gzip: false,
        });
    }
    Ok(Ui(files.leak()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_a_built_page_is_read_and_another_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let error = from_folder(folder.path()).expect_err("no page").to_string();
        assert!(error.contains("no index.html"), "{error}");
        std::fs::create_dir(folder.path().join("assets")).expect("a folder");
        std::fs::write(folder.path().join("index.html"), "<p>").expect("written");
        std::fs::write(folder.path().join("assets/app.js"), "1").expect("written");
        let ui = from_folder(folder.path()).expect("a page");
        let files: Vec<_> = ui.0.iter().map(|file| (file.path, file.mime)).collect();
        let script = ("assets/app.js", "text/javascript; charset=utf-8");
        assert_eq!(files, [script, ("index.html", "text/html; charset=utf-8")]);
    }
}
