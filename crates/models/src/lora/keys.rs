//! LoRA files: which tensors of a file adapt which linear layer of a network.
//!
//! Trainers name the same two matrices in many ways. All of these are understood, for a layer `blocks.0.ffn.0`:
//!
//! | trainer | key |
//! |---|---|
//! | PEFT | `base_model.model.blocks.0.ffn.0.lora_A.weight`, also with the adapter's name: `….lora_A.default.weight` |
//! | ComfyUI | `diffusion_model.blocks.0.ffn.0.lora_A.weight`, or `lora_down` and `lora_up` |
//! | bare | `blocks.0.ffn.0.lora_A.weight` |
//! | Kohya, musubi-tuner | `lora_unet_blocks_0_ffn_0.lora_down.weight` |
//! | diffusers | `transformer.blocks.0.ffn.net.0.proj.lora_A.weight` |
//!
//! The names of the network's own layers decide what a key means, so that a layer whose name has an underscore is found
//! as well (`lora_unet_text_embedding_0`).

use crate::checkpoint::{Checkpoint, Linear, NameList, Selection, TensorView, Unwrap, shown};
use std::collections::HashMap;

/// Where the adapters that come with a model lie in their file.
pub const BUILT_IN_ADAPTER: Selection =
    Selection { unwrap: Unwrap::IfPresent("generator_lora"), ..Selection::ALL };

/// Which keys are understood, and which strength they ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoraRules {
    /// As trainers mean it: every format above, and `alpha / rank` wherever a file has an alpha.
    #[default]
    Standard,
    /// As Daydream Scope 0.2 does it, for pictures that equal its own: alphas of ComfyUI's `lora_A` files are ignored,
    /// diffusers' names are unknown, and every underscore in a Kohya name is a dot, except in `self_attn` and
    /// `cross_attn`.
    Reference,
}

/// The adapters in a LoRA file.
#[derive(Clone, Debug)]
pub struct LoraFile<'a> {
    /// The file's name for messages.
    pub file: &'a str,
    /// One adapter per layer, in the order of the network's layers.
    pub modules: Vec<LoraModule<'a>>,
    /// Keys that belong to no layer of the network, or to something else than a low-rank product of two matrices.
    pub unmatched: Vec<&'a str>,
}

/// What a file adds to a layer's weight `W`: `W + strength · scale · (b · a)` (Hu et al., "LoRA: Low-Rank Adaptation
/// of Large Language Models", 2021, section 4.1).
#[derive(Clone, Debug)]
pub struct LoraModule<'a> {
    /// The layer's name in the network.
    pub module: String,
    /// `[rank, in_features]`.
    pub a: TensorView<'a>,
    /// `[out_features, rank]`.
    pub b: TensorView<'a>,
    /// `alpha / rank`, or 1 without an alpha.
    pub scale: f32,
}

impl LoraModule<'_> {
    /// Rows of `a` and columns of `b`. Layers of one file may differ.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.a.shape().first().copied().unwrap_or(0)
    }
}

/// A LoRA file that cannot be applied. Names the file without its folder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoraError {
    /// Nothing in the file belongs to the network.
    #[error("{file}: none of its {} tensors belongs to this model ({unmatched}); it was made for another one", unmatched.total())]
    NothingMatches {
        /// The file.
        file: String,
        /// Its keys.
        unmatched: NameList,
    },
    /// Some keys have no place in the network.
    #[error("{file}: {} of its tensors have no place in this model ({unmatched}); it was made for another one", unmatched.total())]
    Unmatched {
        /// The file.
        file: String,
        /// The keys.
        unmatched: NameList,
    },
    /// One of the two matrices is missing.
    #[error("{file}: the adapter of {module} has only one of its two matrices; fetch the file again")]
    Incomplete {
        /// The file.
        file: String,
        /// The layer.
        module: String,
    },
    /// The matrices don't fit each other or the layer.
    #[error(
        "{file}: the adapter of {module} is {b:?}·{a:?} where the model has {layer:?}; it was made for another size \
         of model"
    )]
    Shape {
        /// The file.
        file: String,
        /// The layer.
        module: String,
        /// Shape of the matrix that is applied first.
        a: Vec<usize>,
        /// Shape of the matrix that is applied last.
        b: Vec<usize>,
        /// Shape of the layer's weight.
        layer: [usize; 2],
    },
    /// An alpha that is no finite number.
    #[error("{file}: {key} is not one finite number; fetch the file again")]
    Alpha {
        /// The file.
        file: String,
        /// The alpha's key.
        key: String,
    },
    /// Two keys mean the same matrix.
    #[error("{file}: {key} is a second matrix for {module}; it is not clear which one to use")]
    Twice {
        /// The file.
        file: String,
        /// The second key.
        key: String,
        /// The layer.
        module: String,
    },
}

impl<'a> LoraFile<'a> {
    /// Finds the adapters for these layers. Keys that fit none are left in [`LoraFile::unmatched`]; whether that is an
    /// error is the caller's choice, as for a file with adapters for a text encoder as well.
    ///
    /// # Errors
    ///
    /// An adapter is incomplete, given twice, or does not fit its layer.
    pub fn parse(file: &'a Checkpoint, layers: &[Linear], rules: LoraRules) -> Result<Self, LoraError> {
        let names = LayerNames::new(layers, rules);
        let mut found: Vec<Parts<'a>> = vec![Parts::default(); layers.len()];
        let mut unmatched = Vec::new();
        let mut needs_conversion = false;
        for tensor in file.tensors() {
            let key = tensor.name();
            let Some((body, part)) = split_key(key) else {
                unmatched.push(key);
                continue;
            };
            if part != Part::Alpha {
                let comfy = body.starts_with("diffusion_model.")
                    && COMFY_ENDINGS.iter().any(|end| key.ends_with(end));
                needs_conversion |= !comfy;
            }
            let Some(layer) = names.find(body) else {
                unmatched.push(key);
                continue;
            };
            let place = match part {
                Part::A => &mut found[layer].a,
                Part::B => &mut found[layer].b,
                Part::Alpha => &mut found[layer].alpha,
            };
            if place.replace(tensor).is_some() {
                let (key, module) = (shown(key), layers[layer].module.clone());
                return Err(LoraError::Twice { file: file.file().to_owned(), key, module });
            }
        }
        let ignore_alpha = rules == LoraRules::Reference && !needs_conversion;
        let mut modules = Vec::new();
        for (layer, parts) in layers.iter().zip(found) {
            modules.extend(parts.into_module(file.file(), layer, ignore_alpha, &mut unmatched)?);
        }
        Ok(Self { file: file.file(), modules, unmatched })
    }

    /// The same, unless keys are left over.
    ///
    /// # Errors
    ///
    /// Lists the first of the keys that have no place in the network.
    pub fn refuse_unmatched(self) -> Result<Self, LoraError> {
        let (file, unmatched) = (self.file.to_owned(), self.unmatched.iter().collect());
        if self.modules.is_empty() {
            Err(LoraError::NothingMatches { file, unmatched })
        } else if self.unmatched.is_empty() {
            Ok(self)
        } else {
            Err(LoraError::Unmatched { file, unmatched })
        }
    }
}

/// What the reference takes as it is, and then without looking at alphas.
const COMFY_ENDINGS: [&str; 2] = [".lora_A.weight", ".lora_B.weight"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    A,
    B,
    Alpha,
}

/// What a file has for one layer.
#[derive(Clone, Default)]
struct Parts<'a> {
    a: Option<TensorView<'a>>,
    b: Option<TensorView<'a>>,
    alpha: Option<TensorView<'a>>,
}

impl<'a> Parts<'a> {
    fn into_module(
        self,
        file: &str,
        layer: &Linear,
        ignore_alpha: bool,
        unmatched: &mut Vec<&'a str>,
    ) -> Result<Option<LoraModule<'a>>, LoraError> {
        let file = || file.to_owned();
        let module = || layer.module.clone();
        let (a, b) = match (self.a, self.b) {
            (Some(a), Some(b)) => (a, b),
            (None, None) => {
                unmatched.extend(self.alpha.map(|alpha| alpha.name()));
                return Ok(None);
            }
            _ => return Err(LoraError::Incomplete { file: file(), module: module() }),
        };
        let rank = match (a.shape(), b.shape()) {
            (&[rank, columns], &[rows, same])
                if rank == same && rank > 0 && columns == layer.in_features && rows == layer.out_features =>
            {
                rank
            }
            _ => {
                return Err(LoraError::Shape {
                    file: file(),
                    module: module(),
                    a: a.shape().to_vec(),
                    b: b.shape().to_vec(),
                    layer: [layer.out_features, layer.in_features],
                });
            }
        };
        let scale = match self.alpha.filter(|_| !ignore_alpha) {
            None => 1.0,
            Some(alpha) => match (alpha.elements(), alpha.to_f32().first()) {
                (1, Some(value)) if value.is_finite() => value / rank as f32,
                _ => return Err(LoraError::Alpha { file: file(), key: shown(alpha.name()) }),
            },
        };
        Ok(Some(LoraModule { module: module(), a, b, scale }))
    }
}

/// Splits a key into the layer's name as the file has it and what the tensor is to the layer.
fn split_key(key: &str) -> Option<(&str, Part)> {
    const ENDINGS: [(&str, Part); 9] = [
        (".lora_A.weight", Part::A),
        (".lora_B.weight", Part::B),
        (".lora_A.default.weight", Part::A),
        (".lora_B.default.weight", Part::B),
        (".lora_down.weight", Part::A),
        (".lora_up.weight", Part::B),
        (".lora.down.weight", Part::A),
        (".lora.up.weight", Part::B),
        (".alpha", Part::Alpha),
    ];
    ENDINGS.iter().find_map(|&(ending, part)| Some((key.strip_suffix(ending)?, part)))
}

/// The layers of a network under every name that a file may have for them.
struct LayerNames {
    by_name: HashMap<String, usize>,
    /// Without dots, as Kohya's trainer writes them; `None` for what two layers share.
    by_flat_name: HashMap<String, Option<usize>>,
    rules: LoraRules,
}

impl LayerNames {
    fn new(layers: &[Linear], rules: LoraRules) -> Self {
        let mut by_name: HashMap<String, usize> =
            layers.iter().enumerate().map(|(index, layer)| (layer.module.clone(), index)).collect();
        let mut by_flat_name: HashMap<String, Option<usize>> = HashMap::new();
        if rules == LoraRules::Standard {
            for (index, layer) in layers.iter().enumerate() {
                let in_diffusers = diffusers_name(&layer.module);
                for name in [Some(&layer.module), in_diffusers.as_ref()].into_iter().flatten() {
                    by_flat_name
                        .entry(name.replace('.', "_"))
                        .and_modify(|other| *other = other.filter(|&other| other == index))
                        .or_insert(Some(index));
                }
                if let Some(name) = in_diffusers {
                    by_name.entry(name).or_insert(index);
                }
            }
        }
        Self { by_name, by_flat_name, rules }
    }

    fn find(&self, body: &str) -> Option<usize> {
        let prefixes = match self.rules {
            LoraRules::Standard => {
                &["base_model.model.", "diffusion_model.", "transformer.", "model.diffusion_model.", "model."]
                    [..]
            }
            LoraRules::Reference => &["base_model.model.", "diffusion_model."],
        };
        if let Some(flat) = body.strip_prefix("lora_unet_") {
            return match self.rules {
                LoraRules::Standard => self.by_flat_name.get(flat).copied().flatten(),
                LoraRules::Reference => {
                    let dotted = flat.replace('_', ".");
                    let name = dotted.replace("self.attn", "self_attn").replace("cross.attn", "cross_attn");
                    self.by_name.get(&name).copied()
                }
            };
        }
        let found = |name: &str| self.by_name.get(name).copied();
        found(body).or_else(|| {
            // PEFT wraps what may have a prefix of its own.
            let bodies = prefixes.iter().filter_map(|&prefix| body.strip_prefix(prefix));
            bodies.into_iter().find_map(|inner| {
                let inner_bodies = prefixes.iter().filter_map(|&prefix| inner.strip_prefix(prefix));
                found(inner).or_else(|| inner_bodies.into_iter().find_map(found))
            })
        })
    }
}

/// The name that a layer of the Wan transformer has in diffusers, whose `scripts/convert_wan_to_diffusers.py`
/// (Apache-2.0) has this table.
fn diffusers_name(module: &str) -> Option<String> {
    const TOP: [(&str, &str); 6] = [
        ("time_embedding.0", "condition_embedder.time_embedder.linear_1"),
        ("time_embedding.2", "condition_embedder.time_embedder.linear_2"),
        ("text_embedding.0", "condition_embedder.text_embedder.linear_1"),
        ("text_embedding.2", "condition_embedder.text_embedder.linear_2"),
        ("time_projection.1", "condition_embedder.time_proj"),
        ("head.head", "proj_out"),
    ];
    const IN_BLOCK: [(&str, &str); 12] = [
        ("self_attn.q", "attn1.to_q"),
        ("self_attn.k", "attn1.to_k"),
        ("self_attn.v", "attn1.to_v"),
        ("self_attn.o", "attn1.to_out.0"),
        ("cross_attn.q", "attn2.to_q"),
        ("cross_attn.k", "attn2.to_k"),
        ("cross_attn.v", "attn2.to_v"),
        ("cross_attn.o", "attn2.to_out.0"),
        ("ffn.0", "ffn.net.0.proj"),
        ("ffn.2", "ffn.net.2"),
        ("before_proj", "proj_in"),
        ("after_proj", "proj_out"),
    ];
    if let Some((_, name)) = TOP.iter().find(|(own, _)| *own == module) {
        return Some((*name).to_owned());
    }
    IN_BLOCK.iter().find_map(|(own, name)| {
        let block = module.strip_suffix(own)?;
        // A whole name, below `blocks.N.` or `vace_blocks.N.`.
        block.ends_with('.').then(|| format!("{block}{name}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::NetworkDescription;
    use crate::checkpoint::test_files::{TorchFile, TorchValue, open, safetensors_file};

    fn layers() -> Vec<Linear> {
        let mut net = NetworkDescription::new("the test network");
        net.linear("text_embedding.0", 4, 3);
        net.scope("blocks.0", |net| {
            net.linear("self_attn.q", 4, 4)
                .linear("cross_attn.o", 4, 4)
                .linear("ffn.0", 6, 4)
                .linear("ffn.2", 4, 6);
        });
        net.linear("head.head", 2, 4);
        net.linears().to_vec()
    }

    const ZEROS: [f32; 24] = [0.0; 24];

    fn checkpoint(tensors: &[(&str, &[usize])], alphas: &[(&str, f32)]) -> Checkpoint {
        let mut all: Vec<(&str, &[usize], &[f32])> =
            tensors.iter().map(|&(name, shape)| (name, shape, &ZEROS[..shape.iter().product()])).collect();
        all.extend(alphas.iter().map(|(name, alpha)| (*name, &[][..], std::slice::from_ref(alpha))));
        Checkpoint::from_bytes("style.safetensors", safetensors_file(&all)).unwrap()
    }

    /// The layers and scales found, and the keys left over.
    fn parse(file: &Checkpoint, rules: LoraRules) -> (Vec<(String, f32)>, Vec<String>) {
        let lora = LoraFile::parse(file, &layers(), rules).unwrap();
        let modules = lora.modules.iter().map(|module| (module.module.clone(), module.scale)).collect();
        (modules, lora.unmatched.iter().map(|&key| key.to_owned()).collect())
    }

    #[test]
    fn every_trainers_names_lead_to_the_same_layer() {
        for (a, b) in [
            ("blocks.0.ffn.0.lora_A.weight", "blocks.0.ffn.0.lora_B.weight"),
            ("diffusion_model.blocks.0.ffn.0.lora_A.weight", "diffusion_model.blocks.0.ffn.0.lora_B.weight"),
            (
                "diffusion_model.blocks.0.ffn.0.lora_down.weight",
                "diffusion_model.blocks.0.ffn.0.lora_up.weight",
            ),
            (
                "base_model.model.blocks.0.ffn.0.lora_A.weight",
                "base_model.model.blocks.0.ffn.0.lora_B.weight",
            ),
            (
                "base_model.model.model.blocks.0.ffn.0.lora_A.default.weight",
                "model.blocks.0.ffn.0.lora_B.default.weight",
            ),
            ("transformer.blocks.0.ffn.0.lora_A.weight", "transformer.blocks.0.ffn.0.lora_B.weight"),
            (
                "transformer.blocks.0.ffn.net.0.proj.lora_A.weight",
                "transformer.blocks.0.ffn.net.0.proj.lora_B.weight",
            ),
            ("lora_unet_blocks_0_ffn_0.lora_down.weight", "lora_unet_blocks_0_ffn_0.lora_up.weight"),
            (
                "lora_unet_blocks_0_ffn_net_0_proj.lora_down.weight",
                "lora_unet_blocks_0_ffn_net_0_proj.lora_up.weight",
            ),
        ] {
            let file = checkpoint(&[(a, &[2, 4]), (b, &[6, 2])], &[]);
            let lora =
                LoraFile::parse(&file, &layers(), LoraRules::Standard).unwrap().refuse_unmatched().unwrap();
            let [module] = &lora.modules[..] else { panic!("{a}: {:?}", lora.modules) };
            assert_eq!(
                (module.module.as_str(), module.rank(), module.scale),
                ("blocks.0.ffn.0", 2, 1.0),
                "{a}"
            );
            assert_eq!((module.a.name(), module.b.name()), (a, b));
        }
    }

    #[test]
    fn layers_with_underscores_are_found_in_kohya_files() {
        let file = checkpoint(
            &[
                ("lora_unet_text_embedding_0.lora_down.weight", &[1, 3]),
                ("lora_unet_text_embedding_0.lora_up.weight", &[4, 1]),
                ("lora_unet_head_head.lora_down.weight", &[1, 4]),
                ("lora_unet_head_head.lora_up.weight", &[2, 1]),
                ("lora_unet_blocks_0_cross_attn_o.lora_down.weight", &[1, 4]),
                ("lora_unet_blocks_0_cross_attn_o.lora_up.weight", &[4, 1]),
            ],
            &[],
        );
        let (modules, unmatched) = parse(&file, LoraRules::Standard);
        let found: Vec<_> = modules.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(found, ["text_embedding.0", "blocks.0.cross_attn.o", "head.head"]);
        assert!(unmatched.is_empty());
        // The reference breaks the name with the underscore.
        let (modules, unmatched) = parse(&file, LoraRules::Reference);
        assert_eq!((modules.len(), unmatched.len()), (2, 2));
        assert!(unmatched.iter().all(|key| key.contains("text_embedding")));
    }

    #[test]
    fn names_that_two_layers_share_without_dots_match_neither() {
        let linear = |module: &str| Linear { module: module.to_owned(), out_features: 1, in_features: 1 };
        let names = LayerNames::new(&[linear("a.b_c"), linear("a_b.c"), linear("d")], LoraRules::Standard);
        assert_eq!(names.find("lora_unet_a_b_c"), None);
        assert_eq!((names.find("a.b_c"), names.find("lora_unet_d")), (Some(0), Some(2)));
    }

    #[test]
    fn alpha_over_rank_is_the_scale() {
        let with = |a, b, alpha| checkpoint(&[(a, &[4, 4]), (b, &[4, 4])], &[(alpha, 8.0)]);
        let comfy = with(
            "diffusion_model.blocks.0.self_attn.q.lora_A.weight",
            "diffusion_model.blocks.0.self_attn.q.lora_B.weight",
            "diffusion_model.blocks.0.self_attn.q.alpha",
        );
        let scale = |file: &Checkpoint, rules| parse(file, rules).0[0].1;
        assert_eq!((scale(&comfy, LoraRules::Standard), scale(&comfy, LoraRules::Reference)), (2.0, 1.0));
        let bare = with(
            "blocks.0.self_attn.q.lora_A.weight",
            "blocks.0.self_attn.q.lora_B.weight",
            "blocks.0.self_attn.q.alpha",
        );
        assert_eq!((scale(&bare, LoraRules::Standard), scale(&bare, LoraRules::Reference)), (2.0, 2.0));
        let down_up = with(
            "diffusion_model.blocks.0.self_attn.q.lora_down.weight",
            "diffusion_model.blocks.0.self_attn.q.lora_up.weight",
            "diffusion_model.blocks.0.self_attn.q.alpha",
        );
        assert_eq!((scale(&down_up, LoraRules::Standard), scale(&down_up, LoraRules::Reference)), (2.0, 2.0));
    }

    #[test]
    fn the_reference_passes_over_diffusers_files() {
        let file = checkpoint(
            &[
                ("transformer.head.head.lora_A.weight", &[1, 4]),
                ("transformer.head.head.lora_B.weight", &[2, 1]),
            ],
            &[],
        );
        assert_eq!(parse(&file, LoraRules::Standard).0.len(), 1);
        assert_eq!(parse(&file, LoraRules::Reference).1.len(), 2);
    }

    #[test]
    fn the_adapter_of_a_model_is_found_with_and_without_its_dictionary() {
        let adapter = || {
            TorchValue::dict([
                ("base_model.model.blocks.0.ffn.2.lora_A.weight", TorchValue::f32(&[1, 6], &ZEROS[..6])),
                ("base_model.model.blocks.0.ffn.2.lora_B.weight", TorchValue::f32(&[4, 1], &ZEROS[..4])),
            ])
        };
        for root in
            [adapter(), TorchValue::dict([("generator_lora", adapter()), ("step", TorchValue::Int(7))])]
        {
            let file = open(&TorchFile::of(root)).select(&BUILT_IN_ADAPTER).unwrap();
            let lora = LoraFile::parse(&file, &layers(), LoraRules::Standard).unwrap();
            assert_eq!(lora.refuse_unmatched().unwrap().modules[0].module, "blocks.0.ffn.2");
        }
    }

    #[test]
    fn keys_without_a_place_are_listed() {
        let file = checkpoint(
            &[
                ("head.head.lora_A.weight", &[1, 4]),
                ("head.head.lora_B.weight", &[2, 1]),
                ("blocks.7.ffn.0.lora_A.weight", &[1, 4]),
                ("head.head.dora_scale", &[2]),
            ],
            &[("blocks.0.ffn.0.alpha", 1.0)],
        );
        let lora = LoraFile::parse(&file, &layers(), LoraRules::Standard).unwrap();
        assert_eq!(
            lora.unmatched,
            ["blocks.7.ffn.0.lora_A.weight", "head.head.dora_scale", "blocks.0.ffn.0.alpha"]
        );
        assert_eq!(
            lora.refuse_unmatched().unwrap_err().to_string(),
            "style.safetensors: 3 of its tensors have no place in this model (blocks.7.ffn.0.lora_A.weight, \
             head.head.dora_scale, blocks.0.ffn.0.alpha); it was made for another one"
        );
        let other = checkpoint(&[("lora_te_text_model.lora_down.weight", &[1, 4])], &[]);
        let lora = LoraFile::parse(&other, &layers(), LoraRules::Standard).unwrap();
        assert!(matches!(lora.refuse_unmatched(), Err(LoraError::NothingMatches { .. })));
    }

    #[test]
    fn adapters_that_cannot_be_applied_are_refused() {
        let refusal = |tensors: &[(&str, &[usize])], alphas: &[(&str, f32)]| {
            let file = checkpoint(tensors, alphas);
            LoraFile::parse(&file, &layers(), LoraRules::Standard).unwrap_err().to_string()
        };
        let (a, b) = ("head.head.lora_A.weight", "head.head.lora_B.weight");
        assert!(refusal(&[(a, &[1, 4])], &[]).contains("head.head has only one of its two matrices"));
        assert_eq!(
            refusal(&[(a, &[1, 8]), (b, &[2, 1])], &[]),
            "style.safetensors: the adapter of head.head is [2, 1]·[1, 8] where the model has [2, 4]; it was made for \
             another size of model"
        );
        for (a_shape, b_shape) in
            [(&[2, 4][..], &[2, 1][..]), (&[4], &[2, 1]), (&[0, 4], &[2, 0]), (&[1, 4, 1, 1], &[2, 1])]
        {
            assert!(refusal(&[(a, a_shape), (b, b_shape)], &[]).contains("another size"), "{a_shape:?}");
        }
        let alpha = refusal(&[(a, &[1, 4]), (b, &[2, 1])], &[("head.head.alpha", f32::NAN)]);
        assert!(alpha.contains("head.head.alpha is not one finite number"));
        let alpha = refusal(&[(a, &[1, 4]), (b, &[2, 1]), ("head.head.alpha", &[2])], &[]);
        assert!(alpha.contains("not one finite number"));
        let twice = refusal(&[(a, &[1, 4]), (b, &[2, 1]), ("head.head.lora_down.weight", &[1, 4])], &[]);
        assert!(twice.contains("head.head.lora_down.weight is a second matrix for head.head"));
    }
}
