//! Webhooks: somebody says that there is something new. Each brings its own proof; its body is only a hint.
//!
//! What is new, and which digest it has, is asked at the app's own source. What is well-formed and not for this app is
//! answered with 200 and the reason: senders keep what is refused and try it again, and everything behind it waits.

mod callback;

use std::borrow::Cow;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::adapters::http::api::sync::{source, sync};
use crate::adapters::http::context::Context;
use crate::adapters::http::error::Problem;
use crate::adapters::http::route::asker::Peer;
use crate::adapters::http::route::sent::read_json;
use crate::core::app::Source;
use crate::core::digest::sha256;
use crate::core::names::AppName;
use crate::core::source::{full_image, is_same_repository};
use crate::ports::tokens::Answered;
use callback::Callback;

/// The addresses and the secret to set up at the other side.
pub async fn show(State(context): State<Context>, Path(app): Path<String>) -> Result<Response, Problem> {
    let app = AppName::parse(&app)?;
    let Some(source) = source(&context, &app) else {
        let detail = format!("apps/{app}.toml has no [source]: there is nothing that a webhook could tell of");
        return Err(Problem::new(StatusCode::NOT_FOUND, "no-source", detail));
    };
    let secret = context.seal.webhook_secret(&app);
    let signed = |name: &str| json!({ "path": format!("/webhooks/{name}/{app}"), "secret": secret });
    let in_path = |name: &str| json!({ "path": format!("/webhooks/{name}/{app}/{secret}") });
    let mut all = json!({});
    if source.git.is_some() {
        all["github"] = signed("github");
        all["gitlab"] = signed("gitlab");
        all["gitea"] = signed("gitea");
    }
    if source.image.is_some() {
        all["dockerhub"] = in_path("dockerhub");
        all["registry"] = in_path("registry");
    }
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(all)).into_response())
}

/// Docker Hub signs nothing: the secret is in the path.
pub async fn docker_hub(
    State(context): State<Context>,
    peer: Peer,
    Path((app, secret)): Path<(String, String)>,
    body: Bytes,
) -> Result<Response, Problem> {
    let (app, source) = by_path(&context, peer, &app, &secret)?;
    let push: HubPush = read_json(&body)?;
    let own = source.image.as_ref().map(|image| full_image(image.repository())).unwrap_or_default();
    if push.repository.is_none_or(|repository| full_image(&repository.repo_name) != own) {
        return Ok(ignored(&app, &own));
    }
    // It numbers nothing: the same body is the same delivery.
    let delivery = sha256(&body);
    let answer = look(&context, "dockerhub", &app, &delivery, &body).await?;
    if let Some(callback) = push.callback_url.filter(|_| context.webhook_callback && !answer.is_copy) {
        match Callback::parse(&callback) {
            Ok(callback) => {
                callback.call(&format!("the source of {app} was looked at by {}", context.frame.domain)).await
            }
            Err(reason) => tracing::warn!(%app, "callback_url is not called: {reason}"),
        }
    }
    Ok(answer.into_response())
}

/// Notifications of a distribution registry, as its configuration's `notifications.endpoints` send them.
pub async fn registry(
    State(context): State<Context>,
    peer: Peer,
    Path((app, secret)): Path<(String, String)>,
    body: Bytes,
) -> Result<Response, Problem> {
    let (app, source) = by_path(&context, peer, &app, &secret)?;
    let told: Notification = read_json(&body)?;
    let repository = source.image.as_ref().map(|image| full_image(image.repository())).unwrap_or_default();
    // The registry does not know under which name it is reached.
    let path = repository.split_once('/').map_or("", |(_, path)| path);
    // One event that cannot be read spoils no batch.
    let events = told.events.into_iter().filter_map(|event| serde_json::from_value::<Event>(event).ok());
    if !events.into_iter().any(|event| event.action == "push" && event.target.repository == path) {
        return Ok(ignored(&app, path));
    }
    // Events come again in other batches: the same bytes are the same delivery.
    let delivery = sha256(&body);
    Ok(look(&context, "registry", &app, &delivery, &body).await?.into_response())
}

/// GitHub signs the bytes with HMAC-SHA-256.
pub async fn github(
    State(context): State<Context>,
    peer: Peer,
    Path(app): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let signature = text(&headers, "x-hub-signature-256").and_then(|value| value.strip_prefix("sha256="));
    signed(&context, peer, "github", &app, signature, text(&headers, "x-github-delivery"), &body).await
}

/// Gitea and Forgejo do so too, each under a name of its own.
pub async fn gitea(
    State(context): State<Context>,
    peer: Peer,
    Path(app): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let either = |gitea: &str, forgejo: &str| text(&headers, gitea).or_else(|| text(&headers, forgejo));
    let signature = either("x-gitea-signature", "x-forgejo-signature");
    let delivery = either("x-gitea-delivery", "x-forgejo-delivery");
    signed(&context, peer, "gitea", &app, signature, delivery, &body).await
}

/// GitLab sends the secret itself.
pub async fn gitlab(
    State(context): State<Context>,
    peer: Peer,
    Path(app): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let Some((name, source)) = known(&context, &app) else { return Err(refused(&context, peer)) };
    let given = text(&headers, "x-gitlab-token").unwrap_or_default();
    if sha256(given) != sha256(context.seal.webhook_secret(&name)) {
        return Err(refused(&context, peer));
    }
    let delivery = text(&headers, "x-gitlab-event-uuid");
    from_git(&context, "gitlab", &name, &source, delivery, &body).await
}

async fn signed(
    context: &Context,
    peer: Peer,
    provider: &'static str,
    app: &str,
    signature: Option<&str>,
    delivery: Option<&str>,
    body: &Bytes,
) -> Result<Response, Problem> {
    let Some((name, source)) = known(context, app) else { return Err(refused(context, peer)) };
    if !signature.is_some_and(|signature| context.seal.has_signed(&name, body, signature)) {
        return Err(refused(context, peer));
    }
    from_git(context, provider, &name, &source, delivery, body).await
}

async fn from_git(
    context: &Context,
    provider: &'static str,
    app: &AppName,
    source: &Source,
    delivery: Option<&str>,
    body: &Bytes,
) -> Result<Response, Problem> {
    let push: GitPush = read_json(&payload(body))?;
    let urls = push.repository.iter().chain(&push.project).flat_map(Repository::urls);
    let own = source.git.as_ref().map_or("", |url| url.as_str());
    if !urls.into_iter().any(|url| is_same_repository(url, own)) {
        return Ok(ignored(app, own));
    }
    let delivery = delivery.map_or_else(|| sha256(body), str::to_owned);
    Ok(look(context, provider, app, &delivery, body).await?.into_response())
}

/// The JSON of a delivery: the body, or its field `payload`, since a form is what GitHub sends unless told otherwise.
fn payload(body: &[u8]) -> Cow<'_, [u8]> {
    let is_json = body.iter().find(|byte| !byte.is_ascii_whitespace()).is_some_and(|first| *first == b'{');
    let field = || form_urlencoded::parse(body).find(|(name, _)| name == "payload");
    match if is_json { None } else { field() } {
        Some((_, json)) => Cow::Owned(json.into_owned().into_bytes()),
        None => Cow::Borrowed(body),
    }
}

/// Has the source looked at. A delivery that was seen before is answered as it was then.
async fn look(
    context: &Context,
    provider: &str,
    app: &AppName,
    delivery: &str,
    body: &Bytes,
) -> Result<Taken, Problem> {
    let key = sha256(format!("webhook {provider} {app} {delivery}"));
    let request = sha256(body);
    if let Some(before) = context.tokens.answered(&key)? {
        if before.request != request {
            let detail = "this delivery was sent before with another body";
            return Err(Problem::new(StatusCode::CONFLICT, "delivery-reused", detail));
        }
        return Ok(Taken { status: StatusCode::OK, body: before.body, is_copy: true });
    }
    let (status, came) = sync(context, app).await;
    tracing::info!(target: "audit", by = provider, what = "webhook", %app, deployment = ?came.deployment, "called");
    let body = json!({ "app": app, "deployment": came.deployment, "queued": came.queued }).to_string();
    context.tokens.answer(&key, &Answered { request, status: 200, body: body.clone() })?;
    Ok(Taken { status, body, is_copy: false })
}

/// What a webhook is answered with.
struct Taken {
    status: StatusCode,
    /// JSON.
    body: String,
    /// The delivery was taken before.
    is_copy: bool,
}

impl IntoResponse for Taken {
    fn into_response(self) -> Response {
        (self.status, [(header::CONTENT_TYPE, "application/json")], self.body).into_response()
    }
}

#[derive(Deserialize)]
struct HubPush {
    repository: Option<HubRepository>,
    callback_url: Option<String>,
}

#[derive(Deserialize)]
struct HubRepository {
    repo_name: String,
}

#[derive(Deserialize)]
struct Notification {
    /// Each an [`Event`].
    events: Vec<Value>,
}

#[derive(Deserialize)]
struct Event {
    action: String,
    target: Target,
}

#[derive(Deserialize)]
struct Target {
    #[serde(default)]
    repository: String,
}

/// GitHub and Gitea say `repository`, GitLab `project`.
#[derive(Deserialize)]
struct GitPush {
    repository: Option<Repository>,
    project: Option<Repository>,
}

#[derive(Deserialize)]
struct Repository {
    clone_url: Option<String>,
    ssh_url: Option<String>,
    html_url: Option<String>,
    git_http_url: Option<String>,
    git_ssh_url: Option<String>,
}

impl Repository {
    fn urls(&self) -> impl Iterator<Item = &str> {
        let all = [&self.clone_url, &self.ssh_url, &self.html_url, &self.git_http_url, &self.git_ssh_url];
        all.into_iter().filter_map(Option::as_deref)
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn known(context: &Context, app: &str) -> Option<(AppName, Source)> {
    let app = AppName::parse(app).ok()?;
    source(context, &app).map(|source| (app, source))
}

fn by_path(context: &Context, peer: Peer, app: &str, secret: &str) -> Result<(AppName, Source), Problem> {
    let found = known(context, app).filter(|(app, _)| sha256(secret) == sha256(context.seal.webhook_secret(app)));
    found.ok_or_else(|| refused(context, peer))
}

/// The same for a wrong app, a wrong secret and a wrong signature: what there is, only its owner learns.
fn refused(context: &Context, peer: Peer) -> Problem {
    if let Err(too_many) = context.keyring.wrong(peer.0) {
        return too_many;
    }
    let detail = "no such webhook, or its proof is wrong: the secret in the path, X-Hub-Signature-256 (sha1 alone is not taken), X-Gitea-Signature, X-Forgejo-Signature, or X-Gitlab-Token; `GET /v1/apps/APP/webhooks` tells both";
    Problem::new(StatusCode::FORBIDDEN, "bad-webhook", detail)
}

/// For what is well-formed and tells of something else than the app's source, `own`.
fn ignored(app: &AppName, own: &str) -> Response {
    let reason = format!("nothing in it tells of a push to the source of {app}, {own:?}");
    Json(json!({ "app": app, "deployment": null, "queued": null, "ignored": reason })).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_like_its_payload() {
        for body in [r#" {"a":"1 2"}"#, "payload=%7B%22a%22%3A%221+2%22%7D", "x=1&payload=%7B%22a%22:%221%202%22%7D"] {
            let read: Value = serde_json::from_slice(&payload(body.as_bytes())).unwrap();
            assert_eq!(read, json!({ "a": "1 2" }), "{body}");
        }
        assert_eq!(&*payload(b"neither"), b"neither");
    }
}
