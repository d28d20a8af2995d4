//! Tags and digests by the OCI distribution API; credentials from Docker's own file or its helpers.

use std::sync::Arc;
use std::time::Duration;

use docker_credential::{CredentialRetrievalError, DockerCredential, get_credential};
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::{OciDistributionError, OciEnvelope, OciErrorCode};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use reqwest::header::RETRY_AFTER;
use reqwest::redirect::Policy;

use crate::core::names::{ImageRef, Version};
use crate::core::source::{login_of, versions};
use crate::ports::sources::SourceError;

/// Tags in one answer, and answers that are read at most.
const PAGE: usize = 1000;
const PAGES: usize = 100;
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a registry that counts requests (429) is left alone if it does not say: Docker Hub counts by the hour.
const LIMITED: Duration = Duration::from_secs(600);
/// No longer than this, whatever it says.
const LONGEST: Duration = Duration::from_secs(3600);

pub fn client() -> Result<Client, String> {
    let config = ClientConfig {
        protocol: ClientProtocol::Https,
        connect_timeout: Some(TIMEOUT),
        read_timeout: Some(TIMEOUT),
        user_agent: concat!("platformer/", env!("CARGO_PKG_VERSION")),
        ..ClientConfig::default()
    };
    Client::try_from(config).map_err(|error| error.to_string())
}

/// Registries on this machine are asked in plain HTTP, as Docker does.
fn for_registry(client: &Client, reference: &Reference) -> Result<Client, SourceError> {
    let host = reference.resolve_registry().split(':').next().unwrap_or_default();
    let is_local = host == "localhost" || host.starts_with("127.");
    if !is_local {
        return Ok(client.clone());
    }
    let config =
        ClientConfig { protocol: ClientProtocol::Http, read_timeout: Some(TIMEOUT), ..ClientConfig::default() };
    Client::try_from(config).map_err(|error| SourceError { reason: error.to_string(), wait: None })
}

pub async fn tags(client: &Client, image: &ImageRef) -> Result<Vec<Version>, SourceError> {
    let (reference, auth) = place(image).await?;
    let client = for_registry(client, &reference)?;
    let (mut found, mut last): (Vec<String>, Option<String>) = (Vec::new(), None);
    for _ in 0..PAGES {
        let page = client.list_tags(&reference, &auth, Some(PAGE), last.as_deref()).await;
        let page = match page {
            // Nothing has been pushed there yet.
            Err(error) if is_unknown(&error) => return Ok(Vec::new()),
            Err(error) => return Err(explain(image, &error).await),
            Ok(page) => page.tags,
        };
        // A registry that does not know pages sends everything again.
        let is_last = page.len() < PAGE || page.last() == last.as_ref();
        last = page.last().cloned();
        found.extend(page);
        if is_last {
            break;
        }
    }
    Ok(versions(found).collect())
}

pub async fn digest(client: &Client, image: &ImageRef) -> Result<Arc<str>, SourceError> {
    let (reference, auth) = place(image).await?;
    let client = for_registry(client, &reference)?;
    match client.fetch_manifest_digest(&reference, &auth).await {
        Ok(digest) => Ok(digest.into()),
        Err(error) => Err(explain(image, &error).await),
    }
}

async fn place(image: &ImageRef) -> Result<(Reference, RegistryAuth), SourceError> {
    let fail = |reason: String| SourceError { reason: format!("image {image}: {reason}"), wait: None };
    let reference: Reference = image.as_str().parse().map_err(|e: oci_client::ParseError| fail(e.to_string()))?;
    let login = login_of(image.repository());
    // Helpers are programs, and may take their time.
    let auth = tokio::task::spawn_blocking(move || credentials(&login)).await.map_err(|e| fail(e.to_string()))?;
    Ok((reference, auth.map_err(fail)?))
}

/// What `docker login` left for the registry; nothing where nobody logged in.
fn credentials(login: &str) -> Result<RegistryAuth, String> {
    match get_credential(login) {
        Ok(DockerCredential::UsernamePassword(user, password)) => Ok(RegistryAuth::Basic(user, password)),
        Ok(DockerCredential::IdentityToken(token)) => Ok(RegistryAuth::Bearer(token)),
        Err(
            CredentialRetrievalError::NoCredentialConfigured
            | CredentialRetrievalError::ConfigNotFound
            | CredentialRetrievalError::ConfigReadError,
        ) => Ok(RegistryAuth::Anonymous),
        // What a helper printed may be a secret.
        Err(CredentialRetrievalError::HelperFailure { helper, .. }) => {
            Err(format!("docker-credential-{helper} gives no credential for {login}; docker login {login}"))
        }
        Err(error) => Err(format!("Docker's credentials for {login}: {error}")),
    }
}

fn is_unknown(error: &OciDistributionError) -> bool {
    match error {
        OciDistributionError::RegistryError { envelope, .. } => {
            envelope.errors.iter().any(|e| e.code == OciErrorCode::NameUnknown)
        }
        _ => false,
    }
}

async fn explain(image: &ImageRef, error: &OciDistributionError) -> SourceError {
    let is_limit = |envelope: &OciEnvelope| envelope.errors.iter().any(|e| e.code == OciErrorCode::Toomanyrequests);
    let wait = match error {
        OciDistributionError::ServerError { code: 429, url, .. } => Some(asked_pause(url).await),
        OciDistributionError::RegistryError { envelope, url } if is_limit(envelope) => Some(asked_pause(url).await),
        _ => None,
    };
    let mut reason = format!("image {image}: {error}");
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        reason = format!("image {image}: {source}");
        cause = source.source();
    }
    if matches!(error, OciDistributionError::UnauthorizedError { .. } | OciDistributionError::AuthenticationFailure(_))
    {
        reason += "; `docker login` as the user who runs the platform";
    }
    SourceError { reason, wait }
}

/// How long the registry wants to be left alone. The library keeps only the body of a refusal, so it is asked once
/// more for the head of one.
async fn asked_pause(url: &str) -> Duration {
    let asked = async {
        let client = reqwest::Client::builder().timeout(TIMEOUT).redirect(Policy::none()).build().ok()?;
        let answer = client.head(url).send().await.ok()?;
        retry_after(answer.headers().get(RETRY_AFTER)?.to_str().ok()?, Timestamp::now())
    };
    asked.await.unwrap_or(LIMITED)
}

/// `Retry-After`: seconds, or a date (RFC 9110, 10.2.3).
fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let until = |date: jiff::Zoned| Duration::try_from(date.timestamp().duration_since(now)).unwrap_or_default();
    let seconds = value.trim().parse().ok().map(Duration::from_secs);
    let pause = seconds.or_else(|| rfc2822::parse(value.trim()).ok().map(until))?;
    Some(pause.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_says_in_seconds_or_by_a_date_how_long_it_is_to_be_left_alone() {
        let now: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        for (value, seconds) in [
            ("30", Some(30)),
            ("0", Some(0)),
            ("Sun, 22 Nov 2026 10:02:00 GMT", Some(120)),
            ("Sun, 22 Nov 2026 09:00:00 GMT", Some(0)),
            ("99999999999", Some(3600)),
            ("soon", None),
            ("-1", None),
        ] {
            assert_eq!(retry_after(value, now), seconds.map(Duration::from_secs), "{value}");
        }
    }
}
