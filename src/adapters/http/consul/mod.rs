//! Consul's wire format, so that its clients work: keys and values, transactions, the catalogue, health.
//!
//! Shapes and headers are those of developer.hashicorp.com/consul/api-docs. What is not offered (sessions, locks,
//! access control) says so.

pub mod agent;
pub mod catalog;
mod indices;
mod keys;
pub mod kv;
pub mod txn;
mod wait;

pub use indices::Indices;

use axum::Json;
use axum::http::{HeaderName, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::adapters::http::error::Problem;
use crate::adapters::http::route::access::Plain;
use crate::adapters::http::route::sent::read_json;
use crate::core::kv::Pair;

/// The one datacenter that we are.
pub const DATACENTER: &str = "dc1";

/// An answer with the headers that Consul's clients read.
fn answer(index: u64, body: impl IntoResponse) -> Response {
    let headers = [("x-consul-index", index.to_string()), ("x-consul-knownleader", "true".into())]
        .map(|(name, value)| (HeaderName::from_static(name), value));
    let last = [(HeaderName::from_static("x-consul-lastcontact"), "0")];
    let mut response = (headers, last, body).into_response();
    // A key that is not there is an empty 404 with its index, not a problem.
    response.extensions_mut().insert(Plain);
    response
}

fn json_answer(index: u64, body: impl Serialize) -> Response {
    answer(index, Json(body))
}

/// Reads JSON as Go does, in which Consul and most of its clients are written: names of fields in any case, and `null`
/// where there is nothing. The fields of `T` are in lower case.
fn read_as_go<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let plain = plain(read_json(body)?);
    serde_json::from_value(plain).map_err(|error| Problem::bad(format!("the body: {error}")))
}

fn plain(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let given = fields.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(given.map(|(name, value)| (name.to_ascii_lowercase(), plain(value))).collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(plain).collect()),
        other => other,
    }
}

/// A pair as Consul writes it: the value in base64, nothing for an empty one.
fn pair(pair: &Pair) -> Value {
    let value = if pair.value.is_empty() { Value::Null } else { json!(BASE64_STANDARD.encode(&pair.value)) };
    json!({
        "LockIndex": 0, "Key": pair.key, "Flags": pair.flags, "Value": value,
        "CreateIndex": pair.created, "ModifyIndex": pair.modified,
    })
}

/// What Consul has and we have not.
pub async fn not_offered(uri: Uri) -> Problem {
    let detail = format!(
        "{} is not offered: there are keys and values, transactions, the catalogue and health, but no sessions, locks or ACLs; tokens are made by `platformer token create`",
        uri.path()
    );
    Problem::new(StatusCode::NOT_IMPLEMENTED, "not-offered", detail)
}
