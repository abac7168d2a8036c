//! The graph that clients send: which sources feed which pipelines and sinks.
//!
//! [`Graph`] is the wire form; [`Graph::compile`] checks it against the registry and yields a [`Plan`] that only refers to
//! things that exist. Everything a client can get wrong is a [`GraphError`] with a text for people.

use scope_frame::PixelFormat;
use scope_pipelines::{PipelineSchema, Registry};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Most nodes accepted in a graph.
pub const MAX_NODES: usize = 64;
/// Most edges accepted in a graph.
pub const MAX_EDGES: usize = 256;
/// The port of sources, sinks and recorders, and the main port of most pipelines.
pub const VIDEO_PORT: &str = "video";

/// A graph as clients write it. Unknown keys are ignored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Graph {
    /// The nodes.
    #[serde(default)]
    pub nodes: Vec<Node>,
    /// The connections.
    #[serde(default)]
    pub edges: Vec<Edge>,
}

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeType {
    /// Brings frames in.
    Source,
    /// Runs a pipeline.
    Pipeline,
    /// Takes frames out.
    Sink,
    /// Writes frames to a file on request.
    Record,
    /// Anything else that a plugin defines.
    Node,
}

/// A node as clients write it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Unique id.
    pub id: String,
    /// What it does.
    #[serde(rename = "type")]
    pub kind: NodeType,
    /// Which pipeline, for pipeline nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline_id: Option<String>,
    /// Which node type, for plugin nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_type_id: Option<String>,
    /// Initial parameters of this node alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<Map<String, Value>>,
    /// Where a source's frames come from; absent, `video` or `camera` means the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_mode: Option<String>,
    /// Which file or sender, for sources of the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_name: Option<String>,
    /// Where a sink's frames go besides the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sink_mode: Option<String>,
}

/// A connection as clients write it; the asymmetric key names are the wire format's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edge {
    /// Id of the node that frames come from.
    pub from: String,
    /// Its output port.
    #[serde(default = "video_port")]
    pub from_port: String,
    /// Id of the node that frames go to.
    pub to_node: String,
    /// Its input port.
    #[serde(default = "video_port")]
    pub to_port: String,
    /// Frames, or values that only the client evaluates.
    #[serde(default)]
    pub kind: EdgeKind,
}

fn video_port() -> String {
    VIDEO_PORT.into()
}

/// What flows along an edge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EdgeKind {
    /// Frames and values, on the server.
    #[default]
    Stream,
    /// Evaluated by the client; the server skips it.
    Parameter,
}

/// What is wrong with a graph.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum GraphError {
    #[error("the graph has {0} nodes; at most {MAX_NODES} are accepted")]
    TooManyNodes(usize),
    #[error("the graph has {0} edges; at most {MAX_EDGES} are accepted")]
    TooManyEdges(usize),
    #[error("two nodes have the id {0:?}; ids must be unique")]
    DuplicateId(String),
    #[error("a node has no id")]
    EmptyId,
    #[error("the graph has no sink; add a node of type sink and connect it")]
    NoSink,
    #[error("pipeline node {0:?} names no pipeline_id")]
    NoPipelineId(String),
    #[error("node {node:?} wants the pipeline {pipeline:?}, which does not exist here")]
    UnknownPipeline { node: String, pipeline: String },
    #[error("node {node:?} has the type {kind:?}, which this server does not run")]
    UnsupportedNode { node: String, kind: String },
    #[error("source {node:?} has the mode {mode:?}, which this server does not have")]
    UnsupportedSource { node: String, mode: String },
    #[error("source {0:?} names no file in source_name")]
    NoSourceName(String),
    #[error("an edge refers to the node {0:?}, which does not exist")]
    UnknownNode(String),
    #[error("node {node:?} has no {direction} port {port:?}; it has {known}")]
    UnknownPort { node: String, direction: &'static str, port: String, known: String },
    #[error("output {from:?} carries {from_type} but input {to:?} takes {to_type}")]
    PortTypes { from: String, from_type: &'static str, to: String, to_type: &'static str },
    #[error("input {node:?}.{port:?} is fed by two edges; an input takes one")]
    FanIn { node: String, port: String },
    #[error("nothing may come out of the sink {0:?}, except a tap for a recorder")]
    EdgeFromSink(String),
    #[error("nothing can come out of the recorder {0:?}")]
    EdgeFromRecord(String),
    #[error("nothing may go into the source {0:?}")]
    EdgeIntoSource(String),
    #[error("{0:?} is not connected to anything that brings it frames")]
    Unfed(String),
    #[error("the nodes {0} form a circle; frames must flow one way")]
    Cycle(String),
}

/// Where a source's frames come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// A track of the client.
    Client,
    /// A file on the server, looped.
    File(String),
}

/// A checked graph. Indices refer to the lists of this plan.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Sources, in the client's order.
    pub sources: Vec<SourcePlan>,
    /// Pipelines, every one after those that feed it.
    pub pipelines: Vec<PipelinePlan>,
    /// Sinks, in the client's order; the first is the primary one.
    pub sinks: Vec<SinkPlan>,
    /// Recorders, in the client's order.
    pub records: Vec<RecordPlan>,
}

/// A source of a [`Plan`].
#[derive(Clone, Debug)]
pub struct SourcePlan {
    /// The node's id.
    pub id: String,
    /// Where its frames come from.
    pub kind: SourceKind,
    /// Where they go.
    pub targets: Vec<Target>,
}

/// A pipeline node of a [`Plan`].
#[derive(Clone, Debug)]
pub struct PipelinePlan {
    /// The node's id.
    pub id: String,
    /// The pipeline.
    pub pipeline_id: String,
    /// Connected video input ports.
    pub video_inputs: BTreeSet<String>,
    /// Where each output port goes.
    pub outputs: BTreeMap<String, Vec<Target>>,
}

impl PipelinePlan {
    /// In which format those who get its pictures use them. Encoders, behind sinks and recorders, begin with I420;
    /// pipelines get all colours that there are.
    pub fn picture_format(&self) -> PixelFormat {
        let mut targets = self.outputs.values().flatten();
        if targets.any(|target| matches!(target, Target::Pipeline(..))) {
            PixelFormat::Rgb8
        } else {
            PixelFormat::I420
        }
    }
}

/// A sink of a [`Plan`].
#[derive(Clone, Debug)]
pub struct SinkPlan {
    /// The node's id.
    pub id: String,
}

/// A recorder of a [`Plan`].
#[derive(Clone, Debug)]
pub struct RecordPlan {
    /// The node's id.
    pub id: String,
}

/// The far end of an edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A video port of the pipeline with this index.
    Pipeline(usize, String),
    /// A value port of the pipeline with this index: becomes a parameter.
    Parameter(usize, String),
    /// The sink with this index.
    Sink(usize),
    /// The recorder with this index.
    Record(usize),
}

impl Graph {
    /// The chain `input → pipelines… → output` that clients without a graph mean. Repeated pipelines get numbered node ids.
    /// Without `with_source` the first pipeline runs freely.
    pub fn linear<'a>(
        pipelines: impl IntoIterator<Item = &'a str>,
        with_source: bool,
        first_port: &str,
    ) -> Self {
        let mut graph = Self::default();
        let plain = |id: &str, kind| Node {
            id: id.into(),
            kind,
            pipeline_id: None,
            node_type_id: None,
            params: None,
            source_mode: None,
            source_name: None,
            sink_mode: None,
        };
        let mut last: Option<String> = None;
        if with_source {
            graph.nodes.push(Node { source_mode: Some("video".into()), ..plain("input", NodeType::Source) });
            last = Some("input".into());
        }
        let mut seen: HashMap<&str, u32> = HashMap::new();
        for (index, pipeline) in pipelines.into_iter().enumerate() {
            let count = seen.entry(pipeline).or_default();
            let id = if *count == 0 { pipeline.to_owned() } else { format!("{pipeline}_{count}") };
            *count += 1;
            graph.nodes.push(Node { pipeline_id: Some(pipeline.into()), ..plain(&id, NodeType::Pipeline) });
            if let Some(from) = last.replace(id.clone()) {
                let to_port = if index == 0 { first_port.into() } else { video_port() };
                graph.edges.push(Edge {
                    from,
                    from_port: video_port(),
                    to_node: id,
                    to_port,
                    kind: EdgeKind::Stream,
                });
            }
        }
        graph.nodes.push(plain("output", NodeType::Sink));
        if let Some(from) = last {
            graph.edges.push(Edge {
                from,
                from_port: video_port(),
                to_node: "output".into(),
                to_port: video_port(),
                kind: EdgeKind::Stream,
            });
        }
        graph
    }

    /// Ids of the pipelines it runs, in the client's order.
    pub fn pipeline_ids(&self) -> Vec<&str> {
        self.nodes.iter().filter_map(|node| node.pipeline_id.as_deref()).collect()
    }

    /// Whether frames come from anywhere but pipelines.
    pub fn has_source(&self) -> bool {
        self.nodes.iter().any(|node| node.kind == NodeType::Source)
    }

    /// Checks everything and resolves names to indices.
    ///
    /// # Errors
    /// The first problem found.
    pub fn compile(&self, registry: &Registry) -> Result<Plan, GraphError> {
        Compiler::new(self, registry)?.compile()
    }
}

struct Compiler<'a> {
    nodes: HashMap<&'a str, (&'a Node, Option<&'a PipelineSchema>)>,
    graph: &'a Graph,
    edges: Vec<&'a Edge>,
}

const VIDEO: &str = "video";
const TEXT: &str = "text";

impl<'a> Compiler<'a> {
    fn new(graph: &'a Graph, registry: &'a Registry) -> Result<Self, GraphError> {
        if graph.nodes.len() > MAX_NODES {
            return Err(GraphError::TooManyNodes(graph.nodes.len()));
        }
        if graph.edges.len() > MAX_EDGES {
            return Err(GraphError::TooManyEdges(graph.edges.len()));
        }
        let mut nodes = HashMap::new();
        for node in &graph.nodes {
            if node.id.is_empty() {
                return Err(GraphError::EmptyId);
            }
            let schema = match node.kind {
                NodeType::Pipeline => {
                    let id = node.pipeline_id.as_deref();
                    let id = id.ok_or_else(|| GraphError::NoPipelineId(node.id.clone()))?;
                    let unknown =
                        || GraphError::UnknownPipeline { node: node.id.clone(), pipeline: id.to_owned() };
                    Some(registry.get(id).ok_or_else(unknown)?.schema())
                }
                NodeType::Node => {
                    return Err(GraphError::UnsupportedNode {
                        node: node.id.clone(),
                        kind: node.node_type_id.clone().unwrap_or_else(|| "node".into()),
                    });
                }
                _ => None,
            };
            if nodes.insert(node.id.as_str(), (node, schema)).is_some() {
                return Err(GraphError::DuplicateId(node.id.clone()));
            }
        }
        let edges = graph.edges.iter().filter(|edge| edge.kind == EdgeKind::Stream).collect();
        Ok(Self { nodes, graph, edges })
    }

    fn compile(&self) -> Result<Plan, GraphError> {
        if !self.graph.nodes.iter().any(|node| node.kind == NodeType::Sink) {
            return Err(GraphError::NoSink);
        }
        self.check_edges()?;
        let order = self.pipelines_in_order()?;
        let index_of = |kind: NodeType| -> HashMap<&str, usize> {
            let ids = self.graph.nodes.iter().filter(|node| node.kind == kind).map(|node| node.id.as_str());
            ids.enumerate().map(|(index, id)| (id, index)).collect()
        };
        let pipeline_index: HashMap<&str, usize> =
            order.iter().enumerate().map(|(index, node)| (node.id.as_str(), index)).collect();
        let (sink_index, record_index) = (index_of(NodeType::Sink), index_of(NodeType::Record));
        let target = |edge: &Edge| -> Option<Target> {
            let to = edge.to_node.as_str();
            if let Some(index) = pipeline_index.get(to) {
                let port = edge.to_port.clone();
                return Some(match self.input_type(to, &port) {
                    Some(TEXT) => Target::Parameter(*index, port),
                    _ => Target::Pipeline(*index, port),
                });
            }
            let sink = sink_index.get(to).map(|index| Target::Sink(*index));
            sink.or_else(|| record_index.get(to).map(|index| Target::Record(*index)))
        };
        let mut plan = Plan::default();
        for node in &self.graph.nodes {
            match node.kind {
                NodeType::Source => plan.sources.push(SourcePlan {
                    id: node.id.clone(),
                    kind: source_kind(node)?,
                    targets: self.edges_from(&node.id).filter_map(target).collect(),
                }),
                NodeType::Sink => plan.sinks.push(SinkPlan { id: node.id.clone() }),
                NodeType::Record => plan.records.push(RecordPlan { id: node.id.clone() }),
                NodeType::Pipeline | NodeType::Node => {}
            }
        }
        for node in order {
            let mut outputs: BTreeMap<String, Vec<Target>> = BTreeMap::new();
            for edge in self.edges_from(&node.id) {
                outputs.entry(edge.from_port.clone()).or_default().extend(target(edge));
            }
            let video_inputs = self
                .edges
                .iter()
                .filter(|edge| {
                    edge.to_node == node.id && self.input_type(&node.id, &edge.to_port) == Some(VIDEO)
                })
                .map(|edge| edge.to_port.clone())
                .collect();
            plan.pipelines.push(PipelinePlan {
                id: node.id.clone(),
                pipeline_id: node.pipeline_id.clone().unwrap_or_default(),
                video_inputs,
                outputs,
            });
        }
        Ok(plan)
    }

    /// Edges that leave a node. One from a sink to a recorder taps whatever feeds the sink.
    fn edges_from<'s>(&'s self, id: &'s str) -> impl Iterator<Item = &'a Edge> + 's {
        let direct = self.edges.iter().copied().filter(move |edge| edge.from == id);
        let tapped = self.edges.iter().copied().filter(move |edge| {
            self.kind(&edge.from) == Some(NodeType::Sink)
                && self.edges.iter().any(|feed| feed.from == id && feed.to_node == edge.from)
        });
        direct.chain(tapped)
    }

    fn kind(&self, id: &str) -> Option<NodeType> {
        self.nodes.get(id).map(|(node, _)| node.kind)
    }

    fn input_type(&self, id: &str, port: &str) -> Option<&'static str> {
        let (node, schema) = self.nodes.get(id)?;
        match (node.kind, schema) {
            (NodeType::Sink | NodeType::Record, _) => (port == VIDEO_PORT).then_some(VIDEO),
            (_, Some(schema)) if schema.inputs.iter().any(|name| name == port) => Some(VIDEO),
            (_, Some(schema)) if schema.supports_prompts && port == "prompts" => Some(TEXT),
            _ => None,
        }
    }

    fn output_type(&self, id: &str, port: &str) -> Option<&'static str> {
        let (node, schema) = self.nodes.get(id)?;
        match (node.kind, schema) {
            (NodeType::Source | NodeType::Sink, _) => (port == VIDEO_PORT).then_some(VIDEO),
            (_, Some(schema)) if schema.outputs.iter().any(|name| name == port) => {
                Some(if port == "prompts" { TEXT } else { VIDEO })
            }
            _ => None,
        }
    }

    fn check_edges(&self) -> Result<(), GraphError> {
        let mut fed = BTreeSet::new();
        for edge in &self.edges {
            for id in [&edge.from, &edge.to_node] {
                if !self.nodes.contains_key(id.as_str()) {
                    return Err(GraphError::UnknownNode(id.clone()));
                }
            }
            match (self.kind(&edge.from), self.kind(&edge.to_node)) {
                (Some(NodeType::Sink), to) if to != Some(NodeType::Record) => {
                    return Err(GraphError::EdgeFromSink(edge.from.clone()));
                }
                (Some(NodeType::Record), _) => return Err(GraphError::EdgeFromRecord(edge.from.clone())),
                (_, Some(NodeType::Source)) => return Err(GraphError::EdgeIntoSource(edge.to_node.clone())),
                _ => {}
            }
            let from_type = self.output_type(&edge.from, &edge.from_port);
            let from_type =
                from_type.ok_or_else(|| self.unknown_port(&edge.from, "output", &edge.from_port))?;
            let to_type = self.input_type(&edge.to_node, &edge.to_port);
            let to_type = to_type.ok_or_else(|| self.unknown_port(&edge.to_node, "input", &edge.to_port))?;
            if from_type != to_type {
                return Err(GraphError::PortTypes {
                    from: format!("{}.{}", edge.from, edge.from_port),
                    from_type,
                    to: format!("{}.{}", edge.to_node, edge.to_port),
                    to_type,
                });
            }
            if !fed.insert((edge.to_node.as_str(), edge.to_port.as_str())) {
                return Err(GraphError::FanIn { node: edge.to_node.clone(), port: edge.to_port.clone() });
            }
        }
        let unfed = self.graph.nodes.iter().find(|node| {
            matches!(node.kind, NodeType::Sink | NodeType::Record)
                && !self.edges.iter().any(|edge| edge.to_node == node.id)
        });
        unfed.map_or(Ok(()), |node| Err(GraphError::Unfed(node.id.clone())))
    }

    fn unknown_port(&self, id: &str, direction: &'static str, port: &str) -> GraphError {
        let schema = self.nodes.get(id).and_then(|(_, schema)| *schema);
        let mut known = schema.map_or_else(
            || vec![VIDEO_PORT.to_owned()],
            |schema| if direction == "input" { schema.inputs.clone() } else { schema.outputs.clone() },
        );
        if direction == "input" && schema.is_some_and(|schema| schema.supports_prompts) {
            known.push("prompts".into());
        }
        GraphError::UnknownPort { node: id.into(), direction, port: port.into(), known: known.join(", ") }
    }

    /// Kahn's algorithm; what is left over is the circle.
    fn pipelines_in_order(&self) -> Result<Vec<&'a Node>, GraphError> {
        let mut rest: Vec<&Node> =
            self.graph.nodes.iter().filter(|node| node.kind == NodeType::Pipeline).collect();
        let mut order: Vec<&Node> = Vec::with_capacity(rest.len());
        while !rest.is_empty() {
            let waits = |node: &Node| {
                self.edges
                    .iter()
                    .any(|edge| edge.to_node == node.id && rest.iter().any(|other| other.id == edge.from))
            };
            let (ready, waiting): (Vec<_>, Vec<_>) = rest.iter().copied().partition(|node| !waits(node));
            if ready.is_empty() {
                let names: Vec<_> = waiting.iter().map(|node| node.id.as_str()).collect();
                return Err(GraphError::Cycle(names.join(" → ")));
            }
            order.extend(ready);
            rest = waiting;
        }
        Ok(order)
    }
}

fn source_kind(node: &Node) -> Result<SourceKind, GraphError> {
    match node.source_mode.as_deref() {
        None | Some("" | "video" | "camera" | "browser") => Ok(SourceKind::Client),
        Some("video_file") => match node.source_name.as_deref() {
            Some(name) if !name.is_empty() => Ok(SourceKind::File(name.into())),
            _ => Err(GraphError::NoSourceName(node.id.clone())),
        },
        Some(mode) => Err(GraphError::UnsupportedSource { node: node.id.clone(), mode: mode.into() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn compile(graph: Value) -> Result<Plan, GraphError> {
        let graph: Graph = serde_json::from_value(graph).unwrap();
        graph.compile(&Registry::builtin())
    }

    fn node(id: &str, kind: &str) -> Value {
        match kind {
            "source" | "sink" | "record" => json!({"id": id, "type": kind}),
            pipeline => json!({"id": id, "type": "pipeline", "pipeline_id": pipeline}),
        }
    }

    fn edge(from: &str, to: &str) -> Value {
        json!({"from": from, "from_port": "video", "to_node": to, "to_port": "video", "kind": "stream"})
    }

    #[test]
    fn a_linear_graph_compiles_in_order_whatever_the_order_of_nodes() {
        let plan = compile(json!({
            "nodes": [node("out", "sink"), node("b", "testcard"), node("a", "passthrough"), node("in", "source")],
            "edges": [edge("b", "out"), edge("a", "b"), edge("in", "a")],
        }))
        .unwrap();
        let order: Vec<_> = plan.pipelines.iter().map(|pipeline| pipeline.id.as_str()).collect();
        assert_eq!(order, ["a", "b"]);
        assert_eq!(plan.sources[0].targets, [Target::Pipeline(0, "video".into())]);
        assert_eq!(plan.pipelines[1].outputs["video"], [Target::Sink(0)]);
    }

    #[test]
    fn pictures_are_wanted_as_i420_where_no_other_pipeline_gets_them() {
        let plan = compile(json!({
            "nodes": [node("a", "testcard"), node("b", "passthrough"), node("out", "sink"), node("rec", "record")],
            "edges": [edge("a", "out"), edge("a", "b"), edge("b", "rec")],
        }))
        .unwrap();
        let formats = plan.pipelines.iter().map(|pipeline| (pipeline.id.as_str(), pipeline.picture_format()));
        let expected = [("a", PixelFormat::Rgb8), ("b", PixelFormat::I420)];
        assert_eq!(formats.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn repeated_pipelines_of_a_chain_get_their_own_ids() {
        let graph = Graph::linear(["passthrough", "passthrough"], true, VIDEO_PORT);
        let plan = graph.compile(&Registry::builtin()).unwrap();
        let ids: Vec<_> = plan.pipelines.iter().map(|pipeline| pipeline.id.as_str()).collect();
        assert_eq!(ids, ["passthrough", "passthrough_1"]);
    }

    #[test]
    fn a_source_may_go_straight_to_a_sink_and_a_sink_may_be_tapped() {
        let plan = compile(json!({
            "nodes": [node("in", "source"), node("out", "sink"), node("rec", "record")],
            "edges": [edge("in", "out"), edge("out", "rec")],
        }))
        .unwrap();
        assert_eq!(plan.sources[0].targets, [Target::Sink(0), Target::Record(0)]);
    }

    #[test]
    fn every_mistake_has_its_own_error() {
        let (source, sink, pass) = (node("in", "source"), node("out", "sink"), node("p", "passthrough"));
        let cases = [
            (json!({"nodes": [source], "edges": []}), "no sink"),
            (json!({"nodes": [sink, sink], "edges": []}), "unique"),
            (json!({"nodes": [sink], "edges": []}), "not connected"),
            (json!({"nodes": [sink, {"id": "p", "type": "pipeline"}], "edges": []}), "names no pipeline_id"),
            (json!({"nodes": [sink, node("p", "nope")], "edges": []}), "does not exist here"),
            (json!({"nodes": [sink, {"id": "x", "type": "node"}], "edges": []}), "does not run"),
            (json!({"nodes": [source, sink], "edges": [edge("in", "nowhere")]}), "does not exist"),
            (
                json!({"nodes": [source, pass, sink], "edges": [edge("p", "p"), edge("p", "out")]}),
                "form a circle",
            ),
            (
                json!({"nodes": [source, pass, sink], "edges": [edge("in", "out"), edge("p", "out")]}),
                "fed by two",
            ),
            (json!({"nodes": [source, pass, sink], "edges": [edge("out", "p")]}), "come out of the sink"),
            (json!({"nodes": [source, pass, sink], "edges": [edge("p", "in")]}), "into the source"),
            (
                json!({"nodes": [source, pass, sink], "edges": [
                    {"from": "in", "from_port": "video", "to_node": "p", "to_port": "depth"}]}),
                "no input port",
            ),
            (
                json!({"nodes": [source, node("t", "testcard"), sink], "edges": [
                    {"from": "in", "from_port": "video", "to_node": "t", "to_port": "prompts"}]}),
                "carries video",
            ),
            (
                json!({"nodes": [{"id": "in", "type": "source", "source_mode": "ndi"}, sink],
                    "edges": [edge("in", "out")]}),
                "does not have",
            ),
        ];
        for (graph, expected) in cases {
            let error = compile(graph.clone()).unwrap_err().to_string();
            assert!(error.contains(expected), "{graph}\n gave {error:?}, not {expected:?}");
        }
    }

    #[test]
    fn edges_that_clients_evaluate_are_skipped() {
        let plan = compile(json!({
            "nodes": [node("in", "source"), node("out", "sink")],
            "edges": [edge("in", "out"), {"from": "slider", "to_node": "x", "kind": "parameter"}],
            "ui_state": {"anything": 1},
        }));
        assert!(plan.is_ok());
    }

    proptest! {
        /// Random graphs never panic, and an accepted plan's pipelines only feed later ones.
        #[test]
        fn accepted_plans_flow_forward(
            kinds in prop::collection::vec(0usize..4, 1..8),
            edges in prop::collection::vec((0usize..9, 0usize..9), 0..12),
        ) {
            let kinds: Vec<_> = kinds.iter().map(|k| ["source", "sink", "passthrough", "testcard"][*k]).collect();
            let nodes: Vec<_> = kinds.iter().enumerate().map(|(i, kind)| node(&i.to_string(), kind)).collect();
            let edges: Vec<_> = edges.iter().map(|(a, b)| edge(&a.to_string(), &b.to_string())).collect();
            if let Ok(plan) = compile(json!({"nodes": nodes, "edges": edges})) {
                for (index, pipeline) in plan.pipelines.iter().enumerate() {
                    for target in pipeline.outputs.values().flatten() {
                        if let Target::Pipeline(to, _) = target {
                            prop_assert!(*to > index);
                        }
                    }
                }
            }
        }
    }
}
