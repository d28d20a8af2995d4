//! `PUT /v1/txn`: several operations on keys, all or none.

use axum::Extension;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::Context;
use super::super::error::Problem;
use super::super::keyring::Caller;
use super::keys::{self, KvOrProblem, Wishes};
use crate::core::kv::{LARGEST_BATCH, LARGEST_VALUE, Op, Pair};
use crate::core::router_keys;
use crate::ports::kv::KvError;

#[derive(Deserialize)]
pub struct Operation {
    #[serde(rename = "KV")]
    kv: Option<OfKey>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct OfKey {
    verb: String,
    key: String,
    value: Option<String>,
    #[serde(default)]
    flags: u64,
    #[serde(default)]
    index: u64,
}

pub async fn commit(
    State(context): State<Context>,
    Extension(caller): Extension<Caller>,
    body: Bytes,
) -> Result<Response, Problem> {
    // Not every client says that it sends JSON.
    let operations: Vec<Operation> =
        serde_json::from_slice(&body).map_err(|e| Problem::bad(format!("the body: {e}")))?;
    if operations.len() > LARGEST_BATCH {
        let detail = format!("{} operations, {LARGEST_BATCH} are allowed", operations.len());
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail));
    }
    let asked: Vec<(Op, bool)> = operations.into_iter().map(read).collect::<Result<_, _>>()?;
    let (ops, reads): (Vec<Op>, Vec<bool>) = asked.into_iter().unzip();
    let reads_only = reads.iter().all(|read| *read);
    let wishes = Wishes::read(&context, &caller, ops.clone()).await?;
    let kept = match wishes.grant(&context, &caller).await {
        Ok(pairs) => pairs,
        Err(KvOrProblem::Kv(KvError::Failed(failed))) => {
            // Their places among those that are kept, as places in what was sent.
            let places: Vec<usize> =
                ops.iter().enumerate().filter(|(_, op)| !router_keys::is_ours(op.key())).map(|(n, _)| n).collect();
            let errors: Vec<Value> = failed
                .iter()
                .map(|f| json!({ "OpIndex": places.get(f.op).copied().unwrap_or(f.op), "What": f.what }))
                .collect();
            return Ok((StatusCode::CONFLICT, Json(json!({ "Results": null, "Errors": errors }))).into_response());
        }
        Err(error) => return Err(error.into()),
    };
    let ours = ops.iter().filter(|op| router_keys::is_ours(op.key()));
    let ours = ours.flat_map(|op| keys::look(&context, op.key(), matches!(op, Op::GetTree(_))).1);
    let results: Vec<Value> = kept.into_iter().chain(ours).map(|pair| result(&pair, reads_only)).collect();
    Ok(Json(json!({ "Results": results, "Errors": null })).into_response())
}

/// Consul leaves values out of what a change answers; it would only say what was sent.
fn result(pair: &Pair, with_value: bool) -> Value {
    let mut value = super::pair(pair);
    if !with_value {
        value["Value"] = Value::Null;
    }
    json!({ "KV": value })
}

fn read(operation: Operation) -> Result<(Op, bool), Problem> {
    let not_offered = |what: &str| {
        Problem::new(StatusCode::NOT_IMPLEMENTED, "not-offered", format!("{what} in a transaction is not offered"))
    };
    let asked = operation.kv.ok_or_else(|| not_offered("anything but KV"))?;
    let key = match asked.verb.as_str() {
        "get-tree" => asked.key.as_str().into(),
        _ => keys::named(&asked.key)?,
    };
    let value = || -> Result<std::sync::Arc<[u8]>, Problem> {
        let bytes = BASE64_STANDARD.decode(asked.value.as_deref().unwrap_or_default());
        let bytes = bytes.map_err(|e| Problem::bad(format!("{key}: the value is no base64: {e}")))?;
        match bytes.len() {
            0..=LARGEST_VALUE => Ok(bytes.into()),
            size => Err(Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too-large",
                format!("{key}: the value has {size} bytes, {LARGEST_VALUE} are allowed"),
            )),
        }
    };
    let (flags, index) = (asked.flags, asked.index);
    Ok(match asked.verb.as_str() {
        "get" => (Op::Get(key), true),
        "get-tree" => (Op::GetTree(key), true),
        "set" => (Op::Set { value: value()?, key, flags }, false),
        "cas" => (Op::Cas { value: value()?, key, flags, index }, false),
        "delete" => (Op::Delete(key), false),
        "delete-tree" => (Op::DeleteTree(key), false),
        "delete-cas" => (Op::DeleteCas { key, index }, false),
        "check-index" => (Op::CheckIndex { key, index }, true),
        "check-not-exists" => (Op::CheckNotExists(key), true),
        verb @ ("lock" | "unlock" | "check-session") => return Err(not_offered(&format!("the verb {verb}"))),
        verb => return Err(Problem::bad(format!("there is no verb {verb:?}"))),
    })
}
