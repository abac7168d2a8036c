//! Operators that follow each other in a transformer's block, as one: on a GPU, what lies between them never reaches memory. On
//! the CPU they are the same operators one after the other, to the last bit.

use crate::{
    DType, Device, Result, Shape, Tensor,
    cuda::{Addition, JoinedJob, NormRopeJob, Target},
    error::ensure_shape,
    ops::{
        Fp8Tensor, Gain, LayerNorm, Linear, LinearFp8, Modulation, RopeTable, Scaling, TokenGrid,
        layer_norm_fp8,
        linear::{Matrix, ensure_fits_residual},
        linear_add, linear_fp8, linear_fp8_add, rms_norm, rope, scale, take_channels,
    },
};

/// `residual + gate · (x Wᵀ + b)`, and its rows normalised. The first is written over `residual` where nobody else holds it.
///
/// # Errors
/// [`crate::Error::Shape`] when `x` or `residual` don't fit the layer or each other, or the gate or the norm does not fit them.
pub fn linear_add_norm(
    residual: Tensor,
    x: &Tensor,
    layer: &Linear,
    gate: Modulation<'_>,
    norm: LayerNorm<'_>,
    eps: f32,
) -> Result<(Tensor, Tensor)> {
    const OP: &str = "linear with residual and norm";
    if let (Device::Cuda(cuda), Matrix::Cuda(matrix)) = (layer.device(), layer.matrix()) {
        check(OP, &residual, x, layer, gate, norm)?;
        let sums = cuda.linear(OP, x, matrix, super::Activation::None)?;
        let addition = Addition { sums: &sums, gate };
        let (sum, normed) = cuda.norm_fused(OP, &residual, Some(addition), norm, eps, Target::Activations)?;
        return Ok((sum, normed.plain(OP)?));
    }
    let sum = linear_add(residual, x, layer, Gain::PerFrame(gate))?;
    let normed = norm.apply(&sum, eps)?;
    Ok((sum, normed))
}

/// The same with the normalised rows in e4m3.
///
/// # Errors
/// As [`linear_add_norm`].
pub fn linear_add_norm_fp8(
    residual: Tensor,
    x: &Tensor,
    layer: &Linear,
    gate: Modulation<'_>,
    (norm, eps): (LayerNorm<'_>, f32),
    scaling: Scaling<'_>,
) -> Result<(Tensor, Fp8Tensor)> {
    const OP: &str = "linear with residual and norm to 8 bits";
    if let (Device::Cuda(cuda), Matrix::Cuda(matrix)) = (layer.device(), layer.matrix()) {
        check(OP, &residual, x, layer, gate, norm)?;
        let sums = cuda.linear(OP, x, matrix, super::Activation::None)?;
        let addition = Addition { sums: &sums, gate };
        let (sum, normed) =
            cuda.norm_fused(OP, &residual, Some(addition), norm, eps, Target::Fp8(scaling))?;
        return Ok((sum, normed.fp8(OP)?));
    }
    let sum = linear_add(residual, x, layer, Gain::PerFrame(gate))?;
    let normed = layer_norm_fp8(&sum, norm, eps, scaling)?;
    Ok((sum, normed))
}

fn check(
    op: &'static str,
    residual: &Tensor,
    x: &Tensor,
    layer: &Linear,
    gate: Modulation<'_>,
    norm: LayerNorm<'_>,
) -> Result<()> {
    let rows = ensure_fits_residual(op, residual, x, layer)?;
    gate.check(op, rows, layer.out_features())?;
    norm.check(op, residual)
}

/// `residual + gate · (x Wᵀ + b)` of a layer in 8 bits, and its rows normalised, in e4m3 as well. The first is written over
/// `residual` where nobody else holds it.
///
/// # Errors
/// As [`linear_add_norm`].
pub fn linear_fp8_add_norm_fp8(
    residual: Tensor,
    x: &Fp8Tensor,
    layer: &LinearFp8,
    gate: Modulation<'_>,
    (norm, eps): (LayerNorm<'_>, f32),
    scaling: Scaling<'_>,
) -> Result<(Tensor, Fp8Tensor)> {
    const OP: &str = "8-bit linear with residual and norm";
    let (shape, rows) = (residual.shape(), x.shape().numel() / layer.in_features().max(1));
    if let Device::Cuda(cuda) = residual.device() {
        ensure_shape!(
            shape.last() == Some(&layer.out_features()) && shape.numel() == rows * layer.out_features(),
            OP,
            "{} added to {shape}",
            x.shape()
        );
        gate.check(OP, rows, layer.out_features())?;
        norm.check(OP, &residual)?;
        let sums = linear_fp8(x, layer, super::Activation::None)?;
        let addition = Addition { sums: &sums, gate };
        let (sum, normed) =
            cuda.norm_fused(OP, &residual, Some(addition), norm, eps, Target::Fp8(scaling))?;
        return Ok((sum, normed.fp8(OP)?));
    }
    let sum = linear_fp8_add(residual, x, layer, Gain::PerFrame(gate))?;
    let normed = layer_norm_fp8(&sum, norm, eps, scaling)?;
    Ok((sum, normed))
}

/// Queries or keys as a projection gives them, `[tokens, heads, head_dim]`, and what is done to them before attention.
#[derive(Clone, Copy, Debug)]
pub struct NormRope<'a> {
    /// The projection's result.
    pub x: &'a Tensor,
    /// Of the root-mean-square norm of the whole vector: `[heads · head_dim]`.
    pub weight: &'a Tensor,
    /// Added to the mean square before the root.
    pub eps: f32,
    /// How heads are rotated, if they are.
    pub rope: Option<(&'a RopeTable, TokenGrid)>,
    /// The result is in e4m3: what it would be over this.
    pub fp8_scale: Option<f32>,
}

impl NormRope<'_> {
    fn check(&self, op: &'static str) -> Result<()> {
        let shape = self.x.shape();
        let features = shape.get(1..).map_or(0, |inner| inner.iter().product());
        ensure_shape!(
            shape.len() == 3 && features > 0 && self.weight.shape().numel() == features,
            op,
            "{shape} with a weight of {}",
            self.weight.shape()
        );
        self.rope.map_or(Ok(()), |(table, grid)| table.check(op, shape, grid))
    }

    fn job(&self) -> NormRopeJob<'_> {
        NormRopeJob {
            x: self.x,
            weight: self.weight,
            eps: self.eps,
            rope: self.rope.map(|(table, grid)| (table.parts(), grid)),
            fp8_scale: self.fp8_scale,
        }
    }
}

/// [`rms_norm`] of whole rows, then [`rope`].
///
/// # Errors
/// [`crate::Error::Shape`] when the weight or the rotation does not fit.
pub fn rms_norm_rope(rows: &NormRope<'_>) -> Result<Tensor> {
    const OP: &str = "norm and rotary embedding";
    rows.check(OP)?;
    if let Device::Cuda(cuda) = rows.x.device() {
        return cuda.norm_rope(OP, rows.job());
    }
    let shape = rows.x.shape();
    let flat = rows.x.reshape(&[shape[0], shape[1] * shape[2]])?;
    let normed = rms_norm(&flat, rows.weight, rows.eps)?.reshape(&shape)?;
    let rotated = match rows.rope {
        Some((table, grid)) => rope(normed, table, grid)?,
        None => normed,
    };
    match rows.fp8_scale {
        Some(factor) => scale(rotated, 1.0 / factor)?.to_dtype(DType::F8E4M3),
        None => Ok(rotated),
    }
}

/// The same, written frame by frame to places of `memory`, which is `[places · frame_tokens, heads, head_dim]`; the tokens are
/// those of as many frames as there are `places`, and a frame without a place goes nowhere. If other tensors share the
/// memory, they keep the old values: it is copied first.
///
/// # Errors
/// [`crate::Error::Shape`] when the weight or the rotation does not fit, tokens can't be split into as many frames, or a place
/// lies beyond the memory.
pub fn rms_norm_rope_into(memory: &mut Tensor, places: &[Option<usize>], rows: &NormRope<'_>) -> Result<()> {
    const OP: &str = "norm and rotary embedding into a cache";
    rows.check(OP)?;
    ensure_places(OP, rows.x.shape(), memory.shape(), places)?;
    if let Device::Cuda(cuda) = rows.x.device() {
        return cuda.norm_rope_into(OP, rows.job(), memory, places);
    }
    write_frames(memory, places, &rms_norm_rope(rows)?)
}

/// Queries, keys and values as one projection gives them, and what is done to them before attention.
#[derive(Clone, Copy, Debug)]
pub struct JoinedHeads<'a> {
    /// Side by side: `[tokens, 3 · heads · head_dim]`.
    pub x: &'a Tensor,
    /// Heads of each.
    pub heads: usize,
    /// Of the norms of queries and keys: `[heads · head_dim]` each.
    pub weights: [&'a Tensor; 2],
    /// Added to the mean squares before the root.
    pub eps: f32,
    /// How heads of queries and keys are rotated, if they are.
    pub ropes: [Option<(&'a RopeTable, TokenGrid)>; 2],
    /// Queries or keys are in e4m3: what they would be over this.
    pub fp8_scales: [Option<f32>; 2],
}

/// The queries of `rows`, `[tokens, heads, head_dim]`, as [`rms_norm_rope`] gives them; the keys as [`rms_norm_rope_into`] writes
/// them to places of `keys`, and the values as they are to the same places of `values`.
///
/// # Errors
/// As for these two operators.
pub fn rms_norm_rope_joined(
    rows: &JoinedHeads<'_>,
    keys: &mut Tensor,
    values: &mut Tensor,
    places: &[Option<usize>],
) -> Result<Tensor> {
    const OP: &str = "queries, keys and values";
    let (shape, heads) = (rows.x.shape(), rows.heads);
    let features = shape.last().copied().unwrap_or(0) / 3;
    ensure_shape!(
        shape.len() == 2
            && shape[1] == 3 * features
            && heads > 0
            && features > 0
            && features.is_multiple_of(heads)
            && rows.weights.iter().all(|weight| weight.shape().numel() == features),
        OP,
        "{shape} of {heads} heads with weights of {} and {}",
        rows.weights[0].shape(),
        rows.weights[1].shape()
    );
    let (tokens, head) = (shape[0], features / heads);
    let apart = crate::tensor::shape_of(OP, &[tokens, heads, head])?;
    for (table, grid) in rows.ropes.iter().flatten() {
        table.check(OP, apart, *grid)?;
    }
    for memory in [&*keys, &*values] {
        ensure_places(OP, apart, memory.shape(), places)?;
    }
    if let Device::Cuda(cuda) = rows.x.device() {
        let job = JoinedJob {
            x: rows.x,
            heads: [heads, head],
            weights: rows.weights,
            eps: rows.eps,
            ropes: rows.ropes.map(|rope| rope.map(|(table, grid)| (table.parts(), grid))),
            fp8_scales: rows.fp8_scales,
        };
        return cuda.norm_rope_joined(OP, job, [keys, values], places);
    }
    let part = |index: usize| take_channels(rows.x, index * features, features)?.reshape(&apart);
    let (q, k, v) = (part(0)?, part(1)?, part(2)?);
    let of = |index: usize, x| NormRope {
        x,
        weight: rows.weights[index],
        eps: rows.eps,
        rope: rows.ropes[index],
        fp8_scale: rows.fp8_scales[index],
    };
    rms_norm_rope_into(keys, places, &of(1, &k))?;
    write_frames(values, places, &v)?;
    rms_norm_rope(&of(0, &q))
}

/// Can frames of tokens, of the first shape, lie at these places of a memory of the second?
fn ensure_places(op: &'static str, shape: Shape, target: Shape, places: &[Option<usize>]) -> Result<()> {
    let tokens = shape[0] / places.len().max(1);
    let mut ends =
        places.iter().flatten().map(|place| place.checked_add(1).and_then(|end| end.checked_mul(tokens)));
    ensure_shape!(
        shape[0] == tokens * places.len()
            && target.len() == 3
            && target[1..] == shape[1..]
            && ends.all(|end| end.is_some_and(|end| end <= target[0])),
        op,
        "{shape} at {places:?} of {target}"
    );
    Ok(())
}

/// Writes frames to their places.
fn write_frames(memory: &mut Tensor, places: &[Option<usize>], frames: &Tensor) -> Result<()> {
    let tokens = frames.dim(0) / places.len().max(1);
    for (frame, place) in places.iter().enumerate() {
        if let Some(place) = place {
            memory.write(place * tokens, &frames.narrow(frame * tokens, tokens)?)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cpu;

    fn wave(device: &Device, shape: &[usize]) -> Tensor {
        Tensor::from_fn(device, shape, |values| {
            values.iter_mut().enumerate().for_each(|(index, value)| *value = (index as f32 * 0.731).sin());
        })
        .expect("a tensor")
    }

    #[test]
    fn fused_operators_give_what_their_parts_give() {
        let device = Device::from(Cpu::new(None).expect("threads"));
        let weights = wave(&device, &[24, 16]).to_vec();
        let layer =
            Linear::new(&device, crate::ops::Weights::F32(&weights), [24, 16], None).expect("a layer");
        let (residual, x, table) =
            (wave(&device, &[6, 24]), wave(&device, &[6, 16]), wave(&device, &[2, 6, 24]));
        let part = |part| Modulation { table: &table, part };
        let norm = LayerNorm::Modulated { scale: part(1), shift: part(0) };
        let (sum, normed) = linear_add_norm(residual.clone(), &x, &layer, part(2), norm, 1e-6).expect("both");
        let expected = linear_add(residual.clone(), &x, &layer, Gain::PerFrame(part(2))).expect("the sum");
        assert_eq!(sum.to_vec(), expected.to_vec());
        assert_eq!(normed.to_vec(), norm.apply(&expected, 1e-6).expect("the norm").to_vec());
        let (sum, normed) =
            linear_add_norm_fp8(residual, &x, &layer, part(2), (norm, 1e-6), Scaling::Rows).expect("both");
        assert_eq!(sum.to_vec(), expected.to_vec());
        let steps = layer_norm_fp8(&expected, norm, 1e-6, Scaling::Rows).expect("the norm");
        assert_eq!(
            normed.dequantise().expect("numbers").to_vec(),
            steps.dequantise().expect("numbers").to_vec()
        );
    }

    #[test]
    fn what_one_projection_gives_is_taken_apart() {
        let device = Device::from(Cpu::new(None).expect("threads"));
        let table = RopeTable::new(12, 32, 1e4).expect("a table");
        let grid = TokenGrid { start: 3, frames: 3, height: 2, width: 2 };
        let (x, q_weight, k_weight) =
            (wave(&device, &[12, 72]), wave(&device, &[24]), wave(&device, &[2, 12]));
        let part = |index: usize| {
            take_channels(&x, 24 * index, 24).and_then(|x| x.reshape(&[12, 2, 12])).expect("a part")
        };
        let parts = [part(0), part(1), part(2)];
        let of = |x, weight, scale| NormRope {
            x,
            weight,
            eps: 1e-6,
            rope: Some((&table, grid)),
            fp8_scale: scale,
        };
        let places = [Some(3), None, Some(0)];
        for scale in [None, Some(0.125)] {
            let rows = JoinedHeads {
                x: &x,
                heads: 2,
                weights: [&q_weight, &k_weight],
                eps: 1e-6,
                ropes: [Some((&table, grid)); 2],
                fp8_scales: [scale; 2],
            };
            let memory = || {
                let zeros = Tensor::zeros(&device, &[16, 2, 12]).expect("memory");
                if scale.is_some() { zeros.to_dtype(DType::F8E4M3).expect("memory") } else { zeros }
            };
            let (mut keys, mut expected) = (memory(), memory());
            let mut values = Tensor::zeros(&device, &[16, 2, 12]).expect("memory");
            let q = rms_norm_rope_joined(&rows, &mut keys, &mut values, &places).expect("queries");
            let alone = rms_norm_rope(&of(&parts[0], &q_weight, scale)).expect("queries");
            assert_eq!(q.dtype(), if scale.is_some() { DType::F8E4M3 } else { DType::F32 });
            assert_eq!(q.to_vec(), alone.to_vec());
            rms_norm_rope_into(&mut expected, &places, &of(&parts[1], &k_weight, scale)).expect("keys");
            assert_eq!(keys.to_vec(), expected.to_vec());
            assert!(keys.to_vec().iter().any(|&key| key != 0.0));
            let frame = |of: &Tensor, at: usize| of.narrow(4 * at, 4).expect("a frame").to_vec();
            assert_eq!(frame(&values, 3), frame(&parts[2], 0));
            assert_eq!(frame(&values, 0), frame(&parts[2], 2));
            assert!(rms_norm_rope_joined(&rows, &mut keys, &mut values, &[Some(4), None, None]).is_err());
        }
    }

    #[test]
    fn keys_go_to_the_places_of_their_frames() {
        let device = Device::from(Cpu::new(None).expect("threads"));
        let table = RopeTable::new(12, 32, 1e4).expect("a table");
        let grid = TokenGrid { start: 3, frames: 3, height: 2, width: 2 };
        let (x, weight) = (wave(&device, &[12, 2, 12]), wave(&device, &[24]));
        let rows =
            NormRope { x: &x, weight: &weight, eps: 1e-6, rope: Some((&table, grid)), fp8_scale: None };
        let made = rms_norm_rope(&rows).expect("rows");
        let flat = x.reshape(&[12, 24]).expect("rows");
        let normed = rms_norm(&flat, &weight, 1e-6).and_then(|x| x.reshape(&[12, 2, 12])).expect("rows");
        assert_eq!(made.to_vec(), rope(normed, &table, grid).expect("rows").to_vec());
        let mut memory = Tensor::zeros(&device, &[16, 2, 12]).expect("memory");
        let before = memory.clone();
        rms_norm_rope_into(&mut memory, &[Some(3), None, Some(0)], &rows).expect("written");
        let frame = |of: &Tensor, at: usize| of.narrow(4 * at, 4).expect("a frame").to_vec();
        assert_eq!(frame(&memory, 3), frame(&made, 0));
        assert_eq!(frame(&memory, 0), frame(&made, 2));
        assert!(frame(&memory, 1).iter().chain(&frame(&memory, 2)).all(|&value| value == 0.0));
        assert!(before.to_vec().iter().all(|&value| value == 0.0), "other holders keep theirs");
        assert!(rms_norm_rope_into(&mut memory, &[Some(4), None, None], &rows).is_err(), "beyond the memory");
        assert!(rms_norm_rope_into(&mut memory, &[None; 5], &rows).is_err(), "no whole frames");
        assert!(rms_norm_rope_into(&mut memory, &[Some(usize::MAX), None, None], &rows).is_err());
    }
}
