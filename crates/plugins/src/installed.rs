//! Installed plugins: what is written down about each, and how it is started.

use crate::manifest::{Manifest, PYTHON};
use crate::process::Program;
use scope_pipelines::PipelineSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Where a plugin came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "source", rename_all = "lowercase")]
pub enum Source {
    /// A folder, copied unless it is edited in place.
    Local {
        /// The folder.
        path: PathBuf,
        /// The plugin runs from there.
        editable: bool,
    },
    /// A Python package from an index.
    Pypi {
        /// What pip was asked for.
        package: String,
    },
    /// A Python package from a repository.
    Git {
        /// What pip was asked for.
        package: String,
    },
}

/// The record of an installed plugin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its manifest.
    pub manifest: Manifest,
    /// Where it came from.
    #[serde(flatten)]
    pub source: Source,
    /// Its version, as it says itself.
    pub version: String,
    /// Its pipelines' schemas, as it says itself.
    pub pipelines: Vec<Value>,
}

/// An installed plugin.
#[derive(Clone, Debug)]
pub struct Installed {
    /// Its manifest.
    pub manifest: Manifest,
    /// Where it came from.
    pub source: Source,
    /// Its version.
    pub version: String,
    /// Its pipelines.
    pub schemas: Vec<PipelineSchema>,
    /// Its folder among the plugins.
    pub(crate) folder: PathBuf,
    /// What all plugins are given.
    pub(crate) surroundings: Surroundings,
}

/// What all plugins are given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Surroundings {
    /// Our Python package for plugins.
    pub(crate) sdk: PathBuf,
    /// The folder of weights.
    pub(crate) models: Option<PathBuf>,
}

impl Installed {
    /// Name of the folder with the plugin's own files.
    pub(crate) const FILES: &'static str = "files";
    /// Name of the folder with its Python.
    pub(crate) const ENVIRONMENT: &'static str = "python";

    pub(crate) fn program(&self) -> Program {
        let folder = match &self.source {
            Source::Local { path, editable: true } => path.clone(),
            _ => self.folder.join(Self::FILES),
        };
        program(&self.manifest, &folder, &self.folder, &self.surroundings)
    }
}

/// How a plugin with this manifest is started: its files are in `files`, its environment in `home`.
pub(crate) fn program(manifest: &Manifest, files: &Path, home: &Path, around: &Surroundings) -> Program {
    let program = manifest.command.first().map_or("", String::as_str);
    let path = if program == PYTHON {
        python(&home.join(Installed::ENVIRONMENT))
    } else if program.contains('/') {
        files.join(program)
    } else {
        program.into()
    };
    let mut path_of_modules = OsString::from(files);
    path_of_modules.push(if cfg!(windows) { ";" } else { ":" });
    path_of_modules.push(&around.sdk);
    let models = around.models.iter().map(|path| ("DAYDREAM_SCOPE_MODELS_DIR".into(), path.into()));
    let python = [
        ("PYTHONPATH".into(), path_of_modules),
        ("PYTHONUNBUFFERED".into(), "1".into()),
        ("PYTHONDONTWRITEBYTECODE".into(), "1".into()),
    ];
    Program {
        name: manifest.name.clone(),
        path,
        arguments: manifest.command.iter().skip(1).cloned().collect(),
        folder: files.to_owned(),
        pass: manifest.environment.clone(),
        set: python.into_iter().chain(models).collect(),
    }
}

/// The interpreter of an environment.
pub(crate) fn python(environment: &Path) -> PathBuf {
    if cfg!(windows) { environment.join("Scripts/python.exe") } else { environment.join("bin/python") }
}
