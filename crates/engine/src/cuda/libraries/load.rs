//! Opening libraries for good.

// Opening a library runs its initialisation, which the compiler cannot vouch for.
#![allow(unsafe_code)]

use super::{Library, search};
use parking_lot::Mutex;
use std::error::Error as _;
use std::path::{Path, PathBuf};

/// Why libraries could not be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// There is none.
    #[error("{library} was not found: {reason}; {}", advice(*.library))]
    Missing {
        /// Which.
        library: Library,
        /// What was found instead.
        reason: String,
    },
    /// The system's linker does not take it.
    #[error("{library} cannot be loaded from {}: {problem}; {}", .path.display(), advice(*.library))]
    Broken {
        /// Which.
        library: Library,
        /// The file: its own, or one beside it that it needs.
        path: PathBuf,
        /// What the linker says.
        problem: String,
    },
    /// It was loaded, and is something else.
    #[error("{} is not {library}: it has no function {symbol}; remove it, or rename it", .path.display())]
    Foreign {
        /// Which was expected.
        library: Library,
        /// The file.
        path: PathBuf,
        /// What it lacks.
        symbol: &'static str,
    },
    /// It was loaded, but would not be used.
    #[error("{library} was loaded from {}, but not under the name {name}: {problem}", .path.display())]
    Unnamed {
        /// Which.
        library: Library,
        /// Its file.
        path: PathBuf,
        /// The name under which it would be asked for.
        name: &'static str,
        /// What went wrong.
        problem: String,
    },
}

fn advice(library: Library) -> &'static str {
    match library {
        Library::Driver => "install NVIDIA's driver",
        _ => "`scope setup-gpu` installs NVIDIA's libraries",
    }
}

#[cfg(unix)]
use libloading::os::unix::Library as System;
#[cfg(windows)]
use libloading::os::windows::Library as System;

/// The libraries that are loaded and have their names. The lock also keeps two threads from loading at once.
static LOADED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Loads what lies beside a library and is needed by it, then the library, and gives it the name that it is asked for by.
pub(super) fn load(library: Library, path: &Path) -> Result<(), LoadError> {
    let mut loaded = LOADED.lock();
    if loaded.iter().any(|one| one == path) {
        return Ok(());
    }
    let open_file = |path: &Path| {
        open(path).map_err(|problem| LoadError::Broken { library, path: path.to_owned(), problem })
    };
    for path in search::siblings(library, path) {
        keep(open_file(&path)?);
    }
    // Open it stays, whatever it is: what it has started by now may need its code.
    let Some(address) = address(keep(open_file(path)?), library.symbol()) else {
        return Err(LoadError::Foreign { library, path: path.to_owned(), symbol: library.symbol() });
    };
    name(library, path, address)?;
    loaded.push(path.to_owned());
    Ok(())
}

/// Makes the name that `cudarc` tries first lead to the library that was found, whose function is at `address`.
#[cfg(target_os = "linux")]
fn name(library: Library, path: &Path, address: usize) -> Result<(), LoadError> {
    let name = library.plain_name();
    let unnamed = |problem| LoadError::Unnamed { library, path: path.to_owned(), name, problem };
    let alias = super::alias::Alias::new(name, path).map_err(|error| unnamed(error.to_string()))?;
    keep(open(alias.path()).map_err(unnamed)?);
    alias.keep();
    let named = keep(open(Path::new(name)).map_err(unnamed)?);
    if self::address(named, library.symbol()) == Some(address) {
        Ok(())
    } else {
        Err(unnamed("another library was loaded under it before".into()))
    }
}

/// Windows finds a library that is loaded by the name of its file, which is one of those that `cudarc` tries.
#[cfg(not(target_os = "linux"))]
#[allow(clippy::unnecessary_wraps, reason = "as on Linux")]
fn name(_: Library, _: &Path, _: usize) -> Result<(), LoadError> {
    Ok(())
}

/// Opens what the system's linker finds under a name, and says why if there is nothing.
#[cfg(target_os = "linux")]
pub(super) fn open_by_name(name: &str) -> Result<(), String> {
    keep(open(Path::new(name))?);
    Ok(())
}

#[cfg(unix)]
fn open(path: &Path) -> Result<System, String> {
    use libloading::os::unix::{RTLD_GLOBAL, RTLD_NOW};
    // SAFETY: the file is one of NVIDIA's libraries by name and format, or one of ours that contains no code. NVIDIA's may be
    // initialised on any thread; that is how every program that links to them uses them.
    unsafe { System::open(Some(path), RTLD_NOW | RTLD_GLOBAL) }.map_err(|error| words(&error))
}

#[cfg(windows)]
fn open(path: &Path) -> Result<System, String> {
    use libloading::os::windows::LOAD_WITH_ALTERED_SEARCH_PATH;
    // SAFETY: as above. The flag makes Windows look for what the library needs in the library's own folder.
    unsafe { System::load_with_flags(path, LOAD_WITH_ALTERED_SEARCH_PATH) }.map_err(|error| words(&error))
}

/// What the linker says.
fn words(error: &libloading::Error) -> String {
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

/// Leaves a library open until the process ends. NVIDIA's cannot be taken back safely: they start threads, and leave functions to
/// be called at the end.
fn keep(handle: System) -> &'static System {
    Box::leak(Box::new(handle))
}

/// Where a function is, if the library has it.
fn address(handle: &System, symbol: &str) -> Option<usize> {
    // SAFETY: the symbol is looked up, not called, and its address is valid as a pointer to anything.
    unsafe { handle.get::<*const ()>(symbol) }.ok().map(|symbol| symbol.as_raw_ptr() as usize)
}

/// The address of a function in the library that the linker finds under a name.
#[cfg(all(test, target_os = "linux"))]
pub(super) fn function_address(name: &str, symbol: &str) -> Option<usize> {
    address(keep(open(Path::new(name)).ok()?), symbol)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_broken_file_is_named_with_the_linkers_words() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("libnvrtc.so.13");
        fs::write(&path, b"\x7fELF\x02\x01\x01 and no more").unwrap();
        let error = load(Library::Nvrtc, &path).unwrap_err();
        assert!(matches!(&error, LoadError::Broken { library: Library::Nvrtc, path: it, .. } if *it == path));
        let text = error.to_string();
        assert!(text.contains("NVRTC") && text.contains("setup-gpu"), "{text}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn another_library_under_the_right_name_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("libnvrtc.so.13");
        fs::copy(search::system_linker("libm.so.6").unwrap().unwrap(), &path).unwrap();
        let error = load(Library::Nvrtc, &path).unwrap_err();
        assert_eq!(error, LoadError::Foreign { library: Library::Nvrtc, path, symbol: "nvrtcVersion" });
    }
}
