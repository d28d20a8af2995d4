//! Streams that hold something of [`Limits`](crate::ports::limits::Limits) until they end, or whoever reads them goes.

use futures_util::{Stream, StreamExt};

use crate::ports::limits::Held;

/// The same stream; what it holds is given back when it is dropped.
pub fn holding<S: Stream>(stream: S, held: Vec<Held>) -> impl Stream<Item = S::Item> {
    stream.map(move |item| {
        let _ = &held;
        item
    })
}
