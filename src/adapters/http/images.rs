//! Images without a registry: what the engine lacks of one is sent in pieces, checked, and loaded.
//!
//! An upload is known by app, version and SHA-256, so that one that was cut off goes on where it ended, whoever asks.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path as FilePath, PathBuf};
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use futures_util::StreamExt;
use nix::sys::statvfs::statvfs;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use utoipa::ToSchema;

use super::Context;
use super::api::Sent;
use super::error::Problem;
use crate::core::digest::sha256_of;
use crate::core::names::{AppName, ImageRef, Version};

/// Uploads that nobody went on with for so long are deleted.
const FORGOTTEN: Duration = Duration::from_secs(86_400);
/// What is left free on the disk whatever is sent.
const RESERVE: u64 = 64 << 20;
/// The list of what is in an image is no longer than this.
const LONGEST_LIST: u64 = 1 << 20;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LayersRequest {
    /// The digests of an image's layers as its configuration lists them, lowest first
    layers: Vec<String>,
}

/// How many of an image's layers, from the lowest, need not be sent.
pub async fn layers(
    State(context): State<Context>,
    Path(_): Path<String>,
    Sent(asked): Sent<LayersRequest>,
) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "present": context.engine.layers_here(&asked.layers).await? })))
}

/// One upload.
struct Upload {
    image: ImageRef,
    sha256: String,
    file: PathBuf,
}

impl Upload {
    fn read(context: &Context, (app, version, sha256): &(String, String, String)) -> Result<Self, Problem> {
        let (app, version) = (AppName::parse(app)?, Version::parse(version)?);
        if sha256.len() != 64 || !sha256.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            return Err(Problem::bad("the SHA-256 of what is sent has 64 lower-case hex digits"));
        }
        let file = context.uploads.join(format!("{app}@{version}-{sha256}"));
        Ok(Self { image: ImageRef::pushed(&app, &version)?, sha256: sha256.clone(), file })
    }

    async fn length(&self) -> u64 {
        tokio::fs::metadata(&self.file).await.map_or(0, |found| found.len())
    }
}

type Named = Path<(String, String, String)>;

#[derive(Deserialize)]
pub struct SizeQuery {
    /// In bytes.
    size: u64,
}

/// How much of it has come; refused where the disk would not hold the rest.
pub async fn offset(
    State(context): State<Context>,
    Path(named): Named,
    Query(asked): Query<SizeQuery>,
) -> Result<Json<Value>, Problem> {
    let upload = Upload::read(&context, &named)?;
    let offset = upload.length().await.min(asked.size);
    tokio::fs::create_dir_all(&*context.uploads).await.map_err(|e| disk(&e))?;
    clean_up(&context.uploads).await;
    let free = statvfs(&*context.uploads).map(|found| found.blocks_available() * found.fragment_size());
    let free = free.map_err(|e| disk(&std::io::Error::from(e)))?;
    let needed = room_for(asked.size, offset);
    if needed > free {
        let detail = format!(
            "{} needs {} MiB free, to receive and to load it, and there are {} MiB; delete images (`docker image prune`) or old versions",
            upload.image,
            needed >> 20,
            free >> 20
        );
        return Err(Problem::new(StatusCode::INSUFFICIENT_STORAGE, "disk", detail));
    }
    Ok(Json(json!({ "offset": offset, "image": upload.image })))
}

/// The free bytes that an image needs of which `offset` have come: what is sent is kept beside what the engine makes of
/// it until that is done.
fn room_for(size: u64, offset: u64) -> u64 {
    (size - offset).saturating_add(size).saturating_add(RESERVE)
}

#[derive(Deserialize)]
pub struct OffsetQuery {
    offset: u64,
}

/// Takes what comes from there on. What had come when the connection was cut stays.
pub async fn append(
    State(context): State<Context>,
    Path(named): Named,
    Query(asked): Query<OffsetQuery>,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let upload = Upload::read(&context, &named)?;
    let length = upload.length().await;
    if asked.offset != length {
        let detail = format!("{length} bytes have come so far, so go on from there and not from {}", asked.offset);
        return Err(Problem::new(StatusCode::CONFLICT, "other-offset", detail));
    }
    tokio::fs::create_dir_all(&*context.uploads).await.map_err(|e| disk(&e))?;
    let mut file = tokio::fs::OpenOptions::new();
    let mut file = file.create(true).append(true).open(&upload.file).await.map_err(|e| disk(&e))?;
    let mut chunks = body.into_data_stream();
    let mut cut = None;
    while let Some(chunk) = chunks.next().await {
        match chunk {
            Ok(chunk) => file.write_all(&chunk).await.map_err(|e| disk(&e))?,
            Err(error) => {
                cut = Some(Problem::bad(format!("the upload was cut off: {error}")));
                break;
            }
        }
    }
    file.sync_all().await.map_err(|e| disk(&e))?;
    match cut {
        Some(problem) => Err(problem),
        None => Ok(Json(json!({ "offset": upload.length().await }))),
    }
}

/// Has the engine take over what was sent, once it is what was announced and would change no other image.
pub async fn load(State(context): State<Context>, Path(named): Named) -> Result<Json<Value>, Problem> {
    let upload = Upload::read(&context, &named)?;
    let (file, expected, image) = (upload.file.clone(), upload.sha256.clone(), upload.image.clone());
    let checked = tokio::task::spawn_blocking(move || check(&file, &expected, &image)).await;
    let checked = checked.map_err(|e| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", e.to_string()))?;
    let loaded = match checked {
        Ok(()) => context.engine.load(&upload.file).await.map_err(Problem::from),
        Err(problem) => Err(problem),
    };
    // Used up, or of no use.
    let _ = tokio::fs::remove_file(&upload.file).await;
    loaded?;
    let digest = context.engine.image(upload.image.as_str()).await?;
    Ok(Json(json!({ "image": upload.image, "digest": digest })))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    repo_tags: Option<Vec<String>>,
}

/// The engine gives an image every name that it brings along: it may bring the one that it was sent under.
fn check(file: &FilePath, sha256: &str, image: &ImageRef) -> Result<(), Problem> {
    let bad = |reason: String| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "unusable", reason);
    let open = || std::fs::File::open(file).map_err(|e| disk(&e));
    if sha256_of(open()?).map_err(|e| disk(&e))? != sha256 {
        return Err(bad("what came is not what was announced: its SHA-256 is another one; push it again".into()));
    }
    let mut lists: Vec<Vec<Listed>> = Vec::new();
    let mut folders = BTreeSet::new();
    let mut archive = tar::Archive::new(open()?);
    for entry in archive.entries().map_err(|e| bad(e.to_string()))? {
        let entry = entry.map_err(|e| bad(format!("no image archive: {e}")))?;
        let path = entry.path().map_err(|e| bad(e.to_string()))?.into_owned();
        match path.to_str() {
            Some("manifest.json") => {
                let mut text = String::new();
                entry.take(LONGEST_LIST).read_to_string(&mut text).map_err(|e| bad(e.to_string()))?;
                lists.push(serde_json::from_str(&text).map_err(|e| bad(format!("manifest.json: {e}")))?);
            }
            // Older and newer lists of names.
            Some(other @ ("repositories" | "index.json")) => _ = folders.insert(other.to_owned()),
            _ => {}
        }
    }
    let names: Vec<String> = lists.iter().flatten().flat_map(|l| l.repo_tags.clone().unwrap_or_default()).collect();
    match (lists.as_slice(), names.as_slice(), folders.is_empty()) {
        ([one], [name], true) if one.len() == 1 && name == image.as_str() => Ok(()),
        _ => Err(bad(format!("the archive has to hold one image, named {image} and nothing else"))),
    }
}

async fn clean_up(folder: &FilePath) {
    let Ok(mut entries) = tokio::fs::read_dir(folder).await else { return };
    while let Ok(Some(entry)) = entries.next_entry().await {
        let age = entry.metadata().await.ok().and_then(|found| found.modified().ok()?.elapsed().ok());
        if age.is_some_and(|age| age > FORGOTTEN) {
            // Another one may have done it.
            let _ = tokio::fs::remove_file(entry.path()).await;
        }
    }
}

fn disk(error: &std::io::Error) -> Problem {
    Problem::new(StatusCode::INSUFFICIENT_STORAGE, "disk", format!("the image cannot be kept: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_announced_size_is_so_large_that_it_fits_again() {
        assert_eq!(room_for(10, 4), 16 + RESERVE);
        assert_eq!(room_for(u64::MAX, 0), u64::MAX);
    }
}
