//! From a prompt to the embedding that conditions a video: cleaning, tokens, and the UMT5 encoder.

mod clean;
mod tokenizer;
mod umt5;

use scope_engine::Tensor;

pub use clean::clean;
pub use tokenizer::{MAX_TOKENS, Tokenizer, TokenizerError};
pub use umt5::{Umt5, Umt5Config, relative_bucket};

/// Why a prompt could not be encoded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// The tokenizer refused it.
    #[error("{0}")]
    Tokenizer(#[from] TokenizerError),
    /// The engine refused a layer: tokenizer and encoder don't fit each other, say.
    #[error("encoding the prompt: {0}")]
    Engine(#[from] scope_engine::Error),
}

/// Tokenizer and encoder together.
#[derive(Debug)]
pub struct TextEncoder {
    tokenizer: Tokenizer,
    model: Umt5,
    length: usize,
}

impl TextEncoder {
    /// The encoder of prompts whose embeddings have `length` rows (512 in Wan2.1).
    #[must_use]
    pub fn new(tokenizer: Tokenizer, model: Umt5, length: usize) -> Self {
        Self { tokenizer, model, length }
    }

    /// The embedding `[length, dim]` of each text. Rows beyond a text's tokens are zero.
    ///
    /// # Errors
    /// [`TextError`] when a text can't be turned into tokens or the tokens are not the model's.
    pub fn encode<T: AsRef<str>>(&self, texts: &[T]) -> Result<Vec<Tensor>, TextError> {
        let encode = |text: &T| {
            let ids = self.tokenizer.encode(text.as_ref(), self.length)?;
            Ok(self.model.encode(&ids, self.length)?)
        };
        texts.iter().map(encode).collect()
    }
}
