//! What a client sends into a file: only what the disk has room for, and each byte where it belongs. And the way back,
//! of text that is small enough to be one.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use axum::body::Bytes;
use axum::http::StatusCode;
use nix::sys::statvfs::fstatvfs;

use crate::adapters::http::error::Problem;
use crate::core::text::{LARGEST, decode};

/// What is left free on the disk whatever is sent; a twentieth of a small one.
const RESERVE: u64 = 64 << 20;

/// Writes a chunk at a place of the file. Nothing is buffered, so that a full disk is told by the write that met it.
///
/// # Errors
/// The disk has no room or fails: 507 with the numbers.
pub async fn write_at(file: &Arc<File>, chunk: Bytes, offset: u64) -> Result<(), Problem> {
    let file = file.clone();
    blocking(move || {
        let (free, kept) = room(&file)?;
        if free < kept.saturating_add(chunk.len() as u64) {
            return Err(full(free, kept));
        }
        file.write_all_at(&chunk, offset).map_err(|e| disk(&e))
    })
    .await
}

/// On the disk when it returns.
pub async fn sync(file: &Arc<File>) -> Result<(), Problem> {
    let file = file.clone();
    blocking(move || file.sync_all().map_err(|e| disk(&e))).await
}

/// Bytes free on the disk that holds the file, and how many of them are left free whatever is sent.
pub fn room(file: &File) -> Result<(u64, u64), Problem> {
    let found = fstatvfs(file).map_err(|e| disk(&io::Error::from(e)))?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.fragment_size());
    Ok((bytes(found.blocks_available()), RESERVE.min(bytes(found.blocks()) / 20)))
}

pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|e| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", e.to_string()))?
}

fn full(free: u64, kept: u64) -> Problem {
    let detail = format!(
        "the disk is full: {} MiB are free, of which {} MiB are kept; delete images (`docker image prune`) or old versions",
        free >> 20,
        kept >> 20
    );
    Problem::new(StatusCode::INSUFFICIENT_STORAGE, "disk", detail)
}

/// All of a text file that somebody wrote, or why it cannot be read.
pub async fn text(file: File) -> Result<String, String> {
    let read = move || {
        let mut bytes = Vec::new();
        file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
        match bytes.len() as u64 > LARGEST {
            true => Err(format!("it has more than {LARGEST} bytes")),
            false => decode(bytes),
        }
    };
    tokio::task::spawn_blocking(read).await.map_err(|e| e.to_string())?
}

/// What the disk said.
pub fn disk(error: &io::Error) -> Problem {
    let reason = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "the disk is full; delete images (`docker image prune`) or old versions".to_owned()
        }
        _ => error.to_string(),
    };
    Problem::new(StatusCode::INSUFFICIENT_STORAGE, "disk", format!("the upload cannot be kept: {reason}"))
}
