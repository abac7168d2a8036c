//! Arithmetic of embeddings `[tokens, features]`.

use scope_engine::{Error, Result, Tensor};

/// How embeddings are interpolated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Interpolation {
    /// Along the straight line.
    #[default]
    Linear,
    /// Along the great circle, token by token (Shoemake 1985).
    Slerp,
}

/// One embedding from several, with weights that need not sum to 1; if none is above zero, all count alike.
///
/// [`Interpolation::Linear`], and any number of embeddings but two, is the weighted sum, brought to the weighted mean of
/// the embeddings' Frobenius norms: sums of unlike embeddings are shorter than each, which would fade the prompts.
/// [`Interpolation::Slerp`] of two is [`between`] them by the second's weight.
///
/// # Errors
/// [`Error::Shape`] when there is no embedding, or shapes or numbers of weights differ.
pub fn blend(embeddings: &[Tensor], weights: &[f64], method: Interpolation) -> Result<Tensor> {
    const OP: &str = "blend of embeddings";
    let Some(first) = embeddings.first() else {
        return Err(Error::Shape { op: OP, detail: "there is none".to_owned() });
    };
    if embeddings.len() != weights.len() {
        let detail = format!("{} embeddings and {} weights", embeddings.len(), weights.len());
        return Err(Error::Shape { op: OP, detail });
    }
    if embeddings.len() == 1 {
        return Ok(first.clone());
    }
    let shares = shares(weights);
    if let (Interpolation::Slerp, [from, to]) = (method, embeddings) {
        return between(from, to, shares[1], method);
    }
    let mut sum = vec![0.0; first.shape().numel()];
    let mut wanted = 0.0;
    for (embedding, &share) in embeddings.iter().zip(&shares) {
        let values = same_shape(OP, first, embedding)?.to_vec();
        wanted += share * norm(&values);
        for (sum, &value) in sum.iter_mut().zip(&values) {
            *sum = (share as f32).mul_add(value, *sum);
        }
    }
    let found = norm(&sum);
    if found > 1e-8 {
        let correction = (wanted / found) as f32;
        sum.iter_mut().for_each(|value| *value *= correction);
    }
    Tensor::from_f32(&first.device(), &first.shape(), &sum)
}

/// The embedding that lies `share` (0 to 1) of the way from one embedding to another.
///
/// [`Interpolation::Slerp`] turns each token's vector through the angle to the other and interpolates nothing else: with
/// the angle `ω`, `(sin((1 - share) ω) · from + sin(share · ω) · to) / sin ω`. Vectors along one line, which have no such
/// circle, go along the line. A vector of zeros counts as at right angles to all others.
///
/// # Errors
/// [`Error::Shape`] when the shapes differ.
pub fn between(from: &Tensor, to: &Tensor, share: f64, method: Interpolation) -> Result<Tensor> {
    same_shape("interpolation of embeddings", from, to)?;
    let (mut a, b) = (from.to_vec(), to.to_vec());
    let features = match method {
        Interpolation::Linear => a.len(),
        Interpolation::Slerp => from.shape().last().copied().unwrap_or(1),
    };
    for (a, b) in a.chunks_mut(features.max(1)).zip(b.chunks(features.max(1))) {
        let (of_a, of_b) = match method {
            Interpolation::Linear => (1.0 - share, share),
            Interpolation::Slerp => slerp_weights(a, b, share),
        };
        let (of_a, of_b) = (of_a as f32, of_b as f32);
        for (a, &b) in a.iter_mut().zip(b) {
            *a = of_b.mul_add(b, of_a * *a);
        }
    }
    Tensor::from_f32(&from.device(), &from.shape(), &a)
}

/// What the two vectors are multiplied by.
fn slerp_weights(a: &[f32], b: &[f32], share: f64) -> (f64, f64) {
    /// Below this sine the vectors count as being on one line: there, straight line and circle differ by less than an
    /// `f32` can tell.
    const ON_A_LINE: f64 = 1e-4;
    let dot: f64 = a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
    let lengths = norm(a) * norm(b);
    let cosine = if lengths > 0.0 { dot / lengths } else { 0.0 };
    let angle = cosine.clamp(-1.0, 1.0).acos();
    let sine = angle.sin();
    if sine < ON_A_LINE {
        (1.0 - share, share)
    } else {
        (((1.0 - share) * angle).sin() / sine, (share * angle).sin() / sine)
    }
}

/// The Euclidean distance of two embeddings.
pub(super) fn distance(a: &Tensor, b: &Tensor) -> Result<f64> {
    same_shape("distance of embeddings", a, b)?;
    let squares = a.to_vec().into_iter().zip(b.to_vec()).map(|(a, b)| (f64::from(a) - f64::from(b)).powi(2));
    Ok(squares.sum::<f64>().sqrt())
}

/// Weights that sum to 1.
fn shares(weights: &[f64]) -> Vec<f64> {
    let sum: f64 = weights.iter().sum();
    if sum > 0.0 && sum.is_finite() {
        weights.iter().map(|weight| weight / sum).collect()
    } else {
        vec![1.0 / weights.len() as f64; weights.len()]
    }
}

fn norm(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>().sqrt()
}

fn same_shape<'a>(op: &'static str, first: &Tensor, other: &'a Tensor) -> Result<&'a Tensor> {
    if first.shape() == other.shape() {
        Ok(other)
    } else {
        Err(Error::Shape { op, detail: format!("{} and {}", first.shape(), other.shape()) })
    }
}

#[cfg(test)]
mod tests {
    use scope_engine::{Cpu, Device};

    use super::*;

    fn tensor(rows: &[[f32; 2]]) -> Tensor {
        let device = Device::from(Cpu::new(std::num::NonZeroUsize::new(1)).unwrap());
        Tensor::from_f32(&device, &[rows.len(), 2], rows.as_flattened()).unwrap()
    }

    fn close(got: &Tensor, expected: &[[f32; 2]]) {
        let got = got.to_vec();
        for (got, expected) in got.iter().zip(expected.as_flattened()) {
            assert!((got - expected).abs() < 1e-6, "{got} for {expected}");
        }
    }

    #[test]
    fn a_blend_is_as_long_as_its_parts() {
        let (x, y) = (tensor(&[[1.0, 0.0]]), tensor(&[[0.0, 1.0]]));
        let half = std::f32::consts::FRAC_1_SQRT_2;
        close(&blend(&[x.clone(), y.clone()], &[2.0, 2.0], Interpolation::Linear).unwrap(), &[[half, half]]);
        close(&blend(&[x.clone(), y.clone()], &[0.0, 0.0], Interpolation::Linear).unwrap(), &[[half, half]]);
        close(&blend(&[x.clone(), y.clone()], &[1.0, 0.0], Interpolation::Slerp).unwrap(), &[[1.0, 0.0]]);
        let opposite = tensor(&[[-1.0, 0.0]]);
        close(&blend(&[x.clone(), opposite], &[1.0, 1.0], Interpolation::Linear).unwrap(), &[[0.0, 0.0]]);
        assert!(blend(&[], &[], Interpolation::Linear).is_err());
        assert!(blend(&[x, y], &[1.0], Interpolation::Linear).is_err());
    }

    #[test]
    fn slerp_turns_each_token_on_its_own() {
        let (from, to) = (tensor(&[[2.0, 0.0], [1.0, 1.0]]), tensor(&[[0.0, 2.0], [3.0, 3.0]]));
        let third = between(&from, &to, 1.0 / 3.0, Interpolation::Slerp).unwrap();
        close(&third, &[[3f32.sqrt(), 1.0], [5.0 / 3.0, 5.0 / 3.0]]);
    }

    #[test]
    fn tokens_on_one_line_and_tokens_of_zeros_stay_finite() {
        let (from, to) =
            (tensor(&[[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]]), tensor(&[[-1.0, 0.0], [0.0, 2.0], [0.0, 0.0]]));
        let quarter = between(&from, &to, 0.25, Interpolation::Slerp).unwrap();
        close(&quarter, &[[0.5, 0.0], [0.0, 2.0 * (std::f32::consts::PI / 8.0).sin()], [0.0, 0.0]]);
    }
}
