//! Whether there is anything of a name yet: what is probably a slip is refused with the nearest name.

use axum::http::StatusCode;
use serde::Deserialize;

use crate::adapters::http::context::Context;
use crate::adapters::http::error::Problem;
use crate::core::names::{AppName, Version, nearest};
use crate::ports::snapshot::View;

/// `?known=true`: only where there is something of that name. Without it whatever is named is made.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub struct Known {
    known: bool,
}

impl Known {
    /// # Errors
    /// If it was asked for, and nothing is called so: no app, no service, no file of the repository.
    pub fn app(self, context: &Context, app: &AppName) -> Result<(), Problem> {
        let view = context.snapshot.view();
        let Err(problem) = exists(&view, app) else { return Ok(()) };
        if !self.known {
            return Ok(());
        }
        Err(Problem { detail: format!("{}; --new makes something of that name", problem.detail), ..problem })
    }

    /// # Errors
    /// If it was asked for, and the app has no such version. Of one that follows a source it is not known.
    pub fn version(self, context: &Context, app: &AppName, version: &Version) -> Result<(), Problem> {
        let view = context.snapshot.view();
        let follows = view.status.apps.iter().any(|a| a.name == *app && a.source.is_some());
        let mut versions: Vec<Version> = view.index.iter().flat_map(|index| index.versions(app).into_keys()).collect();
        versions.extend(view.releases.get(app).into_iter().flat_map(|releases| releases.all.keys().cloned()));
        let bases: Vec<String> = versions.iter().map(|version| version.base().to_string()).collect();
        let is_there = bases.contains(&version.base().to_string());
        if !self.known || follows || bases.is_empty() || is_there {
            return Ok(());
        }
        let near = nearest(&version.to_string(), bases.iter().map(String::as_str));
        let near = near.map(|near| format!(", did you mean {near}?")).unwrap_or_default();
        let detail = format!("{app} has no version {version}{near}; --new holds it there all the same");
        Err(Problem::new(StatusCode::NOT_FOUND, "unknown-version", detail))
    }
}

/// # Errors
/// If nothing is called so: no app, no service, no file of the repository.
pub fn exists(view: &View, app: &AppName) -> Result<(), Problem> {
    let is_there = names(view).any(|name| name == app.as_str()) || has_files(view, app);
    if is_there { Ok(()) } else { Err(unknown_app(view, app)) }
}

/// Nobody has this name; names the one that was probably meant.
pub fn unknown_app(view: &View, app: &AppName) -> Problem {
    let hint = match nearest(app.as_str(), names(view)) {
        Some(near) => format!("did you mean {near}?"),
        None => "`platformer status` lists those there are".into(),
    };
    Problem::new(StatusCode::NOT_FOUND, "unknown-app", format!("there is no app {app}; {hint}"))
}

fn names(view: &View) -> impl Iterator<Item = &str> {
    let apps = view.status.apps.iter().map(|app| app.name.as_str());
    apps.chain(view.services.keys().map(AppName::as_str))
}

fn has_files(view: &View, app: &AppName) -> bool {
    let folders = [format!("artefacts/{app}/"), format!("config/{app}/"), format!("files/{app}/")];
    let mut paths = view.index.iter().flat_map(|index| index.files.keys());
    paths.any(|path| folders.iter().any(|folder| path.starts_with(folder)))
}
