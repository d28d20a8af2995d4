//! A request's body, as long as the token that it came with is valid: what is sent to its end after that changes
//! nothing.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use jiff::Timestamp;

use crate::adapters::http::keyring::{Caller, Keyring};

/// A body that ends in an error once its caller's token is not valid any more.
pub struct Standing {
    body: Body,
    keyring: Arc<Keyring>,
    caller: Caller,
}

impl Standing {
    pub fn new(body: Body, keyring: Arc<Keyring>, caller: Caller) -> Self {
        Self { body, keyring, caller }
    }
}

impl HttpBody for Standing {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if polled.is_ready() && !self.keyring.stands(&self.caller, Timestamp::now()) {
            return Poll::Ready(Some(Err(axum::Error::new("the token is not valid any more"))));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
