//! Reads what a refused client is still sending, so that it sees the answer instead of a reset connection.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::Response;
use futures_util::{StreamExt, stream};
use tokio::sync::Mutex;
use tokio::time::timeout;

/// More than this is not read out: the connection is closed then, whatever the client sees of it.
const MOST: usize = 16 << 20;
const LONGEST: Duration = Duration::from_secs(5);

pub async fn read_out(request: Request, next: Next) -> Response {
    // Who asks before sending is not sending yet.
    let waits = request.headers().contains_key(header::EXPECT);
    if waits || matches!(*request.method(), Method::GET | Method::HEAD) {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let rest = Arc::new(Mutex::new(body.into_data_stream()));
    let chunks = stream::unfold(rest.clone(), |rest| async move {
        let chunk = rest.lock().await.next().await?;
        Some((chunk, rest))
    });
    let response = next.run(Request::from_parts(parts, Body::from_stream(chunks))).await;
    if response.status().is_client_error() || response.status().is_server_error() {
        let drain = async {
            let (mut rest, mut read) = (rest.lock().await, 0);
            while let Some(Ok(chunk)) = rest.next().await {
                read += chunk.len();
                if read > MOST {
                    break;
                }
            }
        };
        // Whoever sends slower than that is cut off.
        let _ = timeout(LONGEST, drain).await;
    }
    response
}
