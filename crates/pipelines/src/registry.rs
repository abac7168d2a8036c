use crate::{Pipeline, builtin};
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
}

impl Registry {
    /// A registry with everything that is built in.
    pub fn builtin() -> Self {
        let mut pipelines: Vec<Arc<dyn Pipeline>> =
            vec![Arc::new(builtin::Passthrough::new()), Arc::new(builtin::Testcard::new())];
        // Files that make no model fail the pipeline's own tests; a program built with them does without it.
        if let Ok(Some(pocket)) = builtin::Pocket::built_in() {
            pipelines.push(Arc::new(pocket));
        }
        Self { pipelines }
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
        let again = registry.register(Arc::new(builtin::Passthrough::new()));
        assert_eq!(again, Err(RegistryError::Duplicate("passthrough".into())));
    }
}
