//! The kernels' sources, and their compilation for the card that is there.

use std::{
    collections::{HashMap, hash_map::Entry},
    ffi::{CString, c_char},
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
};

use cudarc::{
    driver::{result, sys},
    nvrtc,
};
use parking_lot::Mutex;

use super::{Arithmetic, CudaOptions, Properties, Work, failed};
use crate::{Error, Result};

/// A source of kernels and the ways in which it is compiled.
#[derive(Debug)]
pub struct KernelSource {
    /// The file's name without its ending.
    pub name: &'static str,
    /// CUDA C++, complete: it includes nothing.
    pub text: &'static str,
    /// Definitions of each variant.
    pub variants: &'static [&'static [&'static str]],
    /// What its kernels' time counts as.
    pub work: Work,
    /// The only architecture that it is for, or `None` for all from `sm_80` on.
    pub only: Option<&'static str>,
}

/// The variants of a source that is compiled for either arithmetic: index 0 is bf16.
const EITHER: &[&[&str]] = &[&[], &["SCOPE_F32"]];

/// A source of kernels with the definitions that all share in front of it.
macro_rules! source {
    ($name:ident, $file:literal, $variants:expr) => {
        source!($name, $file, $variants, Work::Elementwise, None, ["common.cuh"]);
    };
    ($name:ident, $file:literal, $variants:expr, $work:expr, $only:expr, [$($front:literal),*]) => {
        pub(crate) static $name: KernelSource = KernelSource {
            name: $file,
            text: concat!(
$(include_str!(concat!("kernels/", $front)),)*
                // The compiler names lines as the file has them.
                "\n#line 1\n",
                include_str!(concat!("kernels/", $file, ".cu")),
            ),
            variants: $variants,
            work: $work,
            only: $only,
        };
    };
}

source!(ATTENTION, "attention", EITHER, Work::Attention, None, ["common.cuh"]);
source!(
    ATTENTION_SM80,
    "attention_sm80",
    // As `PORTABLE` in `ops::flash` says.
    &[
        &["HEAD_DIM=128"],
        &["HEAD_DIM=128", "WARP_TILES=1"],
        &["HEAD_DIM=64"],
        &["HEAD_DIM=64", "RELATIVE_BIAS"],
    ],
    Work::Attention,
    None,
    []
);
source!(
    ATTENTION_SM90,
    "attention_sm90",
    // As `HOPPER` and `HOPPER_F8` in `ops::flash` say.
    &[
        &["BLOCK_KEYS=32", "QUERY_STAGES=4"],
        &["BLOCK_KEYS=64", "QUERY_STAGES=4"],
        &["BLOCK_KEYS=128", "QUERY_STAGES=2"],
        &["BLOCK_KEYS=176", "QUERY_STAGES=1"],
        &["BLOCK_KEYS=128", "QUERY_STAGES=2", "QK_F8"],
        &["BLOCK_KEYS=176", "QUERY_STAGES=2", "QK_F8"],
    ],
    Work::Attention,
    Some("sm_90a"),
    []
);
/// Each of the variants three times: without an activation, with ReLU, and with whichever the job says. Code for all of
/// them in every place would be several times as long. Behind these come variants that are there once.
macro_rules! by_activation {
    ($([$($definition:literal),*]),* $(,)? $(; $([$($once:literal),*]),* $(,)?)?) => {
        &[
            $(
                &[$($definition,)* "ACTIVATION=0"],
                &[$($definition,)* "ACTIVATION=4"],
                &[$($definition),*],
            )*
            $($(&[$($once),*],)*)?
        ]
    };
}

source!(
    CONV,
    "conv",
    // As `PORTABLE_CHANNELS` in `ops::conv` says.
    by_activation![
        ["TILE_N=32"],
        ["TILE_N=32", "GATHER"],
        ["TILE_N=64"],
        ["TILE_N=64", "GATHER"],
        ["TILE_N=96"],
        ["TILE_N=96", "GATHER"],
        ["TILE_N=128"],
        ["TILE_N=128", "GATHER"],
        // Mirrored pictures are few.
        ["TILE_N=64", "GATHER", "REFLECT"],
        ["SCOPE_F32"],
        ["SCOPE_F32", "REFLECT"],
    ],
    Work::Convolution,
    None,
    ["conv_common.cuh"]
);
source!(
    CONV_SM90,
    "conv_sm90",
    // As `HOPPER_TILES` in `ops::conv` says.
    by_activation![
        ["TILE_N=192", "TILE_H=24", "TILE_W=8", "GROUPS=3", "WEIGHTS=6"],
        ["TILE_N=192", "TILE_H=24", "TILE_W=8", "GROUPS=3", "WEIGHTS=5", "BOXES=3"],
        ["TILE_N=192", "TILE_H=16", "TILE_W=8", "GROUPS=2", "WEIGHTS=6"],
        ["TILE_N=128", "TILE_H=16", "TILE_W=8", "GROUPS=2", "WEIGHTS=6"],
        ["TILE_N=96", "TILE_H=16", "TILE_W=16", "GROUPS=2", "WEIGHTS=6"],
        ["TILE_N=64", "TILE_H=16", "TILE_W=8", "GROUPS=2", "WEIGHTS=7", "BLOCKS=2"],
        ["TILE_N=32", "TILE_H=16", "TILE_W=16", "GROUPS=2", "WEIGHTS=6", "BLOCKS=2"],
        ["TILE_N=16", "TILE_H=16", "TILE_W=16", "GROUPS=2", "WEIGHTS=6", "BLOCKS=2"];
        // As `NORM_TILES` says.
        ["TILE_N=192", "TILE_H=24", "TILE_W=8", "GROUPS=3", "WEIGHTS=6", "ACTIVATION=0", "NORM"],
        ["TILE_N=192", "TILE_H=16", "TILE_W=8", "GROUPS=2", "WEIGHTS=6", "ACTIVATION=0", "NORM"],
        ["TILE_N=96", "TILE_H=16", "TILE_W=16", "GROUPS=2", "WEIGHTS=6", "ACTIVATION=0", "NORM"],
    ],
    Work::Convolution,
    Some("sm_90a"),
    ["conv_common.cuh", "hopper.cuh"]
);
source!(
    CONV_FEW_SM90,
    "conv_few_sm90",
    // As `FEW_BOX` in `ops::conv` says.
    by_activation![["TILE_N=32", "BOX_H=16", "BOX_W=16", "GROUPS=2", "STAGES=4", "BLOCKS=2"]],
    Work::Convolution,
    Some("sm_90a"),
    ["conv_common.cuh", "hopper.cuh"]
);
source!(ELEMENTWISE, "elementwise", &[&[]], Work::Elementwise, None, ["common.cuh", "fp8.cuh"]);
source!(FLOW, "flow", EITHER);
source!(FP8, "fp8", EITHER, Work::Elementwise, None, ["common.cuh", "fp8.cuh"]);
source!(INSTANCE, "instance", EITHER);
source!(MOVEMENT, "movement", &[&[]]);
source!(NORM, "norm", EITHER, Work::Elementwise, None, ["common.cuh", "fp8.cuh", "rows.cuh"]);
source!(
    NORM_ROPE,
    "norm_rope",
    EITHER,
    Work::Elementwise,
    None,
    ["common.cuh", "fp8.cuh", "rope.cuh", "rows.cuh"]
);
source!(RANDOM, "random", &[&[]]);
source!(RESAMPLE, "resample", EITHER);
source!(ROPE, "rope", EITHER, Work::Elementwise, None, ["common.cuh", "rope.cuh"]);

/// All sources.
pub static SOURCES: [&KernelSource; 16] = [
    &ATTENTION,
    &ATTENTION_SM80,
    &ATTENTION_SM90,
    &CONV,
    &CONV_FEW_SM90,
    &CONV_SM90,
    &ELEMENTWISE,
    &FLOW,
    &FP8,
    &INSTANCE,
    &MOVEMENT,
    &NORM,
    &NORM_ROPE,
    &RANDOM,
    &RESAMPLE,
    &ROPE,
];

/// What the compiler is told, for one variant of a source and an architecture such as `sm_90`.
#[must_use]
pub fn options(source: &KernelSource, variant: usize, architecture: &str) -> Vec<String> {
    let definitions = source.variants.get(variant).copied().unwrap_or_default();
    // Lambdas with parameters of any type count as host functions otherwise.
    [format!("--gpu-architecture={architecture}"), "--device-as-default-execution-space".into()]
        .into_iter()
        // Random numbers must come out as written, to the last bit.
        .chain((source.name == "random").then(|| "--fmad=false".to_owned()))
        .chain(definitions.iter().map(|definition| format!("-D{definition}")))
        .collect()
}

/// A source compiled for an architecture such as `sm_90`: a binary, and what the compiler had to say.
///
/// # Errors
/// [`Error::Kernel`] with the compiler's words.
pub fn compile(source: &KernelSource, variant: usize, architecture: &str) -> Result<(Vec<u8>, String)> {
    let refused = |detail: String| Error::Kernel { file: source.name, detail };
    let options = options(source, variant, architecture);
    let text = CString::new(source.text).map_err(|error| refused(error.to_string()))?;
    let name = CString::new(format!("{}.cu", source.name)).map_err(|error| refused(error.to_string()))?;
    let program =
        nvrtc::result::create_program(&text, Some(&name)).map_err(|error| refused(format!("{error:?}")))?;
    // SAFETY: the program lives until it is destroyed at the end, and buffers are as long as they are said to be.
    unsafe {
        let compiled = nvrtc::result::compile_program(program, &options);
        let log = nvrtc::result::get_program_log(program).unwrap_or_default();
        let log: Vec<u8> = log.into_iter().map(c_char::cast_unsigned).filter(|&byte| byte != 0).collect();
        let log = String::from_utf8_lossy(&log).trim().to_owned();
        let mut size = 0;
        let mut binary = Vec::new();
        let read = compiled
            .and_then(|()| nvrtc::sys::nvrtcGetCUBINSize(program, &raw mut size).result())
            .and_then(|()| {
                binary.resize(size, 0u8);
                nvrtc::sys::nvrtcGetCUBIN(program, binary.as_mut_ptr().cast()).result()
            });
        let _ = nvrtc::result::destroy_program(program);
        match read {
            Ok(()) => Ok((binary, log)),
            Err(error) if log.is_empty() => Err(refused(format!("{error:?}"))),
            Err(_) => Err(refused(log)),
        }
    }
}

/// Kernels loaded on a card.
pub(super) struct Kernels {
    variant: usize,
    architecture: String,
    cache: Option<PathBuf>,
    modules: Mutex<HashMap<(&'static str, usize), Module>>,
}

struct Module {
    handle: sys::CUmodule,
    functions: HashMap<&'static str, Function>,
}

/// A kernel of a module that stays loaded as long as the context.
#[derive(Clone, Copy)]
pub(super) struct Function(pub(super) sys::CUfunction);

// SAFETY: handles of the driver, whose functions may be called from every thread.
unsafe impl Send for Module {}
// SAFETY: as above.
unsafe impl Send for Function {}

impl Kernels {
    /// The kernels of a card for an arithmetic: one set for all who use them at the same time.
    pub(super) fn shared(options: &CudaOptions, card: &Properties) -> Arc<Self> {
        static LOADED: Mutex<Vec<(usize, Arithmetic, Weak<Kernels>)>> = Mutex::new(Vec::new());
        let mut loaded = LOADED.lock();
        loaded.retain(|(_, _, kernels)| kernels.strong_count() > 0);
        let same = loaded.iter().find(|(ordinal, arithmetic, _)| {
            (*ordinal, *arithmetic) == (options.ordinal, options.arithmetic)
        });
        if let Some(kernels) = same.and_then(|(_, _, kernels)| kernels.upgrade()) {
            return kernels;
        }
        let kernels = Arc::new(Self::new(card, options.arithmetic, options.kernel_cache.clone()));
        loaded.push((options.ordinal, options.arithmetic, Arc::downgrade(&kernels)));
        kernels
    }

    fn new(card: &Properties, arithmetic: Arithmetic, cache: Option<PathBuf>) -> Self {
        let [major, minor] = card.capability;
        Self {
            variant: match arithmetic {
                Arithmetic::Bf16 => 0,
                Arithmetic::F32 => 1,
            },
            architecture: format!("sm_{major}{minor}"),
            cache,
            modules: Mutex::new(HashMap::new()),
        }
    }

    /// The variant of a source for the device's arithmetic.
    pub(super) fn arithmetic_variant(&self, source: &KernelSource) -> usize {
        self.variant.min(source.variants.len() - 1)
    }

    /// The kernel of this name, compiled at its first use if it was not before.
    pub(super) fn get(
        &self,
        source: &'static KernelSource,
        variant: usize,
        name: &'static str,
    ) -> Result<Function> {
        let mut modules = self.modules.lock();
        let module = match modules.entry((source.name, variant)) {
            Entry::Occupied(loaded) => loaded.into_mut(),
            Entry::Vacant(place) => {
                let binary = self.binary(source, variant)?;
                // SAFETY: the image is a whole binary; the driver copies it.
                let handle = unsafe { result::module::load_data(binary.as_ptr().cast()) }
                    .map_err(failed("loading kernels"))?;
                place.insert(Module { handle, functions: HashMap::new() })
            }
        };
        if let Some(function) = module.functions.get(name) {
            return Ok(*function);
        }
        let c_name = CString::new(name)
            .map_err(|error| Error::Kernel { file: source.name, detail: error.to_string() })?;
        // SAFETY: the module is loaded.
        let function = unsafe { result::module::get_function(module.handle, c_name) }.map_err(|error| {
            Error::Kernel { file: source.name, detail: format!("{name}: {}", super::describe(error)) }
        })?;
        module.functions.insert(name, Function(function));
        Ok(Function(function))
    }

    /// The compiled source, from disk if it was compiled before.
    fn binary(&self, source: &KernelSource, variant: usize) -> Result<Vec<u8>> {
        let architecture = source.only.unwrap_or(&self.architecture);
        let file = self.cache.as_deref().map(|folder| cache_file(folder, source, variant, architecture));
        if let Some(binary) = file.as_deref().and_then(|file| fs::read(file).ok()) {
            return Ok(binary);
        }
        let (binary, _) = compile(source, variant, architecture)?;
        if let Some(file) = file {
            // Without a place to keep it, it is compiled again next time.
            let _ = keep(&file, &binary);
        }
        Ok(binary)
    }
}

/// Where a compiled source is kept: a change of source, options or architecture is another file.
fn cache_file(folder: &Path, source: &KernelSource, variant: usize, architecture: &str) -> PathBuf {
    folder.join(format!(
        "{}-{architecture}-{:016x}.cubin",
        source.name,
        fingerprint(source, variant, architecture)
    ))
}

/// A number that is another for another source, other options or another architecture.
#[must_use]
pub fn fingerprint(source: &KernelSource, variant: usize, architecture: &str) -> u64 {
    // FNV-1a (Fowler, Noll, Vo): no secret, only another name for another text.
    let options = options(source, variant, architecture);
    let parts = std::iter::once(source.text).chain(options.iter().map(String::as_str));
    parts
        .flat_map(|part| part.bytes().chain([0]))
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn keep(file: &Path, binary: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    // Another process may be doing the same: each writes a file of its own and renames it when it is whole.
    let partial = file.with_extension(format!("{}.partial", std::process::id()));
    fs::write(&partial, binary)?;
    fs::rename(&partial, file)
}
