//! Our Python package for plugins, which travels in the program, so that a plugin needs no copy of it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The module that runs pipeline classes written for another host.
pub(crate) const CLASSES: &str = "scope_plugin.classes";

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../sdk/python/src/", $name)))),*]
    };
}

const FILES: &[(&str, &str)] = files![
    "scope_plugin/__init__.py",
    "scope_plugin/_frames.py",
    "scope_plugin/_serve.py",
    "scope_plugin/_wire.py",
    "scope_plugin/classes.py",
    "scope_plugin/host/scope/__init__.py",
    "scope_plugin/host/scope/core/__init__.py",
    "scope_plugin/host/scope/core/config.py",
    "scope_plugin/host/scope/core/nodes/__init__.py",
    "scope_plugin/host/scope/core/pipelines/__init__.py",
    "scope_plugin/host/scope/core/pipelines/artifacts.py",
    "scope_plugin/host/scope/core/pipelines/base_schema.py",
    "scope_plugin/host/scope/core/pipelines/interface.py",
    "scope_plugin/host/scope/core/plugins/__init__.py",
    "scope_plugin/host/scope/core/plugins/hookspecs.py",
];

/// Where the package lies among the plugins.
pub(crate) fn folder(plugins: &Path) -> PathBuf {
    plugins.join(".sdk").join(env!("CARGO_PKG_VERSION"))
}

/// Writes the package into `folder`, where it is missing or differs.
pub(crate) fn write(folder: &Path) -> io::Result<()> {
    for (name, text) in FILES {
        let path = folder.join(name);
        if fs::read_to_string(&path).is_ok_and(|there| there == *text) {
            continue;
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, text)?;
    }
    Ok(())
}
