//! Installing NVIDIA's libraries, from a server that misbehaves.

// In tests, whatever should not happen may panic; helpers are not known as tests to the lint.
#![allow(clippy::expect_used, clippy::unwrap_used)]

mod hub;
#[path = "hub/wheel.rs"]
mod wheels;

use hub::{Fault, Here, Hub, noise, sha256};
use scope_store::{
    Disk, DownloadEnded, GpuError, GpuLibraries, GpuOptions, GpuPackages, GpuProgress, HostRule, Limits,
    NetworkOptions, Patience, RealDisk,
};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const PLATFORM: &str = "linux-x86_64";
const FIRST: &str = "aa/bb/first.whl";
const SECOND: &str = "cc/dd/second.whl";
const LIBRARY: &str = "nvidia/cu13/lib/liba.so.1";
const LICENCE: &str = "a-1.2.dist-info/licenses/License.txt";
const OTHER: &str = "nvidia/cudnn/lib/libb.so.9";

struct SmallDisk(u64);

impl Disk for SmallDisk {
    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        Ok(self.0)
    }
}

struct Bench {
    hub: Hub,
    home: tempfile::TempDir,
    tables: String,
}

fn at(path: &str) -> String {
    format!("/packages/{path}")
}

/// The larger library, which does not pack well.
fn library() -> Vec<u8> {
    noise(1, 3 << 20)
}

impl Bench {
    fn new() -> Self {
        let (hub, home) = (Hub::new(), tempfile::tempdir().unwrap());
        let library = library();
        let first = [(LIBRARY, &library[..]), (LICENCE, b"terms"), ("nvidia/cu13/include/a.h", b"header")];
        let second = [(OTHER, &b"another"[..])];
        let mut tables = String::new();
        for (path, files, taken) in [(FIRST, &first[..], 2), (SECOND, &second[..], 1)] {
            let wheel = wheels::wheel(files);
            hub.put_at(&at(path), &wheel, &[]);
            tables += &wheels::table(PLATFORM, path, &wheel, &sha256(&wheel), &files[..taken]);
        }
        Self { hub, home, tables }
    }

    fn libraries(&self) -> GpuLibraries {
        self.on(Arc::new(RealDisk)).unwrap()
    }

    fn on(&self, disk: Arc<dyn Disk>) -> Result<GpuLibraries, GpuError> {
        let port = self.hub.port;
        let pause = Duration::from_millis(1);
        let rule = HostRule {
            host: "hub.test".into(),
            subdomains: false,
            port: Some(port),
            plain: true,
            private: true,
            credential: None,
        };
        GpuLibraries::new(GpuOptions {
            root: GpuLibraries::root_in(self.home.path()),
            packages: Arc::new(GpuPackages::parse(&self.tables).unwrap()),
            platform: PLATFORM.into(),
            network: NetworkOptions {
                hub: self.hub.base().parse().unwrap(),
                civitai: self.hub.civitai().parse().unwrap(),
                hosts: vec![rule],
                lookup: Arc::new(Here),
                proxies: false,
                answer_timeout: Duration::from_secs(20),
            },
            disk,
            limits: Limits { first_pause: pause, max_pause: pause, spare_bytes: 1000, ..Limits::default() },
            patience: Patience::default(),
        })
    }

    fn path(&self, path: &str) -> PathBuf {
        GpuLibraries::folder_in(self.home.path()).join(path)
    }

    /// What is in the folder for everything.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(GpuLibraries::root_in(self.home.path())).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

async fn install(libraries: &GpuLibraries) -> Result<bool, GpuError> {
    libraries.install(&|_| ()).await
}

#[tokio::test]
async fn libraries_and_licences_are_taken_out_and_the_second_time_nobody_is_asked() {
    let bench = Bench::new();
    let libraries = bench.libraries();
    assert!(!libraries.are_installed());
    let told = Mutex::new(Vec::new());
    assert!(libraries.install(&|progress| told.lock().unwrap().push(progress)).await.unwrap());
    assert_eq!(fs::read(bench.path(LIBRARY)).unwrap(), library());
    assert_eq!(fs::read(bench.path(LICENCE)).unwrap(), b"terms");
    assert_eq!(fs::read(bench.path(OTHER)).unwrap(), b"another");
    assert!(!bench.path("nvidia/cu13/include").exists());
    assert_eq!(bench.names(), ["libraries", "lock"]);
    let told = told.into_inner().unwrap();
    assert!(told.iter().any(|it| matches!(it, GpuProgress::Downloading(now) if now.total_bytes > 3 << 20)));
    let total = libraries.unpacked_bytes();
    let unpacking =
        |it: &GpuProgress| matches!(it, GpuProgress::Unpacking { total_bytes, .. } if *total_bytes == total);
    assert!(told.iter().any(unpacking), "{told:?}");

    let asked = bench.hub.seen().len();
    assert!(!install(&bench.libraries()).await.unwrap());
    assert_eq!(bench.hub.seen().len(), asked);
}

#[tokio::test]
async fn a_connection_that_breaks_off_is_gone_on_with() {
    let bench = Bench::new();
    bench.hub.fault(&at(FIRST), Fault::Cut(2 << 20));
    assert!(install(&bench.libraries()).await.unwrap());
    let ranges = bench.hub.ranges(&at(FIRST));
    assert_eq!(ranges, [None, Some(format!("bytes={}-", 2 << 20))]);
    assert_eq!(fs::read(bench.path(LIBRARY)).unwrap(), library());
}

#[tokio::test]
async fn a_wheel_with_the_wrong_checksum_is_never_unpacked() {
    let bench = Bench::new();
    bench.hub.always(&at(FIRST), Fault::Flip);
    let error = install(&bench.libraries()).await.unwrap_err();
    let GpuError::Download(DownloadEnded::Failed { code, message }) = &error else { panic!("{error:?}") };
    assert_eq!(*code, "checksum");
    assert!(message.contains("first.whl") && message.contains("checksum"), "{message}");
    assert!(!bench.path("").exists() && !bench.libraries().are_installed());
}

#[tokio::test]
async fn what_was_changed_on_disk_after_its_download_is_thrown_away() {
    let bench = Bench::new();
    let wheel = GpuLibraries::root_in(bench.home.path()).join("wheels").join(FIRST);
    fs::create_dir_all(wheel.parent().unwrap()).unwrap();
    let size = bench.libraries().wheels()[0].size as usize;
    fs::write(&wheel, noise(9, size)).unwrap();
    let error = install(&bench.libraries()).await.unwrap_err();
    assert!(matches!(&error, GpuError::Changed(name) if name == "nvidia-tiny"), "{error}");
    assert!(!wheel.exists() && !bench.path("").exists());
    assert!(install(&bench.libraries()).await.unwrap());
}

#[tokio::test]
async fn a_wheel_that_lacks_a_file_leaves_what_was_there_before() {
    let mut bench = Bench::new();
    assert!(install(&bench.libraries()).await.unwrap());
    let before = bench.tables.clone();
    bench.tables = bench.tables.replace("libb.so.9", "libc.so.9");
    let error = install(&bench.libraries()).await.unwrap_err().to_string();
    assert!(error.contains("nvidia-tiny: it has no nvidia/cudnn/lib/libc.so.9"), "{error}");
    bench.tables = before;
    assert!(bench.libraries().are_installed());
    assert_eq!(bench.names(), ["libraries", "lock", "wheels"]);
}

#[tokio::test]
async fn other_versions_and_leftovers_are_replaced() {
    let bench = Bench::new();
    for (path, content) in [(LIBRARY, "old"), ("nvidia/old/lib/libold.so", "old")] {
        let path = bench.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let leftover = GpuLibraries::root_in(bench.home.path()).join("unpacked/nvidia");
    fs::create_dir_all(&leftover).unwrap();
    assert!(!bench.libraries().are_installed());
    assert!(install(&bench.libraries()).await.unwrap());
    assert_eq!(fs::read(bench.path(LIBRARY)).unwrap(), library());
    assert!(!bench.path("nvidia/old").exists());
    assert_eq!(bench.names(), ["libraries", "lock"]);
}

#[tokio::test]
async fn a_disk_that_is_too_small_is_told_before_anybody_is_asked() {
    let bench = Bench::new();
    let libraries = bench.libraries();
    // Room for the wheels, but not for what comes out of them.
    let disk = SmallDisk(libraries.download_bytes() + 2000);
    let error = install(&bench.on(Arc::new(disk)).unwrap()).await.unwrap_err();
    assert!(matches!(error, GpuError::DiskFull { .. }), "{error}");
    assert!(error.to_string().contains("--data-dir"));
    assert!(bench.hub.seen().is_empty());
}

#[tokio::test]
async fn cancelling_keeps_what_came_for_the_next_time() {
    let bench = Bench::new();
    bench.hub.fault(&at(FIRST), Fault::Hold(2 << 20));
    let libraries = bench.libraries();
    let error = libraries
        .install(&|progress| {
            if matches!(progress, GpuProgress::Downloading(now) if now.downloaded_bytes >= 2 << 20) {
                libraries.cancel();
            }
        })
        .await
        .unwrap_err();
    assert!(error.is_cancelled(), "{error}");
    assert!(!bench.path("").exists());
    assert!(install(&bench.libraries()).await.unwrap());
    // What is counted are bytes of all files: of the one that is held, the last few may still have been on their way.
    let ranges = bench.hub.ranges(&at(FIRST));
    let range = ranges.last().unwrap().as_deref().unwrap();
    let kept: usize = range.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap();
    assert!((1 << 20..=2 << 20).contains(&kept), "{range}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_at_a_time_are_refused() {
    let bench = Bench::new();
    bench.hub.fault(&at(FIRST), Fault::Hold(1000));
    let (first, second) = (bench.libraries(), bench.libraries());
    let installing = tokio::spawn(async move { install(&first).await });
    tokio::task::block_in_place(|| bench.hub.wait_for(&at(FIRST), 1));
    let refused = (install(&second).await, second.remove());
    bench.hub.release();
    assert!(matches!(refused, (Err(GpuError::Busy(_)), Err(GpuError::Busy(_)))), "{refused:?}");
    assert!(installing.await.unwrap().unwrap());
}

#[tokio::test]
async fn removing_gives_everything_back_and_leaves_what_is_not_ours() {
    let bench = Bench::new();
    let libraries = bench.libraries();
    assert_eq!(libraries.remove().unwrap(), 0);
    assert!(install(&libraries).await.unwrap());
    assert_eq!(libraries.remove().unwrap(), libraries.unpacked_bytes());
    assert!(!GpuLibraries::root_in(bench.home.path()).exists());
    assert!(install(&libraries).await.unwrap());
    let note = GpuLibraries::root_in(bench.home.path()).join("note.txt");
    fs::write(&note, b"mine").unwrap();
    libraries.remove().unwrap();
    assert_eq!(bench.names(), ["note.txt"]);
}

#[test]
fn a_machine_for_which_there_are_none_is_told_so() {
    let mut bench = Bench::new();
    bench.tables = bench.tables.replace(PLATFORM, "windows-x86_64");
    let error = bench.on(Arc::new(RealDisk)).err().unwrap();
    assert!(error.to_string().contains("CPU"), "{error}");
}
