//! Who calls, for the history: the name that the caller gives, behind the token that it proved to have.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

/// The header in which a client says who it acts for.
pub const HEADER: &str = "platformer-by";
const LONGEST: usize = 64;

#[derive(Debug, Clone)]
pub struct By(pub String);

impl<S: Send + Sync> FromRequestParts<S> for By {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let given = parts.headers.get(HEADER).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let name: String = given.chars().filter(|c| !c.is_control()).take(LONGEST).collect();
        Ok(Self(if name.trim().is_empty() { "api".into() } else { name }))
    }
}
