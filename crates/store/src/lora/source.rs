//! Where an adapter comes from: what users paste, read.

use super::LoraError;
use crate::path::StorePath;
use reqwest::Url;

/// A place that adapters come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoraSource {
    /// A file of a repository on Hugging Face.
    HuggingFace {
        /// `owner/name`.
        repository: String,
        /// Branch, tag or commit.
        revision: String,
        /// The file.
        path: StorePath,
    },
    /// A version on CivitAI.
    CivitAiVersion(u64),
    /// The newest version of a model on CivitAI.
    CivitAiModel(u64),
    /// Any address, as long as its host is allowed.
    Url(Url),
}

fn refuse(problem: &str) -> LoraError {
    LoraError::Request(problem.into())
}

impl LoraSource {
    /// Reads an address that a user copied from a page.
    ///
    /// # Errors
    /// [`LoraError::Request`], with what to copy instead.
    pub fn parse(text: &str) -> Result<Self, LoraError> {
        let url = Url::parse(text.trim())
            .map_err(|_| refuse("this is no address; copy one that begins with https://"))?;
        let host = url.host_str().unwrap_or("").to_ascii_lowercase();
        let of = |name: &str| host == name || host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.'));
        if of("huggingface.co") || of("hf.co") {
            Self::hugging_face_url(&url)
        } else if of("civitai.com") {
            Self::civitai_url(&url)
        } else {
            Err(refuse(
                "adapters come from huggingface.co, hf.co and civitai.com; download it yourself and upload the file",
            ))
        }
    }

    fn hugging_face_url(url: &Url) -> Result<Self, LoraError> {
        let parts: Vec<String> = url.path_segments().into_iter().flatten().map(decode).collect();
        match parts.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [owner, name, "resolve", revision, ref path @ ..] if !path.is_empty() => {
                Self::hugging_face(&format!("{owner}/{name}"), revision, &path.join("/"))
            }
            [_, _, "blob", ..] => Err(refuse(
                "this is the page about the file; copy the address of its download button (…/resolve/…)",
            )),
            _ => Err(refuse("this is no file; copy the address of a file's download button (…/resolve/…)")),
        }
    }

    /// A file on Hugging Face.
    ///
    /// # Errors
    /// [`LoraError::Request`] when one of them is no name.
    pub fn hugging_face(repository: &str, revision: &str, path: &str) -> Result<Self, LoraError> {
        let plain = |text: &str| text.parse::<StorePath>().is_ok();
        if repository.split('/').count() != 2
            || !plain(repository)
            || !plain(revision)
            || revision.contains('/')
        {
            return Err(refuse("the repository is written as owner/name"));
        }
        let path = path.parse().map_err(|error: crate::PathError| refuse(&error.to_string()))?;
        Ok(Self::HuggingFace { repository: repository.into(), revision: revision.into(), path })
    }

    fn civitai_url(url: &Url) -> Result<Self, LoraError> {
        let asked =
            url.query_pairs().find(|(name, _)| name == "modelVersionId").map(|(_, value)| value.into_owned());
        if let Some(version) = asked {
            return number(&version).map(Self::CivitAiVersion);
        }
        let parts: Vec<&str> =
            url.path_segments().into_iter().flatten().filter(|part| !part.is_empty()).collect();
        match parts[..] {
            ["models", model, ..] => number(model).map(Self::CivitAiModel),
            [.., last] => number(last).map(Self::CivitAiVersion),
            [] => Err(refuse("this is no model; copy the address of a model's page")),
        }
    }
}

fn number(text: &str) -> Result<u64, LoraError> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = if digits { text.parse().ok() } else { None };
    number.ok_or_else(|| refuse("this address names no version; copy the address of a model's page"))
}

/// A part of a path without its percent signs. What is then no name is refused later.
fn decode(part: &str) -> String {
    let encoded = format!("a; filename*=utf-8''{part}");
    crate::disposition::file_name(encoded.as_bytes()).unwrap_or_else(|| part.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_that_users_copy_are_read() {
        let hf = |path: &str| LoraSource::hugging_face("o/r", "main", path).unwrap();
        for (text, source) in [
            ("https://huggingface.co/o/r/resolve/main/a.safetensors", hf("a.safetensors")),
            ("https://hf.co/o/r/resolve/main/sub/a%20b.safetensors?download=true", hf("sub/a b.safetensors")),
            ("https://civitai.com/models/12/name?modelVersionId=34", LoraSource::CivitAiVersion(34)),
            ("https://civitai.com/models/12", LoraSource::CivitAiModel(12)),
            ("https://civitai.com/api/download/models/34?type=Model", LoraSource::CivitAiVersion(34)),
        ] {
            assert_eq!(LoraSource::parse(text).unwrap(), source, "{text}");
        }
    }

    #[test]
    fn others_are_refused_with_advice() {
        for (text, advice) in [
            ("https://huggingface.co/o/r/blob/main/a.safetensors", "download button"),
            ("https://huggingface.co/o/r", "download button"),
            ("https://huggingface.co/o/r/resolve/main/..%2f..%2fa.safetensors", "cannot be the name"),
            ("https://evil.example/a.safetensors", "upload"),
            ("https://civitai.com.evil.example/models/1", "upload"),
            ("https://civitai.com/models/x", "page"),
            ("https://civitai.com/", "page"),
            ("a.safetensors", "https://"),
        ] {
            let error = LoraSource::parse(text).unwrap_err().to_string();
            assert!(error.contains(advice), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_address_makes_it_panic(rest in "[a-z0-9/?=%.&:@]{0,40}") {
            let _ = LoraSource::parse(&format!("https://huggingface.co/{rest}"));
            let _ = LoraSource::parse(&format!("https://civitai.com/{rest}"));
        }
    }
}
