//! `scope setup-gpu` as a user runs it, against a server on this machine.

#![cfg(unix)]
// In tests, whatever should not happen may panic; helpers are not known as tests to the lint.
#![allow(clippy::unwrap_used)]

#[path = "../../store/tests/hub/mod.rs"]
mod hub;
#[path = "../../store/tests/hub/wheel.rs"]
mod wheels;

use hub::{Fault, Hub, noise, sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const WHEEL: &str = "aa/bb/tiny.whl";
const SERVED: &str = "/packages/aa/bb/tiny.whl";
const LIBRARY: &str = "nvidia/cu13/lib/liba.so.1";

struct Bench {
    home: tempfile::TempDir,
    hub: Hub,
}

impl Bench {
    /// A server with a wheel, and a table that lists it for this machine.
    fn new() -> Self {
        let (home, hub) = (tempfile::tempdir().unwrap(), Hub::new());
        let library = noise(1, 3 << 20);
        let files = [(LIBRARY, &library[..]), ("a.dist-info/License.txt", b"terms")];
        let wheel = wheels::wheel(&files);
        hub.put_at(SERVED, &wheel, &[]);
        let platform = format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH);
        let table = wheels::table(&platform, WHEEL, &wheel, &sha256(&wheel), &files);
        fs::write(home.path().join("packages.toml"), table).unwrap();
        Self { home, hub }
    }

    fn scope(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_scope"));
        command.env_clear().env("HOME", self.home.path()).stdin(Stdio::null());
        command.env("SCOPE_PYPI_MIRROR", format!("http://127.0.0.1:{}", self.hub.port));
        command.arg("setup-gpu").args(words).output().unwrap()
    }

    fn install(&self, words: &[&str]) -> Output {
        let table = self.home.path().join("packages.toml");
        self.scope(&[&["--packages", table.to_str().unwrap()], words].concat())
    }

    fn data(&self) -> PathBuf {
        self.home.path().join(".daydream-scope")
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

#[test]
fn libraries_are_installed_once_after_the_licences_were_agreed_to_and_removed() {
    let bench = Bench::new();
    let asked = bench.install(&[]);
    assert_eq!(asked.status.code(), Some(2), "{}", said(&asked));
    assert!(said(&asked).contains("https://example.com/terms") && said(&asked).contains("--yes"));
    assert!(bench.hub.seen().is_empty() && !exists(&bench.data().join("gpu")));

    bench.hub.fault(SERVED, Fault::Cut(1 << 20));
    let done = bench.install(&["--yes"]);
    assert!(done.status.success(), "{}", said(&done));
    assert_eq!(bench.hub.ranges(SERVED), [None, Some(format!("bytes={}-", 1 << 20))]);
    let folder = bench.data().join("gpu/libraries");
    assert_eq!(fs::read(folder.join(LIBRARY)).unwrap(), noise(1, 3 << 20));
    assert!(said(&done).contains(folder.to_str().unwrap()), "{}", said(&done));

    let requests = bench.hub.seen().len();
    let again = bench.install(&["--json"]);
    let document: serde_json::Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!((&document["changed"], &document["packages"][0]["version"]), (&false.into(), &"1.2".into()));
    assert_eq!(bench.hub.seen().len(), requests);

    let removed = bench.scope(&["--remove"]);
    assert!(removed.status.success() && said(&removed).contains("3.1 MB are free"), "{}", said(&removed));
    assert!(!exists(&bench.data().join("gpu")));
    assert!(said(&bench.scope(&["--remove"])).contains("there was nothing"));
}

#[test]
fn a_wheel_with_a_wrong_checksum_installs_nothing_and_says_so() {
    let bench = Bench::new();
    bench.hub.always(SERVED, Fault::Flip);
    let failed = bench.install(&["--yes"]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(said(&failed).contains("tiny.whl") && said(&failed).contains("checksum"), "{}", said(&failed));
    assert!(!exists(&bench.data().join("gpu/libraries")));
}

#[test]
fn a_table_that_leads_outside_or_is_none_is_refused_unread() {
    let bench = Bench::new();
    let table = bench.home.path().join("packages.toml");
    let evil = fs::read_to_string(&table).unwrap().replace(LIBRARY, "../../../evil.so");
    for text in [evil.as_str(), "no table"] {
        fs::write(&table, text).unwrap();
        let refused = bench.install(&["--yes"]);
        assert_eq!(refused.status.code(), Some(3), "{}", said(&refused));
        assert!(said(&refused).contains("packages.toml"), "{}", said(&refused));
    }
    assert!(bench.hub.seen().is_empty() && !exists(&bench.data().join("gpu")));
}
