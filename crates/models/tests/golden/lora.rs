//! LoRA files in every format, merged and attached: kind `lora`.

use std::collections::HashMap;

use anyhow::{Context, Result, anyhow};
use scope_engine::Tensor;
use scope_models::{
    checkpoint::{Checkpoint, Linear},
    lora::{
        self, Merged,
        keys::{BUILT_IN_ADAPTER, LoraFile, LoraRules},
    },
    quirks::Quirks,
    wan::{Adapters, Call, Family, KvCache, WanConfig, WanTransformer},
    weights::{Loader, Precision, TensorMap},
};
use serde_json::Value;

use crate::{
    case::{Case, Check, Recorded},
    dit::{config, embedding, latents_bcfhw, to_cfhw},
};

/// The file of this name, rebuilt from the shared matrices or from its recorded tensors.
fn file(case: &Case, name: &str) -> Result<Checkpoint> {
    let verbatim = format!("file.{name}.");
    let mut tensors: Vec<(String, Recorded)> = Vec::new();
    for key in case.names(&verbatim) {
        tensors.push((key[verbatim.len()..].to_owned(), case.recorded(&key)?.clone()));
    }
    if tensors.is_empty() {
        let alpha = case.json.pointer(&format!("/alphas/{name}")).and_then(Value::as_f64);
        for key in case.names("A.") {
            let (module, part) = key[2..].rsplit_once('.').ok_or_else(|| anyhow!("{key} names no matrix"))?;
            let (down, up) = match name {
                "up_down_alpha" | "kohya_unet" => ("lora_down", "lora_up"),
                _ => ("lora_A", "lora_B"),
            };
            let prefixed = match name {
                "peft_plain" | "peft_plain_alpha" => module.to_owned(),
                "kohya_unet" => format!("lora_unet_{}", module.replace('.', "_")),
                "diffusers_transformer_prefix" => format!("transformer.{module}"),
                "builtin" => format!("base_model.model.{module}"),
                _ => format!("diffusion_model.{module}"),
            };
            let matrix = if part == "down" { down } else { up };
            tensors.push((format!("{prefixed}.{matrix}.weight"), case.recorded(&key)?.clone()));
            if let (Some(alpha), "down") = (alpha, part) {
                tensors.push((
                    format!("{prefixed}.alpha"),
                    Recorded { shape: vec![], values: vec![alpha as f32] },
                ));
            }
        }
    }
    let data: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(_, tensor)| tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect())
        .collect();
    let views = tensors
        .iter()
        .zip(&data)
        .map(|((name, tensor), data)| {
            let view =
                safetensors::tensor::TensorView::new(safetensors::Dtype::F32, tensor.shape.clone(), data)?;
            Ok((name.as_str(), view))
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(Checkpoint::from_bytes(name, safetensors::serialize(views, None)?)?)
}

struct Setting<'a> {
    case: &'a Case,
    config: WanConfig,
    weights: TensorMap,
    x: Tensor,
}

impl Setting<'_> {
    fn load(&self, merged: &[(&LoraFile<'_>, f32)], attached: &[&LoraFile<'_>]) -> Result<WanTransformer> {
        let source = Merged::new(&self.weights, merged);
        let loader = Loader::new(&source, &self.case.device, Precision::F32);
        let mut model = WanTransformer::load(&loader, &self.config, None)?;
        for (index, file) in attached.iter().enumerate() {
            lora::attach(&mut model, file, index, &loader)?;
        }
        Ok(model)
    }

    fn flow(&self, model: &WanTransformer, strengths: &[f32]) -> Result<Vec<f32>> {
        let tokens = self.config.frame_tokens(self.x.dim(1), self.x.dim(2));
        let mut cache = KvCache::new(&self.case.device, &self.config, &Family::longlive().cache, tokens, 0)?;
        let adapters = Adapters(strengths.to_vec());
        let text = model.text_context(&embedding(self.case, "context")?, &adapters)?;
        let call = Call {
            latents: &self.x,
            timesteps: &[500.0],
            start_frame: 0,
            text: &text,
            adapters: &adapters,
            vace: None,
            cache_weight: None,
            clean: false,
            recache: false,
            quirks: Quirks::reference(),
        };
        Ok(to_cfhw(&model.forward(&call, &mut cache)?))
    }
}

pub(crate) fn replay(case: &Case, check: &mut Check) -> Result<()> {
    let setting =
        Setting { case, config: config(case)?, weights: case.weights(), x: latents_bcfhw(case, "x")? };
    let compare = |check: &mut Check, name: &str, got: &[f32]| {
        let recorded = case.recorded(name)?;
        check.after(setting.config.num_layers).close(name, got, &recorded.values, 1e-4, 1e-4);
        anyhow::Ok(())
    };
    compare(check, "base.out_flow", &setting.flow(&setting.load(&[], &[])?, &[])?)?;

    let layers = setting.config.description().linears().to_vec();
    // With the adapter that comes with a model, the reference finds only the layers that this adapter wraps.
    let inside_blocks: Vec<Linear> =
        layers.iter().filter(|layer| layer.module.starts_with("blocks.")).cloned().collect();
    for run in case.value("/runs")?.as_array().into_iter().flatten() {
        let tag = run["tag"].as_str().unwrap_or_default();
        let built_in = tag.starts_with("builtin");
        let mut files = Vec::new();
        if built_in {
            files.push(("builtin".to_owned(), 1.0, run["mode"].as_str() != Some("permanent_merge")));
        }
        for lora in run["loras"].as_array().into_iter().flatten() {
            let mode = lora["merge_mode"].as_str().or(run["mode"].as_str()).unwrap_or("permanent_merge");
            let name = lora["file"].as_str().unwrap_or_default().to_owned();
            files.push((name, lora["scale"].as_f64().unwrap_or(1.0) as f32, mode == "runtime_peft"));
        }
        let mut opened = Vec::new();
        for (name, ..) in &files {
            let file = file(case, name).with_context(|| format!("file {name} of run {tag}"))?;
            opened.push(if name == "builtin" { file.select(&BUILT_IN_ADAPTER)? } else { file });
        }
        let layers = if built_in { &inside_blocks } else { &layers };
        let parsed = opened
            .iter()
            .map(|file| LoraFile::parse(file, layers, LoraRules::Reference))
            .collect::<Result<Vec<_>, _>>()?;
        let pick = |attached: bool| {
            parsed
                .iter()
                .zip(&files)
                .filter(move |(_, file)| file.2 == attached)
                .map(|(lora, file)| (lora, file.1))
        };
        let merged: Vec<_> = pick(false).collect();
        let attached: Vec<_> = pick(true).map(|(lora, _)| lora).collect();
        let model = setting.load(&merged, &attached)?;
        let mut strengths: Vec<f32> = pick(true).map(|(_, strength)| strength).collect();
        compare(check, &format!("{tag}.out_flow"), &setting.flow(&model, &strengths)?)?;

        let names: HashMap<&str, usize> = files
            .iter()
            .filter(|file| file.2)
            .enumerate()
            .map(|(index, file)| (file.0.as_str(), index))
            .collect();
        for (index, update) in run["scale_updates"].as_array().into_iter().flatten().enumerate() {
            let (Some(name), Some(scale)) = (update[0].as_str(), update[1].as_f64()) else { continue };
            strengths[names[name]] = scale as f32;
            compare(check, &format!("{tag}.update{index}.out_flow"), &setting.flow(&model, &strengths)?)?;
        }
    }
    Ok(())
}
