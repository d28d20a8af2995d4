//! Events as a server-sent stream: what is kept after `Last-Event-ID`, then what comes; with `?new` only what comes.
//! What is not kept any more is announced by an event `gap`; a client that reads too slowly gets `dropped` and is let
//! go.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Sse;
use axum::response::sse::{Event as Frame, KeepAlive};
use futures_util::{Stream, StreamExt, stream};
use serde::Deserialize;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::adapters::http::context::Context;
use crate::adapters::http::error::Problem;
use crate::adapters::http::route::asker::Counted;
use crate::adapters::http::serve::holding::holding;
use crate::core::event::Event;
use crate::ports::limits::Resource;

const HEARTBEAT: Duration = Duration::from_secs(15);
/// Kept events that are copied at once.
const PIECE: usize = 100;

#[derive(Deserialize)]
pub struct Wanted {
    /// Nothing of what is kept.
    new: Option<String>,
}

pub async fn stream(
    State(context): State<Context>,
    counted: Counted,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Frame, Infallible>>>, Problem> {
    let held = context.limits.take(Resource::Stream, counted.0)?;
    let last = headers.get("last-event-id").and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
    let last = last.unwrap_or_else(|| if wanted.new.is_some() { context.snapshot.newest_event() } else { 0 });
    let reading = Reading { context, last, waiting: VecDeque::new(), coming: None };
    let frames = stream::unfold(Some(reading), next).map(Ok);
    Ok(Sse::new(holding(frames, vec![held])).keep_alive(KeepAlive::new().interval(HEARTBEAT)))
}

/// What a client has been told, and what comes next. A piece at a time is copied of what is kept: one that reads
/// nothing holds no more than that.
struct Reading {
    context: Context,
    last: u64,
    waiting: VecDeque<Event>,
    /// Once everything that was kept has been told.
    coming: Option<Receiver<Event>>,
}

/// A client that falls too far behind is told so and let go; it reconnects with its last id.
async fn next(state: Option<Reading>) -> Option<(Frame, Option<Reading>)> {
    let mut reading = state?;
    loop {
        if let Some(event) = reading.waiting.pop_front() {
            reading.last = event.id;
            return Some((frame(&event), Some(reading)));
        }
        if let Some(coming) = &mut reading.coming {
            return match coming.recv().await {
                Ok(event) => Some((frame(&event), Some(reading))),
                Err(RecvError::Lagged(missed)) => {
                    Some((Frame::default().event("dropped").data(missed.to_string()), None))
                }
                Err(RecvError::Closed) => None,
            };
        }
        let (kept, coming, gap) = reading.context.snapshot.events_after(reading.last, PIECE);
        reading.coming = (kept.len() < PIECE).then_some(coming);
        reading.waiting = kept.into();
        if gap {
            let missed = "events after the last one seen are not kept any more";
            return Some((Frame::default().event("gap").data(missed), Some(reading)));
        }
    }
}

fn frame(event: &Event) -> Frame {
    let data = serde_json::to_string(event).unwrap_or_default();
    Frame::default().id(event.id.to_string()).event(&*event.kind).data(data)
}
