//! Builds the web interface and embeds it, compressed; notes the commit.
//!
//! `SCOPE_UI_DIST=DIRECTORY` embeds that directory instead of building `web/`.

use serde_json::Value;
use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, exit};

#[path = "src/ui/folder.rs"]
mod folder;

use folder::{collect, hash, media_type};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=SCOPE_UI_DIST");
    note_commit();
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let dist = match env::var_os("SCOPE_UI_DIST").filter(|path| !path.is_empty()) {
        Some(dist) => {
            let dist = PathBuf::from(dist);
            println!("cargo::rerun-if-changed={}", dist.display());
            if !dist.join("index.html").is_file() {
                fail(&format!("SCOPE_UI_DIST={} has no index.html", dist.display()));
            }
            dist
        }
        None => build_web(Path::new("../../web"), &out.join("web")),
    };
    if let Err(error) = embed(&dist, &out) {
        fail(&format!("the web interface cannot be embedded: {error}"));
    }
}

fn fail(message: &str) -> ! {
    println!("cargo::error={message}");
    exit(1);
}

fn note_commit() {
    let git = |arguments: &[&str]| -> Option<String> {
        let output = Command::new("git").args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    // `logs/HEAD` grows with every commit, whichever branch is checked out.
    for name in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", name]).filter(|path| Path::new(path).exists()) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    let commit = git(&["rev-parse", "--short", "HEAD"]).unwrap_or_else(|| "unknown".into());
    println!("cargo::rustc-env=SCOPE_GIT_COMMIT={commit}");
}

/// Builds the interface into `out`.
fn build_web(web: &Path, out: &Path) -> PathBuf {
    for input in [
        "src",
        "public",
        "index.html",
        "package.json",
        "package-lock.json",
        "vite.config.ts",
        "tsconfig.json",
    ] {
        println!("cargo::rerun-if-changed={}", web.join(input).display());
    }
    if !web.join("package.json").is_file() {
        fail("there is no web/ directory to build; set SCOPE_UI_DIST to a built interface");
    }
    if !is_installed(web).unwrap_or(false) {
        npm(web, &["ci".as_ref()]);
    }
    let arguments = ["run", "build", "--", "--emptyOutDir", "--outDir"];
    let mut arguments: Vec<&Path> = arguments.iter().map(Path::new).collect();
    arguments.push(out);
    npm(web, &arguments);
    out.to_owned()
}

fn npm(web: &Path, arguments: &[&Path]) {
    let program = if cfg!(windows) { "npm.cmd" } else { "npm" };
    match Command::new(program).args(arguments).current_dir(web).output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            let text = [output.stdout, output.stderr].concat();
            for line in String::from_utf8_lossy(&text).lines() {
                println!("cargo::warning={line}");
            }
            fail("the web interface could not be built; npm's output is above");
        }
        Err(_) => fail(
            "npm is needed to build the web interface: install Node.js 20 or newer, or set SCOPE_UI_DIST to a built interface",
        ),
    }
}

/// Whether what is installed is what the lock file says. Packages for other systems may be missing.
fn is_installed(web: &Path) -> Option<bool> {
    let packages = |path: PathBuf| -> Option<serde_json::Map<String, Value>> {
        let text = fs::read_to_string(path).ok()?;
        let mut lock: Value = serde_json::from_str(&text).ok()?;
        lock["packages"].as_object_mut().map(std::mem::take)
    };
    let wanted = packages(web.join("package-lock.json"))?;
    let found = packages(web.join("node_modules/.package-lock.json"))?;
    Some(wanted.iter().filter(|(path, _)| !path.is_empty()).all(|(path, wanted)| match found.get(path) {
        Some(found) => found["version"] == wanted["version"],
        None => wanted["optional"] == Value::Bool(true) || wanted["devOptional"] == Value::Bool(true),
    }))
}

/// Writes `ui_files.rs`: a sorted table of all files below `dist`.
fn embed(dist: &Path, out: &Path) -> io::Result<()> {
    let mut files = BTreeMap::new();
    collect(dist, "", &mut files)?;
    let packed = out.join("ui");
    fs::remove_dir_all(&packed).ok();
    fs::create_dir_all(&packed)?;
    let mut table = String::from("&[\n");
    for (index, (name, path)) in files.iter().enumerate() {
        let content = fs::read(path)?;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(&content)?;
        let compressed = encoder.finish()?;
        // Pictures and fonts are compressed already.
        let gzip = compressed.len() < content.len() * 9 / 10;
        let body = packed.join(index.to_string());
        fs::write(&body, if gzip { &compressed } else { &content })?;
        let (mime, etag) = (media_type(name), format!("\"{:016x}\"", hash(&content)));
        table += &format!(
            "    UiFile {{ path: {name:?}, mime: {mime:?}, etag: {etag:?}, gzip: {gzip}, body: include_bytes!({body:?}) }},\n"
        );
    }
    table.push(']');
    fs::write(out.join("ui_files.rs"), table)
}
