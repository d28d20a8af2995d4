//! What a client sent as JSON, or a problem that says what is wrong with it.

use axum::Json;
use axum::extract::{FromRequest, Request};
use serde::de::DeserializeOwned;

use crate::adapters::http::error::Problem;

/// What the framework puts before the parser's own words.
const FRAMEWORK: &str = "Failed to deserialize the JSON body into the target type: ";

pub struct Sent<T>(pub T);

/// Reads JSON that its sender may not have called so: not every client of Consul's does, nor every webhook.
pub fn read_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| Problem::bad(format!("the body: {error}")))
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Sent<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let read = Json::<T>::from_request(request, state).await;
        read.map(|Json(value)| Self(value)).map_err(|rejection| {
            let text = rejection.body_text();
            Problem::bad(text.strip_prefix(FRAMEWORK).unwrap_or(&text))
        })
    }
}
