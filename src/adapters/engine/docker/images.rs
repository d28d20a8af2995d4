//! Images that come without a registry: which of their layers are here, and loading them.

use bollard::Docker;
use bollard::query_parameters::{ImportImageOptionsBuilder, ListImagesOptionsBuilder, TagImageOptionsBuilder};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio_util::io::ReaderStream;

use super::{DockerEngine, INSPECTS};
use crate::core::names::ImageRef;
use crate::ports::engine::EngineError;

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
