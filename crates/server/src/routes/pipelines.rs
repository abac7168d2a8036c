//! Which pipelines there are, and which are loaded.

use crate::Service;
use crate::http::{ApiError, ApiJson, ApiResult, OptionalJson};
use crate::service::blocking;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Json;
use scope_pipelines::{AssetLoader, LoadParams};
use scope_stream::{Graph, LoadRejected, LoadRequest};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

/// How long a client waits for sessions to let go of what is unloaded.
const UNLOAD_PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn routes() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new()
        .routes(routes!(load))
        .routes(routes!(status))
        .routes(routes!(unload))
        .routes(routes!(clear_error))
        .routes(routes!(schemas))
        .routes(routes!(definitions))
}

/// The whole set of pipelines that should be loaded, in either of two shapes.
#[derive(Debug, Default, Deserialize, ToSchema)]
struct LoadBody {
    /// One entry per graph node.
    pipelines: Option<Vec<LoadEntry>>,
    /// The older shape: ids that share `load_params`.
    pipeline_ids: Option<Vec<String>>,
    #[schema(value_type = Option<Object>)]
    load_params: Option<Map<String, Value>>,
}

#[derive(Debug, Deserialize, ToSchema)]
struct LoadEntry {
    /// The name it is used under; the pipeline's id unless given.
    node_id: Option<String>,
    pipeline_id: String,
    #[schema(value_type = Option<Object>)]
    load_params: Option<Map<String, Value>>,
}

impl LoadBody {
    fn requests(self) -> ApiResult<Vec<LoadRequest>> {
        let request = |node_id: String, pipeline_id: String, params: Option<Map<String, Value>>| {
            LoadRequest { node_id, pipeline_id, params: LoadParams::new(params.unwrap_or_default()) }
        };
        if let Some(pipelines) = self.pipelines {
            let entry = |it: LoadEntry| {
                request(it.node_id.unwrap_or_else(|| it.pipeline_id.clone()), it.pipeline_id, it.load_params)
            };
            return Ok(pipelines.into_iter().map(entry).collect());
        }
        let ids = self
            .pipeline_ids
            .ok_or_else(|| ApiError::bad_request("name what to load in pipelines or in pipeline_ids"))?;
        // Repeated pipelines get the node ids that they have in an implicit chain.
        let chain = Graph::linear(ids.iter().map(String::as_str), false, "");
        let nodes = chain.nodes.into_iter().filter_map(|node| Some((node.id, node.pipeline_id?)));
        Ok(nodes.map(|(node, pipeline)| request(node, pipeline, self.load_params.clone())).collect())
    }
}

impl From<LoadRejected> for ApiError {
    fn from(rejected: LoadRejected) -> Self {
        let (status, code) = match rejected {
            LoadRejected::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "server_stopping"),
            LoadRejected::UnknownPipeline(_) => (StatusCode::BAD_REQUEST, "unknown_pipeline"),
            _ => (StatusCode::BAD_REQUEST, "invalid_graph"),
        };
        Self::new(status, rejected.to_string()).with_code(code)
    }
}

/// Adapters come from the folders that clients may name files in.
fn refuse_foreign_files(files: &dyn AssetLoader, requests: &[LoadRequest]) -> ApiResult<()> {
    for request in requests {
        let adapters = request.params.as_map().get("loras").and_then(Value::as_array);
        let paths = adapters.into_iter().flatten().filter_map(|adapter| adapter.get("path")?.as_str());
        for path in paths {
            files
                .resolve(path)
                .map_err(|reason| ApiError::bad_request(reason).with_code("invalid_parameters"))?;
        }
    }
    Ok(())
}

/// Loads exactly this set of pipelines, in the background; what is loaded already stays.
#[utoipa::path(post, path = "/api/v1/pipeline/load", tag = "pipelines", request_body = LoadBody,
    responses((status = 200, body = Value), (status = 400)))]
async fn load(
    State(service): State<Arc<Service>>,
    ApiJson(body): ApiJson<LoadBody>,
) -> ApiResult<Json<Value>> {
    let requests = body.requests()?;
    let names: Vec<_> = requests.iter().map(|request| request.pipeline_id.clone()).collect();
    let (requests, warning) = {
        let service = Arc::clone(&service);
        let look = move || -> ApiResult<_> {
            refuse_foreign_files(&*service.files, &requests)?;
            let warning = service.models.memory_warning(&requests);
            Ok((requests, warning))
        };
        blocking(look).await??
    };
    service.models.load(requests)?;
    let mut reply = json!({"message": format!("Loading: {}", names.join(", "))});
    if let Some(warning) = warning {
        reply["warning"] = warning.into();
    }
    Ok(Json(reply))
}

/// What is loaded, what is going on, and what went wrong last.
#[utoipa::path(get, path = "/api/v1/pipeline/status", tag = "pipelines", responses((status = 200, body = Value)))]
async fn status(State(service): State<Arc<Service>>) -> Json<Value> {
    Json(json!(service.models.status()))
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
struct UnloadBody {
    /// All, when absent.
    node_ids: Option<Vec<String>>,
}

/// Unloads some pipelines or all, and waits until their sessions have let go.
#[utoipa::path(post, path = "/api/v1/pipeline/unload", tag = "pipelines", request_body = Option<UnloadBody>,
    responses((status = 200, body = Value)))]
async fn unload(
    State(service): State<Arc<Service>>,
    OptionalJson(body): OptionalJson<UnloadBody>,
) -> ApiResult<Json<Value>> {
    let models = Arc::clone(&service.models);
    models.unload(body.node_ids.as_deref())?;
    let done = blocking(move || models.wait_settled(UNLOAD_PATIENCE)).await?;
    let message = if done { "Unloaded" } else { "Unloading goes on: a session has not let go yet" };
    Ok(Json(json!({"message": message})))
}

/// Forgets what went wrong last.
#[utoipa::path(delete, path = "/api/v1/pipeline/error", tag = "pipelines", responses((status = 204)))]
async fn clear_error(State(service): State<Arc<Service>>) -> StatusCode {
    service.models.clear_error();
    StatusCode::NO_CONTENT
}

/// The schemas of all pipelines, by id: what the interface is drawn from; and which of them to begin with.
#[utoipa::path(get, path = "/api/v1/pipelines/schemas", tag = "pipelines", responses((status = 200, body = Value)))]
async fn schemas(State(service): State<Arc<Service>>) -> Json<Value> {
    let mut schemas = service.models.registry().schemas();
    for schema in schemas.values_mut().filter_map(Value::as_object_mut) {
        schema.entry("plugin_name").or_insert(Value::Null);
    }
    Json(json!({"pipelines": schemas, "default_pipeline": service.default_pipeline()}))
}

/// Everything that can be a node of a graph.
#[utoipa::path(get, path = "/api/v1/nodes/definitions", tag = "pipelines", responses((status = 200, body = Value)))]
async fn definitions(State(service): State<Arc<Service>>) -> Json<Value> {
    let nodes = service.models.registry().iter().map(|pipeline| pipeline.schema().node_definition());
    Json(json!({"nodes": nodes.collect::<Vec<_>>()}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(body: Value) -> ApiResult<Vec<(String, String)>> {
        let body: LoadBody = serde_json::from_value(body).unwrap();
        Ok(body.requests()?.into_iter().map(|it| (it.node_id, it.pipeline_id)).collect())
    }

    fn pair(a: &str, b: &str) -> (String, String) {
        (a.into(), b.into())
    }

    #[test]
    fn both_shapes_describe_the_same_set() {
        let new = json!({"pipelines": [{"node_id": "a", "pipeline_id": "testcard", "load_params": null}], "user_id": "x"});
        assert_eq!(requests(new).unwrap(), [pair("a", "testcard")]);
        let old = json!({"pipeline_ids": ["testcard", "testcard"], "load_params": {"width": 256}});
        assert_eq!(requests(old).unwrap(), [pair("testcard", "testcard"), pair("testcard_1", "testcard")]);
    }

    #[test]
    fn one_of_the_lists_is_needed() {
        assert_eq!(requests(json!({"load_params": {}})).unwrap_err().status, 400);
        assert_eq!(requests(json!({"pipelines": []})).unwrap(), []);
    }
}
