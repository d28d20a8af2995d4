//! Images without a registry: what the engine lacks of one is sent in pieces, checked, and loaded.
//!
//! An upload is known by app, version and SHA-256, so that one that was cut off goes on where it ended, whoever asks.

mod archive;

use std::fs::File;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use futures_util::StreamExt;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::statvfs::statvfs;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::adapters::http::context::Context;
use crate::adapters::http::error::Problem;
use crate::adapters::http::route::known::unknown_app;
use crate::adapters::http::route::sent::Sent;
use crate::adapters::http::serve::receive::{self, blocking, disk};
use crate::core::names::{AppName, ImageRef, Version};
use crate::ports::budget::Waiting;
use archive::Unusable;

/// Uploads that nobody went on with for so long are deleted.
const FORGOTTEN: Duration = Duration::from_secs(86_400);
/// So many unfinished ones of an app are kept; the one that was left alone for longest makes room for the next.
const UNFINISHED: usize = 4;
/// And of the disk they take at most this part together: what other apps send needs room too.
const SHARE: u64 = 4;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LayersRequest {
    /// The digests of an image's layers as its configuration lists them, lowest first
    layers: Vec<String>,
}

/// How many of an image's layers, from the lowest, need not be sent.
pub async fn layers(
    State(context): State<Context>,
    Path(app): Path<String>,
    Sent(asked): Sent<LayersRequest>,
) -> Result<Json<Value>, Problem> {
    known(&context, &AppName::parse(&app)?)?;
    Ok(Json(json!({ "present": context.engine.layers_here(&asked.layers).await? })))
}

/// One upload.
struct Upload {
    app: AppName,
    image: ImageRef,
    sha256: String,
    file: PathBuf,
}

impl Upload {
    fn read(context: &Context, (app, version, sha256): &(String, String, String)) -> Result<Self, Problem> {
        let (app, version) = (AppName::parse(app)?, Version::parse(version)?);
        known(context, &app)?;
        if sha256.len() != 64 || !sha256.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            return Err(Problem::bad("the SHA-256 of what is sent has 64 lower-case hex digits"));
        }
        let file = context.uploads.join(format!("{app}@{version}-{sha256}"));
        Ok(Self { image: ImageRef::pushed(&app, &version)?, sha256: sha256.clone(), file, app })
    }

    /// How long its file may get: beside it, its app's other unfinished ones are kept as far as there is room for them.
    async fn room(&self, folder: &FilePath) -> Result<u64, Problem> {
        let (app, own, folder) = (self.app.clone(), self.file.clone(), folder.to_owned());
        blocking(move || {
            let total = statvfs(&folder).map_err(|e| disk(&e.into()))?;
            let room = total.blocks().saturating_mul(total.fragment_size()) / SHARE;
            let mut others = unfinished(&folder, &app).map_err(|e| disk(&e))?;
            others.retain(|(_, path, _)| *path != own);
            while others.len() >= UNFINISHED {
                let (_, oldest, _) = others.remove(0);
                tracing::info!(%app, file = %oldest.display(), "an unfinished upload makes room for the next");
                // Another one may have done it.
                let _ = std::fs::remove_file(oldest);
            }
            Ok(room.saturating_sub(others.iter().map(|(_, _, size)| size).sum()))
        })
        .await
    }

    fn too_much(&self, room: u64) -> Problem {
        let detail = format!(
            "unfinished images of {} have a quarter of the disk, {} MiB are left of it for this one; finish the others, \
             or wait a day until they are forgotten",
            self.app,
            room >> 20
        );
        Problem::new(StatusCode::INSUFFICIENT_STORAGE, "disk", detail)
    }

    async fn length(&self) -> u64 {
        tokio::fs::metadata(&self.file).await.map_or(0, |found| found.len())
    }

    /// Has come so far. A file that one connection writes is written by no other one, and read by none.
    fn opened(path: &FilePath, create: bool) -> Result<File, Problem> {
        let mut options = File::options();
        options.read(true).write(true).create(create);
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "unusable",
                "nothing of it has come; send it before it is loaded",
            ),
            _ => disk(&e),
        })
    }

    fn locked(file: File) -> Result<Flock<File>, Problem> {
        Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
            Errno::EWOULDBLOCK => {
                Problem::new(StatusCode::CONFLICT, "other-offset", "it is being written by another connection; wait")
            }
            errno => disk(&errno.into()),
        })
    }
}

/// A typing error in the name of an app is told before anything is sent.
fn known(context: &Context, app: &AppName) -> Result<(), Problem> {
    let view = context.snapshot.view();
    let is_known = view.status.apps.iter().any(|status| status.name == *app);
    if is_known { Ok(()) } else { Err(unknown_app(&view, app)) }
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
    let folder = context.uploads.clone();
    let (free, kept) = blocking(move || receive::room(&File::open(&*folder).map_err(|e| disk(&e))?)).await?;
    let needed = room_for(asked.size, offset).saturating_add(kept);
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

/// The free bytes that an image needs of which `offset` have come: what is sent is kept beside what is written anew of
/// it, and what the engine makes of that, until that is done.
fn room_for(size: u64, offset: u64) -> u64 {
    (size - offset).saturating_add(size).saturating_add(size)
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
    let path = upload.file.clone();
    let room = upload.room(&context.uploads).await?;
    let file = Arc::new(blocking(move || Upload::opened(&path, true)).await?);
    let mut at = asked.offset;
    let mut chunks = body.into_data_stream();
    let mut cut = None;
    while let Some(chunk) = chunks.next().await {
        match chunk {
            Ok(chunk) if at + chunk.len() as u64 > room => return Err(upload.too_much(room)),
            Ok(chunk) => at = append_chunk(&file, chunk, at).await?,
            Err(error) => {
                cut = Some(Problem::bad(format!("the upload was cut off: {error}")));
                break;
            }
        }
    }
    receive::sync(&file).await?;
    match cut {
        Some(problem) => Err(problem),
        None => Ok(Json(json!({ "offset": at }))),
    }
}

/// Adds a chunk, unless somebody else went on meanwhile: of two connections that send the same, the later one has
/// found where the file ended, and the earlier one is a line that was cut.
async fn append_chunk(file: &Arc<File>, chunk: Bytes, at: u64) -> Result<u64, Problem> {
    let own = file.clone();
    let held = blocking(move || {
        let held = Upload::locked(own.try_clone().map_err(|e| disk(&e))?)?;
        let length = held.metadata().map_err(|e| disk(&e))?.len();
        if length != at {
            let detail = format!("{length} bytes have come so far, another connection goes on from there");
            return Err(Problem::new(StatusCode::CONFLICT, "other-offset", detail));
        }
        Ok(held)
    });
    let _held = held.await?;
    let end = at + chunk.len() as u64;
    receive::write_at(file, chunk, at).await.map(|()| end)
}

/// Has the engine take over what was sent, once it is what was announced and would change no other image.
pub async fn load(State(context): State<Context>, Path(named): Named) -> Result<Json<Value>, Problem> {
    let upload = Upload::read(&context, &named)?;
    // A name that nobody can send or deploy: what the engine makes of the archive gets its own only when it is known
    // to replace nothing.
    let random = context.keyring.random()?;
    let own = ImageRef::parse(&format!("platformer-loading/{}:0", &random[..32]))?;
    let rebuilt = rebuilt(&context, &upload, &own).await;
    // Used up, or of no use; but a full disk, or another connection that writes it, says nothing against it.
    if rebuilt.as_ref().err().is_none_or(|p| p.http == StatusCode::UNPROCESSABLE_ENTITY) {
        let _ = tokio::fs::remove_file(&upload.file).await;
    }
    context.engine.load(rebuilt?).await?;
    let taken = name(&context, &own, &upload.image).await;
    context.engine.remove_image(own.as_str()).await?;
    Ok(Json(json!({ "image": upload.image, "digest": taken? })))
}

/// The archive that the engine is given, in a file without a name.
async fn rebuilt(context: &Context, upload: &Upload, own: &ImageRef) -> Result<File, Problem> {
    let waiting = Waiting::default();
    let cancelled = waiting.cancelled();
    let (path, sha256, image) = (upload.file.clone(), upload.sha256.clone(), upload.image.clone());
    let (folder, own) = (context.uploads.clone(), own.clone());
    blocking(move || {
        let sent = Upload::locked(Upload::opened(&path, false)?)?;
        let mut out = tempfile::tempfile_in(&*folder).map_err(|e| disk(&e))?;
        archive::rebuild(&sent, &sha256, &image, &own, &mut out, &cancelled).map_err(|e| match e {
            Unusable::Disk(error) => disk(&error),
            Unusable::Archive(reason) => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "unusable", reason),
        })?;
        Ok(out)
    })
    .await
}

/// Gives a loaded image the name it was sent for, unless another one has it. One after the other, so that of two that
/// are sent at once the second sees the first.
async fn name(context: &Context, loaded: &ImageRef, wanted: &ImageRef) -> Result<Arc<str>, Problem> {
    static ONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _one = ONE.lock().await;
    let digest = context.engine.image(loaded.as_str(), None).await?;
    if context.engine.has_image(wanted.as_str()).await? {
        let there = context.engine.image(wanted.as_str(), None).await?;
        if there != digest {
            let detail = format!(
                "{wanted} is there with another image: {there}, and what was sent is {digest}; a version never changes, push it as a new one"
            );
            return Err(Problem::new(StatusCode::CONFLICT, "conflict", detail));
        }
        return Ok(digest);
    }
    context.engine.name_image(loaded.as_str(), wanted).await?;
    Ok(digest)
}

/// The unfinished uploads of an app with their sizes, the one that was left alone for longest first.
fn unfinished(folder: &FilePath, app: &AppName) -> std::io::Result<Vec<(SystemTime, PathBuf, u64)>> {
    let of_app =
        |name: &std::ffi::OsStr| name.to_str().is_some_and(|name| name.split('@').next() == Some(app.as_str()));
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder)?.filter_map(Result::ok).filter(|entry| of_app(&entry.file_name())) {
        if let Ok(found) = entry.metadata() {
            all.push((found.modified()?, entry.path(), found.len()));
        }
    }
    all.sort();
    Ok(all)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_an_app_never_ends_makes_room_for_what_it_begins_next_and_leaves_room_for_others() {
        let folder = tempfile::tempdir().unwrap();
        let begin = |app: &str, n: usize, size: usize| {
            let file = folder.path().join(format!("{app}@1.{n}-{n:064x}"));
            std::fs::write(&file, vec![0; size]).unwrap();
            let app = AppName::parse(app).unwrap();
            let image = ImageRef::pushed(&app, &Version::parse("1.0").unwrap()).unwrap();
            Upload { app, image, sha256: String::new(), file }
        };
        let other = begin("shop", 0, 10);
        let whole = other.room(folder.path()).await.unwrap();
        for n in 0..20 {
            let room = begin("mine", n, 1000).room(folder.path()).await.unwrap();
            assert_eq!(room, whole - 1000 * n.min(UNFINISHED - 1) as u64, "{n}");
        }
        let left = unfinished(folder.path(), &AppName::parse("mine").unwrap()).unwrap();
        assert_eq!(left.len(), UNFINISHED);
        assert!(other.file.exists(), "another app's stays");
    }

    #[test]
    fn no_announced_size_is_so_large_that_it_fits_again() {
        assert_eq!(room_for(10, 4), 26);
        assert_eq!(room_for(u64::MAX, 0), u64::MAX);
    }
}
