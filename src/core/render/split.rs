//! How a request of one app finds its release: nginx variables made from the split, the visitor and the preview.

use serde::Serialize;

use super::upstream::{spelt, upstream_name};
use crate::core::app::StickyMode;
use crate::core::names::AppName;
use crate::core::routes::AppRoute;

/// What a template needs to choose a release per request. There is none where one release takes everything and
/// nobody previews another.
#[derive(Serialize)]
pub(super) struct Split<'a> {
    app: &'a AppName,
    /// The app's name as part of a variable's: names have no `_`, so nothing collides.
    variable: String,
    /// What is hashed into the shares.
    key: String,
    /// Candidate first, so that whoever is on it stays there while its share grows; the last one takes the rest.
    shares: Vec<(String, String)>,
    rest: Option<String>,
    /// Version and upstream of every release that a cookie may name.
    by_cookie: Vec<(String, String)>,
    preview: Option<(String, String)>,
    /// Who previews nothing gets this: an upstream, or the variable that holds it.
    otherwise: String,
    pub(super) cookie: Option<String>,
    pub(super) visitor_cookie: bool,
}

impl<'a> Split<'a> {
    pub(super) fn new(app: &'a AppName, route: &'a AppRoute) -> Option<Self> {
        let is_ready = |v: &_| route.releases.contains_key(v);
        let mut carriers: Vec<_> = route.split.carriers().filter(|(version, _)| is_ready(version)).collect();
        let candidate = route.candidate.as_ref().filter(|v| is_ready(v));
        let preview = route.preview.as_ref().zip(candidate);
        if route.shared || carriers.is_empty() || (carriers.len() < 2 && preview.is_none()) {
            return None;
        }
        carriers.sort_by_key(|(version, _)| (Some(*version) != candidate, Some(*version) == route.stable.as_ref()));
        let variable = app.as_str().replace('-', "_");
        let rest = carriers.last().map(|(version, _)| upstream_name(app, version));
        let is_split = carriers.len() > 1;
        let mode = route.sticky.mode;
        let by_cookie = match is_split && mode == StickyMode::Release {
            true => carriers.iter().map(|(v, _)| (spelt(v), upstream_name(app, v))).collect(),
            false => Vec::new(),
        };
        let visitor_cookie = is_split && matches!(mode, StickyMode::Visitor | StickyMode::Instance);
        Some(Self {
            app,
            key: match mode {
                StickyMode::Visitor | StickyMode::Instance => format!("{app}$platformer_visitor"),
                // As unique as `$request_id`, which costs nginx a tenth of all it does for a request.
                StickyMode::Release | StickyMode::Off => "$connection.$connection_requests".to_owned(),
            },
            cookie: match mode {
                StickyMode::Release if is_split => Some(format!("platformer_cookie_{variable}")),
                StickyMode::Visitor | StickyMode::Instance if is_split => Some("platformer_new_visitor".to_owned()),
                StickyMode::Visitor | StickyMode::Instance | StickyMode::Release | StickyMode::Off => None,
            },
            shares: carriers
                .iter()
                .rev()
                .skip(1)
                .rev()
                .map(|(version, share)| (share.to_string(), upstream_name(app, version)))
                .collect(),
            preview: preview.map(|(secret, version)| (secret.to_string(), upstream_name(app, version))),
            otherwise: match (is_split, by_cookie.is_empty()) {
                (false, _) => rest.clone().unwrap_or_default(),
                (true, true) => format!("$platformer_drawn_{variable}"),
                (true, false) => format!("$platformer_kept_{variable}"),
            },
            variable,
            rest,
            by_cookie,
            visitor_cookie,
        })
    }

    /// The variable that holds the upstream in the end.
    pub(super) fn chosen(&self) -> String {
        match self.preview {
            Some(_) => format!("$platformer_chosen_{}", self.variable),
            None => self.otherwise.clone(),
        }
    }
}
