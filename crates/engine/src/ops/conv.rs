//! Convolutions over pictures and over time.

use crate::{
    Cpu, Device, Result, Tensor,
    convert::f32_from_f8e4m3,
    cpu::{
        conv::{Job, MAX_FRAMES, Matrix, Phase},
        dots::{Dots, MAX_COLUMNS},
        gemm::Panels,
    },
    cuda::{ConvJob, CudaConv},
    error::ensure_shape,
    ops::{Activation, Weights, channel_norm},
    tensor::shape_of,
};

/// What a kernel sees beyond the edge of a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Border {
    /// Zeros.
    #[default]
    Zeros,
    /// The picture, mirrored at the centres of its outermost pixels.
    Reflect,
}

/// How the result is larger than the input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Enlarge {
    /// It is not.
    #[default]
    No,
    /// The input's pixels are doubled in both directions first (nearest neighbour).
    Nearest2,
    /// A transposed convolution: the kernel is laid over the result and moved by two pixels for each of the input.
    Transposed2,
}

/// The geometry of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvSpec {
    /// Frames, height and width of the kernel.
    pub kernel: [usize; 3],
    /// Step between kernels in frames.
    pub frame_stride: usize,
    /// Step between kernels in pixels, both ways.
    pub stride: usize,
    /// Frames in front of the first that the first kernel sees: those given as past, zeros before them. No kernel sees
    /// frames behind the last.
    pub before: usize,
    /// Pixels beyond the edges that kernels see, top, bottom, left and right. Of a transposed convolution: pixels cut
    /// off the edges of the result.
    pub padding: [usize; 4],
    /// What they see there.
    pub border: Border,
    /// Is the result larger?
    pub enlarge: Enlarge,
    /// Frames of the result for each position of the kernel in time: the output channels are split among them.
    pub frames_out: usize,
}

impl ConvSpec {
    /// One frame at a time, a square kernel of odd size, zeros around the picture, a result of the same size.
    #[must_use]
    pub const fn square(size: usize) -> Self {
        Self {
            kernel: [1, size, size],
            frame_stride: 1,
            stride: 1,
            before: 0,
            padding: [size / 2; 4],
            border: Border::Zeros,
            enlarge: Enlarge::No,
            frames_out: 1,
        }
    }

    /// Each pixel by itself.
    #[must_use]
    pub const fn pointwise() -> Self {
        Self::square(1)
    }

    /// The kernel ends at a frame and begins `frames - 1` before it.
    #[must_use]
    pub const fn causal(self, frames: usize) -> Self {
        let [_, height, width] = self.kernel;
        Self { kernel: [frames, height, width], before: frames.saturating_sub(1), ..self }
    }

    /// One result for every `frames` frames, made of these.
    #[must_use]
    pub const fn pooling(self, frames: usize) -> Self {
        let [_, height, width] = self.kernel;
        Self { kernel: [frames, height, width], frame_stride: frames, ..self }
    }

    /// Kernels `stride` pixels apart.
    #[must_use]
    pub const fn strided(self, stride: usize) -> Self {
        Self { stride, ..self }
    }

    /// Another padding: top, bottom, left, right.
    #[must_use]
    pub const fn padded(self, padding: [usize; 4]) -> Self {
        Self { padding, ..self }
    }

    /// The picture mirrored at its edges.
    #[must_use]
    pub const fn reflecting(self) -> Self {
        Self { border: Border::Reflect, ..self }
    }

    /// An enlarged result.
    #[must_use]
    pub const fn enlarged(self, enlarge: Enlarge) -> Self {
        Self { enlarge, ..self }
    }

    /// Output channels split among `frames` consecutive frames.
    #[must_use]
    pub const fn growing(self, frames: usize) -> Self {
        Self { frames_out: frames, ..self }
    }

    /// Pixels of the result, along one axis, for each kernel position.
    fn scale(&self) -> usize {
        if self.enlarge == Enlarge::No { 1 } else { 2 }
    }

    fn check(&self) -> Result<()> {
        const OP: &str = "convolution layer";
        let [frames, height, width] = self.kernel;
        ensure_shape!(
            frames > 0 && height > 0 && width > 0 && self.frame_stride > 0 && self.stride > 0,
            OP,
            "kernel {:?}, strides {} and {}",
            self.kernel,
            self.frame_stride,
            self.stride
        );
        ensure_shape!(frames <= MAX_FRAMES, OP, "a kernel of {frames} frames; {MAX_FRAMES} are the most");
        ensure_shape!(self.frames_out > 0, OP, "no frames of the result");
        let [top, bottom, left, right] = self.padding;
        let enlarges = match self.enlarge {
            Enlarge::No => true,
            Enlarge::Nearest2 => top + bottom + 1 == height && left + right + 1 == width,
            // (n − 1) · 2 + kernel − cut off = 2 n
            Enlarge::Transposed2 => frames == 1 && top + bottom + 2 == height && left + right + 2 == width,
        };
        ensure_shape!(
            enlarges && (self.enlarge == Enlarge::No || (self.stride == 1 && self.border == Border::Zeros)),
            OP,
            "{:?} with kernel {:?} and padding {:?} does not give a result of twice the size",
            self.enlarge,
            self.kernel,
            self.padding
        );
        Ok(())
    }

    /// Height or width of the result for an input of `size`, or `None` if the kernel does not fit.
    fn output(&self, size: usize, axis: usize) -> Option<usize> {
        if self.enlarge != Enlarge::No {
            return Some(2 * size);
        }
        let padding = self.padding[2 * axis] + self.padding[2 * axis + 1];
        Some((size + padding).checked_sub(self.kernel[1 + axis])? / self.stride + 1)
    }
}

/// A convolution's weights, laid out for their device.
#[derive(Clone)]
pub struct Conv {
    spec: ConvSpec,
    channels: [usize; 2],
    /// Of a kernel for each frame of [`ConvSpec::frames_out`], for each line, for each column of an enlarged pixel.
    weights: Laid,
    device: Device,
}

/// The weights as their device takes them.
#[derive(Clone)]
enum Laid {
    Cpu { phases: Vec<Phase>, bias: Option<Tensor>, zeros: Tensor },
    Cuda(CudaConv),
}

impl Conv {
    /// Lays out weights of shape `[out, in, frames, height, width]` (of a transposed convolution `[in, out, height,
    /// width]`) and a bias of `out`, where `channels` is `[in, out]` and the kernel's extent is that of `spec`. The
    /// frames that the result grows by count among the output channels.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] when weights, scales or bias have another length or the geometry is impossible.
    pub fn new(
        device: &Device,
        weights: Weights<'_>,
        channels: [usize; 2],
        spec: ConvSpec,
        bias: Option<&[f32]>,
    ) -> Result<Self> {
        const OP: &str = "convolution layer";
        spec.check()?;
        let [inputs, outputs] = channels;
        let count =
            spec.kernel.iter().chain(&channels).try_fold(1usize, |product, &n| product.checked_mul(n));
        ensure_shape!(
            count == Some(weights.len()) && outputs.is_multiple_of(spec.frames_out),
            OP,
            "{} weights for {inputs} to {outputs} channels, {spec:?}",
            weights.len()
        );
        let rows = if spec.enlarge == Enlarge::Transposed2 { inputs } else { outputs };
        ensure_shape!(weights.has_scales(rows), OP, "not one scale for each of {rows} rows of weights");
        if let Some(bias) = bias {
            ensure_shape!(bias.len() == outputs, OP, "a bias of {} for {outputs} outputs", bias.len());
        }
        let scale = spec.scale();
        let bias = bias.map(|bias| Tensor::from_f32(device, &[outputs], bias)).transpose()?;
        let mut kernels = Vec::with_capacity(spec.frames_out * scale * scale);
        for group in 0..spec.frames_out {
            for line in 0..scale {
                for column in 0..scale {
                    kernels.push(kernel(weights, channels, &spec, [group, line, column]));
                }
            }
        }
        let laid = match device {
            Device::Cpu(cpu) => {
                let phase = |kernel| phase(cpu, weights, channels, &spec, kernel);
                let phases = kernels.into_iter().map(phase).collect::<Result<_>>()?;
                Laid::Cpu { phases, bias, zeros: Tensor::zeros(device, &[spec.kernel[2] * inputs])? }
            }
            Device::Cuda(cuda) => {
                let channels = [inputs, outputs / spec.frames_out];
                Laid::Cuda(CudaConv::new(cuda, &spec, channels, &kernels, bias)?)
            }
        };
        Ok(Self { spec, channels, weights: laid, device: device.clone() })
    }

    /// Channels of the input.
    #[must_use]
    pub fn in_channels(&self) -> usize {
        self.channels[0]
    }

    /// Channels of the result.
    #[must_use]
    pub fn out_channels(&self) -> usize {
        self.channels[1] / self.spec.frames_out
    }

    /// The geometry.
    #[must_use]
    pub fn spec(&self) -> &ConvSpec {
        &self.spec
    }

    /// Memory of the weights.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let bytes = |phase: &Phase| match &phase.matrix {
            Matrix::Panels(panels) => panels.bytes(),
            Matrix::Dots(dots) => dots.data.len() * 4,
        };
        match &self.weights {
            Laid::Cpu { phases, .. } => phases.iter().map(bytes).sum(),
            Laid::Cuda(layer) => layer.bytes(),
        }
    }
}

impl std::fmt::Debug for Conv {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Conv({} -> {}, {:?})", self.channels[0], self.channels[1], self.spec)
    }
}

/// One of the kernels of a convolution.
pub(crate) struct Kernel {
    /// `[channels, frames · lines · columns · input channels]`.
    pub(crate) matrix: Vec<f32>,
    /// First line and column relative to the pixel's.
    pub(crate) origin: [isize; 2],
    /// Lines and columns.
    pub(crate) taps: [usize; 2],
}

/// The kernel that makes column `column` of line `line` of every enlarged pixel in frame `group`.
///
/// A kernel over doubled pixels meets most of them several times: the weights that meet the same pixel are added up
/// here, so that four small kernels do the work of one large one. Of a transposed kernel each phase keeps the weights
/// that meet a pixel at all.
fn kernel(
    weights: Weights<'_>,
    [inputs, outputs]: [usize; 2],
    spec: &ConvSpec,
    [group, line, column]: [usize; 3],
) -> Kernel {
    let [frames, height, width] = spec.kernel;
    let (top, lines) = axis(spec.enlarge, height, spec.padding[0], line);
    let (left, columns) = axis(spec.enlarge, width, spec.padding[2], column);
    let depth = frames * lines.len() * columns.len() * inputs;
    let count = outputs / spec.frames_out;
    let weight = |output: usize, input: usize, frame: usize, y: usize, x: usize| {
        let (row, at) = match spec.enlarge {
            Enlarge::Transposed2 => (input, input * outputs + output),
            Enlarge::No | Enlarge::Nearest2 => (output, (output * inputs + input) * frames + frame),
        };
        let at = (at * height + y) * width + x;
        match weights {
            Weights::F32(values) => values[at],
            Weights::Bf16(values) => values[at].to_f32(),
            Weights::F8E4M3(values) => f32_from_f8e4m3(values[at]),
            Weights::Int8 { values, scales } => f32::from(values[at]) * scales[row],
        }
    };
    let mut matrix = Vec::with_capacity(count * depth);
    for output in group * count..(group + 1) * count {
        for frame in 0..frames {
            for lines in &lines {
                for columns in &columns {
                    // Nearly all weights of large networks: none is added to another.
                    if let (&[y], &[x]) = (&lines[..], &columns[..]) {
                        matrix.extend((0..inputs).map(|input| weight(output, input, frame, y, x)));
                        continue;
                    }
                    for input in 0..inputs {
                        let met = lines.iter().flat_map(|&y| columns.iter().map(move |&x| (y, x)));
                        matrix.push(met.map(|(y, x)| weight(output, input, frame, y, x)).sum::<f32>());
                    }
                }
            }
        }
    }
    Kernel { matrix, origin: [top, left], taps: [lines.len(), columns.len()] }
}

/// A kernel laid out for the CPU.
fn phase(
    cpu: &Cpu,
    weights: Weights<'_>,
    [inputs, outputs]: [usize; 2],
    spec: &ConvSpec,
    Kernel { matrix, origin, taps }: Kernel,
) -> Result<Phase> {
    let count = outputs / spec.frames_out;
    let depth = spec.kernel[0] * taps[0] * taps[1] * inputs;
    let matrix = if count <= MAX_COLUMNS {
        Matrix::Dots(Dots { data: matrix.into(), columns: count, depth })
    } else if matches!(weights, Weights::Bf16(_) | Weights::F8E4M3(_)) && spec.enlarge != Enlarge::Nearest2 {
        let matrix: Vec<_> = matrix.iter().map(|&value| half::bf16::from_f32(value)).collect();
        Matrix::Panels(Panels::from_bf16(cpu, &matrix, count, depth)?)
    } else {
        // Sums of bf16 weights are no bf16 numbers.
        Matrix::Panels(Panels::from_f32(cpu, &matrix, count, depth)?)
    };
    Ok(Phase { matrix, origin, taps })
}

/// One axis of a phase: where its kernel begins relative to the pixel, and for each pixel that it meets, the elements
/// of the original kernel that meet it.
fn axis(enlarge: Enlarge, kernel: usize, padding: usize, phase: usize) -> (isize, Vec<Vec<usize>>) {
    let (phase, padding) = (phase as isize, padding as isize);
    let pixel = |element: usize| {
        let element = element as isize;
        match enlarge {
            Enlarge::No => Some(element - padding),
            Enlarge::Nearest2 => Some((phase - padding + element).div_euclid(2)),
            Enlarge::Transposed2 => {
                let doubled = phase + padding - element;
                (doubled.rem_euclid(2) == 0).then(|| doubled.div_euclid(2))
            }
        }
    };
    let met: Vec<_> =
        (0..kernel).filter_map(|element| pixel(element).map(|pixel| (pixel, element))).collect();
    let first = met.iter().map(|&(pixel, _)| pixel).min().unwrap_or(0);
    let last = met.iter().map(|&(pixel, _)| pixel).max().unwrap_or(0);
    let elements = |at: isize| met.iter().filter(move |(pixel, _)| *pixel == at).map(|&(_, element)| element);
    (first, (first..=last).map(|at| elements(at).collect()).collect())
}

/// What else goes into a convolution.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConvInput<'a> {
    /// Frames `[frames, height, width, channels]` that came before the input. Those that no kernel reaches are ignored;
    /// where there are fewer, zeros came before them.
    pub past: Option<&'a Tensor>,
    /// Added to the result; of its shape.
    pub residual: Option<&'a Tensor>,
    /// Applied to the sum.
    pub activation: Activation,
}

/// `activation(kernel ∗ x + bias + residual)` for pictures `x` of shape `[frames, height, width, channels]`.
///
/// The result is `[frames', height', width', channels']`: `frames' = ((before + frames - kernel) / stride + 1) ·
/// frames_out` and likewise for the other dimensions; without frames enough for a kernel, it has none.
///
/// # Errors
/// [`crate::Error::Shape`] when an input does not fit the layer or the kernel does not fit into the padded picture.
pub fn conv(x: &Tensor, layer: &Conv, input: &ConvInput<'_>) -> Result<Tensor> {
    const OP: &str = "convolution";
    let made = result_shape(OP, x, layer, input)?;
    let (phases, bias, zeros) = match (&layer.weights, &layer.device) {
        (Laid::Cpu { phases, bias, zeros }, _) => (phases, bias, zeros),
        (Laid::Cuda(weights), Device::Cuda(cuda)) => {
            return cuda.conv(OP, weights, &cuda_job(x, layer, input, made));
        }
        (Laid::Cuda(_), Device::Cpu(_)) => return Err(crate::Error::Elsewhere { op: OP }),
    };
    let (spec, shape) = (&layer.spec, x.shape());
    let [_, height, width, outputs] = made;
    let mut out = Tensor::empty(&layer.device, shape_of(OP, &made)?)?;
    let job = Job {
        phases,
        bias: bias.as_ref().map(|bias| bias.f32s(OP)).transpose()?,
        x: x.f32s(OP)?,
        past: input.past.map_or(Ok(&[][..]), |past| past.f32s(OP))?,
        before: spec.before,
        kernel_frames: spec.kernel[0],
        frame_stride: spec.frame_stride,
        input: [shape[1], shape[2], layer.in_channels()],
        output: [height, width, outputs],
        stride: spec.stride,
        scale: spec.scale(),
        reflect: spec.border == Border::Reflect,
        zeros: zeros.f32s(OP)?,
        residual: input.residual.map(|residual| residual.f32s(OP)).transpose()?,
        activation: input.activation.on_cpu(),
    };
    let cpu = layer.device.clone().cpu(OP)?;
    job.run(&cpu, out.f32s_mut(OP)?);
    Ok(out)
}

/// What [`conv_norm`] does with the result of a convolution: [`channel_norm`].
#[derive(Clone, Copy, Debug)]
pub struct ChannelNorm<'a> {
    /// A factor for each channel.
    pub gamma: &'a Tensor,
    /// Is it followed by SiLU?
    pub silu: bool,
}

/// The result of [`conv`] if it is to be kept, and the same behind a norm of each pixel's channels.
///
/// These are [`conv`] and [`channel_norm`] one after the other, to the last bit, except on Hopper in bf16 for 96 and 192
/// channels, SiLU and no activation: there one kernel makes both, and the squares of a pixel are added up in another order.
///
/// # Errors
/// As [`conv`] and [`channel_norm`].
pub fn conv_norm(
    x: &Tensor,
    layer: &Conv,
    input: &ConvInput<'_>,
    norm: &ChannelNorm<'_>,
    keep: bool,
) -> Result<(Option<Tensor>, Tensor)> {
    const OP: &str = "convolution with norm";
    let ChannelNorm { gamma, silu } = *norm;
    let channels = layer.out_channels();
    ensure_shape!(
        gamma.shape().numel() == channels,
        OP,
        "{} parameters for {channels} channels",
        gamma.shape()
    );
    if let (Laid::Cuda(weights), Device::Cuda(cuda), true) = (&layer.weights, &layer.device, silu) {
        let made = result_shape(OP, x, layer, input)?;
        let job = cuda_job(x, layer, input, made);
        if let Some(both) = cuda.conv_norm(OP, weights, &job, gamma, keep)? {
            return Ok(both);
        }
    }
    let plain = conv(x, layer, input)?;
    let normed = channel_norm(&plain, gamma, silu)?;
    Ok((keep.then_some(plain), normed))
}

fn cuda_job<'a>(x: &'a Tensor, layer: &'a Conv, input: &ConvInput<'a>, out: [usize; 4]) -> ConvJob<'a> {
    let ConvInput { past, residual, activation } = *input;
    ConvJob { spec: &layer.spec, scale: layer.spec.scale(), x, past, residual, activation, out }
}

/// The shape of a convolution's result, if its inputs fit the layer and each other.
fn result_shape(op: &'static str, x: &Tensor, layer: &Conv, input: &ConvInput<'_>) -> Result<[usize; 4]> {
    let (spec, shape) = (&layer.spec, x.shape());
    let channels = layer.in_channels();
    ensure_shape!(
        shape.len() == 4 && shape[3] == channels && channels > 0,
        op,
        "{shape} into a layer of {channels} channels"
    );
    let [top, bottom, left, right] = spec.padding;
    if spec.border == Border::Reflect {
        ensure_shape!(
            top.max(bottom) < shape[1] && left.max(right) < shape[2],
            op,
            "{shape} is too small to mirror {:?} pixels",
            spec.padding
        );
    }
    let (Some(height), Some(width)) = (spec.output(shape[1], 0), spec.output(shape[2], 1)) else {
        return Err(crate::Error::Shape { op, detail: format!("{:?} over {shape}", spec.kernel) });
    };
    // Coordinates are 32-bit numbers inside.
    ensure_shape!(shape[1].max(shape[2]) < 1 << 24, op, "{shape} is too large");
    if let Some(past) = input.past {
        let fits = past.shape().len() == 4 && past.shape()[1..] == shape[1..];
        ensure_shape!(fits, op, "{} before {shape}", past.shape());
    }
    let kernels =
        (spec.before + shape[0]).checked_sub(spec.kernel[0]).map_or(0, |free| free / spec.frame_stride + 1);
    let frames = if shape[0] == 0 { 0 } else { kernels * spec.frames_out };
    let made = [frames, height, width, layer.out_channels()];
    if let Some(residual) = input.residual {
        ensure_shape!(residual.shape()[..] == made, op, "{} added to {made:?}", residual.shape());
    }
    Ok(made)
}
