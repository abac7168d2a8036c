//! Attention of every token to its own past.

use crate::{
    Device, Result, Tensor,
    cpu::{RowKernel, math},
    error::ensure_shape,
};

/// For every token by itself, `softmax(q · s) s` over the states `s` that it had at several times: each the state of
/// `states` at that time, `[tokens, features]`, plus the row of `places`, `[times or more, features]`, for its place in
/// the order. `q` is `[tokens, heads, features]`, as is the result: a head is a query for whole states, the projections to
/// keys and values being part of what comes before and after.
///
/// # Errors
/// [`crate::Error::Shape`] without a state, or when the shapes don't fit.
pub fn attention_over_time(q: &Tensor, states: &[&Tensor], places: &Tensor) -> Result<Tensor> {
    const OP: &str = "attention over time";
    let shape = q.shape();
    ensure_shape!(
        shape.len() == 3 && shape.numel() > 0 && !states.is_empty(),
        OP,
        "queries {shape} for {} states",
        states.len()
    );
    let (heads, features) = (shape[1], shape[2]);
    for state in states {
        ensure_shape!(
            state.shape()[..] == [shape[0], features],
            OP,
            "a state {} for queries {shape}",
            state.shape()
        );
    }
    ensure_shape!(
        places.shape().len() == 2 && places.dim(0) >= states.len() && places.dim(1) == features,
        OP,
        "places {} for {} states of {features} features",
        places.shape(),
        states.len()
    );
    if let Device::Cuda(cuda) = q.device() {
        return cuda.attention_over_time(OP, q, states, places);
    }
    let values = states.iter().map(|state| state.f32s(OP)).collect::<Result<Vec<_>>>()?;
    let mut out = Tensor::empty(&q.device(), shape)?;
    let kernel = Kernel { q: q.f32s(OP)?, states: &values, places: places.f32s(OP)?, heads, features };
    let cpu = q.device().cpu(OP)?;
    let row = heads * features;
    cpu.for_rows(out.f32s_mut(OP)?, row, 4 * row * states.len(), &kernel);
    Ok(out)
}

struct Kernel<'a> {
    q: &'a [f32],
    states: &'a [&'a [f32]],
    places: &'a [f32],
    heads: usize,
    features: usize,
}

impl RowKernel<f32> for Kernel<'_> {
    #[inline(always)]
    fn run(&self, first: usize, rows: &mut [f32]) {
        let (features, times) = (self.features, self.states.len());
        let (mut placed, mut scores) = (vec![0.0; times * features], vec![0.0; times]);
        for (index, out) in rows.chunks_exact_mut(self.heads * features).enumerate() {
            let token = first + index;
            let moments = placed.chunks_exact_mut(features).zip(self.states);
            for ((placed, state), place) in moments.zip(self.places.chunks_exact(features)) {
                for ((placed, state), place) in placed.iter_mut().zip(&state[token * features..]).zip(place) {
                    *placed = state + place;
                }
            }
            let queries = self.q[token * self.heads * features..].chunks_exact(features);
            for (out, query) in out.chunks_exact_mut(features).zip(queries) {
                let mut highest = f32::MIN;
                for (score, state) in scores.iter_mut().zip(placed.chunks_exact(features)) {
                    *score = math::dot(query, state);
                    highest = math::max(highest, *score);
                }
                let mut total = 0.0;
                for score in &mut scores {
                    *score = math::exp(*score - highest);
                    total += *score;
                }
                out.fill(0.0);
                for (score, state) in scores.iter().zip(placed.chunks_exact(features)) {
                    let share = score / total;
                    for (out, &state) in out.iter_mut().zip(state) {
                        *out = state.mul_add(share, *out);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cpu;

    fn noise(len: usize, seed: usize) -> Vec<f32> {
        (0..len).map(|index| ((index + seed) * 7919 % 613) as f32 / 200.0 - 1.5).collect()
    }

    #[test]
    fn tokens_attend_to_their_own_states_in_their_order() {
        let device = Device::from(Cpu::new(std::num::NonZero::new(2)).expect("threads"));
        let (tokens, heads, features) = (700, 2, 19);
        let q = noise(tokens * heads * features, 1);
        let places = noise(5 * features, 2);
        let states: Vec<Vec<f32>> = (0..3).map(|time| noise(tokens * features, 10 + time)).collect();
        let tensor =
            |shape: &[usize], data: &[f32]| Tensor::from_f32(&device, shape, data).expect("a tensor");
        let q_tensor = tensor(&[tokens, heads, features], &q);
        let places_tensor = tensor(&[5, features], &places);
        let held: Vec<Tensor> = states.iter().map(|state| tensor(&[tokens, features], state)).collect();
        let held: Vec<&Tensor> = held.iter().collect();
        let got = attention_over_time(&q_tensor, &held, &places_tensor).expect("attention").to_vec();
        for token in 0..tokens {
            let state = |time: usize, f: usize| {
                f64::from(states[time][token * features + f]) + f64::from(places[time * features + f])
            };
            for head in 0..heads {
                let at = (token * heads + head) * features;
                let score = |time: usize| {
                    (0..features).map(|f| f64::from(q[at + f]) * state(time, f)).sum::<f64>().exp()
                };
                let total: f64 = (0..3).map(score).sum();
                for f in 0..features {
                    let expected = (0..3).map(|time| score(time) * state(time, f)).sum::<f64>() / total;
                    let got = f64::from(got[at + f]);
                    assert!((got - expected).abs() < 1e-4, "[{token}, {head}, {f}]: {got} for {expected}");
                }
            }
        }
        assert!(attention_over_time(&q_tensor, &[], &places_tensor).is_err());
        assert!(attention_over_time(&q_tensor, &[held[0]; 6], &places_tensor).is_err());
        assert!(attention_over_time(&q_tensor, &[&q_tensor], &places_tensor).is_err());
    }
}
