//! The OpenAPI document, completed with what the registration of routes leaves open.

use axum::http::StatusCode;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::{OpenApi, RefOr};

/// Gives every operation an id of its own and every answer its required description.
pub(super) fn complete(mut api: OpenApi) -> OpenApi {
    let paths = std::mem::take(&mut api.paths.paths);
    for (path, mut item) in paths {
        // The router marks parameters that span several segments; the document does not know such.
        let path = path.replace("{*", "{");
        for (method, operation) in operations(&mut item) {
            complete_operation(operation, method, &path);
        }
        api.paths.paths.insert(path, item);
    }
    api
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    let PathItem { get, put, post, delete, patch, .. } = item;
    let all = [("get", get), ("put", put), ("post", post), ("delete", delete), ("patch", patch)];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

fn complete_operation(operation: &mut Operation, method: &str, path: &str) {
    let words = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let words = words.skip_while(|word| matches!(*word, "api" | "v1"));
    operation.operation_id = Some(words.fold(method.to_owned(), |id, word| format!("{id}_{word}")));
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response
            && response.description.is_empty()
        {
            let status = status.parse::<u16>().ok().and_then(|code| StatusCode::from_u16(code).ok());
            status
                .and_then(|it| it.canonical_reason())
                .unwrap_or("Answer")
                .clone_into(&mut response.description);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use std::collections::HashSet;

    #[test]
    fn operations_have_ids_of_their_own_and_answers_are_described() {
        let api = serde_json::to_value(crate::openapi()).unwrap();
        let items = api["paths"].as_object().unwrap().values();
        let operations: Vec<&Value> = items.flat_map(|item| item.as_object().unwrap().values()).collect();
        let ids: HashSet<_> = operations.iter().map(|it| it["operationId"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), operations.len());
        assert!(ids.contains("post_pipeline_load"), "{ids:?}");
        for operation in operations {
            for response in operation["responses"].as_object().unwrap().values() {
                assert!(response["description"].as_str().is_some_and(|it| !it.is_empty()), "{operation}");
            }
        }
    }
}
