//! Releases and deployments: begun, steered, looked at.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Extension, Path, Query, State};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::platform::steps_ahead;
use crate::adapters::http::context::Context;
use crate::adapters::http::error::Problem;
use crate::adapters::http::keyring::Caller;
use crate::adapters::http::route::by::By;
use crate::adapters::http::route::known::{Known, unknown_app};
use crate::adapters::http::route::once::once;
use crate::adapters::http::route::sent::Sent;
use crate::adapters::http::route::settled::settled;
use crate::adapters::http::route::slice::{Slice, TOTAL};
use crate::core::access::Right;
use crate::core::app::Strategy;
use crate::core::decide::{Command, DeployRequest, Done, GateChoice, Steer};
use crate::core::deploy::Entry;
use crate::core::names::{AppName, ImageRef, Version};
use crate::core::split::Split;
use crate::core::view::DeploymentStatus;
use crate::ports::snapshot::Releases;

/// How many entries of a history are sent, unless more are asked for.
const ENTRIES: usize = 100;

#[derive(Deserialize, Default, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Deploy {
    #[schema(value_type = Option<String>)]
    version: Option<Version>,
    #[schema(value_type = Option<String>)]
    image: Option<ImageRef>,
    /// `rolling`, `blue-green`, `canary`, `recreate`, `manual`
    #[schema(value_type = Option<String>)]
    strategy: Option<Strategy>,
    /// An image, or `false` for none
    #[schema(value_type = Option<String>)]
    gate: Option<GateField>,
    replace: bool,
    reason: Option<String>,
    dry_run: bool,
}

/// An image, or `false` for none.
#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum GateField {
    Image(ImageRef),
    Wanted(bool),
}

pub async fn deploy(
    State(context): State<Context>,
    by: By,
    Extension(caller): Extension<Caller>,
    Path(app): Path<String>,
    headers: HeaderMap,
    body: String,
) -> Result<Response, Problem> {
    let asked: Deploy = serde_json::from_str(&body).map_err(|e| Problem::bad(format!("the body: {e}")))?;
    let gate = match &asked.gate {
        Some(GateField::Image(image)) => Some(image),
        _ => None,
    };
    for image in asked.image.iter().chain(gate) {
        own_image(&context, &caller, &AppName::parse(&app)?, image)?;
    }
    once(&context, &by, &headers, &format!("{app} {body}"), begin(&context, &by, &caller, &app, asked)).await
}

async fn begin(
    context: &Context,
    by: &By,
    caller: &Caller,
    app: &str,
    asked: Deploy,
) -> Result<(StatusCode, Value), Problem> {
    let dry_run = asked.dry_run;
    // What was put into the repository just now counts.
    context.library.refresh().await?;
    let image = match (asked.image, &asked.version) {
        (None, Some(version)) => pushed(context, &AppName::parse(app)?, &version.base()).await,
        (image, _) => image,
    };
    let request = DeployRequest {
        image_now: None,
        version: asked.version,
        image,
        strategy: asked.strategy,
        waits: false,
        gate: match asked.gate {
            Some(GateField::Image(image)) => GateChoice::Image(image),
            Some(GateField::Wanted(false)) => GateChoice::None,
            Some(GateField::Wanted(true)) | None => GateChoice::Declared,
        },
        replace: asked.replace,
        reason: asked.reason.map(|text| text.chars().filter(|c| !c.is_control()).take(500).collect()),
        automatic: false,
        dry_run,
    };
    let done = steer(context, by, app, Steer::Deploy(Box::new(request))).await?;
    let Json(mut value) = answer(&done);
    if let Some(deployment) = done.deployment.as_ref().filter(|_| dry_run) {
        value["steps"] = steps_ahead(context, caller, deployment)?;
    }
    Ok((if dry_run { StatusCode::OK } else { StatusCode::CREATED }, value))
}

/// Any image on this machine may be another app's, or the platform's own: who may release one app alone names those
/// that were pushed for it or that its file names.
fn own_image(context: &Context, caller: &Caller, app: &AppName, image: &ImageRef) -> Result<(), Problem> {
    if caller.may(Right::Admin, None).is_ok() {
        return Ok(());
    }
    let view = context.snapshot.view();
    let declared = view.index.as_ref().and_then(|index| index.apps.get(app));
    if image.is_pushed_for(app) || declared.is_some_and(|declared| declared.names_image(image)) {
        return Ok(());
    }
    let detail = format!(
        "image {image} was not pushed for {app}, and apps/{app}.toml does not name it; push it as {app}@VERSION, or name it there; the scope admin runs any"
    );
    Err(Problem::new(StatusCode::FORBIDDEN, "wrong-scope", detail))
}

/// The image that was pushed to the platform itself for this version, if one was. An engine that is away knows none.
async fn pushed(context: &Context, app: &AppName, version: &Version) -> Option<ImageRef> {
    let image = ImageRef::pushed(app, version).ok()?;
    context.engine.has_image(image.as_str()).await.unwrap_or(false).then_some(image)
}

async fn steer(context: &Context, by: &By, app: &str, steer: Steer) -> Result<Done, Problem> {
    let app = AppName::parse(app)?;
    let done = context.inbox.ask(Command::Steer { app: app.clone(), steer }, &by.0).await?;
    settled(context, &app, &done).await;
    Ok(done)
}

/// The deployment, with its preview's secret for who may steer; else what was decided.
fn answer(done: &Done) -> Json<Value> {
    let Some(deployment) = &done.deployment else { return Json(json!({ "done": done.said })) };
    let mut value = json!(DeploymentStatus::new(deployment));
    value["done"] = json!(done.said);
    value["preview"] = json!(deployment.preview);
    Json(value)
}

/// What needs nothing but the app.
macro_rules! plain {
    ($($name:ident => $steer:expr),*) => { $(
        pub async fn $name(State(context): State<Context>, by: By, Path(app): Path<String>) -> Result<Json<Value>, Problem> {
            Ok(answer(&steer(&context, &by, &app, $steer).await?))
        }
    )* };
}
plain!(promote => Steer::Promote, pause => Steer::Pause, resume => Steer::Resume, abort => Steer::Abort, swap => Steer::Swap, unpin => Steer::Unpin);

#[derive(Deserialize, Default, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rollback {
    #[schema(value_type = Option<String>)]
    version: Option<Version>,
}

pub async fn rollback(
    State(context): State<Context>,
    by: By,
    Path(app): Path<String>,
    asked: Option<Json<Rollback>>,
) -> Result<Json<Value>, Problem> {
    let version = asked.and_then(|Json(asked)| asked.version);
    Ok(answer(&steer(&context, &by, &app, Steer::Rollback(version)).await?))
}

pub async fn pin(
    State(context): State<Context>,
    by: By,
    Path(app): Path<String>,
    Query(known): Query<Known>,
    Sent(asked): Sent<Rollback>,
) -> Result<Json<Value>, Problem> {
    if let Some(version) = &asked.version {
        known.version(&context, &AppName::parse(&app)?, version)?;
    }
    Ok(answer(&steer(&context, &by, &app, Steer::Pin(asked.version)).await?))
}

/// `{"split": {"1.0.0": 75, "1.0.1": 25}}`, or the shares alone.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
pub enum SplitRequest {
    Named {
        #[schema(value_type = BTreeMap<String, f64>)]
        split: BTreeMap<Version, serde_json::Number>,
    },
    #[schema(value_type = BTreeMap<String, f64>)]
    Bare(BTreeMap<Version, serde_json::Number>),
}

pub async fn split(
    State(context): State<Context>,
    by: By,
    Path(app): Path<String>,
    Sent(asked): Sent<SplitRequest>,
) -> Result<Json<Value>, Problem> {
    let (SplitRequest::Named { split: shares } | SplitRequest::Bare(shares)) = asked;
    let words: Vec<String> = shares.iter().map(|(version, share)| format!("{version}={share}")).collect();
    let split = Split::parse(words.iter().map(String::as_str))?;
    Ok(answer(&steer(&context, &by, &app, Steer::Split(split)).await?))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Maintenance {
    on: bool,
}

pub async fn maintenance(
    State(context): State<Context>,
    by: By,
    Path(app): Path<String>,
    Sent(asked): Sent<Maintenance>,
) -> Result<Json<Value>, Problem> {
    Ok(answer(&steer(&context, &by, &app, Steer::Maintenance(asked.on)).await?))
}

pub async fn show(
    State(context): State<Context>,
    Path((app, id)): Path<(String, String)>,
) -> Result<Json<DeploymentStatus>, Problem> {
    let app = AppName::parse(&app)?;
    // The app's last one as the status has it, which may be a moment behind the ledger: who reads both sees one truth.
    let view = context.snapshot.view();
    let last = view.status.app(&app).and_then(|a| a.deployment.clone());
    if let Some(last) = last.filter(|d| *d.id == *id) {
        return Ok(Json(last));
    }
    let found = context.ledger.deployment(&id)?.filter(|d| d.app == app);
    let missing =
        || Problem::new(StatusCode::NOT_FOUND, "unknown-deployment", format!("{app} has no deployment {id:?}"));
    found.map(|d| Json(DeploymentStatus::new(&d))).ok_or_else(missing)
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct ListQuery {
    app: Option<AppName>,
    limit: Option<usize>,
    offset: usize,
}

/// Those of all apps, or of one, whether they are over or not.
pub async fn list(
    State(context): State<Context>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Vec<DeploymentStatus>>, Problem> {
    let limit = query.limit.unwrap_or(ENTRIES);
    let all = context.ledger.deployments(query.app.as_ref(), limit.saturating_add(query.offset))?;
    let (rows, _) = Slice { limit: Some(limit), offset: query.offset }.of(all.iter().map(DeploymentStatus::new));
    Ok(Json(rows))
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct HistoryQuery {
    limit: Option<usize>,
    offset: usize,
    action: Option<String>,
    release: Option<Version>,
}

pub async fn history(
    State(context): State<Context>,
    Path(app): Path<String>,
    Query(query): Query<HistoryQuery>,
) -> Result<Json<Vec<Entry>>, Problem> {
    let app = AppName::parse(&app)?;
    let limit = query.limit.unwrap_or(ENTRIES);
    let is_filtered = query.action.is_some() || query.release.is_some();
    // What is filtered out does not count for the limit.
    let enough = if is_filtered { usize::MAX } else { limit.saturating_add(query.offset) };
    let entries = context.ledger.history(&app, enough)?;
    let is_meant = |entry: &Entry| {
        query.action.as_ref().is_none_or(|action| entry.action == *action)
            && query.release.as_ref().is_none_or(|release| entry.release.as_ref() == Some(release))
    };
    let is_empty = entries.is_empty();
    let slice = Slice { limit: Some(limit), offset: query.offset };
    let (entries, _) = slice.of(entries.into_iter().filter(is_meant));
    let is_known = context.snapshot.view().status.apps.iter().any(|a| a.name == app);
    match is_empty && !is_known {
        true => Err(unknown_app(&context.snapshot.view(), &app)),
        false => Ok(Json(entries)),
    }
}

#[derive(Serialize)]
pub struct ReleaseRow {
    pub version: Version,
    /// `stable`, `candidate`, `previous`, `kept` or `pruned`.
    pub state: &'static str,
    pub image: String,
    /// SHA-256 of the artefact and of the config, where there are any.
    artefact: Option<String>,
    config: Option<String>,
    pub at: jiff::Timestamp,
}

/// The releases of an app, newest first.
pub async fn releases(
    State(context): State<Context>,
    Path(app): Path<String>,
    Query(slice): Query<Slice>,
) -> Result<([(HeaderName, String); 1], Json<Vec<ReleaseRow>>), Problem> {
    let app = AppName::parse(&app)?;
    let view = context.snapshot.view();
    let known = view.releases.get(&app);
    let known = known.ok_or_else(|| unknown_app(&view, &app))?;
    let (rows, total) = slice.of(rows(known));
    Ok(([(TOTAL, total.to_string())], Json(rows)))
}

pub fn rows(known: &Releases) -> Vec<ReleaseRow> {
    let mut rows: Vec<ReleaseRow> = known
        .all
        .values()
        .map(|release| ReleaseRow {
            version: release.version.clone(),
            state: match Some(&release.version) {
                version if version == known.stable.as_ref() => "stable",
                version if version == known.candidate.as_ref() => "candidate",
                version if version == known.previous.as_ref() => "previous",
                _ if release.pruned => "pruned",
                _ => "kept",
            },
            image: match &release.image_digest {
                Some(digest) => format!("{}@{digest}", release.image),
                None => release.image.to_string(),
            },
            artefact: release.artefact.as_ref().map(|b| b.sha256.to_string()),
            config: release.config.as_ref().map(|b| b.sha256.to_string()),
            at: release.at,
        })
        .collect();
    rows.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| b.version.cmp(&a.version)));
    rows
}
