//! A body that somebody is told of while it passes.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};

/// What has come of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    Part,
    /// All of it, or no more of it.
    End,
}

/// The body, and who is told of each part and of the end; what he refuses ends it with that error. He is dropped with
/// the body, also where it is not read to its end.
pub struct Hooked<H> {
    body: Body,
    hook: H,
}

impl<H: FnMut(Came) -> Result<(), axum::Error> + Send + Unpin + 'static> Hooked<H> {
    /// `body`, of which `hook` is told.
    pub fn body(body: Body, hook: H) -> Body {
        Body::new(Self { body, hook })
    }
}

impl<H: FnMut(Came) -> Result<(), axum::Error> + Unpin> HttpBody for Hooked<H> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) else { return Poll::Pending };
        let came = if matches!(frame, Some(Ok(_))) { Came::Part } else { Came::End };
        Poll::Ready(match (self.hook)(came) {
            Ok(()) => frame,
            Err(error) => Some(Err(error)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
