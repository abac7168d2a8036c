//! Compiles the C shim over libvpx and chooses how libvpx is linked.
//!
//! The shim keeps libvpx's versioned structs in C, so any libvpx from 1.8 on works without generated bindings.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn main() {
    println!("cargo::rerun-if-changed=csrc/vpx_shim.c");
    let vpx = pkg_config::Config::new().atleast_version("1.8").cargo_metadata(false).probe("vpx");
    let mut missing = Vec::new();
    // Without nasm openh264 builds all the same, two to three times slower, and says nothing.
    let wants_nasm = std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "x86_64")
        && std::env::var_os("OPENH264_NO_ASM").is_none();
    let no_nasm = wants_nasm && !runs("nasm", "-v");
    if no_nasm {
        missing.push("nasm");
    }
    if vpx.is_err() {
        missing.push(if runs("pkg-config", "--version") { "libvpx-dev" } else { "pkg-config" });
    }
    let (true, Ok(vpx)) = (missing.is_empty(), vpx) else {
        // openh264's own build does not notice that nasm has appeared.
        let then = if no_nasm { " && cargo clean --release -p openh264-sys2" } else { "" };
        println!(
            "cargo::error=scope needs system packages to build, missing: {}; \
             run: apt-get install nasm libvpx-dev pkg-config{then}",
            missing.join(", ")
        );
        return;
    };

    let mut shim = cc::Build::new();
    shim.file("csrc/vpx_shim.c").opt_level(2).warnings_into_errors(true);
    for path in &vpx.include_paths {
        shim.include(path);
    }
    shim.compile("scope_vpx_shim");

    // Static where the archive lies beside the shared library, so that the binary runs on machines without the
    // package. pkg-config would never choose static for a library below /usr, nor does its libdir always hold the
    // library (Debian's is in a multiarch directory), so the C compiler is asked as well.
    let mut dirs = vpx.link_paths;
    dirs.extend(pkg_config::get_variable("vpx", "libdir").map(PathBuf::from));
    dirs.extend(compiler_finds("libvpx.a"));
    match dirs.iter().find(|dir| dir.join("libvpx.a").is_file()) {
        Some(dir) => {
            println!("cargo::rustc-link-search=native={}", dir.display());
            println!("cargo::rustc-link-lib=static=vpx");
            println!("cargo::rustc-link-lib=m");
        }
        None => {
            for dir in &dirs {
                println!("cargo::rustc-link-search=native={}", dir.display());
            }
            println!("cargo::rustc-link-lib=vpx");
        }
    }
}

/// The directory in which the C compiler would find a library file.
fn compiler_finds(file: &str) -> Option<PathBuf> {
    let mut compiler = cc::Build::new().cargo_metadata(false).get_compiler().to_command();
    let output = compiler.arg(format!("-print-file-name={file}")).output().ok()?;
    let path = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    // A bare name back means that it was not found.
    path.is_absolute().then(|| path.canonicalize().ok()?.parent().map(Path::to_path_buf))?
}

/// Whether `program` can be started at all.
fn runs(program: &str, argument: &str) -> bool {
    Command::new(program).arg(argument).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}
