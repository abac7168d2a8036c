//! Matrix products by cuBLASLt.

use std::{collections::HashMap, ffi::c_void, mem::MaybeUninit, sync::Arc};

use cudarc::cublaslt::{
    result::{self, CublasError},
    sys,
};
use smallvec::SmallVec;

use super::{
    Cost,
    memory::{Allocation, Memory},
    profile::{Work, timed},
};
use crate::{DType, Error, Result};

/// Memory for a product's partial sums: as much as cuBLASLt's kernels for Hopper want.
const WORKSPACE_BYTES: usize = 32 << 20;

/// Algorithms that are tried for a product, and how large it must be for that: multiplications.
const CANDIDATES: usize = 8;
const WORTH_TRYING: usize = 1 << 30;
/// Up to so many rows nothing is tried: they are tokens of a text, another prompt has another number of them, and that must
/// not wait for it.
const ROWS_OF_TEXTS: usize = 512;
/// How much faster than cuBLASLt's own choice another algorithm must be to be taken.
const NOTABLY: f32 = 0.98;

/// What is done to a product on its way to memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Epilogue {
    #[default]
    None,
    /// GELU in its tanh approximation.
    Gelu,
    Relu,
}

/// A matrix in memory: rows `stride` elements apart, matrices of a batch `batch_stride` apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Matrix {
    pub(super) address: u64,
    pub(super) stride: usize,
    pub(super) batch_stride: usize,
}

impl Matrix {
    /// One matrix whose rows follow each other.
    pub(super) fn rows(address: u64, stride: usize) -> Self {
        Self { address, stride, batch_stride: 0 }
    }
}

/// What the numbers of a product in e4m3 are multiplied by: addresses of `f32`s on the device.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scales {
    /// For all of `a`, or with `outer` one for each row.
    pub(super) a: u64,
    /// For all of `b`, or with `outer` one for each column of the result.
    pub(super) b: u64,
    /// For the result, if that is e4m3 too; never with `outer`.
    pub(super) out: Option<u64>,
    /// Vectors instead of single numbers. Only Hopper's kernels take them (cuBLAS from 12.9 on).
    pub(super) outer: bool,
}

/// `out = epilogue(alpha · a b + addend + bias)` for each matrix of a batch, all row-major.
///
/// Products in e4m3 need `b_transposed`, a depth and columns that are multiples of 16, and have a bias in bf16 and no addend.
#[derive(Clone, Copy, Debug)]
pub(super) struct Product {
    /// `[rows, depth]`.
    pub(super) a: Matrix,
    /// `[columns, depth]` if `b_transposed`, else `[depth, columns]`.
    pub(super) b: Matrix,
    pub(super) b_transposed: bool,
    /// `[rows, columns]`.
    pub(super) out: Matrix,
    /// Laid out as `out`, which it may be.
    pub(super) addend: Option<u64>,
    /// `[columns]`, of the type of `out`.
    pub(super) bias: Option<u64>,
    pub(super) epilogue: Epilogue,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) depth: usize,
    pub(super) batch: usize,
    pub(super) alpha: f32,
    /// The type of `a` and `b`.
    pub(super) input: DType,
    pub(super) output: DType,
    /// With an input of e4m3.
    pub(super) scales: Option<Scales>,
}

/// What a plan depends on.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    sizes: [usize; 4],
    strides: [[usize; 2]; 3],
    b_transposed: bool,
    has_addend: bool,
    has_bias: bool,
    epilogue: Epilogue,
    types: [DType; 2],
    /// With scales: are they vectors, is there one for the result?
    scales: Option<[bool; 2]>,
    alignments: [u32; 4],
}

/// How cuBLASLt makes a product.
struct Plan {
    operation: sys::cublasLtMatmulDesc_t,
    a: sys::cublasLtMatrixLayout_t,
    b: sys::cublasLtMatrixLayout_t,
    /// The layout of an addend where it can't be that of the result: beside results in e4m3.
    addend: Option<sys::cublasLtMatrixLayout_t>,
    out: sys::cublasLtMatrixLayout_t,
    algorithm: Algorithm,
}

type Algorithm = sys::cublasLtMatmulAlgo_t;

/// cuBLASLt on one stream.
pub(super) struct Gemm {
    handle: sys::cublasLtHandle_t,
    /// `None` for products that cuBLASLt can't make.
    plans: HashMap<Key, Option<Plan>>,
    workspace: Allocation,
    memory: Arc<Memory>,
}

// SAFETY: the handle and what plans point to are used by one thread at a time.
unsafe impl Send for Gemm {}

impl Product {
    fn cost(&self) -> Cost {
        Cost::product([self.rows, self.columns, self.depth, self.batch], self.input)
    }

    fn name(&self) -> String {
        format!("{} × {} × {} of {}", self.rows, self.columns, self.depth, self.input)
    }
}

/// The error of a call to cuBLASLt.
fn failed(product: &Product) -> impl Fn(CublasError) -> Error {
    move |error| Error::Gpu {
        what: format!("a matrix product of {}", product.name()),
        detail: format!("{:?}", error.0),
    }
}

impl Gemm {
    pub(super) fn new(memory: &Arc<Memory>) -> Result<Self> {
        memory.bind()?;
        let handle = result::create_handle()
            .map_err(|error| Error::NoGpu(format!("cuBLASLt does not start: {:?}", error.0)))?;
        let workspace = memory.allocate(WORKSPACE_BYTES)?;
        Ok(Self { handle, plans: HashMap::new(), workspace, memory: Arc::clone(memory) })
    }

    /// Puts a product on the stream. Every matrix must lie in live memory of it.
    pub(super) fn run(&mut self, product: &Product) -> Result<()> {
        if product.rows == 0 || product.columns == 0 || product.batch == 0 {
            return Ok(());
        }
        if !self.prepare(product)? {
            return Err(failed(product)(CublasError(sys::cublasStatus_t::CUBLAS_STATUS_NOT_SUPPORTED)));
        }
        let Some(Some(plan)) = self.plans.get(&Key::of(product)) else { return Ok(()) };
        timed(
            self.memory.stream(),
            Work::Gemm,
            || product.name(),
            product.cost(),
            || self.put(product, plan, &plan.algorithm, product.out.address),
        )
        .map_err(failed(product))
    }

    /// Finds out how a product is made; `false` if it can't be.
    pub(super) fn prepare(&mut self, product: &Product) -> Result<bool> {
        self.memory.bind()?;
        let key = Key::of(product);
        if let Some(plan) = self.plans.get(&key) {
            return Ok(plan.is_some());
        }
        let plan = match Plan::new(self.handle, product, &key) {
            Ok((mut plan, candidates)) => {
                let multiplications = product.rows * product.columns * product.depth * product.batch;
                if multiplications >= WORTH_TRYING && product.rows > ROWS_OF_TEXTS {
                    plan.algorithm = self.fastest(product, &plan, &candidates)?;
                }
                Some(plan)
            }
            Err(CublasError(sys::cublasStatus_t::CUBLAS_STATUS_NOT_SUPPORTED)) => None,
            Err(error) => return Err(failed(product)(error)),
        };
        let is_some = plan.is_some();
        self.plans.insert(key, plan);
        Ok(is_some)
    }

    /// The fastest of these algorithms that give the same bits as the first, which is cuBLASLt's choice: so results do not
    /// depend on how fast they happened to be. Another order of summation shows all over a result; samples of it are compared.
    fn fastest(&self, product: &Product, plan: &Plan, candidates: &[Algorithm]) -> Result<Algorithm> {
        const RUNS: u32 = 4;
        let bytes = product.rows * product.columns * product.batch * product.output.size_bytes();
        // Results of a batch may lie among those of others.
        if product.batch > 1 || product.out.stride != product.columns || candidates.len() < 2 {
            return Ok(plan.algorithm);
        }
        let [expected, found] = [self.memory.allocate(bytes)?, self.memory.allocate(bytes)?];
        let put = |algorithm: &Algorithm, out: &Allocation| self.put(product, plan, algorithm, out.ptr());
        put(&plan.algorithm, &expected).map_err(failed(product))?;
        let mut times: SmallVec<[(f32, usize); CANDIDATES]> = SmallVec::new();
        for (index, algorithm) in candidates.iter().enumerate() {
            // One that fails is none.
            if put(algorithm, &found).is_err() {
                continue;
            }
            let event = || self.memory.record_event();
            let start = event()?;
            for _ in 0..RUNS {
                put(algorithm, &found).map_err(failed(product))?;
            }
            times.push((self.memory.milliseconds(&start, &event()?)?, index));
        }
        let own = times.iter().find(|(_, index)| *index == 0).map_or(f32::MAX, |(time, _)| *time);
        times.retain(|(time, _)| *time < NOTABLY * own);
        times.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        for (_, index) in times {
            let Some(algorithm) = candidates.get(index) else { continue };
            put(algorithm, &found).map_err(failed(product))?;
            if self.memory.look_the_same(&expected, &found, bytes)? {
                return Ok(*algorithm);
            }
        }
        Ok(plan.algorithm)
    }

    /// Puts a product on the stream, with its result at `out`.
    fn put(
        &self,
        product: &Product,
        plan: &Plan,
        algorithm: &Algorithm,
        out: u64,
    ) -> std::result::Result<(), CublasError> {
        // Without an addend, nothing is read there; a result in e4m3 can't stand in for one.
        let addend = match (product.addend, plan.addend) {
            (Some(addend), _) => addend,
            (None, Some(_)) => 0,
            (None, None) => out,
        };
        let (alpha, beta) = (product.alpha, f32::from(u8::from(product.addend.is_some())));
        // SAFETY: the plan's descriptions live as long as it; the matrices lie in live memory of the stream, as described;
        // the workspace belongs to this stream alone.
        unsafe {
            if let Some(bias) = product.bias {
                result::set_matmul_desc_attribute(
                    plan.operation,
                    sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_BIAS_POINTER,
                    (&raw const bias).cast::<c_void>(),
                    size_of::<u64>(),
                )?;
            }
            if let Some(scales) = product.scales {
                scales.point(plan.operation)?;
            }
            // Columns come first in cuBLAS: the transposed product is made of the transposed factors.
            result::matmul(
                self.handle,
                plan.operation,
                (&raw const alpha).cast(),
                (&raw const beta).cast(),
                product.b.address as *const c_void,
                plan.a,
                product.a.address as *const c_void,
                plan.b,
                addend as *const c_void,
                plan.addend.unwrap_or(plan.out),
                out as *mut c_void,
                plan.out,
                algorithm,
                self.workspace.ptr() as *mut c_void,
                WORKSPACE_BYTES,
                self.memory.stream().cu_stream().cast(),
            )
        }
    }
}

impl Drop for Gemm {
    fn drop(&mut self) {
        // Whichever thread drops it may not have used the GPU before; without it, there is nothing left to destroy.
        let _ = self.memory.bind();
        // SAFETY: made by `create_handle`, and destroyed once.
        let _ = unsafe { result::destroy_handle(self.handle) };
    }
}

impl Key {
    fn of(product: &Product) -> Self {
        let strides = |matrix: Matrix| [matrix.stride, matrix.batch_stride];
        let alignment = |address: u64| 1 << address.trailing_zeros().min(8);
        Self {
            sizes: [product.rows, product.columns, product.depth, product.batch],
            strides: [product.a, product.b, product.out].map(strides),
            b_transposed: product.b_transposed,
            has_addend: product.addend.is_some(),
            has_bias: product.bias.is_some(),
            epilogue: product.epilogue,
            types: [product.input, product.output],
            scales: product.scales.map(|scales| [scales.outer, scales.out.is_some()]),
            alignments: [
                alignment(product.b.address),
                alignment(product.a.address),
                alignment(product.addend.unwrap_or(product.out.address)),
                alignment(product.out.address),
            ],
        }
    }
}

fn data_type(dtype: DType) -> sys::cudaDataType {
    match dtype {
        DType::Bf16 => sys::cudaDataType::CUDA_R_16BF,
        DType::F8E4M3 => sys::cudaDataType::CUDA_R_8F_E4M3,
        _ => sys::cudaDataType::CUDA_R_32F,
    }
}

impl Scales {
    /// Tells an operation where they are.
    fn point(&self, operation: sys::cublasLtMatmulDesc_t) -> std::result::Result<(), CublasError> {
        use sys::cublasLtMatmulDescAttributes_t as Desc;
        // The factors change places: see `Gemm::run`.
        set(operation, Desc::CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, &self.b)?;
        set(operation, Desc::CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, &self.a)?;
        self.out.map_or(Ok(()), |out| set(operation, Desc::CUBLASLT_MATMUL_DESC_D_SCALE_POINTER, &out))
    }

    /// Everything that an operation in e4m3 has and others have not.
    fn describe(&self, operation: sys::cublasLtMatmulDesc_t) -> std::result::Result<(), CublasError> {
        use sys::cublasLtMatmulDescAttributes_t as Desc;
        // Sums in the tensor cores' own precision, as the published quantisation has them: their error is far below that of
        // the rounding to e4m3, and products are up to twice as fast.
        set(operation, Desc::CUBLASLT_MATMUL_DESC_FAST_ACCUM, &1i8)?;
        set(operation, Desc::CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, &data_type(DType::Bf16))?;
        if self.outer {
            let mode = sys::cublasLtMatmulMatrixScale_t::CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F;
            set(operation, Desc::CUBLASLT_MATMUL_DESC_A_SCALE_MODE, &mode)?;
            set(operation, Desc::CUBLASLT_MATMUL_DESC_B_SCALE_MODE, &mode)?;
        }
        self.point(operation)
    }
}

impl Plan {
    /// The plan, and the algorithms that cuBLASLt recommends: its choice, which is in the plan, is the first.
    fn new(
        handle: sys::cublasLtHandle_t,
        product: &Product,
        key: &Key,
    ) -> std::result::Result<(Self, SmallVec<[Algorithm; CANDIDATES]>), CublasError> {
        use sys::{cublasLtMatmulDescAttributes_t as Desc, cublasLtMatmulPreferenceAttributes_t as Pref};
        let Product { rows, columns, depth, batch, .. } = *product;
        let layout = |dtype, rows, columns, matrix: Matrix| {
            let layout = result::create_matrix_layout(
                data_type(dtype),
                rows as u64,
                columns as u64,
                matrix.stride as i64,
            )?;
            if batch > 1 {
                use sys::cublasLtMatrixLayoutAttribute_t as Layout;
                let (count, stride) = (batch as i32, matrix.batch_stride as i64);
                set_layout(layout, Layout::CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count)?;
                set_layout(layout, Layout::CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &stride)?;
            }
            Ok::<_, CublasError>(layout)
        };
        let operation = result::create_matmul_desc(
            sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
            sys::cudaDataType::CUDA_R_32F,
        )?;
        let epilogue = match (product.epilogue, product.bias.is_some()) {
            (Epilogue::None, false) => sys::cublasLtEpilogue_t::CUBLASLT_EPILOGUE_DEFAULT,
            (Epilogue::None, true) => sys::cublasLtEpilogue_t::CUBLASLT_EPILOGUE_BIAS,
            (Epilogue::Gelu, false) => sys::cublasLtEpilogue_t::CUBLASLT_EPILOGUE_GELU,
            (Epilogue::Gelu, true) => sys::cublasLtEpilogue_t::CUBLASLT_EPILOGUE_GELU_BIAS,
            (Epilogue::Relu, false) => sys::cublasLtEpilogue_t::CUBLASLT_EPILOGUE_RELU,
            (Epilogue::Relu, true) => sys::cublasLtEpilogue_t::CUBLASLT_EPILOGUE_RELU_BIAS,
        };
        let transpose = i32::from(product.b_transposed);
        set(operation, Desc::CUBLASLT_MATMUL_DESC_TRANSA, &transpose)?;
        set(operation, Desc::CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue)?;
        if let Some(scales) = product.scales {
            scales.describe(operation)?;
        }
        let [b_rows, b_columns] = if product.b_transposed { [depth, columns] } else { [columns, depth] };
        let a = layout(product.input, b_rows, b_columns, product.b)?;
        let b = layout(product.input, depth, rows, product.a)?;
        let out = layout(product.output, columns, rows, product.out)?;
        let narrow = product.output == DType::F8E4M3;
        let addend = narrow.then(|| layout(DType::Bf16, columns, rows, product.out)).transpose()?;
        let preference = result::create_matmul_pref()?;
        prefer(preference, Pref::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &WORKSPACE_BYTES)?;
        let attributes = [
            Pref::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
            Pref::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
            Pref::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
            Pref::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES,
        ];
        for (attribute, alignment) in attributes.into_iter().zip(key.alignments) {
            prefer(preference, attribute, &alignment)?;
        }
        let mut found = [const { MaybeUninit::<sys::cublasLtMatmulHeuristicResult_t>::uninit() }; CANDIDATES];
        let mut count = 0;
        // SAFETY: all descriptions were made above and live; there is room for as many results as are asked for.
        let asked = unsafe {
            sys::cublasLtMatmulAlgoGetHeuristic(
                handle,
                operation,
                a,
                b,
                addend.unwrap_or(out),
                out,
                preference,
                CANDIDATES as i32,
                found.as_mut_ptr().cast(),
                &raw mut count,
            )
        };
        // SAFETY: made above, and destroyed once.
        unsafe { result::destroy_matmul_pref(preference)? };
        asked.result()?;
        let found = found.iter().take(usize::try_from(count).unwrap_or(0));
        // SAFETY: cuBLASLt has written so many.
        let found = found.map(|found| unsafe { found.assume_init_ref() });
        let usable = found.filter(|found| found.state == sys::cublasStatus_t::CUBLAS_STATUS_SUCCESS);
        let candidates: SmallVec<_> = usable.map(|found| found.algo).collect();
        let algorithm =
            *candidates.first().ok_or(CublasError(sys::cublasStatus_t::CUBLAS_STATUS_NOT_SUPPORTED))?;
        Ok((Self { operation, a, b, addend, out, algorithm }, candidates))
    }
}

impl Drop for Plan {
    fn drop(&mut self) {
        // SAFETY: made by the functions that belong to these, and destroyed once.
        unsafe {
            let _ = result::destroy_matmul_desc(self.operation);
            for layout in [Some(self.a), Some(self.b), self.addend, Some(self.out)].into_iter().flatten() {
                let _ = result::destroy_matrix_layout(layout);
            }
        }
    }
}

fn set<T>(
    operation: sys::cublasLtMatmulDesc_t,
    attribute: sys::cublasLtMatmulDescAttributes_t,
    value: &T,
) -> std::result::Result<(), CublasError> {
    // SAFETY: the value is of the attribute's type and is copied.
    unsafe {
        result::set_matmul_desc_attribute(
            operation,
            attribute,
            std::ptr::from_ref(value).cast(),
            size_of::<T>(),
        )
    }
}

fn set_layout<T>(
    layout: sys::cublasLtMatrixLayout_t,
    attribute: sys::cublasLtMatrixLayoutAttribute_t,
    value: &T,
) -> std::result::Result<(), CublasError> {
    // SAFETY: the value is of the attribute's type and is copied.
    unsafe {
        result::set_matrix_layout_attribute(
            layout,
            attribute,
            std::ptr::from_ref(value).cast(),
            size_of::<T>(),
        )
    }
}

fn prefer<T>(
    preference: sys::cublasLtMatmulPreference_t,
    attribute: sys::cublasLtMatmulPreferenceAttributes_t,
    value: &T,
) -> std::result::Result<(), CublasError> {
    // SAFETY: the value is of the attribute's type and is copied.
    unsafe {
        result::set_matmul_pref_attribute(
            preference,
            attribute,
            std::ptr::from_ref(value).cast(),
            size_of::<T>(),
        )
    }
}
