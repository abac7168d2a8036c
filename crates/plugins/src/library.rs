//! The folder of installed plugins. Only a person at this machine adds to it.

use crate::installed::{Installed, Record, Source, Surroundings, program, python};
use crate::manifest::{MANIFEST, Manifest, ManifestError, PYTHON, is_name};
use crate::pipeline::{PluginPipeline, describe};
use crate::process::{Process, ProcessError};
use crate::sdk;
use scope_pipelines::{PipelineSchema, Registry};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// The record's name in a plugin's folder; written last, so that a folder without it is the rest of an interrupted installation.
const RECORD: &str = "installed.json";
/// Bytes that a record may have.
const MAX_RECORD_BYTES: u64 = 8 << 20;
/// Bytes and files that a copied plugin may have.
const MAX_PLUGIN_BYTES: u64 = 1 << 30;
const MAX_PLUGIN_FILES: usize = 20_000;
/// Folders that are made, not written, and so are not copied.
const NOT_COPIED: &[&str] = &[".git", ".venv", "__pycache__", "node_modules"];
/// What our Python package needs to run pipeline classes that were written for another host.
const CLASS_REQUIREMENTS: &[&str] = &["numpy>=1.24", "pydantic>=2,<3"];

/// Why a plugin could not be installed or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// What was asked for is no folder, package or repository.
    #[error(
        "{0} is no folder with a {MANIFEST} or pyproject.toml, no package name and no git+https:// address"
    )]
    UnknownSource(String),
    /// The manifest can't be used.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// There is one already.
    #[error("the plugin {0} is installed already; add --force to replace it")]
    Exists(String),
    /// There is none.
    #[error("there is no plugin {name}; installed: {installed}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        installed: String,
    },
    /// A file could not be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The folder can't be copied.
    #[error("{}: {problem}", path.display())]
    Copy {
        /// The file.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// A tool failed.
    #[error("{what} failed: {how}")]
    Tool {
        /// What it was to do.
        what: String,
        /// How it ended.
        how: String,
    },
    /// It does not start, or does not speak the protocol.
    #[error("the plugin {name} does not work: {error}")]
    Process {
        /// The plugin.
        name: String,
        /// Why.
        error: ProcessError,
    },
    /// What it says of itself can't be used.
    #[error("the plugin {name} does not work: {problem}")]
    Schema {
        /// The plugin.
        name: String,
        /// Why.
        problem: String,
    },
}

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> InstallError + '_ {
    move |error| InstallError::File { path: path.to_owned(), error }
}

/// A folder among the plugins that is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Its name.
    pub name: String,
    /// What is wrong with it.
    pub problem: String,
}

/// What is installed.
#[derive(Clone, Debug, Default)]
pub struct Scan {
    /// Plugins that can be used, by name.
    pub plugins: Vec<Installed>,
    /// Those that can't.
    pub broken: Vec<Broken>,
}

impl Scan {
    /// Adds the plugins' pipelines to a registry. Nothing is started.
    pub fn register(&mut self, registry: &mut Registry) {
        for plugin in &self.plugins {
            let shared = Arc::new(plugin.clone());
            for schema in &plugin.schemas {
                let pipeline = PluginPipeline::new(Arc::clone(&shared), schema.clone());
                if let Err(error) = registry.register(Arc::new(pipeline)) {
                    let problem = error.to_string();
                    self.broken.push(Broken { name: plugin.manifest.name.clone(), problem });
                }
            }
        }
    }
}

/// An installation that waits for somebody's consent.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its manifest.
    pub manifest: Manifest,
    /// Where it comes from.
    pub source: Source,
    /// What pip will be asked for; a package with pipeline classes comes last.
    pub requirements: Vec<String>,
}

/// The folder of installed plugins.
#[derive(Clone, Debug)]
pub struct Library {
    folder: PathBuf,
    surroundings: Surroundings,
}

impl Library {
    /// The library in a folder, which need not exist yet.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        let folder = folder.into();
        let surroundings = Surroundings { sdk: sdk::folder(&folder), models: None };
        Self { folder, surroundings }
    }

    /// Tells plugins where weights lie.
    #[must_use]
    pub fn with_models(mut self, folder: impl Into<PathBuf>) -> Self {
        self.surroundings.models = Some(folder.into());
        self
    }

    /// Reads what is installed. Nothing is started.
    #[must_use]
    pub fn scan(&self) -> Scan {
        let mut scan = Scan::default();
        let Ok(entries) = fs::read_dir(&self.folder) else { return scan };
        let mut names: Vec<String> =
            entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        for name in names.into_iter().filter(|name| is_name(name)) {
            match self.read(&name) {
                Ok(Some(plugin)) => scan.plugins.push(plugin),
                Ok(None) => {}
                Err(problem) => scan.broken.push(Broken { name, problem }),
            }
        }
        scan
    }

    fn read(&self, name: &str) -> Result<Option<Installed>, String> {
        let folder = self.folder.join(name);
        let path = folder.join(RECORD);
        let size = match fs::metadata(&path) {
            Ok(data) => data.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        if size > MAX_RECORD_BYTES {
            return Err(format!("its {RECORD} has {size} bytes"));
        }
        let text = fs::read_to_string(&path).map_err(|error| error.to_string())?;
        let record: Record =
            serde_json::from_str(&text).map_err(|error| format!("its {RECORD} can't be read: {error}"))?;
        if record.manifest.name != name {
            return Err(format!("its folder is not called {}", record.manifest.name));
        }
        let schemas = schemas(&record.pipelines, name)?;
        let Record { manifest, source, version, .. } = record;
        let surroundings = self.surroundings.clone();
        Ok(Some(Installed { manifest, source, version, schemas, folder, surroundings }))
    }

    /// Finds out what an installation from `source` would run: a folder, a package of an index, or an address of a repository.
    ///
    /// # Errors
    /// [`InstallError::UnknownSource`], [`InstallError::Manifest`], [`InstallError::File`].
    pub fn plan(&self, source: &str, editable: bool) -> Result<Plan, InstallError> {
        let folder = Path::new(source);
        if folder.is_dir() {
            let path = folder.canonicalize().map_err(file_error(folder))?;
            let manifest = path.join(MANIFEST);
            if manifest.is_file() {
                let text = fs::read_to_string(&manifest).map_err(file_error(&manifest))?;
                let manifest = Manifest::parse(&text)?;
                let requirements = manifest.python_requirements.clone();
                return Ok(Plan { manifest, source: Source::Local { path, editable }, requirements });
            }
            let project = path.join("pyproject.toml");
            if project.is_file() {
                let text = fs::read_to_string(&project).map_err(file_error(&project))?;
                let name = project_name(&text).ok_or_else(|| InstallError::Copy {
                    path: project,
                    problem: "has no [project] with a name".into(),
                })?;
                let package = path.display().to_string();
                return Ok(classes(&name, &package, Source::Local { path, editable }, editable));
            }
            return Err(InstallError::UnknownSource(source.to_owned()));
        }
        let package = match source.strip_prefix("https://github.com/") {
            Some(_) => format!("git+{source}"),
            None => source.to_owned(),
        };
        if let Some(address) = package.strip_prefix("git+https://") {
            let last = address.rsplit('/').next().unwrap_or_default();
            let name = last.split(['@', '#']).next().unwrap_or_default().trim_end_matches(".git").to_owned();
            return Ok(classes(&name, &package, Source::Git { package: package.clone() }, false));
        }
        let length = package.find(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c)));
        let name = &package[..length.unwrap_or(package.len())];
        let rest = &package[name.len()..];
        let versioned = rest.is_empty() || rest.starts_with(['=', '<', '>', '!', '~', '[']);
        if name.starts_with(|c: char| c.is_ascii_alphanumeric()) && versioned {
            return Ok(classes(name, &package, Source::Pypi { package: package.clone() }, false));
        }
        Err(InstallError::UnknownSource(source.to_owned()))
    }

    /// Installs what was planned: copies it, makes its environment, starts it once and writes down what it says of itself.
    /// Whatever fails, the folder is as it was before. `tell` hears what is going on.
    ///
    /// # Errors
    /// [`InstallError`].
    pub fn install(
        &self,
        plan: &Plan,
        replace: bool,
        tell: &mut dyn FnMut(&str),
    ) -> Result<Installed, InstallError> {
        let name = &plan.manifest.name;
        let folder = self.folder.join(name);
        let exists = folder.join(RECORD).exists();
        if exists && !replace {
            return Err(InstallError::Exists(name.clone()));
        }
        let old = self.folder.join(format!(".old-{name}"));
        remove_folder(&old)?;
        if exists {
            fs::rename(&folder, &old).map_err(file_error(&folder))?;
        }
        let made = remove_folder(&folder).and_then(|()| self.make(plan, &folder, tell));
        if made.is_err() {
            fs::remove_dir_all(&folder).ok();
            if exists {
                fs::rename(&old, &folder).map_err(file_error(&old))?;
            }
        } else {
            // What is left of it does no harm, and is removed the next time.
            fs::remove_dir_all(&old).ok();
        }
        made
    }

    fn make(
        &self,
        plan: &Plan,
        folder: &Path,
        tell: &mut dyn FnMut(&str),
    ) -> Result<Installed, InstallError> {
        let name = &plan.manifest.name;
        let files = folder.join(Installed::FILES);
        fs::create_dir_all(&files).map_err(file_error(&files))?;
        sdk::write(&self.surroundings.sdk).map_err(file_error(&self.surroundings.sdk))?;
        let native = plan.manifest.command.iter().all(|part| part != sdk::CLASSES);
        let mut run_in = files.clone();
        let mut requirements = plan.requirements.clone();
        match &plan.source {
            Source::Local { path, editable: true } if native => run_in.clone_from(path),
            Source::Local { path, editable: false } => {
                tell("Copying its files…");
                copy(path, &files)?;
                if !native && let Some(package) = requirements.last_mut() {
                    // pip builds where the files are, and would leave its traces with the author.
                    *package = files.display().to_string();
                }
            }
            _ => {}
        }
        if plan.manifest.command.first().is_some_and(|program| program == PYTHON) {
            environment(&folder.join(Installed::ENVIRONMENT), &requirements, tell)?;
        }
        tell("Starting it…");
        let broken = |error| InstallError::Process { name: name.clone(), error };
        let program = program(&plan.manifest, &run_in, folder, &self.surroundings);
        let mut process = Process::start(&program).map_err(broken)?;
        let hello = describe(&mut process, plan.manifest.load_timeout()).map_err(broken)?;
        drop(process);
        tracing::info!(plugin = name, says = hello.name, version = hello.version, "installing a plugin");
        let schema = |problem| InstallError::Schema { name: name.clone(), problem };
        let schemas = schemas(&hello.pipelines, name).map_err(schema)?;
        let taken: Vec<&str> =
            schemas.iter().map(|schema| schema.id.as_str()).filter(|id| self.is_taken(id, name)).collect();
        if !taken.is_empty() {
            return Err(schema(format!("another pipeline is already called {}", taken.join(", "))));
        }
        let record = Record {
            manifest: plan.manifest.clone(),
            source: plan.source.clone(),
            version: hello.version,
            pipelines: hello.pipelines,
        };
        let path = folder.join(RECORD);
        let text = serde_json::to_vec_pretty(&record).map_err(|error| schema(error.to_string()))?;
        // In one go: a half-written record would be a broken plugin.
        let part = folder.join(format!("{RECORD}.part"));
        fs::write(&part, text).and_then(|()| fs::rename(&part, &path)).map_err(file_error(&path))?;
        let Record { manifest, source, version, .. } = record;
        let surroundings = self.surroundings.clone();
        Ok(Installed { manifest, source, version, schemas, folder: folder.to_owned(), surroundings })
    }

    fn is_taken(&self, id: &str, by: &str) -> bool {
        let others = self.scan().plugins;
        Registry::builtin().get(id).is_some()
            || others
                .iter()
                .filter(|plugin| plugin.manifest.name != by)
                .any(|plugin| plugin.schemas.iter().any(|schema| schema.id == id))
    }

    /// Removes a plugin and everything that was installed for it. Running sessions keep what they have opened.
    ///
    /// # Errors
    /// [`InstallError::Unknown`], [`InstallError::File`].
    pub fn remove(&self, name: &str) -> Result<(), InstallError> {
        let folder = self.folder.join(name);
        if !is_name(name) || !folder.is_dir() {
            let scan = self.scan();
            let names = scan.plugins.iter().map(|plugin| plugin.manifest.name.as_str());
            let names: Vec<&str> =
                names.chain(scan.broken.iter().map(|broken| broken.name.as_str())).collect();
            let installed = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            return Err(InstallError::Unknown { name: name.to_owned(), installed });
        }
        remove_folder(&folder)
    }
}

fn remove_folder(path: &Path) -> Result<(), InstallError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file_error(path)(error)),
        _ => Ok(()),
    }
}

/// A plan for a Python package with pipeline classes, which our own package runs.
fn classes(name: &str, package: &str, source: Source, editable: bool) -> Plan {
    let plain = name.to_lowercase().replace(|c: char| !(c.is_ascii_alphanumeric() || "-_".contains(c)), "-");
    let name = if is_name(&plain) { plain } else { format!("plugin-{plain}") };
    let command = [PYTHON, "-m", sdk::CLASSES].map(str::to_owned).to_vec();
    let editable = editable.then(|| "--editable".to_owned());
    let requirements = CLASS_REQUIREMENTS.iter().map(|&requirement| requirement.to_owned());
    let requirements = requirements.chain(editable).chain([package.to_owned()]).collect();
    Plan { manifest: Manifest::of(name, command), source, requirements }
}

fn project_name(text: &str) -> Option<String> {
    let project: toml::Table = toml::from_str(text).ok()?;
    Some(project.get("project")?.get("name")?.as_str()?.to_owned())
}

/// The schemas of a plugin, checked.
fn schemas(documents: &[Value], plugin: &str) -> Result<Vec<PipelineSchema>, String> {
    if documents.is_empty() {
        return Err("it has no pipelines".into());
    }
    let mut ids = BTreeSet::new();
    let mut schemas = Vec::new();
    for document in documents {
        let mut schema = PipelineSchema::from_value(document).map_err(|error| error.to_string())?;
        schema.plugin_name = Some(plugin.to_owned());
        if !is_name(&schema.id) {
            return Err(format!("the id {:?} must be 1 to 64 lower-case letters, digits, - or _", schema.id));
        }
        if !ids.insert(schema.id.clone()) {
            return Err(format!("two of its pipelines are called {}", schema.id));
        }
        schemas.push(schema);
    }
    Ok(schemas)
}

/// Makes a Python environment and installs into it.
fn environment(
    folder: &Path,
    requirements: &[String],
    tell: &mut dyn FnMut(&str),
) -> Result<(), InstallError> {
    tell("Making a Python environment…");
    let interpreter = std::env::var_os("SCOPE_PYTHON").unwrap_or_else(|| "python3".into());
    run("making a Python environment", Command::new(interpreter).args(["-m", "venv"]).arg(folder))?;
    if requirements.is_empty() {
        return Ok(());
    }
    tell(&format!("Installing {}…", requirements.join(" ")));
    let mut pip = Command::new(python(folder));
    pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--quiet"]);
    run("pip install", pip.args(requirements))
}

fn run(what: &str, command: &mut Command) -> Result<(), InstallError> {
    let failed = |how: String| InstallError::Tool { what: what.to_owned(), how };
    let status = command.status().map_err(|error| {
        failed(format!("{} can't be started: {error}", command.get_program().to_string_lossy()))
    })?;
    if status.success() { Ok(()) } else { Err(failed(status.to_string())) }
}

/// Copies a folder. Links are refused: they might lead anywhere.
fn copy(from: &Path, to: &Path) -> Result<(), InstallError> {
    let mut folders = vec![(from.to_owned(), to.to_owned())];
    let (mut files, mut bytes) = (0, 0);
    while let Some((from, to)) = folders.pop() {
        fs::create_dir_all(&to).map_err(file_error(&to))?;
        for entry in fs::read_dir(&from).map_err(file_error(&from))? {
            let entry = entry.map_err(file_error(&from))?;
            let (path, name) = (entry.path(), entry.file_name());
            let wrong = |problem: String| InstallError::Copy { path: path.clone(), problem };
            let data = entry.metadata().map_err(file_error(&path))?;
            if NOT_COPIED.iter().any(|&skipped| name == skipped) {
                continue;
            }
            if data.is_dir() {
                folders.push((path, to.join(name)));
                continue;
            }
            if !data.is_file() {
                return Err(wrong("is neither file nor folder; install with --editable instead".into()));
            }
            files += 1;
            bytes += data.len();
            if files > MAX_PLUGIN_FILES || bytes > MAX_PLUGIN_BYTES {
                let limit = MAX_PLUGIN_BYTES >> 30;
                return Err(wrong(format!(
                    "the folder has more than {MAX_PLUGIN_FILES} files or {limit} GiB; install with --editable instead"
                )));
            }
            fs::copy(&path, to.join(name)).map_err(file_error(&path))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(source: &str) -> Result<Plan, InstallError> {
        Library::new("/nowhere").plan(source, false)
    }

    #[test]
    fn packages_and_repositories_are_told_apart_and_named() {
        let cases = [
            ("scope-hello", "scope-hello"),
            ("Scope_Hello==1.2", "scope_hello"),
            ("scope.hello[gpu]>=1", "scope-hello"),
            ("git+https://example.org/team/scope-grain.git@v1", "scope-grain"),
            ("https://github.com/team/Scope-Grain", "scope-grain"),
            ("3d-things", "plugin-3d-things"),
        ];
        for (source, name) in cases {
            let plan = plan(source).unwrap();
            assert_eq!(plan.manifest.name, name, "{source}");
            assert!(is_name(&plan.manifest.name));
        }
        assert!(matches!(plan("https://github.com/a/b").unwrap().source, Source::Git { .. }));
    }

    #[test]
    fn what_could_be_an_option_or_a_command_is_no_source() {
        for source in [
            "",
            "-r",
            "--index-url=http://x",
            "a b",
            "a;rm",
            "http://example.org/x",
            "/no/such/folder",
            "git+ssh://x/y",
        ] {
            assert!(matches!(plan(source), Err(InstallError::UnknownSource(_))), "{source}");
        }
    }

    #[test]
    fn links_are_not_copied() {
        let folder = tempfile::tempdir().unwrap();
        let from = folder.path().join("from");
        fs::create_dir_all(from.join(".git")).unwrap();
        fs::write(from.join("a"), "a").unwrap();
        fs::write(from.join(".git/big"), "b").unwrap();
        copy(&from, &folder.path().join("to")).unwrap();
        assert!(folder.path().join("to/a").is_file() && !folder.path().join("to/.git").exists());
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("/etc/passwd", from.join("link")).unwrap();
            let error = copy(&from, &folder.path().join("again")).unwrap_err();
            assert!(error.to_string().contains("neither file nor folder"), "{error}");
        }
    }

    #[test]
    fn schemas_need_usable_and_distinct_ids() {
        use serde_json::json;
        assert!(schemas(&[], "p").is_err());
        assert!(schemas(&[json!({"id": "../x"})], "p").is_err());
        assert!(schemas(&[json!({"id": "x"}), json!({"id": "x"})], "p").is_err());
        assert_eq!(schemas(&[json!({"id": "x"})], "p").unwrap().len(), 1);
    }
}
