use crate::session::Core;
use scope_pipelines::AssetLoader;
use std::path::PathBuf;

pub(crate) fn open(assets: &dyn AssetLoader, name: &str) -> Result<PathBuf, String> {
    assets.resolve(name)
}

pub(crate) fn run(_file: PathBuf, _core: &Core, _source: usize) {}
