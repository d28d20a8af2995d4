//! Pages of the dashboard as they are rendered, refusals too.

use std::sync::LazyLock;

use axum::body::to_bytes;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use jiff::Timestamp;
use serde_json::{Value, json};
use tera::Tera;

use super::context::Context;
use super::dashboard::build;
use super::error::Problem;
use crate::core::world::EngineState;

/// Nothing but our own files, no frames around us, forms to us only.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
/// A refusal that becomes a page is no longer than this.
const REFUSAL: usize = 1 << 16;

macro_rules! templates {
    ($($name:literal),*) => { [$(($name, include_str!(concat!("../../../templates/dashboard/", $name)))),*] };
}

static PAGES: LazyLock<Result<Tera, String>> = LazyLock::new(|| {
    let mut tera = Tera::default();
    tera.autoescape_on([".html"]);
    let files = templates![
        "base.html",
        "apps.html",
        "problems.html",
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

/// A page of the dashboard.
pub struct Page<'p> {
    pub context: &'p Context,
    pub template: &'static str,
    /// The entry of the navigation that it belongs to.
    pub current: &'static str,
    pub title: String,
    pub body: Value,
}

impl Page<'_> {
    pub async fn render(self, status: StatusCode) -> Response {
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

    pub async fn ok(self) -> Response {
        self.render(StatusCode::OK).await
    }
}

pub fn platform(context: &Context) -> Value {
    let port = context.frame.listen.http.first().map_or(80, |address| address.port());
    json!({
        "domain": context.frame.domain, "version": env!("CARGO_PKG_VERSION"), "build": build(),
        "port": if port == 80 { String::new() } else { format!(":{port}") }, "network": context.network,
    })
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

pub fn rendered(template: &str, body: &Value, status: StatusCode) -> Response {
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
