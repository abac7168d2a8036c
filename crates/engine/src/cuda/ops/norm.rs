use super::NORM;
use crate::{
    DType, Error, Result, Tensor,
    cuda::{
        Cost, Cuda,
        launch::{Argument, Grid, launch},
    },
    ops::{Fp8Tensor, LayerNorm, Modulation, Scaling},
    tensor::shape_of,
};

/// Elements that are moved at once, where their number and place allow it.
pub(super) const PACK: usize = 8;

/// Packs of a row that a lane holds, at most; as in the kernels.
const ROW_PACKS: usize = 6;
/// Packs of a row at most that a block reads once.
pub(super) const MOST_PACKS: usize = 1024 * ROW_PACKS;
/// Elements that are parameters of norms are moved in packs of their own type.
const PARAMETER_PACK: u64 = (PACK * size_of::<f32>()) as u64;

/// How rows that are read once are shared out, and whether a row takes a whole block instead of a warp.
pub(super) fn row_teams(rows: usize, packs: usize) -> (Grid, bool) {
    const LANES: usize = 32;
    const WARPS: usize = 8;
    if packs <= LANES * ROW_PACKS {
        return (Grid::blocks(rows.div_ceil(WARPS), (WARPS * LANES) as u32), false);
    }
    (Grid::blocks(rows, packs.div_ceil(ROW_PACKS).next_multiple_of(LANES) as u32), true)
}

/// Who has a row.
#[derive(Clone, Copy)]
enum Share {
    /// A warp.
    Warps,
    /// A block.
    Blocks,
    /// A block, and then others.
    InTurn,
}

/// May parameters of a norm at this address be moved in packs?
pub(super) fn is_parameter_packed(address: u64) -> bool {
    address.is_multiple_of(PARAMETER_PACK)
}

/// A modulation as kernels take it.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct KernelModulation {
    values: u64,
    stride: i64,
    rows_per_frame: i64,
}

impl Argument for KernelModulation {}

const NO_MODULATION: KernelModulation = KernelModulation { values: 0, stride: 0, rows_per_frame: 1 };

#[derive(Clone, Copy)]
#[repr(C)]
struct Parameters {
    weight: u64,
    bias: u64,
    scale: KernelModulation,
    shift: KernelModulation,
    eps: f32,
    padding: u32,
}

impl Argument for Parameters {}

/// What happens before and after a normalisation.
#[derive(Clone, Copy)]
#[repr(C)]
struct Fused {
    x: u64,
    sums: u64,
    stream: u64,
    out: u64,
    scales: u64,
    fixed: u64,
    gate: KernelModulation,
    norm: Parameters,
    features: i32,
    rows: i32,
}

impl Argument for Fused {}

impl Fused {
    /// What goes in, what is added, the sum, and what comes out.
    fn cost(&self, activations: DType, out: DType) -> Cost {
        let moved = if self.sums == 0 { 1 } else { 3 };
        let each = moved * activations.size_bytes() + out.size_bytes();
        Cost::bytes(self.rows as usize * self.features as usize * each)
    }
}

/// What is added to rows before they are normalised: these sums, times a gate.
#[derive(Clone, Copy)]
pub(crate) struct Addition<'a> {
    pub(crate) sums: &'a Tensor,
    pub(crate) gate: Modulation<'a>,
}

/// What a normalisation writes.
#[derive(Clone, Copy)]
pub(crate) enum Target<'a> {
    Activations,
    Fp8(Scaling<'a>),
}

/// What a normalisation has written.
pub(crate) enum Normed {
    Plain(Tensor),
    Fp8(Fp8Tensor),
}

impl Normed {
    /// The tensor, where activations were asked for.
    pub(crate) fn plain(self, op: &'static str) -> Result<Tensor> {
        match self {
            Self::Plain(tensor) => Ok(tensor),
            Self::Fp8(_) => Err(Error::DType { op, expected: DType::Bf16, found: DType::F8E4M3 }),
        }
    }

    /// The numbers, where 8 bits were asked for.
    pub(crate) fn fp8(self, op: &'static str) -> Result<Fp8Tensor> {
        match self {
            Self::Fp8(tensor) => Ok(tensor),
            Self::Plain(found) => Err(Error::DType { op, expected: DType::F8E4M3, found: found.dtype() }),
        }
    }
}

/// Which normalisation.
pub(crate) enum Norm<'a> {
    /// Zero mean and unit variance.
    Layer,
    /// The same, then weight and bias.
    LayerAffine(&'a Tensor, &'a Tensor),
    /// The same, then scale and shift of the row's frame.
    LayerModulated { scale: Modulation<'a>, shift: Modulation<'a> },
    /// Unit mean square, then a weight.
    Rms(&'a Tensor),
}

impl Cuda {
    /// The table of a modulation in the type of activations, and how kernels read one part of it for `rows` rows.
    pub(super) fn modulation(
        &self,
        op: &'static str,
        modulation: Modulation<'_>,
        rows: usize,
    ) -> Result<(Tensor, KernelModulation)> {
        let table = self.activations(op, modulation.table)?;
        let (frames, parts, features) = (table.dim(0), table.dim(1), table.dim(2));
        let offset = modulation.part * features * table.dtype().size_bytes();
        let kernel = KernelModulation {
            values: self.address(op, &table)? + offset as u64,
            stride: (parts * features) as i64,
            rows_per_frame: (rows / frames.max(1)).max(1) as i64,
        };
        Ok((table, kernel))
    }

    /// A norm's parameters for so many rows, and what holds them: converted tables live until the kernel is on the stream;
    /// memory is taken back in the stream's order.
    fn parameters(
        &self,
        op: &'static str,
        norm: &Norm<'_>,
        rows: usize,
        eps: f32,
    ) -> Result<(Parameters, Vec<Tensor>)> {
        let mut parameters =
            Parameters { weight: 0, bias: 0, scale: NO_MODULATION, shift: NO_MODULATION, eps, padding: 0 };
        let mut held = Vec::new();
        let mut single = |tensor: &Tensor| {
            let tensor = self.singles(op, tensor)?;
            let address = self.address(op, &tensor);
            held.push(tensor);
            address
        };
        match norm {
            Norm::Layer => {}
            Norm::LayerAffine(weight, bias) => {
                (parameters.weight, parameters.bias) = (single(weight)?, single(bias)?);
            }
            Norm::LayerModulated { scale, shift } => {
                for (modulation, parameter) in
                    [(scale, &mut parameters.scale), (shift, &mut parameters.shift)]
                {
                    let (table, kernel) = self.modulation(op, *modulation, rows)?;
                    *parameter = kernel;
                    held.push(table);
                }
            }
            Norm::Rms(weight) => parameters.weight = single(weight)?,
        }
        Ok((parameters, held))
    }

    /// Every row of `x` normalised over its features.
    pub(crate) fn norm(&self, op: &'static str, x: &Tensor, norm: &Norm<'_>, eps: f32) -> Result<Tensor> {
        let x = self.activations(op, x)?;
        let features = x.shape().last().copied().unwrap_or(1);
        let rows = x.shape().numel() / features.max(1);
        let (parameters, _held) = self.parameters(op, norm, rows, eps)?;
        let out = self.empty(x.shape())?;
        if rows == 0 || features == 0 {
            return Ok(out);
        }
        let (source, target) = (self.address(op, &x)?, self.address(op, &out)?);
        let addresses = [source, target, parameters.scale.values, parameters.shift.values];
        if self.holds_rows(features, &addresses, &parameters) {
            let fused = Fused {
                x: source,
                sums: 0,
                stream: source,
                out: target,
                scales: 0,
                fixed: 0,
                gate: NO_MODULATION,
                norm: parameters,
                features: features as i32,
                rows: rows as i32,
            };
            self.launch_fused(norm, false, fused)?;
            return Ok(out);
        }
        let name = match norm {
            Norm::Layer => "layer_norm",
            Norm::LayerAffine(..) => "layer_norm_affine",
            Norm::LayerModulated { .. } => "layer_norm_modulated",
            Norm::Rms(_) => "rms_norm",
        };
        let grid = Grid::blocks(rows, features.min(512).next_multiple_of(32) as u32);
        let cost = Cost::moving([&x, &out]);
        launch!(self, NORM, name, grid, [source, target, features as i32, parameters], cost)?;
        Ok(out)
    }

    /// Can lanes hold rows of so many features, moved in packs from and to these addresses?
    fn holds_rows(&self, features: usize, addresses: &[u64], parameters: &Parameters) -> bool {
        features / PACK <= MOST_PACKS
            && is_packed(features, addresses, self.dtype())
            && is_parameter_packed(parameters.weight)
            && is_parameter_packed(parameters.bias)
    }

    /// Blocks that go from row to row, for rows of as many packs as such a block has threads at most.
    fn rows_in_turn(&self, rows: usize, packs: usize) -> Option<Grid> {
        const LANES: usize = 32;
        const THREADS: std::ops::RangeInclusive<usize> = 96..=192;
        const RESIDENT: usize = 6;
        if !packs.is_multiple_of(LANES) || !THREADS.contains(&packs) {
            return None;
        }
        let resident = RESIDENT * self.properties().multiprocessors as usize;
        // As many rows for each block.
        let turns = rows.div_ceil(resident).max(1);
        Some(Grid::blocks(rows.div_ceil(turns), packs as u32))
    }

    /// Rows that leave a card idle if each is a warp's.
    fn few_rows(&self) -> usize {
        8 * self.properties().multiprocessors as usize
    }

    /// The kernel of a norm of rows that lanes can hold.
    fn launch_fused(&self, norm: &Norm<'_>, fp8: bool, fused: Fused) -> Result<()> {
        let (rows, packs) = (fused.rows as usize, fused.features as usize / PACK);
        let (grid, share) = match self.rows_in_turn(rows, packs) {
            // With nothing to add and rows for all warps of the card, a warp for each row is faster.
            Some(grid) if (!fp8 || fused.scales == 0) && (fused.sums != 0 || rows <= self.few_rows()) => {
                (grid, Share::InTurn)
            }
            _ => match row_teams(rows, packs) {
                (grid, false) => (grid, Share::Warps),
                (grid, true) => (grid, Share::Blocks),
            },
        };
        let name = match (norm, fp8, share) {
            (Norm::Layer, false, Share::Warps) => "layer_norm_fused",
            (Norm::Layer, false, Share::Blocks) => "layer_norm_long_fused",
            (Norm::Layer, false, Share::InTurn) => "layer_norm_in_turn",
            (Norm::Layer, true, Share::Warps) => "layer_norm_f8",
            (Norm::Layer, true, Share::Blocks) => "layer_norm_long_f8",
            (Norm::Layer, true, Share::InTurn) => "layer_norm_in_turn_f8",
            (Norm::LayerAffine(..), false, Share::Warps) => "layer_norm_affine_fused",
            (Norm::LayerAffine(..), false, Share::Blocks) => "layer_norm_affine_long_fused",
            (Norm::LayerAffine(..), false, Share::InTurn) => "layer_norm_affine_in_turn",
            (Norm::LayerAffine(..), true, Share::Warps) => "layer_norm_affine_f8",
            (Norm::LayerAffine(..), true, Share::Blocks) => "layer_norm_affine_long_f8",
            (Norm::LayerAffine(..), true, Share::InTurn) => "layer_norm_affine_in_turn_f8",
            (Norm::LayerModulated { .. }, false, Share::Warps) => "layer_norm_modulated_fused",
            (Norm::LayerModulated { .. }, false, Share::Blocks) => "layer_norm_modulated_long_fused",
            (Norm::LayerModulated { .. }, false, Share::InTurn) => "layer_norm_modulated_in_turn",
            (Norm::LayerModulated { .. }, true, Share::Warps) => "layer_norm_modulated_f8",
            (Norm::LayerModulated { .. }, true, Share::Blocks) => "layer_norm_modulated_long_f8",
            (Norm::LayerModulated { .. }, true, Share::InTurn) => "layer_norm_modulated_in_turn_f8",
            (Norm::Rms(_), false, Share::Warps) => "rms_norm_fused",
            (Norm::Rms(_), false, Share::Blocks) => "rms_norm_long_fused",
            (Norm::Rms(_), false, Share::InTurn) => "rms_norm_in_turn",
            (Norm::Rms(_), true, Share::Warps) => "rms_norm_f8",
            (Norm::Rms(_), true, Share::Blocks) => "rms_norm_long_f8",
            (Norm::Rms(_), true, Share::InTurn) => "rms_norm_in_turn_f8",
        };
        let out = if fp8 { DType::F8E4M3 } else { self.dtype() };
        launch!(self, NORM, name, grid, [fused], fused.cost(self.dtype(), out))
    }

    /// `x`, after `addition` if there is one, and its rows normalised. The first is `x` itself where nothing is added, and
    /// written over it where nobody else holds it.
    pub(crate) fn norm_fused(
        &self,
        op: &'static str,
        x: &Tensor,
        addition: Option<Addition<'_>>,
        norm: LayerNorm<'_>,
        eps: f32,
        target: Target<'_>,
    ) -> Result<(Tensor, Normed)> {
        // Another handle to `x` would keep its memory from being written over.
        let converted = (x.dtype() != self.dtype()).then(|| self.activations(op, x)).transpose()?;
        let x = converted.as_ref().unwrap_or(x);
        let features = x.shape().last().copied().unwrap_or(1);
        let rows = x.shape().numel() / features.max(1);
        let mut addresses = smallvec::SmallVec::<[u64; 4]>::new();
        addresses.push(self.address(op, x)?);
        let mut gate = NO_MODULATION;
        let sums = match &addition {
            Some(addition) => {
                let sums = self.activations(op, addition.sums)?;
                addresses.push(self.address(op, &sums)?);
                let (table, kernel) = self.modulation(op, addition.gate, rows)?;
                gate = kernel;
                addresses.push(gate.values);
                Some((sums, table))
            }
            None => None,
        };
        let norm = norm.on_cuda();
        let (parameters, _held) = self.parameters(op, &norm, rows, eps)?;
        addresses.extend([parameters.scale.values, parameters.shift.values]);
        let all_in_one = !matches!(target, Target::Fp8(Scaling::All));
        if rows == 0 || !self.holds_rows(features, &addresses, &parameters) || !all_in_one {
            return self.norm_in_steps(op, x, addition, &norm, eps, target);
        }
        let stream = if sums.is_some() { self.reuse(x)? } else { x.clone() };
        let mut fused = Fused {
            x: addresses[0],
            sums: sums.as_ref().map_or(0, |_| addresses[1]),
            stream: self.address(op, &stream)?,
            out: 0,
            scales: 0,
            fixed: 0,
            gate,
            norm: parameters,
            features: features as i32,
            rows: rows as i32,
        };
        let normed = match target {
            Target::Activations => {
                let out = self.empty(x.shape())?;
                fused.out = self.address(op, &out)?;
                Normed::Plain(out)
            }
            Target::Fp8(scaling) => {
                let values = self.empty_of(DType::F8E4M3, x.shape())?;
                fused.out = self.address(op, &values)?;
                let (scales, by_row) = match scaling {
                    Scaling::Fixed(scale) => {
                        fused.fixed = self.address_of(op, DType::F32, &scale.factors)?;
                        (scale.factors.clone(), false)
                    }
                    Scaling::Rows | Scaling::All => {
                        let scales = self.empty_of(DType::F32, shape_of(op, &[rows])?)?;
                        fused.scales = self.address(op, &scales)?;
                        (scales, true)
                    }
                };
                Normed::Fp8(Fp8Tensor { values, scales, by_row })
            }
        };
        self.launch_fused(&norm, matches!(normed, Normed::Fp8(_)), fused)?;
        Ok((stream, normed))
    }

    /// The same by operators of their own.
    fn norm_in_steps(
        &self,
        op: &'static str,
        x: &Tensor,
        addition: Option<Addition<'_>>,
        norm: &Norm<'_>,
        eps: f32,
        target: Target<'_>,
    ) -> Result<(Tensor, Normed)> {
        let stream = match addition {
            Some(Addition { sums, gate }) => self.add_gated(op, x, &self.activations(op, sums)?, gate)?,
            None => x.clone(),
        };
        let normed = self.norm(op, &stream, norm, eps)?;
        let normed = match target {
            Target::Activations => Normed::Plain(normed),
            Target::Fp8(scaling) => Normed::Fp8(self.quantise_fp8(op, &normed, scaling)?),
        };
        Ok((stream, normed))
    }

    /// The norm of Wan's autoencoder.
    pub(crate) fn channel_norm(
        &self,
        op: &'static str,
        x: &Tensor,
        gamma: &Tensor,
        silu: bool,
    ) -> Result<Tensor> {
        /// Packs that a lane can hold; as in the source.
        const LANE_PACKS: usize = 4;
        /// Channels that the lanes of a warp can hold.
        const MOST_CHANNELS: usize = 32 * LANE_PACKS * PACK;
        const THREADS: usize = 256;
        /// Blocks of a multiprocessor, each of which works on pixel after pixel.
        const BLOCKS: usize = 8;
        let x = self.activations(op, x)?;
        let gamma = self.singles(op, gamma)?;
        let channels = x.shape().last().copied().unwrap_or(1);
        let pixels = x.shape().numel() / channels.max(1);
        let out = self.empty(x.shape())?;
        if pixels == 0 {
            return Ok(out);
        }
        let (source, target) = (self.address(op, &x)?, self.address(op, &out)?);
        let factors = self.address(op, &gamma)?;
        let silu = i32::from(silu);
        let packed = is_packed(channels, &[source, target], self.dtype());
        if packed && is_parameter_packed(factors) && channels <= MOST_CHANNELS {
            // As few lanes as can hold a pixel without a rest, else as many as have something to do.
            let packs = channels / PACK;
            let whole = (0..=5)
                .map(|power| 1 << power)
                .find(|lanes| packs.is_multiple_of(*lanes) && packs / lanes <= LANE_PACKS);
            let lanes = whole.unwrap_or_else(|| packs.next_power_of_two().min(32));
            let needed = pixels.div_ceil(THREADS / lanes);
            let busy = BLOCKS * self.properties().multiprocessors as usize;
            launch!(
                self,
                NORM,
                "channel_norm_packed",
                Grid::blocks(needed.min(busy), THREADS as u32),
                [source, target, factors, pixels as i64, channels as i32, lanes as i32, silu],
                Cost::moving([&x, &out])
            )?;
        } else {
            launch!(
                self,
                NORM,
                "channel_norm",
                Grid::blocks(pixels.div_ceil(THREADS / 32), THREADS as u32),
                [source, target, factors, pixels as i64, channels as i32, silu],
                Cost::moving([&x, &out])
            )?;
        }
        Ok(out)
    }

    /// `residual + gate · sums`, over the residual where nobody else holds it.
    pub(crate) fn add_gated(
        &self,
        op: &'static str,
        residual: &Tensor,
        sums: &Tensor,
        gate: Modulation<'_>,
    ) -> Result<Tensor> {
        // Another handle to the residual would keep its memory from being written over.
        let converted =
            (residual.dtype() != self.dtype()).then(|| self.activations(op, residual)).transpose()?;
        let old = converted.as_ref().unwrap_or(residual);
        let out = self.reuse(old)?;
        let features = sums.shape().last().copied().unwrap_or(1);
        let count = sums.shape().numel();
        let (_table, gate) = self.modulation(op, gate, count / features.max(1))?;
        let addresses = [self.address(op, old)?, self.address(op, sums)?, self.address(op, &out)?];
        let all = [addresses[0], addresses[1], addresses[2], gate.values];
        let packed = is_packed(features, &all, self.dtype());
        let (name, count) = if packed { ("add_gated_packed", count / PACK) } else { ("add_gated", count) };
        if count > 0 {
            launch!(
                self,
                NORM,
                name,
                Grid::over(count),
                [addresses[0], addresses[1], addresses[2], count as i64, features as i32, gate],
                Cost::moving([old, sums, &out])
            )?;
        }
        Ok(out)
    }
}

/// May rows of this many elements at these addresses be moved in packs?
pub(super) fn is_packed(row: usize, addresses: &[u64], dtype: DType) -> bool {
    let pack = (PACK * dtype.size_bytes()) as u64;
    row.is_multiple_of(PACK) && addresses.iter().all(|address| address.is_multiple_of(pack))
}
