//! Adapters from Hugging Face, CivitAI and uploads, against a server that misbehaves.

// In tests, whatever should not happen may panic; helpers are not known as tests to the lint.
#![allow(clippy::expect_used, clippy::unwrap_used)]

mod hub;

use hub::{Fault, Here, Hub, sha256};
use scope_store::{
    Credential, FetchError, HostRule, InstallRequest, Installed, Limits, LoraError, LoraFolder, LoraSource,
    LoraStore, NetworkOptions, Patience, Provenance, RealDisk, Secrets,
};
use std::fs;
use std::sync::Arc;
use std::time::Duration;

const CDN_KEY_FREE: &str = "/delivery/file.safetensors";

struct Keys;

impl Secrets for Keys {
    fn key(&self, of: Credential) -> Option<String> {
        Some(if of == Credential::CivitAi { "civit_secret" } else { "hf_secret" }.into())
    }
}

fn rule(host: &str, port: u16, credential: Option<Credential>) -> HostRule {
    HostRule {
        host: host.into(),
        subdomains: false,
        port: Some(port),
        plain: true,
        private: true,
        credential,
    }
}

struct Bench {
    hub: Hub,
    dir: tempfile::TempDir,
    store: LoraStore,
}

impl Bench {
    fn new() -> Self {
        let (hub, dir) = (Hub::new(), tempfile::tempdir().unwrap());
        let network = NetworkOptions {
            hub: hub.base().parse().unwrap(),
            civitai: hub.civitai().parse().unwrap(),
            hosts: vec![
                rule("hub.test", hub.port, Some(Credential::HuggingFace)),
                rule("civitai.test", hub.port, Some(Credential::CivitAi)),
                rule("cdn.test", hub.port, None),
            ],
            lookup: Arc::new(Here),
            proxies: false,
            answer_timeout: Duration::from_secs(20),
        };
        let pause = Duration::from_millis(1);
        let limits = Limits { first_pause: pause, max_pause: pause, spare_bytes: 1, ..Limits::default() };
        let folder = LoraFolder::new(dir.path().join("lora"), Some(dir.path().join("public")));
        let store =
            LoraStore::new(folder, network, Arc::new(Keys), Arc::new(RealDisk), limits, Patience::default());
        Self { store: store.unwrap(), hub, dir }
    }

    async fn install(&self, source: LoraSource) -> Result<Installed, LoraError> {
        self.store.install(InstallRequest::new(source), &|_| ()).await
    }

    /// A version on CivitAI whose file lies behind a redirect, as there.
    fn put_version(&self, content: &[u8], hash: Option<&str>) {
        let port = self.hub.port;
        let hash = hash.map_or("{}".to_owned(), |hash| format!("{{\"SHA256\": \"{hash}\"}}"));
        let answer = format!(
            r#"{{"id": 34, "modelId": 12, "trainedWords": ["ohwx cat", " "], "files": [
                {{"name": "training.zip", "downloadUrl": "http://civitai.test:{port}/zip", "primary": false}},
                {{"name": "Cat Style.safetensors", "primary": true, "hashes": {hash},
                  "downloadUrl": "http://civitai.test:{port}/api/download/models/34"}}]}}"#
        );
        self.hub.put_at("/api/v1/model-versions/34", answer.as_bytes(), &[]);
        self.hub.put_at("/api/v1/models/12", br#"{"modelVersions": [{"id": 34}, {"id": 30}]}"#, &[]);
        let target = format!("http://cdn.test:{port}{CDN_KEY_FREE}");
        self.hub.always("/api/download/models/34", Fault::Redirect(target));
        let named = "attachment; filename=\"other name.safetensors\"".to_owned();
        self.hub.put_at(CDN_KEY_FREE, content, &[("Content-Disposition", named)]);
    }

    fn files(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.dir.path().join("lora"))
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !name.starts_with('.') && name != "lora_manifest.json")
            .collect();
        names.sort();
        names
    }
}

fn adapter(metadata: &str) -> Vec<u8> {
    let table =
        format!(r#"{{"__metadata__":{{{metadata}}},"x":{{"dtype":"U8","shape":[5],"data_offsets":[0,5]}}}}"#);
    let mut file = (table.len() as u64).to_le_bytes().to_vec();
    file.extend(table.as_bytes());
    file.extend([1, 2, 3, 4, 5]);
    file
}

fn hugging_face(path: &str) -> LoraSource {
    LoraSource::hugging_face("o/r", "main", path).unwrap()
}

#[tokio::test]
async fn an_adapter_from_hugging_face_is_installed_with_its_provenance() {
    let bench = Bench::new();
    let content = adapter(r#""modelspec.trigger_phrase":"a, b c","modelspec.license":"MIT""#);
    bench.hub.put_large("o/r", "sub/cat.safetensors", &content);
    bench.hub.fault("/o/r/resolve/main/sub/cat.safetensors", Fault::Cut(20));
    let request = InstallRequest {
        subfolder: Some("styles".into()),
        ..InstallRequest::new(hugging_face("sub/cat.safetensors"))
    };
    let installed = bench.store.install(request, &|_| ()).await.unwrap();
    assert_eq!(installed.place.as_str(), "styles/cat.safetensors");
    assert_eq!(
        (installed.sha256.as_str(), installed.size_bytes),
        (sha256(&content).as_str(), content.len() as u64)
    );
    let listed = bench.store.folder().list();
    assert_eq!(listed, [installed.entry]);
    let entry = &listed[0];
    assert_eq!((entry.name.as_str(), entry.folder.as_deref()), ("cat", Some("styles")));
    assert_eq!(
        (&entry.trigger_words[..], entry.licence.as_deref()),
        (&["a".to_owned(), "b c".into()][..], Some("MIT"))
    );
    assert_eq!(entry.provenance.as_ref().unwrap().repo_id.as_deref(), Some("o/r"));
    let manifest = fs::read_to_string(bench.dir.path().join("lora/lora_manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(manifest["version"], "1.0");
    assert_eq!(manifest["entries"]["styles/cat.safetensors"]["size_bytes"], content.len());
    let again = bench.install(hugging_face("sub/cat.safetensors")).await;
    assert!(again.is_ok(), "another folder, another file");
}

#[tokio::test]
async fn civitai_is_asked_with_the_key_and_its_storage_without() {
    let bench = Bench::new();
    let content = adapter("");
    bench.put_version(&content, Some(&sha256(&content).to_uppercase()));
    let installed = bench.install(LoraSource::CivitAiModel(12)).await.unwrap();
    assert_eq!(installed.place.as_str(), "Cat Style.safetensors");
    assert_eq!(installed.entry.trigger_words, ["ohwx cat"]);
    let provenance = installed.entry.provenance.unwrap();
    assert_eq!((provenance.model_id.as_deref(), provenance.version_id.as_deref()), (Some("12"), Some("34")));
    for seen in bench.hub.seen() {
        let expected = (seen.host == "civitai.test").then_some("civit_secret");
        assert_eq!(seen.key.as_deref(), expected, "{seen:?}");
        assert!(!seen.path.contains("secret"));
    }
}

#[tokio::test]
async fn a_key_for_one_time_is_used_for_this_time() {
    let bench = Bench::new();
    bench.put_version(&adapter(""), None);
    let request = InstallRequest {
        civitai_key: Some("other".into()),
        file_name: Some("mine.safetensors".into()),
        ..InstallRequest::new(LoraSource::CivitAiVersion(34))
    };
    assert_eq!(bench.store.install(request, &|_| ()).await.unwrap().place.as_str(), "mine.safetensors");
    let asked: Vec<_> = bench.hub.seen().into_iter().filter(|seen| seen.host == "civitai.test").collect();
    assert!(asked.iter().all(|seen| seen.key.as_deref() == Some("other")));
}

#[tokio::test]
async fn wrong_checksums_leave_nothing() {
    let bench = Bench::new();
    bench.put_version(&adapter(""), Some(&"0".repeat(64)));
    let error = bench.install(LoraSource::CivitAiVersion(34)).await.unwrap_err();
    assert!(matches!(error, LoraError::Fetch(FetchError::WrongChecksum { .. })), "{error}");
    bench.hub.put_large("o/r", "a.safetensors", &adapter(""));
    let expected_sha256 = Some("1".repeat(64));
    let request = InstallRequest { expected_sha256, ..InstallRequest::new(hugging_face("a.safetensors")) };
    let error = bench.store.install(request, &|_| ()).await.unwrap_err();
    assert!(matches!(error, LoraError::Checksum), "{error}");
    assert_eq!(bench.files(), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_no_adapter_is_not_kept() {
    let bench = Bench::new();
    let whole = adapter("");
    let empty = b"\x02\0\0\0\0\0\0\0{}".to_vec();
    for content in [b"<html>".to_vec(), whole[..whole.len() - 1].to_vec(), empty, vec![0xff; 40]] {
        bench.hub.put_large("o/r", "a.safetensors", &content);
        let error = bench.install(hugging_face("a.safetensors")).await.unwrap_err();
        assert!(matches!(error, LoraError::NotSafetensors(_)), "{error}");
        assert_eq!(bench.files(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn names_that_lead_elsewhere_or_are_no_adapters_are_refused_before_anybody_is_asked() {
    let bench = Bench::new();
    for name in
        ["../a.safetensors", "a/b.safetensors", r"..\a.safetensors", "a.ckpt", "a.pt", "", ".safetensors"]
    {
        let request = InstallRequest {
            file_name: Some(name.into()),
            ..InstallRequest::new(hugging_face("a.safetensors"))
        };
        bench.hub.put_large("o/r", "a.safetensors", &adapter(""));
        let error = bench.store.install(request, &|_| ()).await.unwrap_err();
        assert!(matches!(error, LoraError::Request(_)), "{name}: {error}");
    }
    for folder in ["..", "/etc", "a/../.."] {
        let request = InstallRequest {
            subfolder: Some(folder.into()),
            ..InstallRequest::new(hugging_face("a.safetensors"))
        };
        assert!(
            matches!(bench.store.install(request, &|_| ()).await, Err(LoraError::Request(_))),
            "{folder}"
        );
    }
    let url = format!("{}x.bin", bench.hub.base());
    bench.hub.put_at(
        "/x.bin",
        b"x",
        &[("Content-Disposition", "attachment; filename=../../e.safetensors".into())],
    );
    let error = bench.install(LoraSource::Url(url.parse().unwrap())).await.unwrap_err();
    assert!(matches!(error, LoraError::Request(_)), "{error}");
    assert_eq!(bench.files(), Vec::<String>::new());
}

#[tokio::test]
async fn other_hosts_and_missing_files_are_refused() {
    let bench = Bench::new();
    for url in ["http://169.254.169.254/a.safetensors", "http://evil.test/a.safetensors"] {
        let error = bench.install(LoraSource::Url(url.parse().unwrap())).await.unwrap_err();
        assert!(matches!(error, LoraError::Fetch(FetchError::Request(_))), "{error}");
    }
    let error = bench.install(hugging_face("none.safetensors")).await.unwrap_err();
    assert!(matches!(error, LoraError::Fetch(FetchError::NotFound { .. })), "{error}");
}

#[tokio::test]
async fn a_taken_name_is_never_overwritten() {
    let bench = Bench::new();
    bench.hub.put_large("o/r", "a.safetensors", &adapter(""));
    bench.install(hugging_face("a.safetensors")).await.unwrap();
    assert!(matches!(bench.install(hugging_face("a.safetensors")).await, Err(LoraError::Exists(_))));
    assert!(matches!(bench.store.begin_upload("a.safetensors", 100).await, Err(LoraError::Exists(_))));
}

#[tokio::test]
async fn uploads_are_bounded_checked_and_leave_nothing_when_they_break_off() {
    let bench = Bench::new();
    let content = adapter("");
    let mut upload = bench.store.begin_upload("mine.safetensors", 1000).await.unwrap();
    upload.append(&content[..10]).unwrap();
    assert!(upload.append(&[0; 1000]).is_err());
    drop(upload);
    assert_eq!(bench.files(), Vec::<String>::new());
    let mut upload = bench.store.begin_upload("mine.safetensors", 1000).await.unwrap();
    upload.append(&content).unwrap();
    let installed = bench.store.finish_upload(upload).await.unwrap();
    assert_eq!(installed.entry.provenance.unwrap().source, "local");
    let mut upload = bench.store.begin_upload("bad.safetensors", 1000).await.unwrap();
    upload.append(b"no adapter").unwrap();
    assert!(matches!(bench.store.finish_upload(upload).await, Err(LoraError::NotSafetensors(_))));
    assert_eq!(bench.files(), ["mine.safetensors"]);
}

#[tokio::test]
async fn adapters_are_listed_described_and_removed() {
    let bench = Bench::new();
    let (own, shared) = (bench.dir.path().join("lora"), bench.dir.path().join("public"));
    fs::create_dir_all(own.join("b")).unwrap();
    fs::create_dir_all(&shared).unwrap();
    for path in [own.join("z.safetensors"), own.join("b/a.safetensors"), shared.join("s.safetensors")] {
        fs::write(path, adapter("")).unwrap();
    }
    fs::write(own.join("notes.txt"), b"x").unwrap();
    let folder = bench.store.folder();
    let listed: Vec<_> = folder.list().into_iter().map(|entry| (entry.name, entry.read_only)).collect();
    assert_eq!(listed, [("z".into(), false), ("a".into(), false), ("s".to_owned(), true)]);
    let url = Some("https://user:pw@civitai.com/x?token=secret&type=Model".to_owned());
    let provenance = Provenance { source: "civitai".into(), url, ..Provenance::default() };
    let record = folder.set_provenance(&"b/a.safetensors".parse().unwrap(), provenance.clone()).unwrap();
    assert_eq!(record.provenance.url.as_deref(), Some("https://civitai.com/x?type=Model"));
    assert_eq!(record.sha256, sha256(&adapter("")));
    let nobody = Provenance { source: "nobody".into(), ..provenance.clone() };
    assert!(folder.set_provenance(&"b/a.safetensors".parse().unwrap(), nobody).is_err());
    assert!(folder.set_provenance(&"none.safetensors".parse().unwrap(), provenance).is_err());
    assert!(matches!(folder.remove("s"), Err(LoraError::ReadOnly(_))));
    for name in ["../public/s", "none", "", "b/a"] {
        assert!(matches!(folder.remove(name), Err(LoraError::NotFound(_))), "{name}");
    }
    assert_eq!(folder.remove("a").unwrap(), "b/a.safetensors");
    assert!(!own.join("b/a.safetensors").exists() && shared.join("s.safetensors").exists());
    let manifest = fs::read_to_string(own.join("lora_manifest.json")).unwrap();
    assert!(!manifest.contains("b/a.safetensors"));
}

#[tokio::test]
async fn a_manifest_of_another_program_is_kept_and_a_broken_one_put_aside() {
    let bench = Bench::new();
    let own = bench.dir.path().join("lora");
    fs::create_dir_all(&own).unwrap();
    let foreign = r#"{"version":"1.0","extra":1,"entries":{"x.safetensors":{"filename":"x.safetensors","note":"kept",
        "provenance":{"source":"local"},"sha256":"s","size_bytes":3,"added_at":"then"}}}"#;
    fs::write(own.join("lora_manifest.json"), foreign).unwrap();
    bench.hub.put_large("o/r", "a.safetensors", &adapter(""));
    bench.install(hugging_face("a.safetensors")).await.unwrap();
    let text = fs::read_to_string(own.join("lora_manifest.json")).unwrap();
    assert!(
        text.contains("\"note\": \"kept\"")
            && text.contains("\"extra\": 1")
            && text.contains("a.safetensors")
    );
    fs::write(own.join("lora_manifest.json"), "{ broken").unwrap();
    assert_eq!(bench.store.folder().list().len(), 1);
    bench.store.folder().remove("a").unwrap();
    assert_eq!(fs::read_to_string(own.join("lora_manifest.json.bak")).unwrap(), "{ broken");
}
