//! Which packages there are, for which machines, and what is in them: data, checked when it is read.

use crate::manifest::{FileEntry, Manifest, PipelineEntry, Repository, Role, When, is_sha256};
use crate::path::StorePath;
use serde::Deserialize;
use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

const BUILTIN: &str = include_str!("packages.toml");

/// The name of the download in its store.
pub(super) const DOWNLOAD: &str = "gpu";
const REPOSITORY: &str = "nvidia/wheels";

/// Why a table of packages is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackagesError {
    /// It is no TOML of this shape.
    #[error("the table of GPU libraries cannot be read: {0}")]
    Syntax(#[from] toml::de::Error),
    /// It contradicts itself.
    #[error("the table of GPU libraries: {0}")]
    Inconsistent(String),
}

/// All packages, for all machines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GpuPackages {
    #[serde(default, rename = "package")]
    packages: Vec<Package>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Package {
    name: String,
    version: String,
    licence: String,
    wheel: Vec<RawWheel>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWheel {
    platform: String,
    path: StorePath,
    size: u64,
    sha256: String,
    files: Vec<WheelFile>,
}

/// A file that is taken out of a wheel.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WheelFile {
    /// Its name there, and its place below the folder of libraries.
    pub path: StorePath,
    /// How many bytes it has.
    pub size: u64,
}

/// A package for one kind of machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wheel {
    /// What PyPI calls the package.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The page with its licence.
    pub licence: String,
    /// Where it lies below PyPI's files.
    pub path: StorePath,
    /// How many bytes it has.
    pub size: u64,
    /// Its SHA-256, in lower-case hexadecimal.
    pub sha256: String,
    /// What is taken out of it.
    pub files: Vec<WheelFile>,
}

impl GpuPackages {
    /// The packages of this program.
    pub fn builtin() -> Arc<Self> {
        static PARSED: LazyLock<Arc<GpuPackages>> =
            // Data that cannot be read fails a test; a program built with it offers no libraries.
            LazyLock::new(|| Arc::new(GpuPackages::parse(BUILTIN).unwrap_or_default()));
        Arc::clone(&PARSED)
    }

    /// Reads a table.
    ///
    /// # Errors
    /// [`PackagesError`].
    pub fn parse(text: &str) -> Result<Self, PackagesError> {
        let table: Self = toml::from_str(text)?;
        let mut platforms: Vec<&str> = table.wheels().map(|(_, wheel)| wheel.platform.as_str()).collect();
        platforms.sort_unstable();
        platforms.dedup();
        for platform in platforms {
            let wheels = table.wheels_for(platform);
            if let Some(wheel) = wheels.iter().find(|wheel| !is_sha256(&wheel.sha256)) {
                return Err(PackagesError::Inconsistent(format!("the sha256 of {} is none", wheel.path)));
            }
            let mut places = HashSet::new();
            let mut files = wheels.iter().flat_map(|wheel| &wheel.files);
            // Not all disks tell capitals from small letters.
            if let Some(file) = files.find(|file| !places.insert(file.path.as_str().to_ascii_lowercase())) {
                let problem = format!("two files would lie at {} on {platform}", file.path);
                return Err(PackagesError::Inconsistent(problem));
            }
            if wheels.iter().any(|wheel| wheel.files.is_empty()) {
                return Err(PackagesError::Inconsistent(format!("a wheel for {platform} has no files")));
            }
        }
        Ok(table)
    }

    fn wheels(&self) -> impl Iterator<Item = (&Package, &RawWheel)> {
        self.packages.iter().flat_map(|package| package.wheel.iter().map(move |wheel| (package, wheel)))
    }

    /// The packages for a kind of machine, `linux-x86_64` for example; none if NVIDIA offers none.
    pub fn wheels_for(&self, platform: &str) -> Vec<Wheel> {
        let here = self.wheels().filter(|(_, wheel)| wheel.platform == platform);
        here.map(|(package, wheel)| Wheel {
            name: package.name.clone(),
            version: package.version.clone(),
            licence: package.licence.clone(),
            path: wheel.path.clone(),
            size: wheel.size,
            sha256: wheel.sha256.clone(),
            files: wheel.files.clone(),
        })
        .collect()
    }
}

/// What this machine is called in the table.
pub fn this_platform() -> String {
    format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH)
}

/// The wheels as a download: below the server's files, and in a folder of the same names.
pub(super) fn as_manifest(wheels: &[Wheel], server: String) -> Manifest {
    let repository = Repository {
        id: REPOSITORY.into(),
        revision: "main".into(),
        licence: None,
        server: Some(server),
        website: None,
    };
    let files = wheels.iter().map(|wheel| FileEntry {
        repository: REPOSITORY.into(),
        path: wheel.path.clone(),
        local: wheel.path.clone(),
        role: Role::Archive,
        about_bytes: Some(wheel.size),
        size: Some(wheel.size),
        sha256: Some(wheel.sha256.clone()),
        sha256_begins: None,
        when: When::default(),
    });
    let pipeline =
        PipelineEntry { id: DOWNLOAD.into(), name: "GPU libraries".into(), files: files.collect() };
    Manifest::of_one(repository, pipeline)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(files: &str, sha256: &str) -> String {
        format!(
            "[[package]]\nname = \"a\"\nversion = \"1\"\nlicence = \"https://example.com\"\n[[package.wheel]]\n\
             platform = \"linux-x86_64\"\npath = \"aa/a.whl\"\nsize = 3\nsha256 = \"{sha256}\"\nfiles = [{files}]\n"
        )
    }

    #[test]
    fn the_programs_table_has_both_packages_for_each_machine() {
        let table = GpuPackages::parse(BUILTIN).unwrap();
        for platform in ["linux-x86_64", "linux-aarch64", "windows-x86_64"] {
            let wheels = table.wheels_for(platform);
            let names: Vec<_> = wheels.iter().map(|wheel| wheel.name.as_str()).collect();
            assert_eq!(names, ["nvidia-cuda-nvrtc", "nvidia-cublas"], "{platform}");
            for wheel in &wheels {
                // PyPI's own order of a path: hash in three parts, then a name that begins with package and version.
                let parts: Vec<_> = wheel.path.as_str().split('/').collect();
                assert_eq!([parts[0].len(), parts[1].len(), parts[2].len(), parts.len()], [2, 2, 60, 4]);
                let begins = format!("{}-{}-", wheel.name.replace('-', "_"), wheel.version);
                assert!(parts[3].starts_with(&begins), "{}", wheel.path);
                let ends = |ending: &str| wheel.files.iter().any(|file| file.path.as_str().ends_with(ending));
                assert!(ends("licenses/License.txt"), "{}", wheel.path);
            }
        }
        assert!(table.wheels_for("macos-aarch64").is_empty());
    }

    #[test]
    fn tables_that_would_write_outside_or_twice_are_refused() {
        let hash = "0".repeat(64);
        let file = |path: &str| format!("{{ path = \"{path}\", size = 1 }}");
        assert!(GpuPackages::parse(&table(&file("lib/a.so"), &hash)).is_ok());
        for evil in ["../a.so", "/etc/a.so", "lib/../../a.so", "C:/a.dll", "lib\\\\a.so"] {
            assert!(GpuPackages::parse(&table(&file(evil), &hash)).is_err(), "{evil}");
        }
        let twice = format!("{}, {}", file("lib/a.so"), file("lib/A.so"));
        assert!(matches!(GpuPackages::parse(&table(&twice, &hash)), Err(PackagesError::Inconsistent(_))));
        assert!(GpuPackages::parse(&table(&file("lib/a.so"), "0")).is_err());
        assert!(GpuPackages::parse(&table("", &hash)).is_err());
    }
}
