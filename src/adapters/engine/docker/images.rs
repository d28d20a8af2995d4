//! Images: what their names mean here and at their registry, and those that come without one.

use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use bollard::models::ImageInspect;
use bollard::query_parameters::{ImportImageOptionsBuilder, ListImagesOptionsBuilder, TagImageOptionsBuilder};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::timeout;
use tokio_util::io::ReaderStream;

use super::client::{DockerEngine, INSPECTS};
use super::labels::{self, ImageLabels};
use super::registry::{credentials, pull};
use crate::core::names::ImageRef;
use crate::core::release::ImageNow;
use crate::ports::engine::EngineError;

/// A registry that takes longer to answer is taken to be away.
const REGISTRY: Duration = Duration::from_secs(5);

/// Inspects an image; `None` where it is not here.
async fn inspect(engine: &DockerEngine, client: &Docker, image: &str) -> Result<Option<ImageInspect>, EngineError> {
    match client.inspect_image(image).await.map_err(|e| engine.error(e)) {
        Ok(found) => Ok(Some(found)),
        Err(EngineError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The name by which an image is that of one manifest for ever.
fn exactly(image: &ImageRef, manifest: &str) -> String {
    format!("{}@{manifest}", image.repository())
}

pub async fn image(
    engine: &DockerEngine,
    client: &Docker,
    image: &str,
    manifest: Option<&str>,
) -> Result<Arc<str>, EngineError> {
    let exact = manifest.and_then(|manifest| Some(exactly(&ImageRef::parse(image).ok()?, manifest)));
    let wanted = exact.as_deref().unwrap_or(image);
    let mut found = inspect(engine, client, wanted).await?;
    if found.is_none() && image.starts_with("sha256:") {
        return Err(EngineError::NotFound(image.to_owned()));
    }
    if found.is_none() {
        // By its name, so that it keeps one here: what has none is the first to be cleared away.
        pull(engine, client, image).await?;
        found = inspect(engine, client, wanted).await?;
    }
    if found.is_none() && exact.is_some() {
        pull(engine, client, wanted).await?;
        found = inspect(engine, client, wanted).await?;
    }
    let id = found.and_then(|image| image.id).map(Arc::from);
    id.ok_or_else(|| EngineError::Refused(format!("image {wanted} has no digest")))
}

/// What was built here is what it is here. What came from a registry is asked for there too, by way of the engine,
/// which knows how to reach it. Where nobody answers in time, what is here has to do.
pub async fn now(engine: &DockerEngine, client: &Docker, image: &ImageRef) -> Result<ImageNow, EngineError> {
    let here = inspect(engine, client, image.as_str()).await?;
    let id = here.as_ref().and_then(|image| image.id.clone()).map(Arc::from);
    let is_built_here = here.as_ref().is_some_and(|image| image.repo_digests.iter().flatten().next().is_none());
    if is_built_here || image.is_pushed() || image.as_str().contains('@') {
        return Ok(ImageNow { id, manifest: None });
    }
    let asked = client.inspect_registry_image(image.as_str(), credentials(image.as_str()).await);
    let answer = timeout(REGISTRY, asked).await.ok().and_then(Result::ok);
    let Some(manifest) = answer.and_then(|answer| answer.descriptor.digest) else {
        return Ok(ImageNow { id, manifest: None });
    };
    let exact = inspect(engine, client, &exactly(image, &manifest)).await?;
    Ok(ImageNow { id: exact.and_then(|image| image.id).map(Arc::from), manifest: Some(manifest.into()) })
}

/// An image shares its layers with others from the lowest on: the longest such run of any image here.
pub async fn layers_here(engine: &DockerEngine, client: &Docker, layers: &[String]) -> Result<usize, EngineError> {
    let options = ListImagesOptionsBuilder::default().all(true).build();
    let images = client.list_images(Some(options)).await.map_err(|e| engine.error(e))?;
    let of_image = |id: String| async move {
        // One that went meanwhile has no layers here.
        let found = client.inspect_image(&id).await.ok();
        found.and_then(|image| image.root_fs).and_then(|root| root.layers).unwrap_or_default()
    };
    let shared = stream::iter(images.into_iter().map(|image| image.id)).map(of_image).buffer_unordered(INSPECTS);
    let count = |here: Vec<String>| here.iter().zip(layers).take_while(|(a, b)| a == b).count();
    Ok(shared.map(count).fold(0, |most, count| async move { most.max(count) }).await)
}

pub async fn load(engine: &DockerEngine, client: &Docker, archive: std::fs::File) -> Result<(), EngineError> {
    let file = tokio::fs::File::from_std(archive);
    let options = ImportImageOptionsBuilder::default().quiet(true).build();
    let progress = client.import_image_stream(options, ReaderStream::with_capacity(file, 1 << 16), None);
    let said: Vec<_> = progress.try_collect().await.map_err(|e| engine.error(e))?;
    match said.into_iter().find_map(|line| line.error_detail) {
        None => Ok(()),
        Some(detail) => {
            Err(EngineError::Refused(format!("the image is not taken: {}", detail.message.unwrap_or_default())))
        }
    }
}

pub async fn name(engine: &DockerEngine, client: &Docker, image: &str, name: &ImageRef) -> Result<(), EngineError> {
    let tag = name.as_str().strip_prefix(name.repository()).and_then(|rest| rest.strip_prefix(':')).unwrap_or("latest");
    let options = TagImageOptionsBuilder::default().repo(name.repository()).tag(tag).build();
    client.tag_image(image, Some(options)).await.map_err(|e| engine.error(e))
}

/// The labels of an image that is here.
///
/// # Errors
/// It is not here, or the engine does not tell.
pub async fn labels(engine: &DockerEngine, client: &Docker, image: &str) -> Result<ImageLabels, EngineError> {
    if let Some(labels) = engine.images.get(image) {
        return Ok(labels);
    }
    let answer = engine.asked(client.inspect_image(image)).await?;
    let labels = ImageLabels::new(labels::ours(answer.config.and_then(|config| config.labels).unwrap_or_default()));
    if let Some(id) = answer.id.filter(|id| id == image) {
        engine.images.keep(id, labels.clone());
    }
    Ok(labels)
}
