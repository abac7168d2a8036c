//! Single forward passes of the transformer: kinds `dit_forward` and `vace_forward`.

use anyhow::{Result, anyhow};
use scope_engine::Tensor;
use scope_models::{
    quirks::Quirks,
    wan::{
        Adapters, CachePolicy, Call, KvCache, SinkUpdate, VaceBlocks, VaceConfig, VaceContext, WanConfig,
        WanTransformer,
    },
    weights::{Loader, Precision, TensorSource},
};
use serde_json::Value;

use crate::case::{Case, Check, Recorded};

/// The network's sizes from a case's `config`.
pub(crate) fn config(case: &Case) -> Result<WanConfig> {
    let number = |key: &str| case.number(&format!("/config/{key}"));
    Ok(WanConfig {
        dim: number("dim")?,
        ffn_dim: number("ffn_dim")?,
        freq_dim: number("freq_dim")?,
        text_dim: number("text_dim")?,
        text_len: number("text_len")?,
        in_dim: number("in_dim")?,
        out_dim: number("out_dim")?,
        num_heads: number("num_heads")?,
        num_layers: number("num_layers")?,
        patch: case.number("/config/patch_size/1")?,
        eps: case.value("/config/eps")?.as_f64().ok_or_else(|| anyhow!("eps is no number"))? as f32,
    })
}

/// The values of a recorded tensor with its axes in another order.
pub(crate) fn permuted(recorded: &Recorded, order: &[usize]) -> (Vec<usize>, Vec<f32>) {
    permute(&recorded.shape, &recorded.values, order)
}

/// `values` of `shape` with axis `order[i]` as axis `i`.
pub(crate) fn permute(shape: &[usize], values: &[f32], order: &[usize]) -> (Vec<usize>, Vec<f32>) {
    let mut strides = vec![1; shape.len()];
    for axis in (0..shape.len().saturating_sub(1)).rev() {
        strides[axis] = strides[axis + 1] * shape[axis + 1];
    }
    let target: Vec<usize> = order.iter().map(|&axis| shape[axis]).collect();
    let permuted = (0..values.len())
        .map(|mut index| {
            let mut from = 0;
            for (&axis, &dim) in order.iter().zip(&target).rev() {
                from += index % dim * strides[axis];
                index /= dim;
            }
            values[from]
        })
        .collect();
    (target, permuted)
}

/// `[1, C, F, h, w]` as latents `[F, h, w, C]`.
pub(crate) fn latents_bcfhw(case: &Case, name: &str) -> Result<Tensor> {
    let (shape, values) = permuted(case.recorded(name)?, &[0, 2, 3, 4, 1]);
    Ok(Tensor::from_f32(&case.device, &shape[1..], &values)?)
}

/// `[1, F, C, h, w]` as latents `[F, h, w, C]`.
pub(crate) fn latents_bfchw(case: &Case, name: &str) -> Result<Tensor> {
    let (shape, values) = permuted(case.recorded(name)?, &[0, 1, 3, 4, 2]);
    Ok(Tensor::from_f32(&case.device, &shape[1..], &values)?)
}

/// Latents `[F, h, w, C]` in the order `[C, F, h, w]`.
pub(crate) fn to_cfhw(latents: &Tensor) -> Vec<f32> {
    permute(&latents.shape(), &latents.to_vec(), &[3, 0, 1, 2]).1
}

/// Latents `[F, h, w, C]` in the order `[F, C, h, w]`.
pub(crate) fn to_fchw(latents: &Tensor) -> Vec<f32> {
    permute(&latents.shape(), &latents.to_vec(), &[0, 3, 1, 2]).1
}

/// A recorded text embedding `[1, positions, dim]` or `[positions, dim]`.
pub(crate) fn embedding(case: &Case, name: &str) -> Result<Tensor> {
    let recorded = case.recorded(name)?;
    let [.., positions, dim] = recorded.shape[..] else { return Err(anyhow!("{name} is no embedding")) };
    Ok(Tensor::from_f32(&case.device, &[positions, dim], &recorded.values)?)
}

/// A window in which a single call fits.
pub(crate) fn single_call_policy(frames: usize) -> CachePolicy {
    CachePolicy {
        window_frames: frames,
        sink_frames: 0,
        sink_update: SinkUpdate::Fixed,
        relative_positions: false,
        protect_sink: false,
        bank: None,
    }
}

pub(crate) fn forward(case: &Case, check: &mut Check) -> Result<()> {
    let config = config(case)?;
    let weights = case.weights();
    let model = WanTransformer::load(&Loader::new(&weights, &case.device, Precision::F32), &config, None)?;
    let x = latents_bcfhw(case, "x")?;
    let adapters = Adapters::default();
    let text = model.text_context(&embedding(case, "context")?, &adapters)?;
    for run in case.value("/cases")?.as_array().into_iter().flatten() {
        let name = run["name"].as_str().unwrap_or_default();
        let timesteps: Vec<f64> =
            run["t"].as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
        let start = run["start_frame"].as_u64().unwrap_or(0) as usize;
        let mut cache = empty_at(&model, &x, start)?;
        let call = Call {
            latents: &x,
            timesteps: &timesteps,
            start_frame: start,
            text: &text,
            adapters: &adapters,
            vace: None,
            cache_weight: None,
            clean: false,
            recache: false,
            quirks: Quirks::default(),
        };
        let flow = model.forward(&call, &mut cache)?;
        let expected = case.recorded(&format!("{name}.out_flow"))?;
        let out = format!("{name}.out_flow");
        check.after(config.num_layers).close(&out, &to_cfhw(&flow), &expected.values, 2e-5, 1e-4);
        if let Some((k, v)) = cache.layer(0)? {
            for (what, got) in [("roped_k", k), ("v", v)] {
                let name = format!("{name}.{what}.0");
                if case.has(&name) {
                    check.after(1).close(&name, &got.to_vec(), &case.recorded(&name)?.values, 2e-5, 1e-4);
                }
            }
        }
    }
    Ok(())
}

/// An empty cache of which the stream is at frame `start`.
fn empty_at(model: &WanTransformer, x: &Tensor, start: usize) -> Result<KvCache> {
    let tokens = model.config().frame_tokens(x.dim(1), x.dim(2));
    let blocks = model.vace().map_or(0, |vace| vace.layers().len());
    let mut cache =
        KvCache::new(model.device(), model.config(), &single_call_policy(x.dim(0)), tokens, blocks)?;
    cache.start_at(start);
    Ok(cache)
}

pub(crate) fn vace_forward(case: &Case, check: &mut Check) -> Result<()> {
    let config = config(case)?;
    let weights = case.weights();
    let loader = Loader::new(&weights, &case.device, Precision::F32);
    let layers = case.value("/vace_layers")?.as_array().into_iter().flatten();
    let vace = VaceConfig { layers: layers.filter_map(Value::as_u64).map(|layer| layer as usize).collect() };
    let vace = VaceBlocks::load(&loader, &config, &vace)?;
    let base = match weights.shape("causal_wan_model.patch_embedding.weight") {
        Some(_) => loader.at("causal_wan_model"),
        None => loader,
    };
    let model = WanTransformer::load(&base, &config, Some(vace))?;
    let x = latents_bcfhw(case, "x")?;
    let adapters = Adapters::default();
    let text = model.text_context(&embedding(case, "context")?, &adapters)?;
    for run in case.value("/runs")?.as_array().into_iter().flatten() {
        let index = run["run"].as_u64().unwrap_or_default();
        let context = match run["name"].as_str().unwrap_or_default() {
            name if name.starts_with("short") => Some("vace_1f"),
            name if name.starts_with("long") => Some("vace_long"),
            "no_context" => None,
            _ => Some("vace_full"),
        };
        let context = context
            .map(|name| {
                let (shape, values) = permuted(case.recorded(name)?, &[1, 2, 3, 0]);
                anyhow::Ok(VaceContext(Tensor::from_f32(&case.device, &shape, &values)?))
            })
            .transpose()?;
        let start = run["start_frame"].as_u64().unwrap_or(0) as usize;
        let scale = run["scale"].as_f64().unwrap_or(1.0) as f32;
        let mut cache = empty_at(&model, &x, start)?;
        let call = Call {
            latents: &x,
            timesteps: &[run["t"].as_f64().unwrap_or(0.0)],
            start_frame: start,
            text: &text,
            adapters: &adapters,
            vace: context.as_ref().map(|context| (context, scale)),
            cache_weight: None,
            clean: false,
            recache: false,
            quirks: Quirks::reference(),
        };
        let flow = model.forward(&call, &mut cache)?;
        let name = format!("r{index}.out_flow");
        let recorded = &case.recorded(&name)?.values;
        check.after(config.num_layers).close(&name, &to_cfhw(&flow), recorded, 1e-4, 1e-4);
    }
    Ok(())
}
