//! The files of the model, from a folder or built into the program.

use std::{borrow::Cow, fs, io::Read, path::Path};

use flate2::read::GzDecoder;

use super::{PackedWeights, PocketConfig, PocketError};
use crate::checkpoint::Checkpoint;

/// The model's files. Their tensors are read when the model is loaded.
#[derive(Clone, Debug)]
pub struct PocketFiles {
    pub(super) config: PocketConfig,
    pub(super) tokenizer: Cow<'static, [u8]>,
    pub(super) transformer: PackedWeights,
    pub(super) text_encoder: PackedWeights,
    pub(super) autoencoder: PackedWeights,
}

/// What has been found of it.
#[derive(Default)]
struct Found {
    config: Option<Cow<'static, [u8]>>,
    tokenizer: Option<Cow<'static, [u8]>>,
    transformer: PackedWeights,
    text_encoder: PackedWeights,
    autoencoder: PackedWeights,
}

impl Found {
    /// The network that a file holds tensors of: `name.safetensors`, or one of several `name.0.safetensors`.
    fn network(&mut self, file: &str) -> Option<&mut PackedWeights> {
        let stem = file.strip_suffix(".safetensors")?;
        let name = match stem.rsplit_once('.') {
            Some((name, part)) if !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => stem,
        };
        match name {
            "dit" => Some(&mut self.transformer),
            "text" => Some(&mut self.text_encoder),
            "ae" => Some(&mut self.autoencoder),
            _ => None,
        }
    }

    fn document(&mut self, file: &str) -> Option<&mut Option<Cow<'static, [u8]>>> {
        match file {
            "config.json" => Some(&mut self.config),
            "tokenizer.json" => Some(&mut self.tokenizer),
            _ => None,
        }
    }

    fn complete(self) -> Result<PocketFiles, PocketError> {
        let missing = |file: &str| PocketError::MissingFile(file.to_owned());
        let weights = |weights: PackedWeights, file: &str| {
            if weights.is_empty() { Err(missing(file)) } else { Ok(weights) }
        };
        Ok(PocketFiles {
            config: PocketConfig::from_json(&self.config.ok_or_else(|| missing("config.json"))?)?,
            tokenizer: self.tokenizer.ok_or_else(|| missing("tokenizer.json"))?,
            transformer: weights(self.transformer, "dit.safetensors")?,
            text_encoder: weights(self.text_encoder, "text.safetensors")?,
            autoencoder: weights(self.autoencoder, "ae.safetensors")?,
        })
    }
}

impl PocketFiles {
    /// The files of a folder: `config.json`, `tokenizer.json`, and the weights `dit`, `text` and `ae`, each in
    /// `name.safetensors` or in parts `name.0.safetensors` and so on, also compressed (`.gz`). Others are left alone.
    ///
    /// # Errors
    /// [`PocketError`] when one is missing, can't be read, or is something else.
    pub fn open(folder: &Path) -> Result<Self, PocketError> {
        let read = |error| PocketError::Read { path: folder.to_owned(), error };
        let mut found = Found::default();
        for entry in fs::read_dir(folder).map_err(read)? {
            let path = entry.map_err(read)?.path();
            let Some(file) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let read = |error| PocketError::Read { path: path.clone(), error };
            if let Some(network) = found.network(file) {
                network.push(Checkpoint::open(&path)?);
            } else if let Some((file, network)) =
                file.strip_suffix(".gz").and_then(|file| Some((file, found.network(file)?)))
            {
                let mut bytes = Vec::new();
                let packed = fs::File::open(&path).map_err(read)?;
                GzDecoder::new(packed).read_to_end(&mut bytes).map_err(read)?;
                network.push(Checkpoint::from_bytes(file, bytes)?);
            } else if let Some(document) = found.document(file) {
                *document = Some(fs::read(&path).map_err(read)?.into());
            }
        }
        found.complete()
    }

    /// Files in memory, under the names that they have in a folder.
    ///
    /// # Errors
    /// As [`PocketFiles::open`].
    pub fn built_in(files: &[(&str, &'static [u8])]) -> Result<Self, PocketError> {
        let mut found = Found::default();
        for &(file, bytes) in files {
            if let Some(network) = found.network(file) {
                network.push(Checkpoint::from_static(file, bytes)?);
            } else if let Some(document) = found.document(file) {
                *document = Some(bytes.into());
            }
        }
        found.complete()
    }

    /// The model's sizes.
    #[must_use]
    pub fn config(&self) -> &PocketConfig {
        &self.config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_may_come_in_numbered_parts() {
        let mut found = Found::default();
        for file in [
            "dit.safetensors",
            "dit.0.safetensors",
            "dit.12.safetensors",
            "ae.safetensors",
            "text.1.safetensors",
        ] {
            assert!(found.network(file).is_some(), "{file}");
        }
        for file in
            ["dit.q8.safetensors", "dit..safetensors", "parity.safetensors", "dit.json", "safetensors"]
        {
            assert!(found.network(file).is_none(), "{file}");
        }
    }

    #[test]
    fn the_missing_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = PocketFiles::open(folder.path()).unwrap_err();
        assert!(error.to_string().contains("config.json"), "{error}");
        assert!(matches!(PocketFiles::open(&folder.path().join("none")), Err(PocketError::Read { .. })));
    }
}
