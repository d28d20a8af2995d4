//! `/openapi.json`: the table of routes as an OpenAPI 3.1 document.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::adapters::http::route::table::Row;
use crate::core::access::Right;
use crate::core::asker::Askers;

/// The document. Paths are the router's own; what varies in them is a string.
pub fn document(rows: &[Row]) -> Value {
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    let mut schemas = Map::from_iter([("Problem".to_owned(), problem())]);
    for row in rows {
        if let Some(asks) = &row.asks {
            schemas.insert(asks.name.clone(), json!(asks.schema));
        }
        let path = row.path.replace("{*", "{");
        paths.entry(path).or_default().insert(row.method.as_str().to_lowercase(), operation(row));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "platformer",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The control API. Tokens are sent as `Authorization: Bearer …`; every refusal is a problem document (RFC 9457) with a stable `code`.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    })
}

fn operation(row: &Row) -> Value {
    let variables = row.variables();
    let parameters: Vec<Value> = variables
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    let (scopes, security) = match row.right {
        Right::Open => ("nobody needs a token", json!([])),
        Right::Change => (
            "scope deploy:APP or admin, by what is changed",
            json!([{ "token": ["deploy:APP"] }, { "token": ["admin"] }]),
        ),
        Right::Read => ("scope read", json!([{ "token": ["read"] }])),
        Right::Deploy => ("scope deploy:APP", json!([{ "token": ["deploy:APP"] }])),
        Right::Admin => ("scope admin", json!([{ "token": ["admin"] }])),
    };
    let security = if row.free == Askers::Loopback { json!([]) } else { security };
    let waived = match row.free {
        Askers::Nobody if row.path.starts_with("/services") => "; none from this machine where services.open is set",
        Askers::Nobody => "",
        Askers::Loopback => "; none from this machine",
        Askers::Near => "; none from this machine and the platform's network",
        Askers::Anyone => "; none from anybody",
    };
    let refused = json!({ "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } });
    let mut operation = json!({
        "operationId": format!("{} {}", row.method.as_str().to_lowercase(), row.path),
        "summary": row.summary,
        "description": format!("{scopes}{waived}"),
        "parameters": parameters,
        "security": security,
        "responses": {
            "2XX": { "description": row.summary },
            "4XX": { "description": "Refused, with the reason and a stable code", "content": refused },
        },
    });
    if let Some(asks) = &row.asks {
        let schema = json!({ "$ref": format!("#/components/schemas/{}", asks.name) });
        operation["requestBody"] = json!({ "content": { "application/json": { "schema": schema } } });
    }
    operation
}

fn problem() -> Value {
    let text = || json!({ "type": "string" });
    json!({
        "type": "object",
        "required": ["status", "code", "title", "detail"],
        "properties": { "status": { "type": "integer" }, "code": text(), "title": text(), "detail": text() },
    })
}
