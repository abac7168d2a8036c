//! What a workflow file needs and this server has. Nothing is installed or changed.

use crate::Service;
use crate::http::{ApiError, ApiJson, ApiResult};
use crate::service::blocking;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::cmp::Ordering;
use std::path::Path;
use std::sync::Arc;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

const MAX_NODES: usize = 150;
const MAX_LORAS: usize = 100;
const MAX_FILE_NAME: usize = 255;

pub(super) fn routes() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::new().routes(routes!(resolve))
}

/// The parts of a workflow file that say what it needs; the others are ignored.
#[derive(Debug, Default, Deserialize, ToSchema)]
struct Workflow {
    #[serde(default)]
    pipelines: Vec<Node>,
    #[serde(default)]
    nodes: Vec<Node>,
    #[serde(default)]
    min_scope_version: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
struct Node {
    #[serde(alias = "node_type_id")]
    pipeline_id: String,
    #[serde(default)]
    source: Origin,
    #[serde(default)]
    loras: Vec<Lora>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
struct Origin {
    #[serde(rename = "type", default)]
    kind: Option<String>,
    #[serde(default)]
    plugin_name: Option<String>,
    #[serde(default)]
    plugin_version: Option<String>,
    #[serde(default)]
    package_spec: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
struct Lora {
    filename: String,
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    provenance: Option<Value>,
}

/// Whether a workflow can be applied here, and what it lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
struct Resolution {
    /// False when a pipeline or plugin is missing or too old. Missing adapters keep nothing from being applied.
    can_apply: bool,
    items: Vec<Item>,
    warnings: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
struct Item {
    kind: Kind,
    name: String,
    status: Status,
    /// What is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<String>,
    /// Whether this API can do it.
    can_auto_resolve: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Pipeline,
    Plugin,
    Lora,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Status {
    Ok,
    Missing,
    VersionMismatch,
}

impl Item {
    fn ok(kind: Kind, name: &str) -> Self {
        let name = name.to_owned();
        Self { kind, name, status: Status::Ok, detail: None, action: None, can_auto_resolve: false }
    }

    fn lacking(kind: Kind, name: &str, status: Status, detail: String, action: String) -> Self {
        Self { status, detail: Some(detail), action: Some(action), ..Self::ok(kind, name) }
    }
}

/// What there is.
struct Here<'a> {
    has_pipeline: &'a dyn Fn(&str) -> bool,
    /// The version of an installed plugin.
    plugin: &'a dyn Fn(&str) -> Option<String>,
    /// Paths of adapters.
    loras: &'a [String],
    version: &'a str,
}

/// Says which pipelines, plugins and LoRA adapters of a workflow file are here. Nothing is changed.
#[utoipa::path(post, path = "/api/v1/workflow/resolve", tag = "pipelines", request_body = Workflow,
    responses((status = 200, body = Resolution), (status = 422)))]
async fn resolve(
    State(service): State<Arc<Service>>,
    ApiJson(workflow): ApiJson<Workflow>,
) -> ApiResult<Json<Resolution>> {
    check_bounds(&workflow)?;
    let folder = service.loras.folder().clone();
    let loras = blocking(move || folder.list()).await?;
    let loras: Vec<String> = loras.into_iter().map(|lora| lora.path).collect();
    let has_pipeline = |id: &str| service.models.registry().get(id).is_some();
    let plugin = |name: &str| {
        let found = service.plugins.plugins.iter().find(|it| it.manifest.name == name)?;
        Some(found.version.clone())
    };
    let here =
        Here { has_pipeline: &has_pipeline, plugin: &plugin, loras: &loras, version: service.config.version };
    Ok(Json(resolution(&workflow, &here)))
}

fn check_bounds(workflow: &Workflow) -> ApiResult<()> {
    let nodes = || workflow.pipelines.iter().chain(&workflow.nodes);
    let too_long = |what: &str, most: usize| {
        let msg = format!("a workflow has at most {most} {what}");
        Err(ApiError::invalid("too_long", vec!["body".into()], msg, Value::Null))
    };
    if nodes().count() > MAX_NODES {
        return too_long("pipelines and nodes", MAX_NODES);
    }
    if nodes().any(|node| node.loras.len() > MAX_LORAS) {
        return too_long("LoRA adapters in each pipeline", MAX_LORAS);
    }
    if nodes().flat_map(|node| &node.loras).any(|lora| lora.filename.chars().count() > MAX_FILE_NAME) {
        return too_long("characters in a file name", MAX_FILE_NAME);
    }
    Ok(())
}

fn resolution(workflow: &Workflow, here: &Here<'_>) -> Resolution {
    let mut items: Vec<Item> = Vec::new();
    for node in workflow.pipelines.iter().chain(&workflow.nodes) {
        for item in needs_of(node, here) {
            // What several nodes need is told once.
            if !items.contains(&item) {
                items.push(item);
            }
        }
    }
    let lacks = |item: &Item| item.kind != Kind::Lora && item.status != Status::Ok;
    let newer = workflow
        .min_scope_version
        .as_deref()
        .filter(|wanted| !at_least(here.version, wanted))
        .map(|wanted| format!("it was made for Scope {wanted} or newer; this is {}", here.version));
    Resolution { can_apply: !items.iter().any(lacks), items, warnings: newer.into_iter().collect() }
}

fn needs_of(node: &Node, here: &Here<'_>) -> Vec<Item> {
    let id = &node.pipeline_id;
    let mut items = Vec::new();
    let plugin =
        node.source.plugin_name.as_deref().filter(|_| node.source.kind.as_deref() != Some("builtin"));
    if let Some(name) = plugin {
        items.push(plugin_item(name, &node.source, here));
    }
    if (here.has_pipeline)(id) {
        items.push(Item::ok(Kind::Pipeline, id));
    } else {
        let action = match plugin {
            Some(name) => format!("install the plugin {name}"),
            None => "choose another pipeline".to_owned(),
        };
        items.push(Item::lacking(
            Kind::Pipeline,
            id,
            Status::Missing,
            format!("there is no pipeline {id:?} here"),
            action,
        ));
    }
    items.extend(node.loras.iter().map(|lora| lora_item(lora, here)));
    items
}

fn plugin_item(name: &str, source: &Origin, here: &Here<'_>) -> Item {
    let package = source.package_spec.as_deref().unwrap_or(name);
    // Installing runs foreign code, so a person does it at the machine itself.
    let action = format!("run `scope plugins install {package}` on the machine, then restart");
    match ((here.plugin)(name), source.plugin_version.as_deref()) {
        (None, _) => {
            Item::lacking(Kind::Plugin, name, Status::Missing, "the plugin is not installed".into(), action)
        }
        (Some(found), Some(wanted)) if !at_least(&found, wanted) => {
            let detail = format!("version {found} is installed, and {wanted} or newer is needed");
            Item::lacking(Kind::Plugin, name, Status::VersionMismatch, detail, action)
        }
        _ => Item::ok(Kind::Plugin, name),
    }
}

fn lora_item(lora: &Lora, here: &Here<'_>) -> Item {
    let name = &lora.filename;
    let wanted = name.replace('\\', "/");
    let base = |path: &str| path.rsplit(['/', '\\']).next().unwrap_or_default().to_lowercase();
    let stem = |path: &str| {
        let base = base(path);
        Path::new(&base).file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
    };
    let same: [&dyn Fn(&str) -> bool; 3] =
        [&|path| path == wanted, &|path| base(path) == base(&wanted), &|path| stem(path) == stem(&wanted)];
    if same.iter().any(|same| here.loras.iter().any(|path| same(path))) {
        return Item::ok(Kind::Lora, name);
    }
    let source = |key: &str| lora.provenance.as_ref()?.get(key)?.as_str().filter(|it| !it.is_empty());
    let known = ["url", "repo_id", "version_id", "model_id"].into_iter().any(|key| source(key).is_some());
    let action = if known { "download it" } else { "put the file into the folder of adapters" };
    let missing =
        Item::lacking(Kind::Lora, name, Status::Missing, "the adapter is not here".into(), action.to_owned());
    Item { can_auto_resolve: known, ..missing }
}

/// Whether version `found` is `wanted` or newer, by its numbers; what comes after them does not count.
fn at_least(found: &str, wanted: &str) -> bool {
    let numbers = |version: &str| -> Vec<u64> {
        let version = version.trim().trim_start_matches('v');
        let parts = version.split('.').map(|part| {
            let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
            (digits.parse().unwrap_or(0), digits.len() == part.len())
        });
        // "1.2rc3": what follows the first part that is more than a number is no number.
        let mut out = Vec::new();
        for (number, whole) in parts {
            out.push(number);
            if !whole {
                break;
            }
        }
        out
    };
    let (found, wanted) = (numbers(found), numbers(wanted));
    let length = found.len().max(wanted.len());
    let padded =
        |numbers: &[u64]| (0..length).map(|at| numbers.get(at).copied().unwrap_or(0)).collect::<Vec<_>>();
    padded(&found).cmp(&padded(&wanted)) != Ordering::Less
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn resolved(workflow: Value) -> Resolution {
        let workflow = serde_json::from_value(workflow).unwrap();
        let loras = ["/data/lora/Ink.safetensors".to_owned(), "/data/lora/a/oil.safetensors".to_owned()];
        let here = Here {
            has_pipeline: &|id| id == "longlive" || id == "grain",
            plugin: &|name| (name == "scope-grain").then(|| "1.4.0".to_owned()),
            loras: &loras,
            version: "0.3.0",
        };
        resolution(&workflow, &here)
    }

    fn told(resolution: &Resolution) -> Vec<(Kind, &str, Status, bool)> {
        let items = resolution.items.iter();
        items.map(|item| (item.kind, item.name.as_str(), item.status, item.can_auto_resolve)).collect()
    }

    #[test]
    fn what_is_here_is_told_once_and_can_be_applied() {
        let node = json!({"pipeline_id": "longlive", "source": {"type": "builtin"},
            "loras": [{"filename": "ink.safetensors"}, {"filename": "C:\\old\\OIL.ckpt"}]});
        let found = resolved(json!({"pipelines": [node, node], "nodes": [], "unknown": 1}));
        assert!(found.can_apply && found.warnings.is_empty());
        let lora = |name| (Kind::Lora, name, Status::Ok, false);
        let pipeline = (Kind::Pipeline, "longlive", Status::Ok, false);
        assert_eq!(told(&found), [pipeline, lora("ink.safetensors"), lora("C:\\old\\OIL.ckpt")]);
    }

    #[test]
    fn a_missing_adapter_keeps_nothing_from_being_applied() {
        let found = resolved(json!({"pipelines": [{"pipeline_id": "longlive", "loras": [
            {"filename": "x.safetensors", "provenance": {"source": "huggingface", "repo_id": "a/b"}},
            {"filename": "y.safetensors", "provenance": {"source": "local"}},
        ]}]}));
        assert!(found.can_apply);
        assert_eq!(
            told(&found)[1..],
            [
                (Kind::Lora, "x.safetensors", Status::Missing, true),
                (Kind::Lora, "y.safetensors", Status::Missing, false),
            ]
        );
    }

    #[test]
    fn missing_pipelines_and_old_plugins_do() {
        let plugin = |version: &str| {
            json!({"nodes": [{"node_type_id": "grain",
            "source": {"type": "pypi", "plugin_name": "scope-grain", "plugin_version": version}}]})
        };
        assert!(resolved(plugin("1.4")).can_apply);
        let old = resolved(plugin("1.10.0"));
        assert!(!old.can_apply);
        assert_eq!(told(&old)[0], (Kind::Plugin, "scope-grain", Status::VersionMismatch, false));
        let missing = resolved(json!({"pipelines": [{"pipeline_id": "yolo",
            "source": {"type": "git", "plugin_name": "scope-yolo", "package_spec": "git+https://x/y"}}],
            "min_scope_version": "1.0"}));
        assert!(!missing.can_apply);
        assert_eq!(
            told(&missing),
            [
                (Kind::Plugin, "scope-yolo", Status::Missing, false),
                (Kind::Pipeline, "yolo", Status::Missing, false),
            ]
        );
        assert!(missing.items[0].action.as_ref().unwrap().contains("git+https://x/y"));
        assert_eq!(missing.warnings, ["it was made for Scope 1.0 or newer; this is 0.3.0"]);
    }

    proptest! {
        #[test]
        fn versions_are_ordered_by_their_numbers(a in prop::array::uniform3(0..30u64), b in prop::array::uniform3(0..30u64)) {
            let text = |v: [u64; 3]| format!("v{}.{}.{}rc1", v[0], v[1], v[2]);
            prop_assert_eq!(at_least(&text(a), &text(b)), a >= b);
        }
    }
}
