//! The tensors that a network needs, and whether a checkpoint has them.

use super::error::shown;
use super::{Checkpoint, CheckpointError, CheckpointProblem, NameList};
use std::collections::HashSet;
use std::fmt;

/// What a network's weights must look like: names and shapes, as its configuration gives them. Built by code, layer by
/// layer; names inside [`NetworkDescription::scope`] get a prefix.
///
/// ```
/// use scope_models::checkpoint::NetworkDescription;
/// let mut net = NetworkDescription::new("a small network");
/// for block in 0..2 {
///     net.scope(&format!("blocks.{block}"), |net| {
///         net.linear("q", 8, 4).rms_norm("norm", 8);
///     });
/// }
/// assert_eq!(net.tensors()[3].name, "blocks.1.q.weight");
/// ```
#[derive(Clone, Debug)]
pub struct NetworkDescription {
    network: String,
    prefix: String,
    tensors: Vec<ExpectedTensor>,
    linears: Vec<Linear>,
}

/// A tensor that must be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedTensor {
    /// Its full name.
    pub name: String,
    /// Its extents, outermost first.
    pub shape: Vec<usize>,
    /// What the outermost extent may be.
    pub rows: Extent,
}

/// How strict an extent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// As described.
    Exact,
    /// As described or more: the network takes a part.
    AtLeast,
}

/// A linear layer, to which LoRA adapters can attach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linear {
    /// The module's name, without `.weight`.
    pub module: String,
    /// Rows of its weight.
    pub out_features: usize,
    /// Columns of its weight.
    pub in_features: usize,
}

/// What to do about tensors that a network does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unexpected {
    /// They are an error: the file is probably of another model.
    Refuse,
    /// They are reported and left alone. Where something else is wrong, they are part of the error: misspelt tensors are
    /// missing and unexpected at once.
    Allow,
}

impl NetworkDescription {
    /// A network without tensors. `network` is what messages call it: `Wan2.1 1.3B generator`.
    pub fn new(network: impl Into<String>) -> Self {
        Self { network: network.into(), prefix: String::new(), tensors: Vec::new(), linears: Vec::new() }
    }

    /// What messages call the network.
    #[must_use]
    pub fn network(&self) -> &str {
        &self.network
    }

    /// The tensors, in the order in which they were described.
    #[must_use]
    pub fn tensors(&self) -> &[ExpectedTensor] {
        &self.tensors
    }

    /// The linear layers, in the order in which they were described.
    #[must_use]
    pub fn linears(&self) -> &[Linear] {
        &self.linears
    }

    /// The number of weights in all tensors.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        self.tensors
            .iter()
            .map(|tensor| tensor.shape.iter().map(|&extent| extent as u64).product::<u64>())
            .sum()
    }

    /// Describes what lies under `prefix` and a dot.
    pub fn scope(&mut self, prefix: &str, describe: impl FnOnce(&mut Self)) -> &mut Self {
        let outer_bytes = self.prefix.len();
        self.prefix.push_str(prefix);
        self.prefix.push('.');
        describe(self);
        self.prefix.truncate(outer_bytes);
        self
    }

    /// A tensor of exactly this shape.
    pub fn tensor(&mut self, name: &str, shape: &[usize]) -> &mut Self {
        self.push(name, shape, Extent::Exact)
    }

    /// A tensor of this shape that may have more rows.
    pub fn tensor_at_least(&mut self, name: &str, shape: &[usize]) -> &mut Self {
        self.push(name, shape, Extent::AtLeast)
    }

    /// `module.weight [out_features, in_features]` and `module.bias [out_features]`.
    pub fn linear(&mut self, module: &str, out_features: usize, in_features: usize) -> &mut Self {
        self.linear_without_bias(module, out_features, in_features)
            .tensor(&format!("{module}.bias"), &[out_features])
    }

    /// `module.weight [out_features, in_features]`.
    pub fn linear_without_bias(
        &mut self,
        module: &str,
        out_features: usize,
        in_features: usize,
    ) -> &mut Self {
        self.linears.push(Linear { module: format!("{}{module}", self.prefix), out_features, in_features });
        self.tensor(&format!("{module}.weight"), &[out_features, in_features])
    }

    /// `module.weight` of `weight_shape`, and `module.bias` of as many elements as that has rows: a convolution
    /// `[out, in, kernel…]`, or a layer norm `[channels]`.
    pub fn weight_and_bias(&mut self, module: &str, weight_shape: &[usize]) -> &mut Self {
        self.tensor(&format!("{module}.weight"), weight_shape);
        self.tensor(&format!("{module}.bias"), &weight_shape[..weight_shape.len().min(1)])
    }

    /// `module.weight [channels]`.
    pub fn rms_norm(&mut self, module: &str, channels: usize) -> &mut Self {
        self.tensor(&format!("{module}.weight"), &[channels])
    }

    fn push(&mut self, name: &str, shape: &[usize], rows: Extent) -> &mut Self {
        self.tensors.push(ExpectedTensor {
            name: format!("{}{name}", self.prefix),
            shape: shape.to_vec(),
            rows,
        });
        self
    }
}

impl ExpectedTensor {
    fn accepts(&self, shape: &[usize]) -> bool {
        match (self.rows, self.shape.split_first(), shape.split_first()) {
            (Extent::AtLeast, Some((rows, rest)), Some((found_rows, found_rest))) => {
                found_rows >= rows && found_rest == rest
            }
            _ => self.shape == shape,
        }
    }
}

/// The ways in which a checkpoint is not what a network needs. Displays as one sentence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mismatch {
    /// What messages call the network.
    pub network: String,
    /// Tensors that are not there.
    pub missing: NameList,
    /// Tensors that the network does not know.
    pub unexpected: NameList,
    /// Tensors of another shape, each with the one it has and the one it should have.
    pub misshapen: NameList,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "does not fit {}: ", self.network)?;
        let parts = [
            ("missing", &self.missing),
            ("of another shape", &self.misshapen),
            ("unexpected", &self.unexpected),
        ];
        let mut separator = "";
        for (what, names) in parts.into_iter().filter(|(_, names)| !names.is_empty()) {
            let tensors = if names.total() == 1 { "tensor" } else { "tensors" };
            write!(f, "{separator}{} {tensors} {what} ({names})", names.total())?;
            separator = "; ";
        }
        f.write_str("; choose the file of this model")
    }
}

impl std::error::Error for Mismatch {}

impl Checkpoint {
    /// Checks that every tensor of the network is there in its shape, and returns the names of those that it does not
    /// know.
    ///
    /// # Errors
    ///
    /// One error with everything that is missing, misshapen and, unless allowed, unexpected.
    pub fn check(
        &self,
        description: &NetworkDescription,
        unexpected: Unexpected,
    ) -> Result<NameList, CheckpointError> {
        let mut mismatch = Mismatch { network: description.network.clone(), ..Mismatch::default() };
        let mut expected = HashSet::with_capacity(description.tensors.len());
        for tensor in &description.tensors {
            expected.insert(tensor.name.as_str());
            match self.find(&tensor.name) {
                None => mismatch.missing.push(&tensor.name),
                Some(found) if !tensor.accepts(found.shape()) => {
                    let name = shown(&tensor.name);
                    mismatch.misshapen.push(&format!(
                        "{name} {:?} instead of {:?}",
                        found.shape(),
                        tensor.shape
                    ));
                }
                Some(_) => {}
            }
        }
        let unknown: NameList =
            self.tensors().map(|tensor| tensor.name()).filter(|name| !expected.contains(name)).collect();
        let tolerated = unexpected == Unexpected::Allow || unknown.is_empty();
        if mismatch.missing.is_empty() && mismatch.misshapen.is_empty() && tolerated {
            return Ok(unknown);
        }
        mismatch.unexpected = unknown;
        Err(CheckpointError::new(&*self.file, CheckpointProblem::Mismatch(Box::new(mismatch))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::test_files::safetensors_file;

    fn network() -> NetworkDescription {
        let mut net = NetworkDescription::new("the test network");
        net.scope("blocks.0", |net| {
            net.linear("q", 2, 3).rms_norm("norm", 2);
            net.scope("ffn", |net| {
                net.linear_without_bias("0", 1, 2);
            });
        });
        net.weight_and_bias("conv", &[2, 1, 1, 1]).tensor_at_least("grow", &[2, 1]);
        net
    }

    fn checkpoint(tensors: &[(&str, &[usize])]) -> Checkpoint {
        let values = [0.0; 64];
        let tensors: Vec<_> =
            tensors.iter().map(|&(name, shape)| (name, shape, &values[..shape.iter().product()])).collect();
        Checkpoint::from_bytes("net.safetensors", safetensors_file(&tensors)).unwrap()
    }

    const WHOLE: [(&str, &[usize]); 7] = [
        ("blocks.0.q.weight", &[2, 3]),
        ("blocks.0.q.bias", &[2]),
        ("blocks.0.norm.weight", &[2]),
        ("blocks.0.ffn.0.weight", &[1, 2]),
        ("conv.weight", &[2, 1, 1, 1]),
        ("conv.bias", &[2]),
        ("grow", &[4, 1]),
    ];

    #[test]
    fn names_shapes_and_linear_layers_are_described() {
        let net = network();
        let described: Vec<_> = net.tensors().iter().map(|tensor| tensor.name.as_str()).collect();
        assert_eq!(described, WHOLE.map(|(name, _)| name));
        assert_eq!(net.parameters(), 6 + 2 + 2 + 2 + 2 + 2 + 2);
        let linears: Vec<_> =
            net.linears().iter().map(|linear| (linear.module.as_str(), linear.in_features)).collect();
        assert_eq!(linears, [("blocks.0.q", 3), ("blocks.0.ffn.0", 2)]);
    }

    #[test]
    fn a_whole_checkpoint_fits_and_extras_are_told() {
        assert!(checkpoint(&WHOLE).check(&network(), Unexpected::Refuse).unwrap().is_empty());
        let mut more = WHOLE.to_vec();
        more.push(("ema", &[1]));
        assert_eq!(checkpoint(&more).check(&network(), Unexpected::Allow).unwrap().shown(), ["ema"]);
    }

    #[test]
    fn one_error_tells_all_that_is_wrong() {
        let found = checkpoint(&[
            ("blocks.0.q.weight", &[3, 2]),
            ("blocks.0.norm.weight", &[2]),
            ("conv.weight", &[2, 1, 1, 1]),
            ("conv.bias", &[2]),
            ("grow", &[1, 1]),
            ("blocks.1.q.weight", &[2, 3]),
        ]);
        let error = found.check(&network(), Unexpected::Refuse).unwrap_err();
        assert_eq!(
            error.to_string(),
            "net.safetensors: does not fit the test network: 2 tensors missing (blocks.0.q.bias, \
             blocks.0.ffn.0.weight); 2 tensors of another shape (blocks.0.q.weight [3, 2] instead of [2, 3], grow \
             [1, 1] instead of [2, 1]); 1 tensor unexpected (blocks.1.q.weight); choose the file of this model"
        );
        let allowed = found.check(&network(), Unexpected::Allow).unwrap_err();
        assert_eq!(allowed.to_string(), error.to_string());
    }

    #[test]
    fn a_checkpoint_of_another_model_makes_a_short_error() {
        let names: Vec<String> = (0..500).map(|i| format!("x.{i}.weight")).collect();
        let other: Vec<(&str, &[usize])> = names.iter().map(|name| (name.as_str(), &[1][..])).collect();
        let error = checkpoint(&other).check(&network(), Unexpected::Refuse).unwrap_err().to_string();
        assert!(error.contains("500 tensors unexpected") && error.contains("and 488 more"), "{error}");
        assert!(error.len() < 800, "{error}");
    }
}
