//! Downloads against a server that misbehaves.

// In tests, whatever should not happen may panic; helpers are not known as tests to the lint.
#![allow(clippy::expect_used, clippy::unwrap_used)]

mod hub;

use hub::{Fault, Here, Hub, noise, sha256};
use scope_store::{
    Credential, Disk, DownloadEnded, FileState, HostRule, JobState, Limits, Manifest, ModelFolder,
    NetworkOptions, Outcome, Patience, PipelineState, RealDisk, Role, Secrets, Settings, Started, Store,
    StoreError, StoreOptions, VaeType,
};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const MANIFEST: &str = r#"
    [[repository]]
    id = "o/base"
    [[repository]]
    id = "o/own"
    licence = "Apache-2.0"
    [[repository]]
    id = "o/named"
    server = "http://files.test:PORT/models/"
    website = "https://files.test/about"
    [[set]]
    id = "shared"
    files = [
      { repository = "o/base", path = "sub/shared.bin", role = "text_encoder", about_bytes = 3_000_000 },
      { repository = "o/base", path = "notes.txt", role = "companion", about_bytes = 10 },
    ]
    [[pipeline]]
    id = "p"
    name = "P"
    sets = ["shared"]
    files = [{ repository = "o/own", path = "config.json", role = "config", about_bytes = 20 }]
    [[pipeline]]
    id = "q"
    name = "Q"
    sets = ["shared"]
    files = [{ repository = "o/own", path = "other.bin", role = "generator", about_bytes = 50 }]
    [[pipeline]]
    id = "v"
    name = "V"
    files = [
      { repository = "o/own", path = "full.bin", role = "vae", when = { vae_type = "wan" } },
      { repository = "o/own", path = "tiny.bin", role = "vae", when = { vae_type = "tae" } },
    ]
    [[pipeline]]
    id = "n"
    name = "N"
    files = [{ repository = "o/named", path = "net.pth", role = "processor", sha256_begins = "DIGEST" }]
"#;

const SHARED: &str = "/o/base/resolve/main/sub/shared.bin";
const CONFIG: &str = "/o/own/resolve/main/config.json";
const NAMED: &str = "/models/net.pth";
const KEY: &str = "hf_secret";

struct Keys(Option<&'static str>);

impl Secrets for Keys {
    fn key(&self, of: Credential) -> Option<String> {
        assert_eq!(of, Credential::HuggingFace);
        self.0.map(str::to_owned)
    }
}

struct SmallDisk(u64);

impl Disk for SmallDisk {
    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        Ok(self.0)
    }
}

/// What tests may change.
struct Setup {
    key: Option<&'static str>,
    disk: Arc<dyn Disk>,
    limits: Limits,
    patience: Patience,
    hosts: Vec<HostRule>,
}

fn rule(host: &str, port: u16) -> HostRule {
    let (private, plain) = (true, true);
    HostRule { host: host.into(), subdomains: false, port: Some(port), plain, private, credential: None }
}

struct Bench {
    hub: Hub,
    dir: tempfile::TempDir,
    store: Store,
}

impl Bench {
    fn new() -> Self {
        Self::with(|_, _| ())
    }

    fn with(change: impl FnOnce(&mut Setup, &Hub)) -> Self {
        let (hub, dir) = (Hub::new(), tempfile::tempdir().unwrap());
        hub.put_large("o/base", "sub/shared.bin", &shared());
        hub.put("o/base", "notes.txt", b"read me");
        hub.put("o/own", "config.json", br#"{"dim": 8}"#);
        hub.put_large("o/own", "other.bin", &noise(2, 50));
        hub.put_large("o/own", "full.bin", &noise(3, 40));
        hub.put_large("o/own", "tiny.bin", &noise(4, 30));
        hub.put_at(NAMED, &noise(5, 2000), &[("ETag", "\"d41d8cd98f00b204e9800998ecf8427e-3\"".into())]);
        let store = Self::store(&hub, dir.path(), change);
        Self { hub, dir, store }
    }

    fn store(hub: &Hub, models: &Path, change: impl FnOnce(&mut Setup, &Hub)) -> Store {
        let pause = Duration::from_millis(1);
        let limits = Limits { first_pause: pause, max_pause: pause, spare_bytes: 1000, ..Limits::default() };
        let hub_rule = HostRule { credential: Some(Credential::HuggingFace), ..rule("hub.test", hub.port) };
        let hosts = vec![hub_rule, rule("cdn.test", hub.port), rule("files.test", hub.port)];
        let patience = Patience::default();
        let mut setup = Setup { key: None, disk: Arc::new(RealDisk), limits, patience, hosts };
        change(&mut setup, hub);
        let network = NetworkOptions {
            hub: hub.base().parse().unwrap(),
            civitai: hub.civitai().parse().unwrap(),
            hosts: setup.hosts,
            lookup: Arc::new(Here),
            proxies: false,
            answer_timeout: Duration::from_secs(20),
        };
        let manifest = MANIFEST.replace("PORT", &hub.port.to_string());
        let manifest = manifest.replace("DIGEST", &sha256(&noise(5, 2000))[..8]);
        Store::new(StoreOptions {
            folder: ModelFolder::with_manifest(models, Arc::new(Manifest::parse(&manifest).unwrap())),
            network,
            secrets: Arc::new(Keys(setup.key)),
            disk: setup.disk,
            limits: setup.limits,
            patience: setup.patience,
        })
        .unwrap()
    }

    async fn download(&self, pipeline: &str) -> Result<(), DownloadEnded> {
        self.store.download(pipeline, None).await.unwrap();
        self.store.wait(pipeline).await
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn state(&self, pipeline: &str, role: Role) -> FileState {
        let reports = self.store.folder().inspect(pipeline).unwrap();
        reports.into_iter().find(|report| report.entry.role == role).unwrap().state
    }

    /// Whether anything of the shared file is there.
    fn has_shared(&self) -> (bool, bool) {
        (self.path("base/sub/shared.bin").exists(), self.path("base/sub/shared.bin.part").exists())
    }
}

fn shared() -> Vec<u8> {
    noise(1, 3 << 20)
}

fn code(ended: &Result<(), DownloadEnded>) -> &'static str {
    match ended {
        Ok(()) => "done",
        Err(DownloadEnded::Failed { code, .. }) => code,
        Err(_) => "cancelled",
    }
}

#[tokio::test]
async fn everything_that_a_pipeline_needs_gets_its_place() {
    let bench = Bench::new();
    let before = bench.store.status("p", None).await.unwrap();
    assert_eq!((before.state, before.missing_bytes), (PipelineState::Missing, 3_000_020));
    assert!(!before.downloaded && !before.sizes_are_exact && before.progress.is_none());
    assert_eq!(bench.download("p").await, Ok(()));
    assert_eq!(fs::read(bench.path("base/sub/shared.bin")).unwrap(), shared());
    assert_eq!(fs::read(bench.path("base/notes.txt")).unwrap(), b"read me");
    let after = bench.store.status("p", None).await.unwrap();
    assert_eq!((after.state, after.missing_bytes), (PipelineState::Complete, 0));
    assert!(after.downloaded && after.sizes_are_exact && after.progress.is_none());
    assert!(after.files.iter().all(|file| file.verified), "{:?}", after.files);
    assert!(bench.store.folder().locate("p", &Settings::default()).is_ok());
    assert_eq!(bench.store.download("p", None).await.unwrap(), Started::AlreadyThere);
    assert_eq!(bench.has_shared(), (true, false));
}

#[tokio::test]
async fn settings_limit_what_is_fetched() {
    let bench = Bench::new();
    let tiny = Settings { vae_type: VaeType::Tae, ..Settings::default() };
    let started = bench.store.download("v", Some(tiny)).await.unwrap();
    assert_eq!(started, Started::Downloading { files: 1 });
    bench.store.wait("v").await.unwrap();
    assert!(bench.path("own/tiny.bin").exists() && !bench.path("own/full.bin").exists());
    assert!(bench.store.status("v", Some(tiny)).await.unwrap().downloaded);
    assert_eq!(bench.store.status("v", None).await.unwrap().state, PipelineState::Partial);
}

#[tokio::test]
async fn a_broken_connection_is_resumed_where_it_broke() {
    let bench = Bench::new();
    bench.hub.fault(SHARED, Fault::Cut(2_000_000));
    bench.hub.fault(SHARED, Fault::Cut(0));
    assert_eq!(bench.download("p").await, Ok(()));
    let from = Some("bytes=2000000-".to_owned());
    assert_eq!(bench.hub.ranges(SHARED), [None, from.clone(), from]);
    assert_eq!(fs::read(bench.path("base/sub/shared.bin")).unwrap(), shared());
}

#[tokio::test]
async fn a_cancelled_download_keeps_its_part_and_another_program_resumes_it() {
    let bench = Bench::new();
    bench.hub.fault(SHARED, Fault::Hold(1 << 20));
    bench.store.download("p", None).await.unwrap();
    let mut changes = bench.store.changes();
    while !matches!(bench.state("p", Role::TextEncoder), FileState::Partial { bytes } if bytes > 0) {
        changes.changed().await.unwrap();
    }
    let progress = bench.store.progress("p").unwrap();
    assert!(progress.is_downloading && progress.total_bytes >= 3 << 20, "{progress:?}");
    assert!(matches!(bench.store.download("p", None).await, Err(StoreError::Downloading(_))));
    assert!(bench.store.cancel("p") && !bench.store.cancel("p"));
    assert_eq!(bench.store.wait("p").await, Err(DownloadEnded::Cancelled));
    assert!(bench.store.progress("p").is_none());
    let FileState::Partial { bytes } = bench.state("p", Role::TextEncoder) else { panic!() };
    bench.hub.release();
    let later = Bench::store(&bench.hub, bench.dir.path(), |_, _| ());
    later.download("p", None).await.unwrap();
    later.wait("p").await.unwrap();
    assert_eq!(bench.hub.ranges(SHARED).last(), Some(&Some(format!("bytes={bytes}-"))));
    assert_eq!(fs::read(bench.path("base/sub/shared.bin")).unwrap(), shared());
}

#[tokio::test]
async fn wrong_bytes_are_thrown_away_and_fetched_again() {
    let bench = Bench::new();
    bench.hub.fault(SHARED, Fault::Flip);
    assert_eq!(bench.download("p").await, Ok(()));
    assert_eq!(bench.hub.ranges(SHARED), [None, None]);
    assert_eq!(fs::read(bench.path("base/sub/shared.bin")).unwrap(), shared());
}

#[tokio::test]
async fn bytes_that_stay_wrong_are_never_used() {
    let bench = Bench::new();
    let bytes = bench.hub.place_of_bytes(SHARED);
    bench.hub.always(&bytes, Fault::Flip);
    assert_eq!(code(&bench.download("p").await), "checksum");
    assert_eq!(bench.has_shared(), (false, false));
    assert!(bench.store.folder().locate("p", &Settings::default()).is_err());
    let progress = bench.store.progress("p").unwrap();
    assert_eq!((progress.is_downloading, progress.state), (false, JobState::Failed));
    assert!(progress.error.unwrap().contains("shared.bin"));
}

#[tokio::test]
async fn small_files_are_checked_by_their_git_id() {
    let bench = Bench::new();
    bench.hub.always(CONFIG, Fault::Flip);
    assert_eq!(code(&bench.download("p").await), "checksum");
    assert!(!bench.path("own/config.json").exists());
}

#[tokio::test]
async fn a_repository_with_a_server_of_its_own_is_fetched_from_there_without_a_key() {
    let bench = Bench::with(|setup, _| setup.key = Some(KEY));
    assert_eq!(bench.download("n").await, Ok(()));
    assert_eq!(fs::read(bench.path("named/net.pth")).unwrap(), noise(5, 2000));
    assert!(bench.hub.seen().iter().all(|it| (it.host.as_str(), it.path.as_str()) == ("files.test", NAMED)));
    assert!(bench.hub.seen().iter().all(|it| it.key.is_none()));
    let status = bench.store.status("n", None).await.unwrap();
    assert!(status.downloaded && status.files[0].verified);
    assert_eq!(status.repositories[0].page, "https://files.test/about");
}

#[tokio::test]
async fn a_checksum_of_which_only_the_beginning_is_known_is_checked_that_far() {
    let bench = Bench::new();
    bench.hub.always(NAMED, Fault::Flip);
    assert_eq!(code(&bench.download("n").await), "checksum");
    assert!(!bench.path("named/net.pth").exists());
    fs::create_dir_all(bench.path("named")).unwrap();
    fs::write(bench.path("named/net.pth"), noise(6, 2000)).unwrap();
    let found = bench.store.verify("n", |_, _| ()).await.unwrap();
    assert_eq!(found[0].outcome, Outcome::Damaged);
}

#[tokio::test]
async fn a_server_that_no_rule_allows_is_not_asked() {
    let bench = Bench::with(|setup, _| setup.hosts.retain(|rule| rule.host != "files.test"));
    assert_eq!(code(&bench.download("n").await), "host_forbidden");
    assert!(bench.hub.seen().is_empty());
}

#[tokio::test]
async fn bytes_that_went_wrong_on_an_earlier_day_do_not_get_in() {
    let bench = Bench::new();
    fs::create_dir_all(bench.path("base/sub")).unwrap();
    fs::write(bench.path("base/sub/shared.bin.part"), noise(9, 1 << 20)).unwrap();
    assert_eq!(bench.download("p").await, Ok(()));
    assert_eq!(bench.hub.ranges(SHARED), [Some("bytes=1048576-".to_owned()), None]);
    assert_eq!(fs::read(bench.path("base/sub/shared.bin")).unwrap(), shared());
}

#[tokio::test]
async fn what_another_program_began_is_gone_on_with() {
    let bench = Bench::new();
    fs::create_dir_all(bench.path("base/sub")).unwrap();
    fs::write(bench.path("base/sub/shared.bin.incomplete"), &shared()[..1000]).unwrap();
    assert_eq!(bench.download("p").await, Ok(()));
    assert_eq!(bench.hub.ranges(SHARED), [Some("bytes=1000-".to_owned())]);
    assert!(!bench.path("base/sub/shared.bin.incomplete").exists());
}

#[tokio::test]
async fn a_part_of_another_version_is_not_gone_on_with() {
    let bench = Bench::new();
    bench.hub.fault(SHARED, Fault::Cut(1000));
    bench.hub.fault(SHARED, Fault::Status(404, "X-A", "b"));
    assert_eq!(code(&bench.download("p").await), "not_found");
    assert_eq!(bench.has_shared(), (false, true));
    let newer = noise(8, 3 << 20);
    bench.hub.put_large("o/base", "sub/shared.bin", &newer);
    assert_eq!(bench.download("p").await, Ok(()));
    assert_eq!(bench.hub.ranges(SHARED), [None]);
    assert_eq!(fs::read(bench.path("base/sub/shared.bin")).unwrap(), newer);
}

#[tokio::test]
async fn servers_that_ignore_or_refuse_ranges_are_coped_with() {
    let bench = Bench::new();
    bench.hub.fault(SHARED, Fault::Cut(1000));
    bench.hub.fault(SHARED, Fault::IgnoreRange);
    assert_eq!(bench.download("p").await, Ok(()));
    assert_eq!(fs::read(bench.path("base/sub/shared.bin")).unwrap(), shared());

    let bench = Bench::new();
    bench.hub.fault(SHARED, Fault::Cut(1000));
    bench.hub.fault(SHARED, Fault::Status(416, "Content-Range", "bytes */5"));
    assert_eq!(bench.download("p").await, Ok(()));
    assert_eq!(bench.hub.ranges(SHARED), [None, Some("bytes=1000-".to_owned()), None]);
}

#[tokio::test]
async fn wrong_lengths_are_refused() {
    for fault in [Fault::Longer(5), Fault::Shorter(5)] {
        let bench = Bench::new();
        let bytes = bench.hub.place_of_bytes(SHARED);
        bench.hub.always(&bytes, fault);
        assert_eq!(code(&bench.download("p").await), "checksum");
        assert!(!bench.has_shared().0);
    }
}

#[tokio::test]
async fn a_server_that_is_busy_is_asked_again_and_in_the_end_given_up() {
    let bench = Bench::new();
    bench.hub.fault(SHARED, Fault::Status(429, "Retry-After", "0"));
    bench.hub.fault(SHARED, Fault::Status(503, "X-A", "b"));
    assert_eq!(bench.download("p").await, Ok(()));

    let bench = Bench::new();
    let bytes = bench.hub.place_of_bytes(SHARED);
    bench.hub.always(&bytes, Fault::Status(503, "X-A", "b"));
    assert_eq!(code(&bench.download("p").await), "network");
    assert_eq!(bench.hub.ranges(SHARED).len(), Limits::default().attempts as usize);
}

#[tokio::test]
async fn a_trickle_is_no_download() {
    let stall = Duration::from_millis(100);
    let bench = Bench::with(|setup, _| setup.patience = Patience { stall, ..Patience::default() });
    bench.hub.fault(SHARED, Fault::Stall(100));
    assert_eq!(bench.download("p").await, Ok(()));
    assert_eq!(bench.hub.ranges(SHARED), [None, Some("bytes=100-".to_owned())]);
}

#[tokio::test]
async fn keys_go_to_the_hub_and_to_nobody_else() {
    let bench = Bench::with(|setup, _| setup.key = Some(KEY));
    bench.hub.put_gated("o/base", "sub/shared.bin", &shared(), KEY);
    assert_eq!(bench.download("p").await, Ok(()));
    let (hub, other): (Vec<_>, Vec<_>) = bench.hub.seen().into_iter().partition(|it| it.host == "hub.test");
    assert!(hub.iter().all(|it| it.key.as_deref() == Some(KEY)) && !hub.is_empty());
    assert!(other.iter().all(|it| it.host == "cdn.test" && it.key.is_none()) && !other.is_empty());
}

#[tokio::test]
async fn without_a_key_or_with_a_wrong_one_users_are_told_what_to_do() {
    for (key, words) in [(None, "store an API key"), (Some("wrong"), "accept its terms")] {
        let bench = Bench::with(|setup, _| setup.key = key);
        bench.hub.put_gated("o/base", "sub/shared.bin", &shared(), KEY);
        let Err(DownloadEnded::Failed { code, message }) = bench.download("p").await else { panic!() };
        assert_eq!(code, "authentication");
        assert!(message.contains(words) && message.contains("authentication"), "{message}");
        assert!(!message.contains("wrong") && !message.contains(KEY), "{message}");
    }
}

#[tokio::test]
async fn redirects_lead_to_allowed_hosts_only() {
    let port = 9;
    for target in [
        format!("http://evil.test:{port}/x"),
        "http://169.254.169.254/latest/meta-data".into(),
        "http://127.0.0.1:1/x".into(),
        "file:///etc/passwd".into(),
        "http://user:password@hub.test/x".into(),
    ] {
        let bench = Bench::new();
        bench.hub.always(CONFIG, Fault::Redirect(target.clone()));
        assert_eq!(code(&bench.download("p").await), "host_forbidden", "{target}");
    }
}

#[tokio::test]
async fn redirects_in_circles_end() {
    let bench = Bench::new();
    bench.hub.always(CONFIG, Fault::Redirect("/o/own/resolve/main/config.json".into()));
    assert_eq!(code(&bench.download("p").await), "host_forbidden");
    let asked = bench.hub.seen().iter().filter(|it| it.path == CONFIG).count();
    assert!(asked < 10, "{asked}");
}

#[tokio::test]
async fn a_public_name_cannot_lead_inside() {
    let bench = Bench::with(|setup, hub| {
        setup.hosts[1] = HostRule { private: false, ..rule("cdn.test", hub.port) };
    });
    let Err(DownloadEnded::Failed { code, message }) = bench.download("p").await else { panic!() };
    assert_eq!(code, "host_forbidden");
    assert!(message.contains("private network"), "{message}");
    assert!(bench.hub.seen().iter().all(|it| it.host == "hub.test"));
}

#[tokio::test]
async fn without_room_nothing_begins_and_the_numbers_are_told() {
    let bench = Bench::with(|setup, _| setup.disk = Arc::new(SmallDisk(3_000_000)));
    let Err(DownloadEnded::Failed { code, message }) = bench.download("p").await else { panic!() };
    assert_eq!(code, "disk_full");
    assert!(message.contains("3.1 MB are needed, 3.0 MB are free"), "{message}");
    assert!(bench.hub.ranges(SHARED).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_pipelines_fetch_a_shared_file_once() {
    let bench = Bench::new();
    bench.hub.fault(SHARED, Fault::Hold(1000));
    bench.store.download("p", None).await.unwrap();
    bench.store.download("q", None).await.unwrap();
    bench.hub.wait_for(SHARED, 1);
    bench.hub.wait_for("/o/own/resolve/main/other.bin", 1);
    bench.hub.release();
    bench.store.wait("p").await.unwrap();
    bench.store.wait("q").await.unwrap();
    assert_eq!(bench.hub.ranges(SHARED), [None]);
    for pipeline in ["p", "q"] {
        assert!(bench.store.status(pipeline, None).await.unwrap().downloaded);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_right_file_that_appears_meanwhile_stays_and_a_wrong_one_is_replaced() {
    for (theirs, stays) in [(shared(), true), (noise(7, 3 << 20), false)] {
        let bench = Bench::new();
        bench.hub.fault(SHARED, Fault::Hold(1000));
        bench.store.download("p", None).await.unwrap();
        bench.hub.wait_for(SHARED, 1);
        let path = bench.path("base/sub/shared.bin");
        fs::write(&path, &theirs).unwrap();
        let written = fs::metadata(&path).unwrap().modified().unwrap();
        bench.hub.release();
        bench.store.wait("p").await.unwrap();
        assert_eq!(fs::read(&path).unwrap(), shared());
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap() == written, stays);
        assert_eq!(bench.has_shared(), (true, false));
    }
}

#[tokio::test]
async fn a_file_that_nobody_needs_may_be_missing_on_the_server() {
    let bench = Bench::new();
    bench.hub.always("/o/base/resolve/main/notes.txt", Fault::Status(404, "X-A", "b"));
    assert_eq!(bench.download("p").await, Ok(()));
    assert!(bench.store.status("p", None).await.unwrap().downloaded);
}

#[tokio::test]
async fn verifying_finds_a_flipped_bit_and_a_download_repairs_it() {
    let bench = Bench::new();
    bench.download("p").await.unwrap();
    let path = bench.path("base/sub/shared.bin");
    let mut content = shared();
    content[1_000_000] ^= 4;
    fs::write(&path, &content).unwrap();
    // Its size is right: only a full read can tell.
    assert!(bench.store.status("p", None).await.unwrap().downloaded);
    let outcome = |found: &[scope_store::Verification], name: &str| {
        found.iter().find(|it| it.path.ends_with(name)).unwrap().outcome
    };
    let found = bench.store.verify("p", |_, _| ()).await.unwrap();
    assert_eq!(outcome(&found, "shared.bin"), Outcome::Damaged);
    assert_eq!(outcome(&found, "config.json"), Outcome::Intact);
    assert_eq!(bench.store.status("p", None).await.unwrap().state, PipelineState::Damaged);
    assert!(bench.store.folder().locate("p", &Settings::default()).is_err());
    assert_eq!(bench.download("p").await, Ok(()));
    assert_eq!(fs::read(&path).unwrap(), shared());
    let found = bench.store.verify("p", |_, _| ()).await.unwrap();
    assert!(found.iter().all(|it| it.outcome == Outcome::Intact), "{found:?}");
}

#[tokio::test]
async fn files_that_were_there_before_are_verified_against_their_server() {
    let bench = Bench::new();
    fs::create_dir_all(bench.path("base/sub")).unwrap();
    fs::create_dir_all(bench.path("own")).unwrap();
    fs::write(bench.path("base/sub/shared.bin"), shared()).unwrap();
    fs::write(bench.path("own/config.json"), br#"{"dim": 9}"#).unwrap();
    assert!(bench.store.status("p", None).await.unwrap().downloaded);
    let found = bench.store.verify("p", |_, _| ()).await.unwrap();
    let outcomes: Vec<_> = found.iter().map(|it| it.outcome).collect();
    assert_eq!(outcomes, [Outcome::Intact, Outcome::Damaged]);
    assert!(bench.hub.seen().iter().all(|it| it.method == "HEAD"));
}

#[tokio::test]
async fn without_a_network_files_are_there_but_not_verified() {
    let bench = Bench::with(|setup, _| setup.hosts.clear());
    fs::create_dir_all(bench.path("own")).unwrap();
    fs::write(bench.path("own/config.json"), b"{}").unwrap();
    let found = bench.store.verify("p", |_, _| ()).await.unwrap();
    assert_eq!((found[0].outcome, found[1].outcome), (Outcome::Missing, Outcome::Unknown));
}

#[tokio::test]
async fn a_truncated_file_is_damaged_and_repaired() {
    let bench = Bench::new();
    bench.download("p").await.unwrap();
    let path = bench.path("base/sub/shared.bin");
    fs::write(&path, &shared()[..500]).unwrap();
    assert_eq!(bench.store.status("p", None).await.unwrap().state, PipelineState::Damaged);
    assert_eq!(bench.download("p").await, Ok(()));
    assert_eq!(sha256(&fs::read(&path).unwrap()), sha256(&shared()));
}

#[tokio::test]
async fn removing_keeps_what_another_complete_pipeline_needs() {
    let bench = Bench::new();
    bench.download("p").await.unwrap();
    bench.download("q").await.unwrap();
    fs::write(bench.path("own/mine.txt"), b"mine").unwrap();
    let removed = bench.store.remove("q").await.unwrap();
    assert_eq!(removed.files, ["own/other.bin"]);
    assert_eq!((removed.bytes, removed.kept.len()), (50, 2));
    assert!(bench.store.status("p", None).await.unwrap().downloaded);
    // Of p nothing is needed any more.
    let removed = bench.store.remove("p").await.unwrap();
    assert_eq!(removed.files.len(), 3);
    assert_eq!(fs::read(bench.path("own/mine.txt")).unwrap(), b"mine");
    assert!(!bench.path("base").exists() && bench.dir.path().exists());
    assert!(matches!(bench.store.remove("nobody").await, Err(StoreError::Unavailable(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_being_downloaded_is_not_removed() {
    let bench = Bench::new();
    bench.hub.fault(SHARED, Fault::Hold(1000));
    bench.store.download("p", None).await.unwrap();
    bench.hub.wait_for(SHARED, 1);
    assert!(matches!(bench.store.remove("p").await, Err(StoreError::Downloading(_))));
    let removed = bench.store.remove("q").await.unwrap();
    assert_eq!(removed.files, Vec::<String>::new());
    bench.hub.release();
    bench.store.wait("p").await.unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn nothing_is_written_or_removed_through_links_that_lead_outside() {
    let bench = Bench::new();
    let outside = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(outside.path(), bench.path("base")).unwrap();
    assert_eq!(code(&bench.download("p").await), "download_failed");
    // Which of the files is tried first is a matter of luck.
    assert!(fs::read_dir(outside.path()).unwrap().count() <= 1, "a folder at most");
    fs::create_dir_all(outside.path().join("sub")).unwrap();
    fs::write(outside.path().join("sub/shared.bin"), b"theirs").unwrap();
    assert!(matches!(bench.store.remove("p").await, Err(StoreError::Outside(_))));
    assert!(outside.path().join("sub/shared.bin").exists());
}
