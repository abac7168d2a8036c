//! Which tensors of a checkpoint a network takes, and under which names.

use super::error::shown;
use super::{Checkpoint, CheckpointError, CheckpointProblem, NameList};
use std::collections::BTreeSet;

/// Where the weights lie inside a `torch.save` of nested dictionaries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unwrap {
    /// At the top.
    #[default]
    No,
    /// In the dictionary under this key, if there is one, else at the top.
    IfPresent(&'static str),
    /// In the dictionary under this key.
    Required(&'static str),
}

/// How the names in a file become the names of a network. The steps are taken in the order of the fields; a constant
/// per kind of file describes it:
///
/// ```
/// use scope_models::checkpoint::{Selection, Unwrap};
/// const GENERATOR: Selection = Selection {
///     unwrap: Unwrap::Required("generator"),
///     strip_prefix_if_all: Some("model."),
///     ..Selection::ALL
/// };
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selection {
    /// The dictionary to look in.
    pub unwrap: Unwrap,
    /// Taken off once, if every name starts with it.
    pub strip_prefix_if_all: Option<&'static str>,
    /// Taken off once, wherever a name starts with it.
    pub strip_prefix: Option<&'static str>,
    /// Unless empty, only names with one of these beginnings are kept.
    pub keep_prefixes: &'static [&'static str],
    /// Names with one of these beginnings are dropped.
    pub ignore_prefixes: &'static [&'static str],
    /// Names with one of these endings are dropped.
    pub ignore_suffixes: &'static [&'static str],
}

impl Selection {
    /// Everything, under the names in the file.
    pub const ALL: Self = Self {
        unwrap: Unwrap::No,
        strip_prefix_if_all: None,
        strip_prefix: None,
        keep_prefixes: &[],
        ignore_prefixes: &[],
        ignore_suffixes: &[],
    };
}

impl Default for Selection {
    fn default() -> Self {
        Self::ALL
    }
}

impl Checkpoint {
    /// The same file with fewer tensors or other names. Cheap: the file stays mapped once.
    ///
    /// # Errors
    ///
    /// The required dictionary is missing, two tensors end up with one name, or none is left.
    pub fn select(&self, selection: &Selection) -> Result<Self, CheckpointError> {
        self.select_entries(selection).map_err(|problem| CheckpointError::new(&*self.file, problem))
    }

    fn select_entries(&self, selection: &Selection) -> Result<Self, CheckpointProblem> {
        let mut selected = self.clone();
        match selection.unwrap {
            Unwrap::No => {}
            Unwrap::Required(key) if !self.has_group(key) => return Err(self.missing_key(key)),
            Unwrap::IfPresent(key) if !self.has_group(key) => {}
            Unwrap::Required(key) | Unwrap::IfPresent(key) => {
                selected.entries.retain(|entry| entry.group() == Some(key));
                for entry in &mut selected.entries {
                    entry.name.drain(..=key.len());
                    entry.group_bytes = None;
                }
            }
        }
        let starts = |name: &str, prefixes: &[&str]| prefixes.iter().any(|&prefix| name.starts_with(prefix));
        let strip_all = selection
            .strip_prefix_if_all
            .filter(|&prefix| selected.entries.iter().all(|entry| entry.name.starts_with(prefix)));
        for prefix in [strip_all, selection.strip_prefix].into_iter().flatten() {
            for entry in &mut selected.entries {
                if entry.name.starts_with(prefix) {
                    entry.name.drain(..prefix.len());
                    entry.group_bytes = None;
                }
            }
        }
        selected.entries.retain(|entry| {
            let name = &entry.name;
            (selection.keep_prefixes.is_empty() || starts(name, selection.keep_prefixes))
                && !starts(name, selection.ignore_prefixes)
                && !selection.ignore_suffixes.iter().any(|&suffix| name.ends_with(suffix))
        });
        if selected.entries.is_empty() {
            return Err(CheckpointProblem::NoTensors);
        }
        selected.sort()?;
        Ok(selected)
    }

    fn has_group(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.group() == Some(key))
    }

    fn missing_key(&self, key: &str) -> CheckpointProblem {
        let found: BTreeSet<&str> =
            self.entries.iter().map(|entry| entry.group().unwrap_or(&entry.name)).collect();
        let found: NameList = found.into_iter().collect();
        CheckpointProblem::MissingKey { key: shown(key), found: found.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::FileDType;
    use crate::checkpoint::test_files::{TorchFile, TorchValue, open};

    fn nested() -> Checkpoint {
        let tensor = |value: f32| TorchValue::f32(&[1], &[value]);
        open(&TorchFile::of(TorchValue::dict([
            (
                "generator",
                TorchValue::dict([
                    ("model.module.a.weight", tensor(1.0)),
                    ("model.teacher.b.weight", tensor(2.0)),
                    ("model.bn.num_batches_tracked", tensor(3.0)),
                ]),
            ),
            ("generator.x", tensor(4.0)),
            ("critic", TorchValue::dict([("a.weight", tensor(5.0))])),
        ])))
    }

    #[test]
    fn names_are_joined_by_dots_until_a_dictionary_is_chosen() {
        let names: Vec<String> = nested().tensors().map(|tensor| tensor.name().to_owned()).collect();
        assert_eq!(
            names,
            [
                "critic.a.weight",
                "generator.model.bn.num_batches_tracked",
                "generator.model.module.a.weight",
                "generator.model.teacher.b.weight",
                "generator.x"
            ]
        );
    }

    #[test]
    fn a_selection_unwraps_strips_keeps_and_ignores() {
        let selection = Selection {
            unwrap: Unwrap::Required("generator"),
            strip_prefix_if_all: Some("model."),
            strip_prefix: Some("module."),
            ignore_prefixes: &["teacher."],
            ignore_suffixes: &[".num_batches_tracked"],
            ..Selection::ALL
        };
        let chosen = nested().select(&selection).unwrap();
        assert_eq!(chosen.len(), 1);
        let tensor = chosen.get("a.weight").unwrap();
        assert_eq!((tensor.to_f32(), tensor.dtype()), (vec![1.0], FileDType::F32));
        let kept = nested().select(&Selection { keep_prefixes: &["critic."], ..Selection::ALL }).unwrap();
        assert_eq!(kept.len(), 1);
    }

    #[test]
    fn a_prefix_that_not_all_share_stays() {
        let chosen =
            nested().select(&Selection { strip_prefix_if_all: Some("generator."), ..Selection::ALL });
        assert!(chosen.unwrap().get("generator.x").is_ok());
    }

    #[test]
    fn a_missing_dictionary_is_an_error_only_if_it_is_required() {
        let selection = |unwrap| Selection { unwrap, ..Selection::ALL };
        let all = nested().select(&selection(Unwrap::IfPresent("generator_ema"))).unwrap();
        assert_eq!(all.len(), 5);
        let error = nested().select(&selection(Unwrap::Required("generator_ema"))).unwrap_err();
        assert_eq!(
            error.to_string(),
            "test.pt: has no entry generator_ema, only critic, generator, generator.x; it is a checkpoint of another \
             model"
        );
    }

    #[test]
    fn names_that_fall_together_are_refused() {
        let error = nested().select(&Selection { strip_prefix: Some("critic."), ..Selection::ALL });
        assert!(error.is_ok());
        let tensor = || TorchValue::f32(&[1], &[0.0]);
        let file = open(&TorchFile::of(TorchValue::dict([("module.a", tensor()), ("a", tensor())])));
        let error = file.select(&Selection { strip_prefix: Some("module."), ..Selection::ALL }).unwrap_err();
        assert!(matches!(error.problem(), CheckpointProblem::Duplicate(name) if name == "a"), "{error}");
        let error = file.select(&Selection { keep_prefixes: &["vace"], ..Selection::ALL }).unwrap_err();
        assert!(matches!(error.problem(), CheckpointProblem::NoTensors));
    }
}
