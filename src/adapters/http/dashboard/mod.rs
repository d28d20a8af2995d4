//! The dashboard: pages made here from the same snapshot that the API reads, and forms that send the same commands.
//!
//! Every page reads, and every action works, without JavaScript; one small script keeps open pages true.

mod act;
mod app;
mod chart;
mod forms;
mod live;
mod login;
mod pages;
mod rows;

use std::sync::LazyLock;

use axum::body::to_bytes;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use jiff::Timestamp;
use serde_json::{Value, json};
use tera::Tera;

use super::Context;
use super::api::table::{Row, get, post};
use super::error::Problem;
use crate::core::access::Right::{Admin, Change, Deploy, Open, Read};
use crate::core::world::EngineState;

pub use login::{LINKS, Links};

const STYLE: &str = include_str!("../../../../templates/dashboard/style.css");
const SCRIPT: &str = include_str!("../../../../templates/dashboard/script.js");
/// Nothing but our own files, no frames around us, forms to us only.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
/// A refusal that becomes a page is no longer than this.
const REFUSAL: usize = 1 << 16;

macro_rules! templates {
    ($($name:literal),*) => { [$(($name, include_str!(concat!("../../../../templates/dashboard/", $name)))),*] };
}

static PAGES: LazyLock<Result<Tera, String>> = LazyLock::new(|| {
    let mut tera = Tera::default();
    tera.autoescape_on([".html"]);
    let files = templates![
        "base.html",
        "apps.html",
        "split.html",
        "actions.html",
        "app.html",
        "confirm.html",
        "diff.html",
        "logs.html",
        "deployments.html",
        "routes.html",
        "repository.html",
        "services.html",
        "events.html",
        "settings.html",
        "message.html",
        "login.html"
    ];
    tera.add_raw_templates(files).map_err(|error| error.to_string())?;
    Ok(tera)
});

/// The pages in the order of the navigation.
const NAV: [(&str, &str); 7] = [
    ("Apps", "/"),
    ("Deployments", "/deployments"),
    ("Routes & DNS", "/routes"),
    ("Repository", "/repository"),
    ("Services & keys", "/registry"),
    ("Events", "/events"),
    ("Settings", "/settings"),
];

pub fn routes() -> Vec<Row> {
    let pages = vec![
        get("/", Read, "The dashboard: apps", pages::apps),
        get("/apps/{app}", Read, "One app", app::show),
        get("/apps/{app}/diff", Read, "What differs between two releases", app::diff),
        get("/apps/{app}/logs", Read, "An instance's log", app::logs),
        post("/apps/{app}/act", Deploy, "A form's action: its plan, and once confirmed, the act", act::act),
        get("/deployments", Read, "The latest deployments", pages::deployments),
        get("/routes", Read, "Routes and names", pages::routes),
        get("/repository", Read, "Files, and a form to upload one", pages::repository),
        post("/repository", Change, "Uploads an artefact from a form", forms::upload).uploads(),
        get("/registry", Read, "Registered services and keys", pages::registry),
        post("/registry", Admin, "Sets or removes a service or a key from a form", forms::registry),
        get("/events", Read, "Events", pages::events),
        get("/settings", Read, "Tokens, webhooks, this machine", pages::settings),
        post("/settings", Admin, "Makes or revokes a token from a form", forms::settings),
    ];
    let mut rows: Vec<Row> = pages.into_iter().map(Row::page).collect();
    rows.extend([
        get("/login", Open, "A form to log in", login::show),
        post("/login", Open, "A browser's session for a token or a link's code, sent as a form", login::login),
        post("/logout", Open, "The end of a browser's session", login::logout),
        post("/v1/login-links", Read, "A link that logs a browser in once", login::link),
        get("/live", Read, "Says when an open page is to be asked for again", live::stream).streams(),
        get("/static/{file}", Open, "The dashboard's style and script", file),
    ]);
    rows
}

/// What is compiled in; its address has the version in it, so it may be kept.
async fn file(Path(name): Path<String>) -> Result<Response, Problem> {
    let (kind, text) = match name.as_str() {
        "style.css" => ("text/css; charset=utf-8", STYLE),
        "script.js" => ("text/javascript; charset=utf-8", SCRIPT),
        _ => return Err(Problem::new(StatusCode::NOT_FOUND, "missing", format!("there is no file {name:?} here"))),
    };
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "max-age=3600"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((headers, text).into_response())
}

/// A page of the dashboard.
struct Page<'p> {
    context: &'p Context,
    template: &'static str,
    /// The entry of the navigation that it belongs to.
    current: &'static str,
    title: String,
    body: Value,
}

impl Page<'_> {
    async fn render(self, status: StatusCode) -> Response {
        let Self { context, template, current, title, mut body } = self;
        body["title"] = json!(title);
        body["current"] = json!(current);
        body["live"] = json!(!matches!(template, "confirm.html" | "message.html"));
        body["now"] = json!(Timestamp::now());
        body["nav"] = json!(NAV.map(|(name, href)| json!({ "name": name, "href": href })));
        body["notices"] = notices(context).await;
        body["platform"] = platform(context);
        rendered(template, &body, status)
    }

    async fn ok(self) -> Response {
        self.render(StatusCode::OK).await
    }
}

fn platform(context: &Context) -> Value {
    let port = context.frame.listen.http.first().map_or(80, |address| address.port());
    json!({
        "domain": context.frame.domain, "version": env!("CARGO_PKG_VERSION"), "build": build(),
        "port": if port == 80 { String::new() } else { format!(":{port}") }, "network": context.network,
    })
}

/// Another one for each start of another build, so that browsers do not keep the files of an older one.
fn build() -> String {
    format!("{}-{}-{}", env!("CARGO_PKG_VERSION"), STYLE.len(), SCRIPT.len())
}

/// What is not answering, and since when what is shown is old.
async fn notices(context: &Context) -> Value {
    let view = context.snapshot.view();
    let mut notices = Vec::new();
    if let EngineState::Unknown { since } = view.status.engine.state {
        let text = format!("since {since}: it does not answer; what is shown of containers is from before.");
        notices.push(json!({ "class": "bad", "what": "Docker is unknown", "text": text }));
    }
    let nginx = context.balancer.status().await;
    if nginx.state != "running" {
        notices.push(json!({ "class": "bad", "what": format!("nginx is {}", nginx.state), "text": "It is started again; what it serves now is not known." }));
    }
    if !view.informed {
        notices
            .push(json!({ "class": "", "what": "The platform is starting.", "text": "Not everything is known yet." }));
    }
    json!(notices)
}

fn rendered(template: &str, body: &Value, status: StatusCode) -> Response {
    let text = PAGES.as_ref().map_err(Clone::clone).and_then(|pages| {
        let context = tera::Context::from_serialize(body).map_err(|e| e.to_string())?;
        pages.render(template, &context).map_err(|e| e.to_string())
    });
    match text {
        Ok(text) => (status, page_headers(), Html(text)).into_response(),
        Err(reason) => {
            tracing::error!(template, reason, "a page does not render; this is a bug of the platform");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", format!("{template}: {reason}")).into_response()
        }
    }
}

fn page_headers() -> [(HeaderName, &'static str); 5] {
    [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // With none at all browsers would leave their origin out of our own forms.
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CACHE_CONTROL, "no-store"),
    ]
}

pub fn wants_page(headers: &HeaderMap) -> bool {
    headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).is_some_and(|accept| accept.contains("text/html"))
}

/// A refusal as a page; who has not logged in is shown where to.
pub async fn refused(context: &Context, response: Response) -> Response {
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    if status == StatusCode::UNAUTHORIZED {
        return (StatusCode::SEE_OTHER, [(header::LOCATION, "/login")]).into_response();
    }
    let bytes = to_bytes(response.into_body(), REFUSAL).await.unwrap_or_default();
    let problem: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let text = problem["detail"].as_str().map_or_else(|| String::from_utf8_lossy(&bytes).into_owned(), str::to_owned);
    let title = match status {
        StatusCode::FORBIDDEN => "Not allowed".to_owned(),
        StatusCode::NOT_FOUND => "Not found".to_owned(),
        other => other.canonical_reason().unwrap_or("Refused").to_owned(),
    };
    let body = json!({ "text": text });
    Page { context, template: "message.html", current: "", title, body }.render(status).await
}
