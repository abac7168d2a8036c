//! Convolutions with the norm behind them. One kernel makes both where 96 or 192 channels fill a tile.

use scope_engine::{
    Device,
    ops::{self, Activation, ChannelNorm, ConvInput, ConvSpec, Enlarge},
};

use super::{Inputs, Results, poison};

pub(super) fn run(device: &Device, results: &mut Results) {
    let mut inputs = Inputs::new(device);
    let causal = ConvSpec::square(3).causal(3);
    let cases = [
        ("causal", [96, 96], causal, [37, 29]),
        ("causal", [192, 192], causal, [50, 19]),
        ("causal", [192, 192], causal, [5, 7]),
        ("causal", [192, 96], causal, [33, 18]),
        ("causal", [384, 192], causal, [25, 17]),
        ("causal", [96, 384], causal, [9, 10]),
        ("causal", [40, 24], causal, [9, 10]),
        ("doubled", [384, 192], ConvSpec::square(3).enlarged(Enlarge::Nearest2), [26, 9]),
        ("doubled", [192, 96], ConvSpec::square(3).enlarged(Enlarge::Nearest2), [17, 21]),
        ("halving", [96, 96], ConvSpec::square(3).strided(2).padded([0, 1, 0, 1]), [38, 46]),
        (
            "halving time",
            [192, 192],
            ConvSpec { frame_stride: 2, ..ConvSpec::pointwise().causal(3) },
            [25, 9],
        ),
    ];
    for (name, channels, spec, [height, width]) in cases {
        let layer = inputs.conv(channels, spec);
        let x = inputs.tensor(&[3, height, width, channels[0]]);
        let past = inputs.tensor(&[2, height, width, channels[0]]);
        let gamma = inputs.tensor(&[channels[1], 1, 1, 1]);
        let shape = ops::conv(&x, &layer, &ConvInput::default()).unwrap().shape();
        let with_past = ConvInput { past: Some(&past), ..ConvInput::default() };
        let residual = inputs.tensor(&shape);
        let all = [
            ("alone", ConvInput::default()),
            ("past", with_past),
            ("residual", ConvInput { residual: Some(&residual), ..ConvInput::default() }),
            ("past, residual", ConvInput { residual: Some(&residual), ..with_past }),
            ("ReLU", ConvInput { activation: Activation::Relu, ..ConvInput::default() }),
        ];
        for (what, input) in all {
            let name = format!("{name} convolution with norm {channels:?}, {what}");
            for (silu, keep) in [(true, true), (true, false), (false, true)] {
                poison(device);
                let norm = ChannelNorm { gamma: &gamma, silu };
                let (plain, normed) = ops::conv_norm(&x, &layer, &input, &norm, keep).unwrap();
                assert_eq!(plain.is_some(), keep);
                results.extend(plain.map(|plain| (format!("{name}, plain"), plain.to_vec())));
                results.push((name.clone(), normed.to_vec()));
            }
        }
    }
}
