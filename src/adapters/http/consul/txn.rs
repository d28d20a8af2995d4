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

use super::keys::{self, KvOrProblem};
use crate::adapters::http::context::Context;
use crate::adapters::http::error::Problem;
use crate::adapters::http::keyring::Caller;
use crate::core::decide::router_keys;
use crate::core::kv::{LARGEST_BATCH, LARGEST_VALUE, Op, Pair};
use crate::ports::kv::KvError;

#[derive(Deserialize)]
struct Operation {
    kv: Option<OfKey>,
}

#[derive(Deserialize)]
struct OfKey {
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
    let operations: Vec<Operation> = super::read_as_go(&body)?;
    if operations.len() > LARGEST_BATCH {
        let detail = format!("{} operations, {LARGEST_BATCH} are allowed", operations.len());
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail));
    }
    let ops: Vec<Op> = operations.into_iter().map(read).collect::<Result<_, _>>()?;
    // What is kept is counted apart from what tells of the platform itself.
    let (ours, places): (Vec<usize>, Vec<usize>) =
        (0..ops.len()).partition(|n| ops.get(*n).is_some_and(|op| router_keys::is_ours(op.key())));
    let place = |n: usize| places.get(n).copied().unwrap_or(n);
    let kept = match keys::commit(&context, &caller, ops.clone()).await {
        Ok(pairs) => pairs,
        Err(KvOrProblem::Kv(KvError::Failed(failed))) => {
            let errors: Vec<Value> = failed.iter().map(|f| json!({ "OpIndex": place(f.op), "What": f.what })).collect();
            return Ok((StatusCode::CONFLICT, Json(json!({ "Results": null, "Errors": errors }))).into_response());
        }
        Err(error) => return Err(error.into()),
    };
    let mut pairs: Vec<(usize, Pair)> = kept.into_iter().map(|(n, pair)| (place(n), pair)).collect();
    for (n, op) in ours.into_iter().filter_map(|n| Some((n, ops.get(n)?))) {
        let (_, found) = keys::look(&context, op.key(), matches!(op, Op::GetTree(_)));
        pairs.extend(found.into_iter().map(|pair| (n, pair)));
    }
    pairs.sort_by_key(|(n, _)| *n);
    let result = |(n, pair): &(usize, Pair)| {
        let shown = matches!(ops.get(*n), Some(Op::Get(_) | Op::GetTree(_)));
        // Consul leaves values out of what others answer; it would only say what was sent.
        let value = if shown { pair.value.clone() } else { [].into() };
        json!({ "KV": super::pair(&Pair { value, ..pair.clone() }) })
    };
    Ok(Json(json!({ "Results": pairs.iter().map(result).collect::<Vec<_>>(), "Errors": null })).into_response())
}

fn read(operation: Operation) -> Result<Op, Problem> {
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
        "get" => Op::Get(key),
        "get-tree" => Op::GetTree(key),
        "set" => Op::Set { value: value()?, key, flags },
        "cas" => Op::Cas { value: value()?, key, flags, index },
        "delete" => Op::Delete(key),
        "delete-tree" => Op::DeleteTree(key),
        "delete-cas" => Op::DeleteCas { key, index },
        "check-index" => Op::CheckIndex { key, index },
        "check-not-exists" => Op::CheckNotExists(key),
        verb @ ("lock" | "unlock" | "check-session") => return Err(not_offered(&format!("the verb {verb}"))),
        verb => return Err(Problem::bad(format!("there is no verb {verb:?}"))),
    })
}
