//! Looking for files, and what their surroundings tell about them.

use super::{Finding, Found, Libraries, Library};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Entries of a folder that are looked at: nobody has more Python versions or packages of NVIDIA.
const MAX_ENTRIES: usize = 4096;

/// The path of the library that the system's linker finds under a name, if there is one, or why it cannot load it.
type Linker = fn(&str) -> Result<Option<PathBuf>, String>;

/// The places to look into, and the system's linker.
pub(super) struct Search {
    folders: Vec<PathBuf>,
    driver_folders: Vec<PathBuf>,
    system: Linker,
}

impl Search {
    pub(super) fn of_this_process(extra: &[PathBuf]) -> Self {
        Self::new(extra, |name| std::env::var_os(name), system_linker)
    }

    fn new(extra: &[PathBuf], env: impl Fn(&str) -> Option<OsString>, system: Linker) -> Self {
        // An empty variable is none.
        let env = |name: &str| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let mut folders = Vec::new();
        // The linker takes a path for a name if it is relative.
        let absolute = |folder: &PathBuf| std::path::absolute(folder).unwrap_or_else(|_| folder.clone());
        let extra: Vec<_> = extra.iter().map(absolute).collect();
        for folder in &extra {
            folders.extend([folder.clone(), folder.join(LIB)]);
            folders.extend(in_python_packages(folder));
        }
        let toolkits = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(&env);
        for toolkit in toolkits.chain([PathBuf::from("/usr/local/cuda")]) {
            folders.extend(in_toolkit(&toolkit));
        }
        let environments = ["VIRTUAL_ENV", "CONDA_PREFIX"].into_iter().filter_map(&env);
        for environment in environments {
            folders.extend(in_python(&environment));
            folders.extend(in_toolkit(&environment));
        }
        if let Some(home) = env("HOME") {
            folders.extend(in_python(&home.join(".local")));
        }
        for prefix in ["/usr/local", "/usr"] {
            folders.extend(in_python(Path::new(prefix)));
        }
        let driver_folders = DRIVER_FOLDERS.iter().map(PathBuf::from).chain(extra).collect();
        Self { folders: unique(folders), driver_folders, system }
    }

    pub(super) fn all(&self) -> Libraries {
        Libraries {
            driver: self.one(Library::Driver),
            nvrtc: self.one(Library::Nvrtc),
            cublas_lt: self.one(Library::CublasLt),
        }
    }

    fn one(&self, library: Library) -> Finding {
        let of_system = library == Library::Driver;
        let folders = if of_system { &self.driver_folders } else { &self.folders };
        let mut problems = Vec::new();
        for name in library.files() {
            // What the linker finds it has to load, so that it is asked last for what has several places.
            let path = if of_system {
                self.by_linker(name, &mut problems).or_else(|| in_folders(folders, name, &mut problems))
            } else {
                in_folders(folders, name, &mut problems).or_else(|| self.by_linker(name, &mut problems))
            };
            if let Some(path) = path {
                return Finding::Found(found(library, path));
            }
        }
        let mut reason = format!("no {} is among the system's libraries", library.files().join(" or "));
        if !of_system {
            reason += ", in a CUDA toolkit, or in a Python package";
        }
        if !problems.is_empty() {
            reason = format!("{reason}; {}", problems.join("; "));
        }
        Finding::Missing { looked_in: folders.clone(), reason }
    }

    fn by_linker(&self, name: &str, problems: &mut Vec<String>) -> Option<PathBuf> {
        (self.system)(name).unwrap_or_else(|problem| {
            problems.push(problem);
            None
        })
    }
}

/// The first file of that name that is a library.
fn in_folders(folders: &[PathBuf], name: &str, problems: &mut Vec<String>) -> Option<PathBuf> {
    folders.iter().map(|folder| folder.join(name)).find(|path| match inspect(path) {
        Inspected::Library => true,
        Inspected::Absent => false,
        Inspected::Broken(problem) => {
            problems.push(format!("{} {problem}", path.display()));
            false
        }
    })
}

const LIB: &str = if cfg!(windows) { "bin" } else { "lib" };

/// Where drivers are installed that the linker may not know of: containers, WSL, NixOS.
const DRIVER_FOLDERS: &[&str] = if cfg!(windows) {
    &["C:\\Windows\\System32"]
} else {
    &[
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/usr/lib64",
        "/usr/lib",
        "/usr/local/nvidia/lib64",
        "/usr/lib/wsl/lib",
        "/run/opengl-driver/lib",
    ]
};

fn in_toolkit(root: &Path) -> Vec<PathBuf> {
    if cfg!(windows) {
        return vec![root.join("bin"), root.join("bin").join("x64")];
    }
    let target = if cfg!(target_arch = "aarch64") { "sbsa-linux" } else { "x86_64-linux" };
    vec![root.join("lib64"), root.join("lib"), root.join("targets").join(target).join("lib")]
}

/// The folders of NVIDIA's packages in the Python installation below `prefix`, the newest Python first.
fn in_python(prefix: &Path) -> Vec<PathBuf> {
    if cfg!(windows) {
        return in_python_packages(&prefix.join("Lib").join("site-packages"));
    }
    let lib = prefix.join("lib");
    let mut pythons: Vec<(Vec<u32>, PathBuf)> = entries(&lib)
        .into_iter()
        .filter_map(|(name, path)| Some((numbers(name.strip_prefix("python")?), path)))
        .collect();
    pythons.sort_by(|a, b| b.cmp(a));
    let packages = pythons.into_iter().flat_map(|(_, python)| {
        ["site-packages", "dist-packages"].map(|packages| in_python_packages(&python.join(packages)))
    });
    packages.flatten().collect()
}

/// `nvidia/*/lib` in a folder of Python packages.
fn in_python_packages(packages: &Path) -> Vec<PathBuf> {
    let mut of_nvidia = entries(&packages.join("nvidia"));
    // `cu13` holds what used to be in one folder for each library.
    of_nvidia.sort_by(|(a, _), (b, _)| a.cmp(b));
    of_nvidia
        .into_iter()
        .flat_map(|(_, path)| {
            let lib = path.join(LIB);
            if cfg!(windows) { vec![lib.join("x86_64"), lib] } else { vec![lib] }
        })
        .collect()
}

/// Names and paths in a folder; none if it cannot be read.
fn entries(folder: &Path) -> Vec<(String, PathBuf)> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let entries = entries.take(MAX_ENTRIES).filter_map(Result::ok);
    entries.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path()))).collect()
}

fn numbers(version: &str) -> Vec<u32> {
    version.split('.').map_while(|part| part.parse().ok()).collect()
}

fn unique(folders: Vec<PathBuf>) -> Vec<PathBuf> {
    let mut seen = std::collections::HashSet::new();
    folders.into_iter().filter(|folder| seen.insert(folder.clone())).collect()
}

/// The paths of the files that must be loaded before the library at `path`; see [`Library::siblings`].
pub(super) fn siblings(library: Library, path: &Path) -> Vec<PathBuf> {
    let Some(folder) = path.parent() else { return Vec::new() };
    let all = if library.siblings().is_empty() { Vec::new() } else { entries(folder) };
    let mut paths = Vec::new();
    for beginning in library.siblings() {
        let mut these: Vec<_> = all.iter().filter(|(name, _)| name.starts_with(beginning)).collect();
        these.sort();
        paths.extend(these.into_iter().map(|(_, path)| path.clone()));
    }
    // A toolkit names each of its files three times.
    let mut seen = std::collections::HashSet::new();
    paths.retain(|path| seen.insert(fs::canonicalize(path).unwrap_or_else(|_| path.clone())));
    paths
}

enum Inspected {
    Library,
    Absent,
    Broken(String),
}

/// Looks at the head of a file, without running anything of it.
fn inspect(path: &Path) -> Inspected {
    let Ok(metadata) = fs::metadata(path) else { return Inspected::Absent };
    if !metadata.is_file() {
        return Inspected::Broken("is no file".into());
    }
    let mut head = [0; 20];
    if let Err(error) = File::open(path).and_then(|mut file| file.read_exact(&mut head)) {
        return match error.kind() {
            std::io::ErrorKind::UnexpectedEof => Inspected::Broken("is too short for a library".into()),
            _ => Inspected::Broken(format!("cannot be read ({error})")),
        };
    }
    if is_library(&head) {
        Inspected::Library
    } else {
        Inspected::Broken("is no library for this kind of machine".into())
    }
}

/// Whether a file that begins like this is a library for this machine.
fn is_library(head: &[u8; 20]) -> bool {
    if cfg!(windows) {
        return head.starts_with(b"MZ");
    }
    const SHARED_OBJECT: u8 = 3;
    // 64 bits, little-endian.
    let format = head.starts_with(b"\x7fELF\x02\x01") && head[16] == SHARED_OBJECT;
    format && machine().is_none_or(|machine| head[18..] == machine.to_le_bytes())
}

/// How ELF calls this kind of processor.
pub(super) fn machine() -> Option<u16> {
    match std::env::consts::ARCH {
        "x86_64" => Some(62),
        "aarch64" => Some(183),
        _ => None,
    }
}

fn found(library: Library, path: PathBuf) -> Found {
    let version = version_in_name(&path).or_else(|| version_of_package(library, &path));
    Found { path, version }
}

/// `13.0.88` of `libnvrtc.so.13`, when that is a link to `libnvrtc.so.13.0.88`.
fn version_in_name(path: &Path) -> Option<String> {
    let file = fs::canonicalize(path).ok()?;
    let (_, version) = file.file_name()?.to_str()?.split_once(".so.")?;
    version.contains('.').then(|| version.to_owned())
}

/// The version of the Python package that contains the file: `nvidia_cublas-13.0.2.14.dist-info` lies beside `nvidia`.
fn version_of_package(library: Library, path: &Path) -> Option<String> {
    let nvidia =
        path.ancestors().take(6).find(|folder| folder.file_name().is_some_and(|it| it == "nvidia"))?;
    entries(nvidia.parent()?).into_iter().find_map(|(name, _)| {
        let name = name.strip_suffix(".dist-info")?;
        let version = library.packages().iter().find_map(|package| name.strip_prefix(package))?;
        Some(version.to_owned())
    })
}

/// Asks the linker by opening the library, which is the only way to hear what it would do; it stays open.
#[cfg(target_os = "linux")]
pub(super) fn system_linker(name: &str) -> Result<Option<PathBuf>, String> {
    if let Err(problem) = super::load::open_by_name(name) {
        let absent = problem.starts_with(name) && problem.contains("No such file");
        return if absent { Ok(None) } else { Err(problem) };
    }
    let maps = fs::read_to_string("/proc/self/maps").map_err(|error| error.to_string())?;
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    // A sandbox may show paths that are not those inside it. The name leads to the library as well: it is loaded by now.
    let path = mapped(&maps, stem).filter(|path| path.is_file());
    Ok(Some(path.unwrap_or_else(|| name.into())))
}

/// The first file in a process's list of mapped files whose name begins with `stem`.
#[cfg(any(target_os = "linux", test))]
fn mapped(maps: &str, stem: &str) -> Option<PathBuf> {
    let paths = maps.lines().filter_map(|line| line.find('/').map(|at| Path::new(&line[at..])));
    let is_it = |path: &&Path| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(stem))
    };
    paths.into_iter().find(is_it).map(Path::to_owned)
}

#[cfg(windows)]
#[allow(clippy::unnecessary_wraps, reason = "as on Linux")]
fn system_linker(name: &str) -> Result<Option<PathBuf>, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut files = std::env::split_paths(&path).map(|folder| folder.join(name));
    Ok(files.find(|file| file.is_file()))
}

#[cfg(not(any(target_os = "linux", windows)))]
#[allow(clippy::unnecessary_wraps, reason = "as on Linux")]
fn system_linker(_: &str) -> Result<Option<PathBuf>, String> {
    Ok(None)
}

#[cfg(test)]
mod tests;
