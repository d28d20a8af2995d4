//! Who sent a request: its address, and whom what it makes us hold is counted against.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};

use axum::extract::FromRequestParts;
use axum::http::Extensions;
use axum::http::request::Parts;

use crate::adapters::http::keyring::Caller;
use crate::ports::limits::Asker;

/// Who sent a request, by the address that its listener knows.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

/// Whom what a request makes us hold is counted against.
#[derive(Debug, Clone)]
pub struct Counted(pub Asker);

impl<S: Send + Sync> FromRequestParts<S> for Counted {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(counter(parts.extensions.get::<Caller>(), &parts.extensions)))
    }
}

/// What hangs on a token is counted with it.
pub fn counter(caller: Option<&Caller>, extensions: &Extensions) -> Asker {
    caller.map_or_else(|| peer(extensions).into(), |caller| Asker::Token(caller.root.as_str().into()))
}

impl<S: Send + Sync> FromRequestParts<S> for Peer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(peer(&parts.extensions)))
    }
}

/// The address that a request came from.
pub fn peer(extensions: &Extensions) -> IpAddr {
    // A request without an address is nobody's that is known.
    extensions.get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |Peer(address)| *address)
}
