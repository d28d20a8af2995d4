//! Images that are fetched from their registries.

use bollard::Docker;
use bollard::auth::DockerCredentials;
use bollard::models::CreateImageInfo;
use bollard::query_parameters::CreateImageOptionsBuilder;
use docker_credential::{DockerCredential, get_credential};
use futures_util::TryStreamExt;

use super::client::DockerEngine;
use crate::core::names::ImageRef;
use crate::core::source::login_of;
use crate::ports::engine::EngineError;

/// What `docker login` left for the image's registry: without it the daemon is anybody there.
pub async fn credentials(image: &str) -> Option<DockerCredentials> {
    let login = login_of(ImageRef::parse(image).ok()?.repository());
    let server = login.clone();
    let found = tokio::task::spawn_blocking(move || get_credential(&login)).await.ok()?.ok()?;
    let serveraddress = Some(server);
    Some(match found {
        DockerCredential::UsernamePassword(user, password) => {
            DockerCredentials { username: Some(user), password: Some(password), serveraddress, ..Default::default() }
        }
        DockerCredential::IdentityToken(token) => {
            DockerCredentials { identitytoken: Some(token), serveraddress, ..Default::default() }
        }
    })
}

/// Docker answers nothing before the registry does: that no answer comes is not the engine's doing.
fn told(engine: &DockerEngine, error: bollard::errors::Error) -> EngineError {
    match error {
        bollard::errors::Error::RequestTimeoutError => EngineError::Refused("its registry does not answer".into()),
        error => engine.error(error),
    }
}

pub async fn pull(engine: &DockerEngine, client: &Docker, image: &str) -> Result<(), EngineError> {
    let tag = if image.contains('@') || image.rsplit('/').next().is_some_and(|last| last.contains(':')) {
        ""
    } else {
        "latest"
    };
    let options = CreateImageOptionsBuilder::default().from_image(image).tag(tag).build();
    let progress = client.create_image(Some(options), None, credentials(image).await);
    let said = |line: CreateImageInfo| match line.error_detail.and_then(|detail| detail.message) {
        Some(error) => Err(bollard::errors::Error::DockerStreamError { error }),
        None => Ok(()),
    };
    let pulled = progress.try_for_each(|line| std::future::ready(said(line))).await;
    pulled.map_err(|error| match told(engine, error) {
        EngineError::NotFound(reason) | EngineError::Refused(reason) => {
            EngineError::Refused(format!("image {image} is not here and cannot be pulled: {reason}"))
        }
        unreachable => unreachable,
    })
}
