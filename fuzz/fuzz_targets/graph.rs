//! Graphs, as a client sends them: an accepted one only flows forward.
#![no_main]

use libfuzzer_sys::fuzz_target;
use scope_pipelines::Registry;
use scope_stream::Graph;
use scope_stream::graph::Target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(graph) = serde_json::from_slice::<Graph>(bytes) else { return };
    let Ok(plan) = graph.compile(&Registry::builtin()) else { return };
    for (index, pipeline) in plan.pipelines.iter().enumerate() {
        for target in pipeline.outputs.values().flatten() {
            assert!(!matches!(target, Target::Pipeline(to, _) if *to <= index));
        }
    }
});
