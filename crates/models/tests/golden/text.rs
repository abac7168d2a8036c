//! Kind `umt5_encoder`: the text encoder.

use anyhow::Result;
use scope_models::{
    text::{Umt5, Umt5Config, relative_bucket},
    weights::{Loader, Precision},
};

use crate::case::{Case, Check};

/// The recorded embeddings and raw results agree to this.
const TOLERANCE: f32 = 1e-4;

pub(crate) fn umt5(case: &Case, check: &mut Check) -> Result<()> {
    let number = |key: &str| case.number(&format!("/config/{key}"));
    let config = Umt5Config {
        vocabulary: number("vocab")?,
        dim: number("dim")?,
        dim_attention: number("dim_attn")?,
        dim_ffn: number("dim_ffn")?,
        heads: number("num_heads")?,
        layers: number("num_layers")?,
        buckets: number("num_buckets")?,
        ..Umt5Config::xxl()
    };
    let weights = case.weights();
    let model = Umt5::load(&Loader::new(&weights, &case.device, Precision::F32), config)?;
    buckets(case, check, &config)?;

    let (ids, mask) = (case.recorded("ids")?, case.recorded("mask")?);
    let (length, dim) = (ids.shape[1], config.dim);
    let expected = case.recorded("prompt_embeds")?;
    for prompt in 0..ids.shape[0] {
        let row = prompt * length..(prompt + 1) * length;
        let count = mask.values[row.clone()].iter().filter(|&&valid| valid != 0.0).count();
        let valid: Vec<u32> = ids.values[row][..count].iter().map(|&id| id as u32).collect();
        let embedding = model.encode(&valid, length)?.to_vec();
        let expected = &expected.values[prompt * length * dim..][..length * dim];
        let name = format!("prompt_embeds[{prompt}]");
        check.after(config.layers).close(&name, &embedding, expected, TOLERANCE, 0.0);

        // Of intermediate results, the rows of tokens are compared: the reference computes rows of padding too.
        let mut rows = |name: &str, layers: usize, got: &[f32]| -> Result<()> {
            if !case.has(name) {
                return Ok(());
            }
            let recorded = case.recorded(name)?;
            if prompt < recorded.shape[0] {
                let entry = recorded.shape[1] * dim;
                let len = got.len().min(entry);
                let recorded = &recorded.values[prompt * entry..][..len];
                let name = format!("{name}[{prompt}]");
                check.after(layers).close(&name, &got[..len], recorded, TOLERANCE, 0.0);
            }
            Ok(())
        };
        let mut layers = Vec::new();
        let raw = model.encode_each(&valid, |layer, x| layers.push((layer, x.to_vec())))?;
        for (layer, values) in layers {
            rows(&format!("block.{layer}"), layer + 1, &values)?;
        }
        rows("raw_first2", config.layers, &raw.to_vec())?;
    }
    Ok(())
}

fn buckets(case: &Case, check: &mut Check, config: &Umt5Config) -> Result<()> {
    for name in ["rel_bucket_300", "rel_bucket_neg_300"].into_iter().filter(|name| case.has(name)) {
        let recorded = &case.recorded(name)?.values;
        let farthest = if name.contains("neg") { recorded.len() as i64 - 1 } else { 0 };
        let found: Vec<f32> = (0..recorded.len() as i64)
            .map(|key| relative_bucket(key - farthest, config.buckets, config.max_distance) as f32)
            .collect();
        check.close(name, &found, recorded, 0.0, 0.0);
    }
    Ok(())
}
