//! Control signals in every mode: kind `vace_encoding`.

use anyhow::{Result, anyhow};
use scope_engine::Tensor;
use scope_models::{
    control::{Control, StreamEncoder},
    frames::{self, Layout, Picture},
    quirks::Quirks,
    vae::{DecoderMemory, EncoderMemory, VideoAutoencoder},
};
use serde_json::Value;

use crate::{
    case::{Case, Check, MANY_LAYERS},
    dit::{latents_bfchw, permute, permuted},
    vae::{load_tae, load_wan, pixels_bcthw},
};

/// The autoencoder's state of one scenario.
struct Stream {
    video: EncoderMemory,
    own: [EncoderMemory; 2],
    decoder: DecoderMemory,
}

pub(crate) fn replay(case: &Case, check: &mut Check) -> Result<()> {
    let autoencoder: Box<dyn VideoAutoencoder> = match case.text("vae")? {
        "wan" => Box::new(load_wan(case, &case.device, "/vae_config")?),
        _ => Box::new(load_tae(case, &case.device, "/vae_config")?),
    };
    let size = [case.number("/height")?, case.number("/width")?];
    let chunk_frames = case.number("/num_frame_per_block")?;
    let decoded = latents_bfchw(case, "decode_latents")?;
    let picture = |value: &Value| -> Result<Tensor> {
        let recorded = case.recorded(&format!("ref.{value}.u8_hwc"))?;
        let bytes: Vec<u8> = recorded.values.iter().map(|&value| value as u8).collect();
        let [height, width, _] = recorded.shape[..] else { return Err(anyhow!("ref.{value} is no picture")) };
        Ok(frames::cover(
            &case.device,
            &Picture { height, width, bytes: &bytes, layout: Layout::Packed },
            size,
        )?)
    };
    let mut current: Option<(String, Stream)> = None;
    for entry in case.value("/scenarios")?.as_array().into_iter().flatten() {
        let name = entry["scenario"].as_str().unwrap_or_default().to_owned();
        let chunk = entry["chunk"].as_u64().unwrap_or_default();
        if current.as_ref().is_none_or(|(running, _)| *running != name) {
            let fresh = Stream {
                video: EncoderMemory::default(),
                own: Default::default(),
                decoder: DecoderMemory::default(),
            };
            current = Some((name.clone(), fresh));
        }
        let Some((_, stream)) = &mut current else { continue };
        let inputs = &entry["inputs"];
        let clip = |key: &str, prefix: &str| -> Result<Option<Tensor>> {
            let Some(index) = inputs.get(key) else { return Ok(None) };
            let name = format!("{prefix}.{index}");
            if prefix == "frames" {
                return Ok(Some(pixels_bcthw(case, &name)?));
            }
            let (shape, values) = permuted(case.recorded(&name)?, &[0, 2, 3, 4, 1]);
            Ok(Some(Tensor::from_f32(&case.device, &shape[1..], &values)?))
        };
        let (control_frames, masks) =
            (clip("vace_input_frames", "frames")?, clip("vace_input_masks", "masks")?);
        let references = inputs["vace_ref_images"].as_array().into_iter().flatten();
        let references = references.map(&picture).collect::<Result<Vec<_>>>()?;
        let [first, last] =
            ["first_frame_image", "last_frame_image"].map(|key| inputs.get(key).map(&picture).transpose());
        let (first, last) = (first?, last?);
        let control = Control {
            frames: control_frames.as_ref(),
            masks: masks.as_ref(),
            references: &references,
            first: first.as_ref(),
            last: last.as_ref(),
        };
        let quirks = Quirks::reference();
        let mut encoder = StreamEncoder {
            autoencoder: &*autoencoder,
            video: &mut stream.video,
            own: &mut stream.own,
            decoder: &stream.decoder,
            quirks,
        };
        let context = control.context(&mut encoder, chunk_frames, quirks)?;
        let recorded = format!("{name}.{chunk}.context");
        match context {
            None => check.holds(&format!("{recorded} is none"), !case.has(&recorded)),
            Some(context) => {
                let got = permute(&context.0.shape(), &context.0.to_vec(), &[3, 0, 1, 2]).1;
                let expected = &case.recorded(&recorded)?.values;
                check.after(MANY_LAYERS).close(&recorded, &got, expected, 1e-4, 0.0);
            }
        }
        autoencoder.decode(&mut stream.decoder, &decoded)?;
    }
    Ok(())
}
