//! The table of the API's routes: each with its handler, who may call it, and what it is for.
//!
//! The router and `/openapi.json` are both made from these rows, so no route lacks a right or a description.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware;
use axum::routing::{self, MethodFilter, MethodRouter, on};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::adapters::http::context::Context;
use crate::adapters::http::route::access::{self, Guard, Tone};
use crate::core::access::Right;
use crate::core::asker::Askers;

/// The largest JSON or TOML body; uploads have no limit but the disk.
const LARGEST_BODY: usize = 1 << 20;

/// One route.
pub struct Row {
    pub method: Method,
    pub path: &'static str,
    pub right: Right,
    /// What it does, in a few words.
    pub summary: &'static str,
    /// The JSON that it takes.
    pub asks: Option<Asked>,
    streams: bool,
    uploads: bool,
    token_in_query: bool,
    /// Who is answered at all.
    only: Askers,
    /// Who needs no token, though it asks for a right.
    pub free: Askers,
    tone: Tone,
    hosted: bool,
    handler: MethodRouter<Context>,
}

/// The schema of a body, by its name.
pub struct Asked {
    pub name: String,
    pub schema: RefOr<Schema>,
}

macro_rules! methods {
    ($($name:ident $filter:ident),*) => { $(
        pub fn $name<H, T>(path: &'static str, right: Right, summary: &'static str, handler: H) -> Row
        where
            H: Handler<T, Context>,
            T: 'static,
        {
            Row::new(Method::$filter, path, right, summary, on(MethodFilter::$filter, handler))
        }
    )* };
}
methods!(get GET, post POST, put PUT, delete DELETE);

/// Whatever the method is.
pub fn any<H, T>(path: &'static str, right: Right, summary: &'static str, handler: H) -> Row
where
    H: Handler<T, Context>,
    T: 'static,
{
    Row::new(Method::GET, path, right, summary, routing::any(handler))
}

impl Row {
    fn new(
        method: Method,
        path: &'static str,
        right: Right,
        summary: &'static str,
        handler: MethodRouter<Context>,
    ) -> Self {
        Self {
            method,
            path,
            right,
            summary,
            asks: None,
            streams: false,
            uploads: false,
            token_in_query: false,
            only: Askers::Anyone,
            free: Askers::Nobody,
            tone: Tone::Problem,
            hosted: false,
            handler,
        }
    }

    pub fn asks<T: ToSchema + PartialSchema>(self) -> Self {
        Self { asks: Some(Asked { name: T::name().into_owned(), schema: T::schema() }), ..self }
    }

    /// Its answer may take as long as it likes.
    pub fn streams(self) -> Self {
        Self { streams: true, ..self }
    }

    /// What is sent may take as long as it likes, and be as large as the disk allows.
    pub fn uploads(self) -> Self {
        Self { streams: true, uploads: true, ..self }
    }

    /// Its clients may send the token as `?token=`, as Consul's do.
    pub fn token_in_query(self) -> Self {
        Self { token_in_query: true, ..self }
    }

    /// Browsers show it.
    pub fn page(self) -> Self {
        Self { tone: Tone::Page, ..self }
    }

    /// What nginx asks for, which chose it by its host; refusals are plain text.
    pub fn hosted(self) -> Self {
        Self { hosted: true, tone: Tone::Text, ..self }
    }

    /// Everybody else is refused, whatever he shows.
    pub fn only(self, only: Askers) -> Self {
        Self { only, ..self }
    }

    /// These need no token, though it asks for a right.
    pub fn free_to(self, free: Askers) -> Self {
        Self { free, ..self }
    }

    /// The name of each part of the path that varies.
    pub fn variables(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('{').skip(1).filter_map(|rest| rest.split('}').next()).map(|name| name.trim_start_matches('*'))
    }
}

/// The router of these routes, each behind its right.
pub fn router(rows: Vec<Row>, context: &Context) -> Router<Context> {
    rows.into_iter().fold(Router::new(), |router, row| {
        let guard = Guard {
            context: context.clone(),
            right: row.right,
            only: row.only,
            free: row.free,
            tone: row.tone,
            hosted: row.hosted,
            streams: row.streams,
            uploads: row.uploads,
            token_in_query: row.token_in_query,
        };
        let limit = if row.uploads { DefaultBodyLimit::disable() } else { DefaultBodyLimit::max(LARGEST_BODY) };
        router.route(row.path, row.handler.layer(limit).layer(middleware::from_fn_with_state(guard, access::check)))
    })
}
