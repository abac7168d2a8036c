//! Prompts to token numbers.

use std::{fs, path::Path};

use super::clean;

/// Tokens of a prompt in Wan2.1, at most; the end token is one of them.
pub const MAX_TOKENS: usize = 512;

/// The token that ends every prompt, in all T5 vocabularies.
const END: &str = "</s>";

/// Why there is no tokenizer, or no tokens.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// The file can't be read.
    #[error("the tokenizer can't be read: {0}")]
    Read(#[from] std::io::Error),
    /// The file holds no tokenizer.
    #[error("this is no tokenizer.json that can be used: {0}")]
    Invalid(String),
    /// The text can't be turned into tokens.
    #[error("the prompt can't be turned into tokens: {0}")]
    Text(String),
}

/// The tokenizer of UMT5 (SentencePiece Unigram, Kudo 2018), from the `tokenizer.json` of `google/umt5-xxl` or any file
/// of that format with an end token `</s>`.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    end: u32,
}

impl Tokenizer {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// [`TokenizerError`] when it can't be read or is no tokenizer.
    pub fn from_file(path: &Path) -> Result<Self, TokenizerError> {
        Self::from_bytes(&fs::read(path)?)
    }

    /// The tokenizer that these bytes of a `tokenizer.json` describe.
    ///
    /// # Errors
    /// [`TokenizerError::Invalid`] when they describe none, or one without an end token.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TokenizerError> {
        let invalid = |error: tokenizers::Error| TokenizerError::Invalid(error.to_string());
        let mut inner = tokenizers::Tokenizer::from_bytes(bytes).map_err(invalid)?;
        // Cutting and filling are done here, where the end token is kept.
        inner.with_truncation(None).map_err(invalid)?;
        inner.with_padding(None);
        let end = inner
            .token_to_id(END)
            .ok_or_else(|| TokenizerError::Invalid(format!("it has no token {END}")))?;
        Ok(Self { inner, end })
    }

    /// The tokens of the cleaned text, ended by the end token: at most `length`, so `length - 1` of the text.
    ///
    /// # Errors
    /// [`TokenizerError::Text`] when the text has characters outside a vocabulary without a token for the unknown.
    pub fn encode(&self, text: &str, length: usize) -> Result<Vec<u32>, TokenizerError> {
        let encoding = self
            .inner
            .encode_fast(clean(text), false)
            .map_err(|error| TokenizerError::Text(error.to_string()))?;
        let mut ids = encoding.get_ids().to_vec();
        ids.truncate(length.saturating_sub(1));
        if length > 0 {
            ids.push(self.end);
        }
        Ok(ids)
    }

    /// The number of the end token.
    #[must_use]
    pub fn end(&self) -> u32 {
        self.end
    }

    /// Size of the vocabulary, special tokens included.
    #[must_use]
    pub fn vocabulary(&self) -> usize {
        self.inner.get_vocab_size(true)
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tokenizer({} tokens)", self.vocabulary())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A Unigram tokenizer of the shape of UMT5's, with the letters and a few words. Ends itself with `</s>` and cuts at
    /// four tokens, which must not matter.
    fn tokenizer() -> Tokenizer {
        let mut vocabulary = vec![json!(["<pad>", 0.0]), json!(["</s>", 0.0]), json!(["<unk>", 0.0])];
        vocabulary.extend(["▁a", "▁dog", "▁runs", "▁", "s"].iter().map(|word| json!([word, -2.0])));
        vocabulary.extend(('a'..='z').filter(|&c| c != 's').map(|letter| json!([letter.to_string(), -8.0])));
        let special = |id: u32, content: &str| {
            json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                   "normalized": false, "special": true})
        };
        let document = json!({
            "version": "1.0",
            "truncation": {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0},
            "padding": null,
            "added_tokens": [special(0, "<pad>"), special(1, "</s>"), special(2, "<unk>")],
            "normalizer": null,
            "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
            "post_processor": {
                "type": "TemplateProcessing",
                "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
                "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
                "special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}}
            },
            "decoder": null,
            "model": {"type": "Unigram", "unk_id": 2, "vocab": vocabulary, "byte_fallback": false}
        });
        Tokenizer::from_bytes(document.to_string().as_bytes()).unwrap()
    }

    fn words(tokenizer: &Tokenizer, ids: &[u32]) -> Vec<String> {
        ids.iter().map(|&id| tokenizer.inner.id_to_token(id).unwrap()).collect()
    }

    #[test]
    fn the_likeliest_pieces_are_found_and_the_end_token_closes() {
        let tokenizer = tokenizer();
        let ids = tokenizer.encode("  a  dog\nruns dogs", MAX_TOKENS).unwrap();
        assert_eq!(words(&tokenizer, &ids), ["▁a", "▁dog", "▁runs", "▁dog", "s", "</s>"]);
        assert_eq!(tokenizer.end(), 1);
        assert_eq!(tokenizer.vocabulary(), 33);
    }

    #[test]
    fn an_empty_prompt_is_the_end_token() {
        assert_eq!(tokenizer().encode(" ", MAX_TOKENS).unwrap(), [1]);
        assert!(tokenizer().encode("a", 0).unwrap().is_empty());
    }

    #[test]
    fn a_long_prompt_is_cut_before_its_end_token() {
        let long = "dog ".repeat(2 * MAX_TOKENS);
        let ids = tokenizer().encode(&long, MAX_TOKENS).unwrap();
        assert_eq!(ids.len(), MAX_TOKENS);
        assert_eq!(ids[MAX_TOKENS - 2..], [4, 1]);
    }

    #[test]
    fn unknown_characters_become_one_unknown_token() {
        let tokenizer = tokenizer();
        let ids = tokenizer.encode("a 狗", MAX_TOKENS).unwrap();
        assert_eq!(words(&tokenizer, &ids), ["▁a", "▁", "<unk>", "</s>"]);
    }

    #[test]
    fn what_is_no_tokenizer_is_refused() {
        for bytes in [&b"{}"[..], b"", b"\xff\xfe", br#"{"model": {"type": "Unigram", "vocab": []}}"#] {
            assert!(matches!(Tokenizer::from_bytes(bytes), Err(TokenizerError::Invalid(_))));
        }
        assert!(matches!(Tokenizer::from_file(Path::new("/nonexistent")), Err(TokenizerError::Read(_))));
    }
}
