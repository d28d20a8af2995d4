//! Who calls, for the history: the token's name; with the token of the state folder, whom the caller says to act for.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::adapters::http::keyring::Caller;
use crate::core::access::{Right, allows};

/// The header in which a client says who it acts for.
pub const HEADER: &str = "platformer-by";
const LONGEST: usize = 64;

#[derive(Debug, Clone)]
pub struct By(pub String);

impl<S: Send + Sync> FromRequestParts<S> for By {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let caller = parts.extensions.get::<Caller>();
        let name = caller.map_or("nobody", |caller| &caller.name);
        if caller.is_some_and(|caller| caller.token.is_some()) {
            return Ok(Self(name.to_owned()));
        }
        let given = parts.headers.get(HEADER).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let given: String = given.chars().filter(|c| !c.is_control()).take(LONGEST).collect();
        Ok(Self(if given.trim().is_empty() { name.to_owned() } else { given }))
    }
}

/// Whether who calls may do everything, or is this machine where that needs no token: he may name its own addresses.
#[derive(Debug, Clone, Copy)]
pub struct Vouched(pub bool);

impl<S: Send + Sync> FromRequestParts<S> for Vouched {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let caller = parts.extensions.get::<Caller>();
        Ok(Self(caller.is_none_or(|caller| allows(&caller.scopes, Right::Admin, None))))
    }
}
