//! `/v1/kv/KEY`, and the older `/api/kv/KEY`.

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Deserializer};

use super::keys::{self, KvOrProblem};
use super::wait::wait;
use crate::adapters::http::context::Context;
use crate::adapters::http::error::Problem;
use crate::adapters::http::keyring::Caller;
use crate::adapters::http::route::asker::Counted;
use crate::core::kv::{LARGEST_VALUE, Op, Pair};
use crate::ports::kv::KvError;

/// Of these, many mean something by being there at all.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    raw: Option<String>,
    recurse: Option<String>,
    keys: Option<String>,
    separator: Option<String>,
    #[serde(deserialize_with = "number")]
    cas: Option<u64>,
    #[serde(deserialize_with = "number")]
    flags: Option<u64>,
    #[serde(deserialize_with = "number")]
    index: Option<u64>,
    wait: Option<String>,
    acquire: Option<String>,
    release: Option<String>,
}

/// A number, or nothing where nothing stands behind the name.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let number = Some(text).filter(|text| !text.is_empty()).map(|text| text.parse()).transpose();
    number.map_err(serde::de::Error::custom)
}

impl Asked {
    fn check(&self) -> Result<(), Problem> {
        if self.acquire.is_none() && self.release.is_none() {
            return Ok(());
        }
        let detail = "locks are not offered; ?cas=INDEX writes only what nobody else has changed";
        Err(Problem::new(StatusCode::NOT_IMPLEMENTED, "not-offered", detail))
    }
}

pub async fn get_all(context: State<Context>, counted: Counted, asked: Query<Asked>) -> Result<Response, Problem> {
    get(context, counted, Path(String::new()), asked).await
}

pub async fn get(
    State(context): State<Context>,
    counted: Counted,
    Path(key): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    asked.check()?;
    let below = asked.recurse.is_some() || asked.keys.is_some();
    if !below {
        keys::named(&key)?;
    }
    let (index, pairs) =
        wait(&context, counted, asked.index, asked.wait.as_deref(), || keys::look(&context, &key, below)).await?;
    if pairs.is_empty() {
        return Ok(super::answer(index, StatusCode::NOT_FOUND));
    }
    if asked.keys.is_some() {
        return Ok(super::json_answer(index, names(&pairs, &key, asked.separator.as_deref().unwrap_or_default())));
    }
    match pairs.first().filter(|_| asked.raw.is_some() && !below) {
        // Whoever wrote it may have written a page: it is never shown as one.
        Some(pair) => Ok(super::answer(
            index,
            (
                [
                    (header::CONTENT_TYPE, "application/octet-stream"),
                    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
                    (header::CONTENT_SECURITY_POLICY, "sandbox"),
                ],
                pair.value.to_vec(),
            ),
        )),
        None => Ok(super::json_answer(index, pairs.iter().map(super::pair).collect::<Vec<_>>())),
    }
}

/// The keys, each up to the first separator behind the prefix.
fn names(pairs: &[Pair], prefix: &str, separator: &str) -> Vec<String> {
    let mut names: Vec<String> = pairs
        .iter()
        .map(|pair| {
            let rest = pair.key.get(prefix.len()..).unwrap_or_default();
            match rest.find(separator).filter(|_| !separator.is_empty()) {
                Some(at) => pair.key.get(..prefix.len() + at + separator.len()).unwrap_or_default().to_owned(),
                None => pair.key.to_string(),
            }
        })
        .collect();
    names.dedup();
    names
}

pub async fn put(
    State(context): State<Context>,
    Extension(caller): Extension<Caller>,
    Path(key): Path<String>,
    Query(asked): Query<Asked>,
    body: Bytes,
) -> Result<Response, Problem> {
    asked.check()?;
    let key = keys::named(&key)?;
    if body.len() > LARGEST_VALUE {
        let detail = format!("{key}: the value has {} bytes, {LARGEST_VALUE} are allowed", body.len());
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail));
    }
    let (value, flags) = (body.as_ref().into(), asked.flags.unwrap_or(0));
    let op = match asked.cas {
        Some(index) => Op::Cas { key, value, flags, index },
        None => Op::Set { key, value, flags },
    };
    change(&context, &caller, op).await
}

/// Everything that is kept; what tells of the platform itself is no key that anybody wrote, and stays.
pub async fn delete_all(
    state: State<Context>,
    caller: Extension<Caller>,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    asked.check()?;
    if asked.recurse.is_none() {
        return Err(Problem::bad("there is no key in the path; ?recurse deletes all keys"));
    }
    change(&state, &caller, Op::DeleteTree("".into())).await
}

pub async fn delete(
    State(context): State<Context>,
    Extension(caller): Extension<Caller>,
    Path(key): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    asked.check()?;
    let key = keys::named(&key)?;
    let op = match (asked.cas, asked.recurse.is_some()) {
        (Some(index), _) => Op::DeleteCas { key, index },
        (None, true) => Op::DeleteTree(key),
        (None, false) => Op::Delete(key),
    };
    change(&context, &caller, op).await
}

/// Answers `true`, or `false` where only the index had changed.
async fn change(context: &Context, caller: &Caller, op: Op) -> Result<Response, Problem> {
    match keys::commit(context, caller, vec![op]).await {
        Ok(_) => Ok(Json(true).into_response()),
        Err(KvOrProblem::Kv(KvError::Failed(_))) => Ok(Json(false).into_response()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_end_at_the_separator_behind_the_prefix() {
        let pair = |key: &str| Pair { key: key.into(), value: [].into(), flags: 0, created: 1, modified: 1 };
        let pairs: Vec<Pair> = ["a/b/1", "a/b/2", "a/c", "a/d/e/f"].map(pair).into();
        assert_eq!(names(&pairs, "a/", "/"), ["a/b/", "a/c", "a/d/"]);
        assert_eq!(names(&pairs, "", "/"), ["a/"]);
        assert_eq!(names(&pairs, "a/", ""), ["a/b/1", "a/b/2", "a/c", "a/d/e/f"]);
    }
}
