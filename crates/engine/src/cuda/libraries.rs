//! NVIDIA's libraries: where they are on this machine, and how they get into this process.
//!
//! Nothing of NVIDIA's is linked: one binary runs with and without a GPU. `cudarc`, through which everything is called, opens each
//! library by name when its first function is called, and panics when there is none. So [`find`] looks first, in all the places
//! where such libraries usually lie, and [`Libraries::load`] opens exactly the files that were found, in the order of their
//! dependencies, under the names that `cudarc` will ask for. They stay in memory until the process ends.
//!
//! # Where is looked
//!
//! In this order, and everywhere for CUDA 13 before anywhere for CUDA 12:
//!
//! 1. the folders that the caller names, and `nvidia/*/lib` below them;
//! 2. `CUDA_HOME` and `CUDA_PATH`, then `/usr/local/cuda`: `lib64`, `lib`, `targets/*/lib` (on Windows `bin`);
//! 3. Python packages of NVIDIA, `nvidia/*/lib` (on Windows `nvidia/*/bin`): in the active virtual environment, the active Conda
//!    environment and its `lib`, the user's own packages, the system's packages;
//! 4. wherever the system's linker looks (on Windows in `PATH`).
//!
//! The driver is part of the system: it is looked for in the opposite order, and not in Python packages. The folders `stubs` of CUDA
//! toolkits, which hold a driver that can do nothing, are never looked into.

#[cfg(target_os = "linux")]
mod alias;
mod load;
mod search;

use std::fmt;
use std::path::PathBuf;

pub use load::LoadError;

/// One of the libraries that the engine calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Library {
    /// The driver's interface, `libcuda`.
    Driver,
    /// The compiler of kernels.
    Nvrtc,
    /// Matrix products.
    CublasLt,
}

impl Library {
    /// All of them, each after those that it needs.
    pub const ALL: [Self; 3] = [Self::Driver, Self::Nvrtc, Self::CublasLt];

    /// What NVIDIA calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Driver => "NVIDIA driver",
            Self::Nvrtc => "NVRTC",
            Self::CublasLt => "cuBLASLt",
        }
    }

    /// Its file names, the preferred one first.
    fn files(self) -> &'static [&'static str] {
        if cfg!(windows) {
            match self {
                Self::Driver => &["nvcuda.dll"],
                Self::Nvrtc => &["nvrtc64_130_0.dll", "nvrtc64_120_0.dll"],
                Self::CublasLt => &["cublasLt64_13.dll", "cublasLt64_12.dll"],
            }
        } else {
            match self {
                Self::Driver => &["libcuda.so.1"],
                Self::Nvrtc => &["libnvrtc.so.13", "libnvrtc.so.12"],
                Self::CublasLt => &["libcublasLt.so.13", "libcublasLt.so.12"],
            }
        }
    }

    /// How the names of files begin that lie beside it and must be loaded before it, in this order: it opens them by name, and
    /// is not told where they are.
    fn siblings(self) -> &'static [&'static str] {
        match (self, cfg!(windows)) {
            (Self::Driver | Self::CublasLt, _) => &[],
            (Self::Nvrtc, false) => &["libnvrtc-builtins.so."],
            (Self::Nvrtc, true) => &["nvrtc-builtins64_"],
        }
    }

    /// The name under which `cudarc` asks for it first on Linux.
    #[cfg(target_os = "linux")]
    fn plain_name(self) -> &'static str {
        match self {
            Self::Driver => "libcuda.so",
            Self::Nvrtc => "libnvrtc.so",
            Self::CublasLt => "libcublasLt.so",
        }
    }

    /// A function that it has in all versions.
    fn symbol(self) -> &'static str {
        match self {
            Self::Driver => "cuInit",
            Self::Nvrtc => "nvrtcVersion",
            Self::CublasLt => "cublasLtGetVersion",
        }
    }

    /// How the Python packages are called that contain it.
    fn packages(self) -> &'static [&'static str] {
        match self {
            Self::Driver => &[],
            Self::Nvrtc => &["nvidia_cuda_nvrtc-", "nvidia_cuda_nvrtc_cu12-"],
            Self::CublasLt => &["nvidia_cublas-", "nvidia_cublas_cu12-"],
        }
    }
}

impl fmt::Display for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A library that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its file.
    pub path: PathBuf,
    /// Its version, where the name of its file or package tells it.
    pub version: Option<String>,
}

/// What became of the search for a library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It is there.
    Found(Found),
    /// It is not there, or broken.
    Missing {
        /// The folders that were looked into, the system's own places aside.
        looked_in: Vec<PathBuf>,
        /// What was found instead.
        reason: String,
    },
}

impl Finding {
    /// The library, if it is there.
    #[must_use]
    pub fn found(&self) -> Option<&Found> {
        match self {
            Self::Found(found) => Some(found),
            Self::Missing { .. } => None,
        }
    }
}

/// What was found of all libraries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Libraries {
    /// `libcuda`.
    pub driver: Finding,
    /// NVRTC.
    pub nvrtc: Finding,
    /// cuBLASLt.
    pub cublas_lt: Finding,
}

impl Libraries {
    /// What was found of one library.
    #[must_use]
    pub fn get(&self, library: Library) -> &Finding {
        match library {
            Library::Driver => &self.driver,
            Library::Nvrtc => &self.nvrtc,
            Library::CublasLt => &self.cublas_lt,
        }
    }

    /// Loads all libraries, so that `cudarc` finds them. What is loaded already is not loaded again.
    ///
    /// # Errors
    /// [`LoadError`], and `cudarc` must not be called then: it would panic. What was loaded before the error stays loaded.
    pub fn load(&self) -> Result<(), LoadError> {
        self.load_only(&Library::ALL)
    }

    /// Loads some libraries; see [`Self::load`].
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_only(&self, libraries: &[Library]) -> Result<(), LoadError> {
        let wanted = Library::ALL.into_iter().filter(|library| libraries.contains(library));
        for library in wanted {
            match self.get(library) {
                Finding::Found(found) => load::load(library, &found.path)?,
                Finding::Missing { reason, .. } => {
                    return Err(LoadError::Missing { library, reason: reason.clone() });
                }
            }
        }
        Ok(())
    }
}

/// Looks for all libraries: in the folders `extra` first, then in the usual places (see the [module](self)).
///
/// Never fails, and calls no function of any library. A file that is no library for this machine is passed over, and named if there
/// is no better one.
#[must_use]
pub fn find(extra: &[PathBuf]) -> Libraries {
    search::Search::of_this_process(extra).all()
}
