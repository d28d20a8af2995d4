//! Asking nginx which generation it serves, over its own socket.

use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_millis(500);

/// The generation of the worker that happens to answer; `None` where none does.
pub async fn generation(socket: &Path) -> Option<u64> {
    timeout(PATIENCE, ask(socket)).await.ok()?
}

async fn ask(socket: &Path) -> Option<u64> {
    let mut stream = UnixStream::connect(socket).await.ok()?;
    stream.write_all(b"GET /generation HTTP/1.0\r\n\r\n").await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    answer.split("\r\n\r\n").nth(1)?.trim().parse().ok()
}
