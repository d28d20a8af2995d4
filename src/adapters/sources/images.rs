//! Tags and digests by the OCI distribution API; credentials from Docker's own file or its helpers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use docker_credential::{CredentialRetrievalError, DockerCredential, get_credential};
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::{OciDistributionError, OciEnvelope, OciErrorCode};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference, RegistryOperation};
use reqwest::header::{LINK, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{StatusCode, Url};
use serde::Deserialize;

use crate::core::names::{ImageRef, Version};
use crate::core::source::{login_of, versions};
use crate::ports::sources::SourceError;

/// Tags that one answer is asked for, answers that are read, and how long one may be.
const PAGE: usize = 1000;
const PAGES: usize = 1000;
const LARGEST: usize = 8 << 20;
const USER_AGENT: &str = concat!("platformer/", env!("CARGO_PKG_VERSION"));
const LOG_IN: &str = "`docker login` as the user who runs the platform";
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
        user_agent: USER_AGENT,
        ..ClientConfig::default()
    };
    Client::try_from(config).map_err(|error| error.to_string())
}

fn is_local(reference: &Reference) -> bool {
    let host = reference.resolve_registry().split(':').next().unwrap_or_default();
    host == "localhost" || host.starts_with("127.")
}

/// Registries on this machine are asked in plain HTTP, as Docker does.
fn for_registry(client: &Client, reference: &Reference) -> Result<Client, SourceError> {
    if !is_local(reference) {
        return Ok(client.clone());
    }
    let config =
        ClientConfig { protocol: ClientProtocol::Http, read_timeout: Some(TIMEOUT), ..ClientConfig::default() };
    Client::try_from(config).map_err(|error| SourceError { reason: error.to_string(), wait: None })
}

/// Reads page after page: the registry decides how long they are, and names the next one (`Link`).
pub async fn tags(client: &Client, image: &ImageRef) -> Result<Vec<Version>, SourceError> {
    let (reference, auth) = place(image).await?;
    let client = for_registry(client, &reference)?;
    let token = match client.auth(&reference, &auth, RegistryOperation::Pull).await {
        Ok(token) => token,
        Err(error) => return Err(explain(image, &error).await),
    };
    let fail = |reason: String| SourceError { reason: format!("image {image}: {reason}"), wait: None };
    let web = reqwest::Client::builder().timeout(TIMEOUT).user_agent(USER_AGENT).build();
    let web = web.map_err(|error| fail(innermost(&error)))?;
    let scheme = if is_local(&reference) { "http" } else { "https" };
    let first = format!("{scheme}://{}/v2/{}/tags/list?n={PAGE}", reference.resolve_registry(), reference.repository());
    let first = Url::parse(&first).map_err(|error| fail(error.to_string()))?;
    let (mut found, mut next) = (BTreeSet::new(), Some(first));
    for _ in 0..PAGES {
        let Some(url) = next.take() else { break };
        let request = match (&token, &auth) {
            (Some(token), _) => web.get(url.clone()).bearer_auth(token),
            (None, RegistryAuth::Basic(user, password)) => web.get(url.clone()).basic_auth(user, Some(password)),
            (None, RegistryAuth::Anonymous | RegistryAuth::Bearer(_)) => web.get(url.clone()),
        };
        let answer = request.send().await.map_err(|error| fail(innermost(&error)))?;
        let status = answer.status();
        let link = answer.headers().get_all(LINK).iter().find_map(|link| next_page(&url, link.to_str().ok()?));
        let wait =
            answer.headers().get(RETRY_AFTER).and_then(|value| retry_after(value.to_str().ok()?, Timestamp::now()));
        let body = read(answer).await.map_err(fail)?;
        match status {
            StatusCode::OK => {}
            // Nothing has been pushed there yet.
            StatusCode::NOT_FOUND if is_unknown(&body) => return Ok(Vec::new()),
            StatusCode::TOO_MANY_REQUESTS => {
                let reason = format!("image {image}: its registry counts requests, and there were too many");
                return Err(SourceError { reason, wait: Some(wait.unwrap_or(LIMITED)) });
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(fail(format!("the registry answers {status}; {LOG_IN}")));
            }
            _ => return Err(fail(format!("the registry answers {status}"))),
        }
        let page: Page = serde_json::from_slice(&body).map_err(|error| fail(format!("its tags: {error}")))?;
        let before = found.len();
        found.extend(page.tags.unwrap_or_default());
        // A page that brings nothing new is the last one, whatever it names.
        next = link.filter(|_| found.len() > before);
    }
    Ok(versions(found).collect())
}

/// What is read of one answer at most.
async fn read(mut answer: reqwest::Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| innermost(&error))? {
        if body.len() + chunk.len() > LARGEST {
            return Err(format!("its list of tags has over {} MiB", LARGEST >> 20));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// One page of `/v2/NAME/tags/list`.
#[derive(Deserialize)]
struct Page {
    /// `null` for a repository without any.
    tags: Option<Vec<String>>,
}

/// The target of `Link: </v2/…?last=…>; rel="next"` (RFC 8288) among all that one header has, relative to the page that
/// named it, and always at the same registry: behind a proxy it may know itself by another name, and one elsewhere would
/// be given the credentials of this.
fn next_page(page: &Url, link: &str) -> Option<Url> {
    let mut rest = link;
    while let Some((_, opened)) = rest.split_once('<') {
        let (target, after) = opened.split_once('>')?;
        let (parameters, next) = after.split_at(after.find('<').unwrap_or(after.len()));
        rest = next;
        if parameters.split([';', ',']).any(is_next) {
            let found = page.join(target).ok()?;
            let mut here = page.clone();
            here.set_path(found.path());
            here.set_query(found.query());
            return Some(here);
        }
    }
    None
}

/// Whether a parameter of a link is `rel` with `next` among its relations.
fn is_next(parameter: &str) -> bool {
    let Some((name, value)) = parameter.split_once('=') else { return false };
    let relations = value.trim().trim_matches('"');
    name.trim().eq_ignore_ascii_case("rel") && relations.split_whitespace().any(|r| r.eq_ignore_ascii_case("next"))
}

fn is_unknown(body: &[u8]) -> bool {
    let envelope = serde_json::from_slice::<OciEnvelope>(body);
    envelope.is_ok_and(|envelope| envelope.errors.iter().any(|e| e.code == OciErrorCode::NameUnknown))
}

/// The last cause: what comes before it only repeats that a request failed.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
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

async fn explain(image: &ImageRef, error: &OciDistributionError) -> SourceError {
    let is_limit = |envelope: &OciEnvelope| envelope.errors.iter().any(|e| e.code == OciErrorCode::Toomanyrequests);
    let wait = match error {
        OciDistributionError::ServerError { code: 429, url, .. } => Some(asked_pause(url).await),
        OciDistributionError::RegistryError { envelope, url } if is_limit(envelope) => Some(asked_pause(url).await),
        _ => None,
    };
    let mut reason = format!("image {image}: {}", innermost(error));
    if matches!(error, OciDistributionError::UnauthorizedError { .. } | OciDistributionError::AuthenticationFailure(_))
    {
        reason = format!("{reason}; {LOG_IN}");
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
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Serves pages of tags, each naming the next one, until the test ends; asked over one connection each.
    async fn registry(pages: usize, tags: impl Fn(usize) -> String + Send + 'static) -> u16 {
        // Whoever installed one before did the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut head = vec![0; 4096];
                let length = client.read(&mut head).await.unwrap_or(0);
                let head = String::from_utf8_lossy(&head[..length]).into_owned();
                let page =
                    head.split("page=").nth(1).and_then(|t| t.split([' ', '&']).next()?.parse().ok()).unwrap_or(0);
                let body = if head.contains("/tags/list") { tags(page) } else { "{}".into() };
                let link = match page + 1 < pages && head.contains("/tags/list") {
                    true => format!("Link: </v2/shop/tags/list?n=50&page={}>; rel=\"next\"\r\n", page + 1),
                    false => String::new(),
                };
                let length = body.len();
                let answer =
                    format!("HTTP/1.1 200 OK\r\n{link}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}");
                let _ = client.write_all(answer.as_bytes()).await;
            }
        });
        port
    }

    #[tokio::test]
    async fn every_page_of_tags_is_read_however_long_the_registry_makes_them() {
        let page = |page: usize| {
            let tags: Vec<String> = (0..50).map(|n| format!("\"1.{page}.{n}\"")).collect();
            format!("{{\"name\": \"shop\", \"tags\": [{}]}}", tags.join(","))
        };
        let port = registry(3, page).await;
        let image = ImageRef::parse(&format!("127.0.0.1:{port}/shop")).unwrap();
        let tags = tags(&client().unwrap(), &image).await.unwrap();
        assert_eq!((tags.len(), tags.iter().max().map(Version::as_str)), (150, Some("1.2.49")));
    }

    #[tokio::test]
    async fn a_registry_that_names_pages_for_ever_is_left_when_it_brings_nothing_new() {
        let port = registry(usize::MAX, |_| "{\"tags\": [\"1.0\", \"1.1\"]}".into()).await;
        let image = ImageRef::parse(&format!("127.0.0.1:{port}/shop")).unwrap();
        assert_eq!(tags(&client().unwrap(), &image).await.unwrap().len(), 2);
    }

    #[test]
    fn only_a_link_to_the_next_page_is_followed() {
        let page = Url::parse("https://r/v2/shop/tags/list?n=1000").unwrap();
        for (link, next) in [
            ("</v2/shop/tags/list?last=x&n=50>; rel=\"next\"", Some("https://r/v2/shop/tags/list?last=x&n=50")),
            ("<https://r/v2/shop/tags/list?t=1>;rel=next", Some("https://r/v2/shop/tags/list?t=1")),
            ("</v2/shop/tags/list?last=x>; rel=\"prev\"", None),
            ("</v2/x>; rel=\"prev\", </v2/shop/tags/list?n=2>; rel=\"next\"", Some("https://r/v2/shop/tags/list?n=2")),
            ("</v2/a,b;c?d=e>; title=\"x\"; Rel=\"last Next\"", Some("https://r/v2/a,b;c?d=e")),
            // It stays at the registry that was asked, by whatever name that knows itself.
            (
                "<http://registry.internal:5000/v2/shop/tags/list?t=2>; rel=next",
                Some("https://r/v2/shop/tags/list?t=2"),
            ),
            ("nonsense", None),
        ] {
            assert_eq!(next_page(&page, link).map(String::from).as_deref(), next, "{link}");
        }
    }

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
