//! `push`: an image of this machine's engine to the platform's, without a registry.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use clap::Args;
use futures_util::TryStreamExt;
use reqwest::{Body, Method};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::AsyncSeekExt;
use tokio::process::Command;
use tokio::time::sleep;
use tokio_util::io::ReaderStream;

use crate::cli::client::Client;
use crate::cli::content::segment;
use crate::cli::globals::Globals;
use crate::cli::output::{self, Failure};
use crate::core::digest::sha256_of;
use crate::core::names::{AppName, ImageRef, Version};

/// A connection that is cut so often, one time after the other, is given up; the same command goes on later.
const TRIES: u32 = 8;
const PAUSE: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
pub struct Push {
    /// An image that `docker image ls` shows here
    image: String,
    /// Which release it is
    #[arg(long, value_name = "APP@VERSION")]
    to: String,
}

impl Push {
    pub async fn run(self, client: &Client, globals: &Globals) -> Result<(), Failure> {
        let (app, version) = self.to.split_once('@').ok_or_else(|| Failure::usage("--to APP@VERSION"))?;
        let answer = send(client, globals, &self.image, app, version).await?;
        if globals.json {
            return output::json(&answer);
        }
        output::line(&format!("{} is there; `platformer deploy {app}@{version}` releases it", self.image))
    }
}

/// What the engine's archive says is in it.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// An image of this machine as a release of the platform's, and how many of its layers are there already.
pub struct Outlook {
    pub target: ImageRef,
    present: usize,
    layers: usize,
}

impl Outlook {
    /// Says what would be sent.
    pub fn said(&self, image: &str) -> String {
        let (missing, layers) = (self.layers.saturating_sub(self.present), self.layers);
        format!("{image} would be sent as {}: {missing} of its {layers} layers", self.target)
    }
}

/// Finds out what sending an image would take; nothing is sent.
pub async fn outlook(client: &Client, image: &str, app: &str, version: &str) -> Result<Outlook, Failure> {
    let usage = |e: crate::core::names::NameError| Failure::usage(e.to_string());
    let (app, version) = (AppName::parse(app).map_err(usage)?, Version::parse(version).map_err(usage)?);
    ImageRef::parse(image).map_err(usage)?;
    let target = ImageRef::pushed(&app, &version).map_err(usage)?;
    let listed = docker(&["image", "inspect", "--format", "{{json .RootFS.Layers}}", image]).await?;
    let layers: Vec<String> =
        serde_json::from_str(listed.trim()).map_err(|e| Failure::failed(format!("docker: {e}")))?;
    let url = format!("/v1/apps/{}/layers", segment(app.as_str()));
    let answer = client.json(client.request(Method::POST, &url).json(&json!({ "layers": layers }))).await?;
    let present = usize::try_from(answer["present"].as_u64().unwrap_or(0)).unwrap_or(0);
    Ok(Outlook { target, present, layers: layers.len() })
}

/// Sends the layers that the platform's engine lacks, and has it load the image.
pub async fn send(client: &Client, globals: &Globals, image: &str, app: &str, version: &str) -> Result<Value, Failure> {
    let Outlook { target, present, layers } = outlook(client, image, app, version).await?;
    if !globals.json {
        output::line(&format!("{present} of its {layers} layers are there already"))?;
    }
    // A folder that nobody else can look into or prepare: the archive is root's in a folder that all can write to.
    let folder = tempfile::Builder::new().prefix("platformer-push-").tempdir()?;
    let saved = folder.path().join("saved.tar");
    docker(&["image", "save", "-o", &saved.display().to_string(), image]).await?;
    let base = format!("/v1/apps/{}/images/{}", segment(app), segment(version));
    match send_without(client, &saved, &base, &target, present).await {
        // An engine that keeps images in another way needs all of it.
        Err(failure) if present > 0 && !failure.is_unreachable() && !failure.is_refused() => {
            send_without(client, &saved, &base, &target, 0).await
        }
        answer => answer,
    }
}

async fn send_without(
    client: &Client,
    saved: &Path,
    base: &str,
    target: &ImageRef,
    present: usize,
) -> Result<Value, Failure> {
    // Without a name, so that it is gone with us however we end.
    let packed = tempfile::tempfile_in(saved.parent().unwrap_or(saved))?;
    let (from, to, name) = (saved.to_owned(), packed.try_clone()?, target.to_string());
    let work = tokio::task::spawn_blocking(move || pack(&from, to, &name, present));
    let (size, sha256) = work.await.map_err(|e| Failure::failed(e.to_string()))?.map_err(|e| {
        Failure::failed(format!("the image cannot be packed: {e}")).with_remedy("TMPDIR names a folder with more room")
    })?;
    let url = format!("{base}/{sha256}");
    upload(client, &packed, &url, size).await?;
    client.json(client.request(Method::POST, &url)).await
}

/// Sends from where the last attempt ended, until all of it is there.
async fn upload(client: &Client, file: &File, url: &str, size: u64) -> Result<(), Failure> {
    let bar = output::bytes(size);
    let mut failures = 0;
    let done = loop {
        let offset = match client.get(&format!("{url}?size={size}")).await {
            Ok(answer) => answer["offset"].as_u64().unwrap_or(0),
            Err(failure) if failure.is_unreachable() && failures < TRIES => {
                failures += 1;
                sleep(PAUSE * failures).await;
                continue;
            }
            Err(failure) => break Err(failure),
        };
        if offset == size {
            break Ok(());
        }
        bar.set_position(offset);
        let mut part = tokio::fs::File::from_std(file.try_clone()?);
        part.seek(SeekFrom::Start(offset)).await?;
        let progress = bar.clone();
        let chunks =
            ReaderStream::with_capacity(part, 1 << 16).inspect_ok(move |chunk| progress.inc(chunk.len() as u64));
        let request = client.request(Method::PUT, &format!("{url}?offset={offset}"));
        match client.json(request.body(Body::wrap_stream(chunks))).await {
            Ok(_) => failures = 0,
            Err(_) if failures < TRIES => {
                failures += 1;
                bar.println("the connection was cut; going on from there");
                sleep(PAUSE * failures).await;
            }
            Err(failure) => break Err(failure.with_remedy("the same command goes on where this one ended")),
        }
    };
    bar.finish_and_clear();
    done
}

/// Writes an archive of this one image under its new name, without its lowest layers: the engine there has them.
/// Returns its size in bytes and its SHA-256.
fn pack(from: &Path, to: File, name: &str, present: usize) -> std::io::Result<(u64, String)> {
    let mut listed: Vec<Listed> = Vec::new();
    let mut archive = tar::Archive::new(File::open(from)?);
    for entry in archive.entries()? {
        let mut entry = entry?;
        if entry.path()?.to_str() == Some("manifest.json") {
            let mut text = String::new();
            entry.read_to_string(&mut text)?;
            listed = serde_json::from_str(&text)?;
        }
    }
    let Some(image) = listed.pop().filter(|_| listed.is_empty()) else {
        return Err(std::io::Error::other("docker saved no image, or several"));
    };
    let image = Listed { repo_tags: Some(vec![name.to_owned()]), ..image };
    let upper = image.layers.get(present..).unwrap_or_default();
    let wanted = |path: &str| path == image.config || upper.iter().any(|layer| layer == path);
    let mut packed = tar::Builder::new(to);
    let mut archive = tar::Archive::new(File::open(from)?);
    for entry in archive.entries()? {
        let entry = entry?;
        let path = entry.path()?.to_string_lossy().into_owned();
        if wanted(&path) {
            let mut header = entry.header().clone();
            match entry.link_name()? {
                Some(link) => packed.append_link(&mut header, &path, link)?,
                None => packed.append_data(&mut header, &path, entry)?,
            }
        }
    }
    let list = serde_json::to_vec(&[image])?;
    let mut header = tar::Header::new_ustar();
    header.set_size(list.len() as u64);
    header.set_mode(0o644);
    packed.append_data(&mut header, "manifest.json", list.as_slice())?;
    let mut file = packed.into_inner()?;
    file.seek(SeekFrom::Start(0))?;
    Ok((file.metadata()?.len(), sha256_of(file)?))
}

/// Docker's own command line knows where this machine's engine is.
async fn docker(arguments: &[&str]) -> Result<String, Failure> {
    let output = Command::new("docker").args(arguments).stdin(Stdio::null()).output().await;
    let output = output.map_err(|e| {
        Failure::failed(format!("docker cannot be run: {e}"))
            .with_remedy("push reads the image from this machine's Docker")
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Failure::failed(format!("docker: {}", String::from_utf8_lossy(&output.stderr).trim())))
}
