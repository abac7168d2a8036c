//! From four layers of the encoder to depth.

use scope_engine::{
    Tensor,
    ops::{self, Activation, Conv, ConvInput, ConvSpec, Linear, conv},
};

use super::{
    DepthConfig, LAYERS, PATCH,
    temporal::{self, ATTENTIONS, TemporalModule},
};
use crate::{
    checkpoint::NetworkDescription,
    weights::{Loader, WeightError},
};

/// Temporal modules.
const MODULES: usize = 4;
/// States that a frame leaves for those after it.
pub(super) const STATES: usize = MODULES * ATTENTIONS;
/// How much the first two layers are enlarged.
const ENLARGED: [usize; 2] = [4, 2];

pub(super) fn describe(config: &DepthConfig, net: &mut NetworkDescription) {
    let (widths, features) = (config.widths, config.features);
    for (layer, width) in widths.into_iter().enumerate() {
        net.weight_and_bias(&format!("projects.{layer}"), &[width, config.dim, 1, 1]);
    }
    for (layer, factor) in ENLARGED.into_iter().enumerate() {
        // Of transposed convolutions the inputs come first; here there are as many outputs.
        net.weight_and_bias(
            &format!("resize_layers.{layer}"),
            &[widths[layer], widths[layer], factor, factor],
        );
    }
    net.weight_and_bias("resize_layers.3", &[widths[3], widths[3], 3, 3]);
    net.scope("scratch", |net| {
        for (layer, width) in widths.into_iter().enumerate() {
            net.tensor(&format!("layer{}_rn.weight", layer + 1), &[features, width, 3, 3]);
            net.scope(&format!("refinenet{}", layer + 1), |net| {
                net.weight_and_bias("out_conv", &[features, features, 1, 1]);
                // The deepest has one more than it uses.
                for unit in ["resConfUnit1", "resConfUnit2"] {
                    for layer in ["conv1", "conv2"] {
                        net.weight_and_bias(&format!("{unit}.{layer}"), &[features, features, 3, 3]);
                    }
                }
            });
        }
        net.weight_and_bias("output_conv1", &[features / 2, features, 3, 3])
            .weight_and_bias("output_conv2.0", &[config.last, features / 2, 3, 3])
            .weight_and_bias("output_conv2.2", &[1, config.last, 1, 1]);
    });
    for (module, width) in module_widths(config).into_iter().enumerate() {
        temporal::describe(module, width, config.moments, net);
    }
}

/// Channels where each of the temporal modules stands.
fn module_widths(config: &DepthConfig) -> [usize; MODULES] {
    [config.widths[2], config.widths[3], config.features, config.features]
}

#[derive(Debug)]
pub(super) struct Head {
    projects: Vec<Conv>,
    enlarge: [Linear; 2],
    shrink: Conv,
    narrow: Vec<Conv>,
    /// From fine to coarse, as they are named.
    fusions: Vec<Fusion>,
    modules: Vec<TemporalModule>,
    last: [Conv; 3],
}

impl Head {
    pub(super) fn load(loader: &Loader<'_>, config: &DepthConfig) -> Result<Self, WeightError> {
        let (widths, features) = (config.widths, config.features);
        let scratch = loader.at("scratch");
        let square = ConvSpec::square(3);
        let (mut projects, mut narrow, mut fusions) = (Vec::new(), Vec::new(), Vec::new());
        for (layer, width) in widths.into_iter().enumerate() {
            let project = loader.at("projects").at(layer);
            projects.push(project.conv([config.dim, width], ConvSpec::pointwise())?);
            let rn = scratch.at(format!("layer{}_rn", layer + 1));
            let weight = rn.conv_weight([width, features], &square)?;
            narrow.push(rn.conv_from(&weight, [width, features], square, None)?);
            let fusion = scratch.at(format!("refinenet{}", layer + 1));
            fusions.push(Fusion::load(&fusion, features, layer + 1 < LAYERS)?);
        }
        let resize = loader.at("resize_layers");
        let modules = module_widths(config).into_iter().enumerate();
        let modules =
            modules.map(|(module, width)| TemporalModule::load(loader, module, width, config.moments));
        Ok(Self {
            projects,
            enlarge: [
                enlarging(&resize.at(0), widths[0], ENLARGED[0])?,
                enlarging(&resize.at(1), widths[1], ENLARGED[1])?,
            ],
            shrink: resize.at(3).conv([widths[3]; 2], square.strided(2))?,
            narrow,
            fusions,
            modules: modules.collect::<Result<_, _>>()?,
            last: [
                scratch.at("output_conv1").conv([features, features / 2], square)?,
                scratch.at("output_conv2.0").conv([features / 2, config.last], square)?,
                scratch.at("output_conv2.2").conv([config.last, 1], ConvSpec::pointwise())?,
            ],
        })
    }

    /// Depth `[1, height, width, 1]` from the encoder's layers, and the states that this frame leaves. `past` has, for each
    /// state, those of the frames before.
    pub(super) fn run(
        &self,
        layers: &[Tensor],
        past: &[Vec<&Tensor>],
    ) -> scope_engine::Result<(Tensor, Vec<Tensor>)> {
        let patches = [1, 2].map(|axis| layers.first().map_or(0, |layer| layer.dim(axis)));
        let mut states = Vec::with_capacity(STATES);
        let mut remember = |x: &Tensor, module: usize| self.modules[module].run(x, past, &mut states);
        let mut joined = Vec::with_capacity(LAYERS);
        for (layer, seen) in layers.iter().enumerate() {
            let mut x = conv(seen, &self.projects[layer], &ConvInput::default())?;
            x = match layer {
                0 | 1 => enlarged(&x, &self.enlarge[layer], ENLARGED[layer])?,
                2 => remember(&x, 0)?,
                _ => remember(&conv(&x, &self.shrink, &ConvInput::default())?, 1)?,
            };
            joined.push(conv(&x, &self.narrow[layer], &ConvInput::default())?);
        }
        let size = |layer: usize| [joined[layer].dim(1), joined[layer].dim(2)];
        let mut x = self.fusions[3].run(joined[3].clone(), None, size(2))?;
        x = remember(&x, 2)?;
        x = self.fusions[2].run(x, Some(&joined[2]), size(1))?;
        x = remember(&x, 3)?;
        x = self.fusions[1].run(x, Some(&joined[1]), size(0))?;
        x = self.fusions[0].run(x, Some(&joined[0]), size(0).map(|side| 2 * side))?;
        let [first, second, third] = &self.last;
        x = ops::resize_between_corners(
            &conv(&x, first, &ConvInput::default())?,
            patches.map(|side| side * PATCH),
        )?;
        Ok((rectified(&rectified(&x, second)?, third)?, states))
    }
}

fn rectified(x: &Tensor, layer: &Conv) -> scope_engine::Result<Tensor> {
    conv(x, layer, &ConvInput { activation: Activation::Relu, ..ConvInput::default() })
}

/// A transposed convolution whose kernels lie side by side: each pixel becomes a square by itself.
fn enlarging(loader: &Loader<'_>, width: usize, factor: usize) -> Result<Linear, WeightError> {
    let square = factor * factor;
    let weight = loader.values("weight", &[width, width, factor, factor])?;
    let bias = loader.values("bias", &[width])?.repeat(square);
    // From [input, output, place] to [place, output, input].
    let mut rows = Vec::with_capacity(weight.len());
    for place in 0..square {
        for output in 0..width {
            rows.extend((0..width).map(|input| weight[(input * width + output) * square + place]));
        }
    }
    loader.linear_from(&rows, [square * width, width], Some(&bias))
}

fn enlarged(x: &Tensor, layer: &Linear, factor: usize) -> scope_engine::Result<Tensor> {
    let (height, width, channels) = (x.dim(1), x.dim(2), x.dim(3));
    let tokens = ops::linear(&x.reshape(&[height * width, channels])?, layer, Activation::None)?;
    ops::unpatchify(&tokens, factor, [1, factor * height, factor * width, channels])
}

/// Joins what comes from below with a layer, and enlarges it.
#[derive(Debug)]
struct Fusion {
    side: Option<[Conv; 2]>,
    main: [Conv; 2],
    out: Conv,
}

impl Fusion {
    fn load(loader: &Loader<'_>, features: usize, joins: bool) -> Result<Self, WeightError> {
        let layer =
            |unit: &str, name: &str| loader.at(unit).at(name).conv([features; 2], ConvSpec::square(3));
        let unit = |name: &str| Ok::<_, WeightError>([layer(name, "conv1")?, layer(name, "conv2")?]);
        Ok(Self {
            side: joins.then(|| unit("resConfUnit1")).transpose()?,
            main: unit("resConfUnit2")?,
            out: loader.at("out_conv").conv([features; 2], ConvSpec::pointwise())?,
        })
    }

    fn run(&self, x: Tensor, layer: Option<&Tensor>, size: [usize; 2]) -> scope_engine::Result<Tensor> {
        let x = match (layer, &self.side) {
            (Some(layer), Some(unit)) => ops::add(x, &residual(layer, unit)?)?,
            _ => x,
        };
        // The last layer mixes channels and interpolation mixes pixels: in this order there are fewer of these.
        let x = conv(&residual(&x, &self.main)?, &self.out, &ConvInput::default())?;
        ops::resize_between_corners(&x, size)
    }
}

/// `conv(relu(conv(relu(x)))) + x`.
fn residual(x: &Tensor, [first, second]: &[Conv; 2]) -> scope_engine::Result<Tensor> {
    let hidden = rectified(&ops::activate(x.clone(), Activation::Relu)?, first)?;
    conv(&hidden, second, &ConvInput { residual: Some(x), ..ConvInput::default() })
}
