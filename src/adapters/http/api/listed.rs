//! The list of all apps, as text.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use axum::body::Bytes;
use axum::http::StatusCode;
use serde::Serialize;

use crate::adapters::http::error::Problem;
use crate::core::view::AppStatus;
use crate::ports::snapshot::View;

/// Written straight from the view: a copy of a hundred apps takes longer than the text.
#[derive(Serialize)]
pub struct List<'a> {
    pub apps: Vec<&'a AppStatus>,
    pub total: usize,
}

/// The whole list as it was last written: it is asked for more often than anything in it changes.
#[derive(Default)]
pub struct Listed(ArcSwapOption<(Arc<View>, Bytes)>);

impl Listed {
    pub fn text(&self, view: &Arc<View>) -> Result<Bytes, Problem> {
        if let Some(last) = self.0.load().as_deref().filter(|(of, _)| Arc::ptr_eq(of, view)) {
            return Ok(last.1.clone());
        }
        let list = List { apps: view.status.apps.iter().collect(), total: view.status.apps.len() };
        let text = Bytes::from(serde_json::to_vec(&list).map_err(internal)?);
        self.0.store(Some(Arc::new((view.clone(), text.clone()))));
        Ok(text)
    }
}

fn internal(error: serde_json::Error) -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string())
}
