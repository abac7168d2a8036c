//! What a stream remembers of its past.

use scope_engine::{
    Tensor,
    ops::{Activation, Conv, ConvInput, conv},
};

/// Frames that layers keep for the next call, in the order in which the layers run.
#[derive(Clone, Debug, Default)]
struct Memory {
    slots: Vec<Option<Tensor>>,
    started: bool,
}

impl Memory {
    fn bytes(&self) -> usize {
        self.slots.iter().flatten().map(|frames| frames.shape().numel() * frames.dtype().size_bytes()).sum()
    }

    /// Runs a pass. After an error the stream starts again: some layers have seen the input and others have not.
    fn pass<T, E>(&mut self, run: impl FnOnce(&mut Pass<'_>) -> Result<T, E>) -> Result<T, E> {
        let result = run(&mut Pass { slots: &mut self.slots, next: 0, first: !self.started });
        self.started = result.is_ok();
        if result.is_err() {
            self.slots.clear();
        }
        result
    }
}

macro_rules! memory {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default)]
        pub struct $name(Memory);

        impl $name {
            /// Has the stream not begun yet?
            #[must_use]
            pub fn is_fresh(&self) -> bool {
                !self.0.started
            }

            /// Lets the stream begin again.
            pub fn clear(&mut self) {
                self.0 = Memory::default();
            }

            /// Memory that the remembered frames take.
            #[must_use]
            pub fn bytes(&self) -> usize {
                self.0.bytes()
            }

            /// Runs a pass over the next part of the stream.
            pub(super) fn pass<T, E>(
                &mut self,
                run: impl FnOnce(&mut Pass<'_>) -> Result<T, E>,
            ) -> Result<T, E> {
                self.0.pass(run)
            }
        }
    };
}

memory! {
    /// The past of a stream that is encoded. A fresh one begins a stream; it fits every autoencoder, and after its
    /// first use only that one.
    EncoderMemory
}

memory! {
    /// The past of a stream that is decoded. A fresh one begins a stream; it fits every autoencoder, and after its
    /// first use only that one.
    DecoderMemory
}

/// One pass through the layers of an encoder or decoder.
pub(super) struct Pass<'a> {
    slots: &'a mut Vec<Option<Tensor>>,
    next: usize,
    /// Is this the first pass of the stream?
    pub(super) first: bool,
}

impl Pass<'_> {
    /// The slot of the layer that comes next.
    pub(super) fn slot(&mut self) -> &mut Option<Tensor> {
        if self.next == self.slots.len() {
            self.slots.push(None);
        }
        self.next += 1;
        &mut self.slots[self.next - 1]
    }

    /// A convolution over the frames that its layer remembers and those of `x`.
    pub(super) fn conv(
        &mut self,
        x: &Tensor,
        layer: &Conv,
        residual: Option<&Tensor>,
        activation: Activation,
    ) -> scope_engine::Result<Tensor> {
        self.with_past(x, layer, |past| conv(x, layer, &ConvInput { past, residual, activation }))
    }

    /// Whatever `run` makes of `x` and of the frames that the layer remembers.
    pub(super) fn with_past<T>(
        &mut self,
        x: &Tensor,
        layer: &Conv,
        run: impl FnOnce(Option<&Tensor>) -> scope_engine::Result<T>,
    ) -> scope_engine::Result<T> {
        let slot = self.slot();
        let out = run(slot.as_ref())?;
        *slot = Some(newest(slot.take(), x, layer.spec().before)?);
        Ok(out)
    }
}

/// The last `count` of the frames seen so far, or all if they are fewer.
pub(super) fn newest(past: Option<Tensor>, x: &Tensor, count: usize) -> scope_engine::Result<Tensor> {
    let frames = x.dim(0);
    if frames == count {
        return Ok(x.clone());
    }
    if frames > count {
        let kept = x.narrow(frames - count, count)?;
        // A view keeps all of `x` in memory. On a GPU, that is worth the copy's time where it is at most twice as much.
        let is_view = x.device().returns_early() && frames <= 2 * count;
        return if is_view { Ok(kept) } else { Tensor::concat(&[&kept]) };
    }
    match past {
        None => Ok(x.clone()),
        Some(past) => {
            let kept = (count - frames).min(past.dim(0));
            Tensor::concat(&[&past.narrow(past.dim(0) - kept, kept)?, x])
        }
    }
}
