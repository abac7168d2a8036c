//! Convolutions: kernels of our own, for Hopper and for every other card.

use super::activation_code;
use crate::{
    DType, Result, Tensor,
    cuda::{
        Arithmetic, Cost, Cuda,
        kernels::{CONV, CONV_FEW_SM90, CONV_SM90},
        launch::{Argument, Grid, launch_variant},
        tensor_map::{Boxes, Swizzle, TensorMap},
    },
    ops::{Activation, Border, ConvSpec, Enlarge, Kernel, Weights},
    tensor::shape_of,
};

/// A convolution's weights on a GPU.
#[derive(Clone)]
pub(crate) struct CudaConv {
    /// A row for each group, line phase, column phase and channel of the result: `[kernel frames, lines, columns, input
    /// channels]`, then zeros up to the row's length. A phase whose kernel is smaller than another's has zeros, too.
    rows: Tensor,
    /// In `f32`, of all groups.
    bias: Option<Tensor>,
    /// First line by line phase and first column by column phase, relative to the pixel's.
    origin: [[i32; 2]; 2],
    /// Lines and columns under a kernel.
    taps: [usize; 2],
}

/// Rows of weights begin at 16 bytes.
const ROW_ELEMENTS: usize = 8;

impl CudaConv {
    /// Lays out kernels of `channels` channels each, in the order of groups, lines and columns.
    pub(crate) fn new(
        device: &Cuda,
        spec: &ConvSpec,
        [inputs, channels]: [usize; 2],
        kernels: &[Kernel],
        bias: Option<Tensor>,
    ) -> Result<Self> {
        let most = |axis: usize| kernels.iter().map(|kernel| kernel.taps[axis]).max().unwrap_or(1);
        let taps = [most(0), most(1)];
        let frames = spec.kernel[0];
        let depth = frames * taps[0] * taps[1] * inputs;
        let pitch = depth.next_multiple_of(ROW_ELEMENTS);
        let mut rows = vec![0.0; kernels.len() * channels * pitch];
        for (kernel, rows) in kernels.iter().zip(rows.chunks_exact_mut((channels * pitch).max(1))) {
            let [lines, columns] = kernel.taps;
            let runs = kernel.matrix.chunks_exact((columns * inputs).max(1));
            for (index, run) in runs.enumerate() {
                let (channel, frame, line) = (index / lines / frames, index / lines % frames, index % lines);
                let at = channel * pitch + (frame * taps[0] + line) * taps[1] * inputs;
                rows[at..at + run.len()].copy_from_slice(run);
            }
        }
        let scale = if spec.enlarge == Enlarge::No { 1 } else { 2 };
        // The phases of a group are line by line; those of the other groups begin alike.
        let of = |line: usize, column: usize, axis: usize| {
            let phase = line.min(scale - 1) * scale + column.min(scale - 1);
            kernels.get(phase).map_or(0, |kernel| kernel.origin[axis] as i32)
        };
        let origin = [[of(0, 0, 0), of(1, 0, 0)], [of(0, 0, 1), of(0, 1, 1)]];
        let rows = device.weights(Weights::F32(&rows), &[kernels.len() * channels, pitch])?;
        Ok(Self { rows, bias, origin, taps })
    }

    pub(crate) fn bytes(&self) -> usize {
        self.rows.shape().numel() * self.rows.dtype().size_bytes()
    }
}

/// A convolution, its inputs checked.
pub(crate) struct ConvJob<'a> {
    pub(crate) spec: &'a ConvSpec,
    /// Pixels of the result, along one axis, for each kernel position.
    pub(crate) scale: usize,
    pub(crate) x: &'a Tensor,
    pub(crate) past: Option<&'a Tensor>,
    pub(crate) residual: Option<&'a Tensor>,
    pub(crate) activation: Activation,
    pub(crate) out: [usize; 4],
}

/// A convolution as the kernels take it; see `conv_common.cuh`.
#[derive(Clone, Copy)]
#[repr(C)]
struct KernelJob {
    x: u64,
    past: u64,
    weights: u64,
    bias: u64,
    residual: u64,
    out: u64,
    frames: i32,
    past_frames: i32,
    height: i32,
    width: i32,
    channels: i32,
    before: i32,
    frame_stride: i32,
    stride: i32,
    activation: i32,
    kernel_frames: i32,
    taps: [i32; 2],
    origin: [[i32; 2]; 2],
    scale: i32,
    groups: i32,
    positions: i32,
    rows: i32,
    columns: i32,
    outputs: i32,
    pitch: i32,
    slope: f32,
}

const _: () = assert!(size_of::<KernelJob>() == 144);

impl Argument for KernelJob {}

/// The norm behind a convolution as the kernel takes it; see `conv_sm90.cu`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct KernelNorm {
    gamma: u64,
    out: u64,
}

impl Argument for KernelNorm {}

/// [`KernelJob::activation`] of no activation.
const NO_ACTIVATION: i32 = 0;
/// Variants of a tile, one for each activation that it has code for: see `by_activation!`.
const ACTIVATIONS: usize = 3;

impl KernelJob {
    /// The variant of a tile for the job's activation.
    fn of_activation(&self, tile: usize) -> usize {
        const RELU: i32 = 4;
        let of_tile = match self.activation {
            NO_ACTIVATION => 0,
            RELU => 1,
            _ => 2,
        };
        ACTIVATIONS * tile + of_tile
    }

    fn phases(&self) -> usize {
        (self.groups * self.scale * self.scale) as usize
    }

    /// Of a result whose every kernel is as large as the largest, and whose past is all there.
    fn cost(&self, factors: DType) -> Cost {
        let [positions, rows, columns, outputs, channels] =
            [self.positions, self.rows, self.columns, self.outputs, self.channels].map(|size| size as usize);
        let taps = (self.kernel_frames * self.taps[0] * self.taps[1]) as usize;
        Cost::convolution([positions * rows * columns * self.phases() * outputs, taps, channels], factors)
    }
}

/// Output channels of a tile of the portable kernel, in the order of its variants; each is there as it is, and gathering
/// input channels that are no multiple of 8.
const PORTABLE_CHANNELS: [usize; 4] = [32, 64, 96, 128];
/// The variant for pictures that are mirrored at their borders, and its channels.
const REFLECTING: (usize, usize) = (2 * PORTABLE_CHANNELS.len(), 64);
const PORTABLE_PIXELS: usize = 128;
const PORTABLE_STAGES: usize = 3;
/// Both sides of a tile of the kernel for `f32`, whose variants come after the others.
const SINGLE_TILE: usize = 64;
const SINGLE_VARIANT: usize = REFLECTING.0 + 1;

/// A variant of `conv_sm90`.
struct HopperTile {
    channels: usize,
    height: usize,
    width: usize,
    groups: usize,
    boxes: usize,
    weights: usize,
    /// Blocks of threads of a multiprocessor.
    blocks: usize,
    /// How fast it is beside the fastest, as measured.
    speed: f64,
}

const fn hopper(
    channels: usize,
    [height, width]: [usize; 2],
    groups: usize,
    weights: usize,
    speed: f64,
) -> HopperTile {
    HopperTile { channels, height, width, groups, boxes: 2, weights, blocks: 1, speed }
}

/// The variants of `conv_sm90`, in the order of its table.
const HOPPER_TILES: [HopperTile; 8] = [
    hopper(192, [24, 8], 3, 6, 1.0),
    HopperTile { boxes: 3, ..hopper(192, [24, 8], 3, 5, 1.0) },
    hopper(192, [16, 8], 2, 6, 0.85),
    hopper(128, [16, 8], 2, 6, 0.75),
    hopper(96, [16, 16], 2, 6, 0.9),
    HopperTile { blocks: 2, ..hopper(64, [16, 8], 2, 7, 0.75) },
    HopperTile { blocks: 2, ..hopper(32, [16, 16], 2, 6, 0.5) },
    HopperTile { blocks: 2, ..hopper(16, [16, 16], 2, 6, 0.3) },
];
/// The variant for kernels of a single pixel, which use each box once, so that more of them have to be on their way.
const SINGLE_TAP: usize = 1;
/// The tiles that may have a norm behind them: their variants come after all others.
const NORM_TILES: [usize; 3] = [0, 2, 4];
/// Input channels of which Hopper's kernels make something.
const LEAST_CHANNELS: usize = 16;

impl HopperTile {
    /// Pixels of a box along both axes, those that are stepped over not counted.
    fn box_size(&self, job: &KernelJob) -> [usize; 2] {
        let [lines, columns] = job.taps.map(|count| (count as usize).div_ceil(job.stride as usize));
        [self.height + lines - 1, self.width + columns - 1]
    }

    fn shared_bytes(&self, job: &KernelJob) -> usize {
        let [height, width] = self.box_size(job);
        let box_bytes = (height * width * ROW_BYTES).next_multiple_of(SWIZZLE_BYTES);
        self.boxes * box_bytes + self.weights * self.channels * ROW_BYTES + SWIZZLE_BYTES
    }

    fn tiles(&self, job: &KernelJob) -> usize {
        let pixels = (job.rows as usize).div_ceil(self.height) * (job.columns as usize).div_ceil(self.width);
        pixels * (job.outputs as usize).div_ceil(self.channels) * job.phases() * job.positions as usize
    }

    /// About how long a job takes on so many multiprocessors, or `None` where it has no room.
    fn cost(&self, job: &KernelJob, multiprocessors: usize) -> Option<f64> {
        let waves = self.tiles(job).div_ceil(multiprocessors * self.blocks) * self.blocks;
        let work = (waves * self.height * self.width * self.channels) as f64;
        (self.shared_bytes(job) * self.blocks <= HOPPER_SHARED_BYTES).then(|| work / self.speed)
    }
}

/// The variant of `conv_few_sm90`.
const FEW_CHANNELS: usize = 32;
const FEW_BOX: [usize; 2] = [16, 16];
const FEW_GROUPS: usize = 2;
const FEW_STAGES: usize = 4;
const FEW_BLOCKS: usize = 2;

/// Channels of a row of shared memory, in boxes of many and of few channels.
const CHUNK: usize = 64;
const TAIL: usize = 32;
const ROW_BYTES: usize = 128;
/// What boxes of swizzled rows are aligned to.
const SWIZZLE_BYTES: usize = 1024;
/// Shared memory of a multiprocessor of Hopper for blocks of threads, barriers apart.
const HOPPER_SHARED_BYTES: usize = (227 << 10) - 1024;
/// The longest step that the copy engine takes.
const LONGEST_STEP: usize = 8;

/// Which kernel makes a convolution.
enum Choice {
    Few,
    /// `conv_sm90` with this tile.
    Hopper(usize),
    Portable,
}

/// What a convolution reads, in the types that kernels take; alive until the kernel is on its way.
struct Inputs {
    x: Tensor,
    past: Option<Tensor>,
    residual: Option<Tensor>,
}

impl Cuda {
    pub(crate) fn conv(&self, op: &'static str, layer: &CudaConv, job: &ConvJob<'_>) -> Result<Tensor> {
        let out = self.empty(shape_of(op, &job.out)?)?;
        if out.shape().numel() == 0 {
            return Ok(out);
        }
        let inputs = self.conv_inputs(op, job)?;
        let kernel = KernelJob { out: self.address(op, &out)?, ..self.conv_job(op, layer, job, &inputs)? };
        match self.choose_conv(job.spec, &kernel) {
            Choice::Few => self.few_conv(&kernel)?,
            Choice::Hopper(tile) => self.hopper_conv(&kernel, tile, None)?,
            Choice::Portable => self.portable_conv(&kernel, job.spec.border == Border::Reflect)?,
        }
        Ok(out)
    }

    /// The result of a convolution if it is to be kept, and behind the norm of Wan's autoencoder and SiLU; `None` where no
    /// kernel does both at once.
    pub(crate) fn conv_norm(
        &self,
        op: &'static str,
        layer: &CudaConv,
        job: &ConvJob<'_>,
        gamma: &Tensor,
        keep: bool,
    ) -> Result<Option<(Option<Tensor>, Tensor)>> {
        let shape = shape_of(op, &job.out)?;
        if shape.numel() == 0 {
            return Ok(None);
        }
        let inputs = self.conv_inputs(op, job)?;
        let kernel = self.conv_job(op, layer, job, &inputs)?;
        let Choice::Hopper(tile) = self.choose_conv(job.spec, &kernel) else { return Ok(None) };
        // A pixel's channels must be in one tile, and fill it.
        if !NORM_TILES.contains(&tile)
            || HOPPER_TILES[tile].channels != job.out[3]
            || kernel.activation != NO_ACTIVATION
        {
            return Ok(None);
        }
        let gamma = self.singles(op, gamma)?;
        let normed = self.empty(shape)?;
        let plain = keep.then(|| self.empty(shape)).transpose()?;
        let out = plain.as_ref().map_or(Ok(0), |plain| self.address(op, plain))?;
        let norm = KernelNorm { gamma: self.address(op, &gamma)?, out: self.address(op, &normed)? };
        self.hopper_conv(&KernelJob { out, ..kernel }, tile, Some(norm))?;
        Ok(Some((plain, normed)))
    }

    fn conv_inputs(&self, op: &'static str, job: &ConvJob<'_>) -> Result<Inputs> {
        let activations =
            |tensor: Option<&Tensor>| tensor.map(|tensor| self.activations(op, tensor)).transpose();
        Ok(Inputs {
            x: self.activations(op, job.x)?,
            past: activations(job.past.filter(|past| past.dim(0) > 0))?,
            residual: activations(job.residual)?,
        })
    }

    /// The job without a place for its result.
    fn conv_job(
        &self,
        op: &'static str,
        layer: &CudaConv,
        job: &ConvJob<'_>,
        Inputs { x, past, residual }: &Inputs,
    ) -> Result<KernelJob> {
        let spec = job.spec;
        let address = |tensor: Option<&Tensor>| tensor.map_or(Ok(0), |tensor| self.address(op, tensor));
        let (activation, slope) = activation_code(job.activation);
        let [frames, height, width, outputs] = job.out.map(|size| size as i32);
        let (scale, groups) = (job.scale as i32, spec.frames_out as i32);
        Ok(KernelJob {
            x: address(Some(x))?,
            past: address(past.as_ref())?,
            weights: address(Some(&layer.rows))?,
            bias: address(layer.bias.as_ref())?,
            residual: address(residual.as_ref())?,
            out: 0,
            frames: x.dim(0) as i32,
            past_frames: past.as_ref().map_or(0, |past| past.dim(0)) as i32,
            height: x.dim(1) as i32,
            width: x.dim(2) as i32,
            channels: x.dim(3) as i32,
            before: spec.before as i32,
            frame_stride: spec.frame_stride as i32,
            stride: spec.stride as i32,
            activation,
            kernel_frames: spec.kernel[0] as i32,
            taps: layer.taps.map(|count| count as i32),
            origin: layer.origin,
            scale,
            groups,
            positions: frames / groups,
            rows: height / scale,
            columns: width / scale,
            outputs,
            pitch: layer.rows.dim(1) as i32,
            slope,
        })
    }

    fn choose_conv(&self, spec: &ConvSpec, job: &KernelJob) -> Choice {
        let is_hopper = self.capability() == [9, 0] && self.arithmetic() == Arithmetic::Bf16;
        let [channels, outputs] = [job.channels, job.outputs].map(|count| count as usize);
        let taps = job.taps.map(|count| count as usize);
        if !is_hopper
            || spec.border == Border::Reflect
            || spec.stride > LONGEST_STEP
            || !channels.is_multiple_of(ROW_ELEMENTS)
            || channels < LEAST_CHANNELS
        {
            return Choice::Portable;
        }
        let few = taps[0] * taps[1] * outputs <= FEW_CHANNELS;
        let fits = (0..2).all(|axis| taps[axis] <= FEW_BOX[axis]);
        if few && fits && job.phases() == 1 && spec.stride == 1 {
            return Choice::Few;
        }
        self.hopper_tile(job).map_or(Choice::Portable, Choice::Hopper)
    }

    fn portable_conv(&self, job: &KernelJob, reflects: bool) -> Result<()> {
        const THREADS: u32 = 256;
        let outputs = job.outputs as usize;
        let (variant, tile, shared) = if self.arithmetic() == Arithmetic::F32 {
            (SINGLE_VARIANT + usize::from(reflects), [SINGLE_TILE; 2], 0)
        } else {
            // The tile that leaves the fewest channels unused, of these the largest.
            let waste =
                |&(_, channels): &(usize, usize)| (outputs.next_multiple_of(channels), usize::MAX - channels);
            let tiles = PORTABLE_CHANNELS.into_iter().enumerate();
            let (index, channels) = tiles.min_by_key(waste).unwrap_or((0, PORTABLE_CHANNELS[0]));
            let gathers = !(job.channels as usize).is_multiple_of(ROW_ELEMENTS);
            let plain = (2 * index + usize::from(gathers), channels);
            let (variant, channels) = if reflects { REFLECTING } else { plain };
            let shared = PORTABLE_STAGES * (PORTABLE_PIXELS + channels) * ROW_BYTES;
            (variant, [PORTABLE_PIXELS, channels], shared)
        };
        let pixels = (job.rows * job.columns) as usize;
        let blocks =
            outputs.div_ceil(tile[1]) * job.phases() * job.positions as usize * pixels.div_ceil(tile[0]);
        let grid = Grid { shared_bytes: shared as u32, ..Grid::blocks(blocks, THREADS) };
        let (variant, cost) = (job.of_activation(variant), job.cost(self.dtype()));
        launch_variant!(self, CONV, variant, "conv", grid, [*job], cost)
    }

    /// The variant of Hopper's kernel for a convolution, if one has room for it.
    fn hopper_tile(&self, job: &KernelJob) -> Option<usize> {
        if job.taps == [1, 1] && job.outputs > 96 {
            return Some(SINGLE_TAP);
        }
        let multiprocessors = self.properties().multiprocessors as usize;
        let costs = HOPPER_TILES.iter().map(|tile| tile.cost(job, multiprocessors)).enumerate();
        let usable = costs.filter(|(index, _)| *index != SINGLE_TAP);
        let usable = usable.filter_map(|(index, cost)| cost.map(|cost| (index, cost)));
        usable.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(index, _)| index)
    }

    fn hopper_conv(&self, job: &KernelJob, index: usize, norm: Option<KernelNorm>) -> Result<()> {
        let tile = &HOPPER_TILES[index];
        let (channels, outputs) = (job.channels as usize, job.outputs as usize);
        let taps = (job.kernel_frames * job.taps[0] * job.taps[1]) as usize;
        // Channels come 64 at a time and the rest 32 at a time.
        let maps = |chunk, swizzle| -> Result<[TensorMap; 3]> {
            let [x, past] = picture_maps(job, tile.box_size(job), chunk, swizzle)?;
            let weights = TensorMap::new(&Boxes {
                address: job.weights,
                dims: [channels, job.phases() * outputs, taps],
                strides: [0, 2 * job.pitch as usize, 2 * channels],
                extent: [chunk, tile.channels, 1],
                steps: [1; 3],
                swizzle,
            })?;
            Ok([x, past, weights])
        };
        let [x, past, weights] = maps(CHUNK, Swizzle::Bytes128)?;
        let [x_tail, past_tail, weights_tail] = maps(TAIL, Swizzle::Bytes64)?;
        let resident = self.properties().multiprocessors as usize * tile.blocks;
        let threads = (tile.groups * 128 + 128) as u32;
        let shared_bytes = tile.shared_bytes(job) as u32;
        let grid = Grid { shared_bytes, ..Grid::blocks(tile.tiles(job).min(resident), threads) };
        let of_norm = NORM_TILES.iter().position(|tile| *tile == index).filter(|_| norm.is_some());
        let variant = of_norm
            .map_or_else(|| job.of_activation(index), |normed| ACTIVATIONS * HOPPER_TILES.len() + normed);
        let norm = norm.unwrap_or_default();
        launch_variant!(
            self,
            CONV_SM90,
            variant,
            "conv_sm90",
            grid,
            [x, past, weights, x_tail, past_tail, weights_tail, *job, norm],
            job.cost(self.dtype())
        )
    }

    fn few_conv(&self, job: &KernelJob) -> Result<()> {
        let [height, width] = FEW_BOX;
        let [taps_y, taps_x] = job.taps.map(|count| count as usize);
        let (channels, outputs) = (job.channels as usize, job.outputs as usize);
        let [x, past] = picture_maps(job, FEW_BOX, TAIL, Swizzle::Bytes64)?;
        let weights = TensorMap::new(&Boxes {
            address: job.weights,
            dims: [channels, outputs, taps_y * taps_x, job.kernel_frames as usize],
            strides: [0, 2 * job.pitch as usize, 2 * channels, 2 * channels * taps_y * taps_x],
            extent: [TAIL, outputs, taps_y * taps_x, 1],
            steps: [1; 4],
            swizzle: Swizzle::Bytes64,
        })?;
        let tiles = (job.rows as usize).div_ceil(height - taps_y + 1)
            * (job.columns as usize).div_ceil(width - taps_x + 1)
            * job.positions as usize;
        let pixels = height * width;
        let shared = FEW_STAGES * (pixels + FEW_CHANNELS) * 2 * TAIL
            + pixels * (FEW_CHANNELS + 1) * size_of::<f32>()
            + SWIZZLE_BYTES;
        let resident = self.properties().multiprocessors as usize * FEW_BLOCKS;
        let threads = (FEW_GROUPS * 128 + 128) as u32;
        let grid = Grid { shared_bytes: shared as u32, ..Grid::blocks(tiles.min(resident), threads) };
        let (variant, cost) = (job.of_activation(0), job.cost(self.dtype()));
        launch_variant!(self, CONV_FEW_SM90, variant, "conv_few_sm90", grid, [x, past, weights, *job], cost)
    }
}

/// Maps of the input and of its past, of which a box is so many pixels, at the job's stride, of `chunk` channels.
fn picture_maps(
    job: &KernelJob,
    [height, width]: [usize; 2],
    chunk: usize,
    swizzle: Swizzle,
) -> Result<[TensorMap; 2]> {
    let [columns, rows, channels, stride] =
        [job.width, job.height, job.channels, job.stride].map(|size| size as usize);
    let map = |address, frames: i32| {
        let pixel = 2 * channels;
        TensorMap::new(&Boxes {
            address,
            dims: [channels, columns, rows, frames as usize],
            strides: [0, pixel, pixel * columns, pixel * columns * rows],
            extent: [chunk, width * stride, height * stride, 1],
            steps: [1, stride, stride, 1],
            swizzle,
        })
    };
    let x = map(job.x, job.frames)?;
    Ok([x, if job.past == 0 { x } else { map(job.past, job.past_frames)? }])
}
