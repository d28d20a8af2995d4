//! Logs of an app's instances, one after the other or, followed, mixed as they come.

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use serde::Deserialize;

use crate::adapters::http::context::Context;
use crate::adapters::http::error::Problem;
use crate::adapters::http::route::asker::Counted;
use crate::adapters::http::route::known::exists;
use crate::adapters::http::serve::holding::holding;
use crate::core::names::AppName;
use crate::ports::engine::{LogLines, LogQuery};
use crate::ports::limits::{Held, Resource};

#[derive(Deserialize)]
pub struct LogsQuery {
    #[serde(default)]
    follow: bool,
    tail: Option<usize>,
    release: Option<String>,
    instance: Option<String>,
}

pub async fn stream(
    State(context): State<Context>,
    counted: Counted,
    Path(app): Path<String>,
    Query(query): Query<LogsQuery>,
) -> Result<Response, Problem> {
    let app = AppName::parse(&app)?;
    let view = context.snapshot.view();
    let instances = view.status.app(&app).into_iter().flat_map(|a| &a.instances);
    let wanted: Vec<_> = instances
        .filter(|i| query.release.as_deref().is_none_or(|r| i.release.as_str() == r))
        .filter(|i| query.instance.as_deref().is_none_or(|name| &*i.name == name))
        .collect();
    if wanted.is_empty() {
        exists(&view, &app)?;
        let idle = view.status.app(&app).and_then(|a| a.idle.as_ref());
        let why = match idle {
            Some(idle) => format!(": {app} {}; `{}`", idle.reason, idle.remedy),
            None => format!("; `platformer status {app}` tells what there is, and what is wrong"),
        };
        let of = query.release.map(|r| format!("@{r}")).unwrap_or_default();
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            "no-instance",
            format!("there is no instance of {app}{of} whose log could be shown{why}"),
        ));
    }
    let several = wanted.len() > 1;
    let (mut logs, mut held): (Vec<LogLines>, Vec<Held>) = (Vec::new(), Vec::new());
    for instance in wanted {
        held.push(context.limits.take(Resource::FollowedLog, counted.0.clone())?);
        let lines = context.engine.logs(&instance.id, LogQuery { follow: query.follow, tail: query.tail }).await?;
        let name = instance.name.clone();
        logs.push(Box::pin(lines.map(move |line| line.map(|l| if several { prefixed(&name, &l) } else { l }))));
    }
    let all = if query.follow { stream::select_all(logs).boxed() } else { stream::iter(logs).flatten().boxed() };
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], Body::from_stream(holding(all, held))).into_response())
}

fn prefixed(name: &str, lines: &[u8]) -> Vec<u8> {
    lines.split_inclusive(|b| *b == b'\n').flat_map(|line| [name.as_bytes(), b" | ", line].concat()).collect()
}
