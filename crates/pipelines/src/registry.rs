use crate::{Compute, Pipeline, builtin};
use scope_store::ModelFolder;
use serde_json::{Map, Value};
use std::sync::Arc;

/// Why a pipeline could not be registered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The id is taken.
    #[error("a pipeline with the id {0} is already registered")]
    Duplicate(String),
}

/// All pipelines that can be loaded, in the order in which clients see them.
#[derive(Clone, Default)]
pub struct Registry {
    pipelines: Vec<Arc<dyn Pipeline>>,
    newcomer: Option<String>,
}

impl Registry {
    /// A registry with everything that is built in.
    pub fn builtin() -> Self {
        Self::builtin_on(Compute::default())
    }

    /// The same, with models that compute on `compute`.
    pub fn builtin_on(compute: Compute) -> Self {
        let mut registry = Self::default();
        // Files that make no model fail the pipeline's own tests; a program built with them does without it.
        if let Ok(Some(pocket)) = builtin::Pocket::built_in(compute) {
            registry.newcomer = Some(pocket.schema().id.clone());
            registry.pipelines.push(Arc::new(pocket));
        }
        let [passthrough, filters @ ..] = builtin::Filter::all();
        registry.pipelines.push(Arc::new(passthrough));
        registry.pipelines.push(Arc::new(builtin::Testcard::new()));
        registry.pipelines.extend(filters.map(|filter| Arc::new(filter) as Arc<dyn Pipeline>));
        registry
    }

    /// The pipeline that somebody who has chosen none should see: it makes pictures on any machine, without a download.
    pub fn newcomer(&self) -> Option<&str> {
        self.newcomer.as_deref()
    }

    /// The same, and the pipelines whose weights lie in this folder, or can be brought there.
    pub fn with_models(folder: &ModelFolder, compute: &Compute) -> Self {
        let mut registry = Self::builtin_on(compute.clone());
        for pipeline in builtin::WanPipeline::all(folder, compute) {
            registry.pipelines.push(Arc::new(pipeline));
        }
        for processor in builtin::Processor::all(folder, compute) {
            registry.pipelines.push(Arc::new(processor));
        }
        registry
    }

    /// Adds a pipeline at the end.
    ///
    /// # Errors
    /// [`RegistryError::Duplicate`].
    pub fn register(&mut self, pipeline: Arc<dyn Pipeline>) -> Result<(), RegistryError> {
        let id = &pipeline.schema().id;
        if self.get(id).is_some() {
            return Err(RegistryError::Duplicate(id.clone()));
        }
        self.pipelines.push(pipeline);
        Ok(())
    }

    /// The pipeline with this id.
    pub fn get(&self, id: &str) -> Option<&Arc<dyn Pipeline>> {
        self.pipelines.iter().find(|pipeline| pipeline.schema().id == id)
    }

    /// All pipelines.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Pipeline>> {
        self.pipelines.iter()
    }

    /// The schemas keyed by id, as `GET /api/v1/pipelines/schemas` answers them.
    pub fn schemas(&self) -> Map<String, Value> {
        self.iter().map(|pipeline| (pipeline.schema().id.clone(), pipeline.schema().to_value())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique() {
        let mut registry = Registry::builtin();
        let again = registry.register(Arc::new(builtin::Filter::passthrough()));
        assert_eq!(again, Err(RegistryError::Duplicate("passthrough".into())));
    }
}
