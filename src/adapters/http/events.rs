//! Events as a server-sent stream: what is kept after `Last-Event-ID`, then what comes. What is not kept any more
//! is announced by an event `gap`; a client that reads too slowly gets `dropped` and is let go.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Sse;
use axum::response::sse::{Event as Frame, KeepAlive};
use futures_util::{Stream, StreamExt, stream};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::Context;
use super::access::Peer;
use super::error::Problem;
use super::holding::holding;
use crate::core::event::Event;
use crate::ports::limits::Resource;

const HEARTBEAT: Duration = Duration::from_secs(15);

pub async fn stream(
    State(context): State<Context>,
    peer: Peer,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Frame, Infallible>>>, Problem> {
    let held = context.limits.take(Resource::Stream, peer.0)?;
    let last = headers.get("last-event-id").and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok()).unwrap_or(0);
    let (kept, coming, gap) = context.snapshot.events_after(last);
    let missed = || Frame::default().event("gap").data("events after the last one seen are not kept any more");
    let frames = stream::iter(gap.then(missed))
        .chain(stream::iter(kept).map(|event| frame(&event)))
        .chain(stream::unfold(Some(coming), next))
        .map(Ok);
    Ok(Sse::new(holding(frames, vec![held])).keep_alive(KeepAlive::new().interval(HEARTBEAT)))
}

/// A client that falls too far behind is told so and let go; it reconnects with its last id.
async fn next(state: Option<Receiver<Event>>) -> Option<(Frame, Option<Receiver<Event>>)> {
    let mut coming = state?;
    match coming.recv().await {
        Ok(event) => Some((frame(&event), Some(coming))),
        Err(RecvError::Lagged(missed)) => Some((Frame::default().event("dropped").data(missed.to_string()), None)),
        Err(RecvError::Closed) => None,
    }
}

fn frame(event: &Event) -> Frame {
    let data = serde_json::to_string(event).unwrap_or_default();
    Frame::default().id(event.id.to_string()).event(&*event.kind).data(data)
}
