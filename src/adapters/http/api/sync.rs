//! Looking at an app's source at once, for whoever knows that there is something new.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::adapters::http::context::Context;
use crate::adapters::http::error::Problem;
use crate::core::app::Source;
use crate::core::names::{AppName, Version};

/// Senders give up after about ten seconds; the look goes on.
const LOOK: Duration = Duration::from_secs(8);

/// What came of looking at an app's source.
#[derive(Default)]
pub struct Came {
    /// The deployment of the version that is wanted now.
    pub deployment: Option<String>,
    /// The version that is deployed once what is under way has ended.
    pub queued: Option<Version>,
}

/// Looks at an app's source now, or where that takes longer than senders wait, as soon as it can be.
pub async fn sync(context: &Context, app: &AppName) -> (StatusCode, Came) {
    match timeout(LOOK, looked_at(context, app)).await {
        Ok(came) => (StatusCode::OK, came.unwrap_or_default()),
        Err(_) => (StatusCode::ACCEPTED, Came::default()),
    }
}

async fn looked_at(context: &Context, app: &AppName) -> Option<Came> {
    let asked_at = Timestamp::now();
    context.nudges.look(app).await;
    let is_known = |view: &crate::ports::snapshot::View| {
        let status = view.status.app(app);
        status.is_none_or(|status| status.source.as_ref().is_some_and(|s| s.looked_at >= Some(asked_at)))
    };
    let view = context.snapshot.until(is_known).await;
    let status = view.status.app(app)?;
    let wanted = status.source.as_ref()?.wanted.as_ref()?;
    let deployment = status.deployment.as_ref().filter(|deployment| deployment.release.base() == *wanted);
    Some(Came { deployment: deployment.map(|d| d.id.to_string()), queued: status.queued.clone() })
}

/// The source that an app names, if it is one to look at.
pub fn source(context: &Context, app: &AppName) -> Option<Source> {
    let view = context.snapshot.view();
    view.index.as_ref()?.apps.get(app)?.source.clone().filter(Source::is_remote)
}

/// Looks now, and says what came of it.
///
/// # Errors
/// If the app names no source.
pub async fn look_now(context: &Context, app: &AppName) -> Result<(StatusCode, Value), Problem> {
    if source(context, app).is_none() {
        let detail = format!("apps/{app}.toml has no source.image and no source.git to look at");
        return Err(Problem::new(StatusCode::NOT_FOUND, "no-source", detail));
    }
    let (status, came) = sync(context, app).await;
    let done = match status {
        StatusCode::OK => format!("the source of {app} was looked at"),
        _ => format!("the source of {app} is looked at as soon as it answers"),
    };
    Ok((status, json!({ "done": done, "deployment": came.deployment, "queued": came.queued })))
}

pub async fn now(
    State(context): State<Context>,
    Path(app): Path<String>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let (status, body) = look_now(&context, &AppName::parse(&app)?).await?;
    Ok((status, Json(body)))
}
