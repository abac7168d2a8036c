//! Operators that follow each other in a transformer's block, as one: on a GPU, what lies between them never reaches memory. On
//! the CPU they are the same operators one after the other, to the last bit.

use crate::{
    DType, Device, Result, Tensor,
    cuda::{Addition, NormRopeJob, Target},
    error::ensure_shape,
    ops::{
        Fp8Tensor, Gain, LayerNorm, Linear, Modulation, RopeTable, Scaling, TokenGrid, layer_norm_fp8,
        linear::{Matrix, ensure_fits_residual},
        linear_add, rms_norm, rope, scale,
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
    let (shape, target) = (rows.x.shape(), memory.shape());
    let tokens = shape[0] / places.len().max(1);
    let ends =
        places.iter().flatten().map(|place| place.checked_add(1).and_then(|end| end.checked_mul(tokens)));
    ensure_shape!(
        shape[0] == tokens * places.len()
            && target.len() == 3
            && target[1..] == shape[1..]
            && ends.into_iter().all(|end| end.is_some_and(|end| end <= target[0])),
        OP,
        "{shape} at {places:?} of {target}"
    );
    if let Device::Cuda(cuda) = rows.x.device() {
        return cuda.norm_rope_into(OP, rows.job(), memory, places);
    }
    let made = rms_norm_rope(rows)?;
    for (frame, place) in places.iter().enumerate() {
        if let Some(place) = place {
            memory.write(place * tokens, &made.narrow(frame * tokens, tokens)?)?;
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
