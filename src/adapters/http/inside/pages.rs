//! Pages for requests that reach no app: short, plain, and saying what would help.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

use crate::adapters::http::context::Context;
use crate::adapters::http::route::access::is_own_host;
use crate::adapters::http::route::asker::Peer;
use crate::adapters::http::route::plain::text;
use crate::core::asker::{Asker, Askers};
use crate::core::names::AppName;
use crate::core::world::Condition;

/// How soon a client should come back, in seconds.
const RETRY: &str = "5";

/// No app has the host. Which hosts there are is told to this machine only, and only under a host that nobody else
/// can make lead here: else any page that its browser shows could read the answer.
pub async fn unknown(State(context): State<Context>, peer: Peer, headers: HeaderMap) -> Response {
    let host = headers.get("x-forwarded-host").and_then(|v| v.to_str().ok()).unwrap_or_default();
    let mut body = format!("No app answers at {:?}.\n", host.chars().take(100).collect::<String>());
    let view = context.snapshot.view();
    if view.asker(peer.0) == Some(Asker::Loopback) && is_ours(&context, host) {
        body += "These hosts do:\n";
        for host in view.routes.apps.values().flat_map(|app| app.granted.hosts()) {
            body += &format!("  http://{host}/\n");
        }
        body += "`platformer why HOST` explains one.\n";
    }
    text(StatusCode::NOT_FOUND, &body)
}

fn is_ours(context: &Context, host: &str) -> bool {
    let below = |name: &str| name.strip_suffix(context.frame.domain.as_str()).is_some_and(|rest| rest.ends_with('.'));
    is_own_host(host, |name| {
        name == context.frame.domain.as_str() || below(name) || context.allowed_hosts.iter().any(|own| own == name)
    })
}

/// No service is registered under the first part of the path.
pub async fn no_service(Path(path): Path<String>) -> Response {
    let name: String = path.split('/').next().unwrap_or_default().chars().take(100).collect();
    text(StatusCode::NOT_FOUND, &format!("No service {name:?} is registered here.\n"))
}

/// The app has no ready instance: which app, and, to this machine and our own containers, why.
pub async fn unavailable(State(context): State<Context>, peer: Peer, Path(app): Path<String>) -> Response {
    let app = AppName::parse(&app).ok();
    let view = context.snapshot.view();
    let is_near = Askers::Near.include(view.asker(peer.0)) == Some(true);
    let status = app.as_ref().and_then(|app| view.status.app(app));
    let name = app.as_ref().map_or("This app", AppName::as_str);
    let mut reasons: Vec<String> = Vec::new();
    let maintenance = status.is_some_and(|status| status.maintenance);
    if maintenance {
        reasons.push("It was put into maintenance, and comes back without anything to be done here.".into());
    } else if let Some(status) = status {
        reasons.push(format!("{} of {} instances are ready.", status.ready, status.wanted));
        for instance in status.instances.iter().filter(|i| i.state != Condition::Ready) {
            let reason = instance.reason.as_deref().unwrap_or("no probe has passed yet");
            reasons.push(format!("{} ({}): {reason}.", instance.name, instance.release));
        }
    } else if let Some(service) = app.as_ref().and_then(|name| view.services.get(name)) {
        for endpoint in &service.endpoints {
            let reason = endpoint.reason.as_deref().unwrap_or("no probe has passed yet");
            reasons.push(format!("{}: {reason}.", endpoint.url));
        }
    } else {
        reasons.push("Its last instance is gone.".into());
    }
    if !is_near {
        reasons.clear();
    }
    let items: String = reasons.iter().map(|reason| format!("<li>{}</li>", escape(reason))).collect();
    let list = if items.is_empty() { String::new() } else { format!("<ul>{items}</ul>") };
    let (title, text) = match maintenance {
        true => ("is being worked on", "Somebody is working on it. Try again in a while."),
        false => ("is not available", "It has no instance that can take requests. Try again in a few seconds."),
    };
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{name} {title}</title>\
         <style>body{{font:16px/1.5 system-ui,sans-serif;max-width:40em;margin:4em auto;padding:0 1em;color-scheme:light dark}}</style>\
         <h1>{name} {title}</h1><p>{text}</p>{list}</html>\n"
    );
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, RETRY)], Html(page)).into_response()
}

/// The platform's own names answer, so that people see that they work.
pub async fn platform(State(context): State<Context>, peer: Peer) -> Response {
    let is_near = Askers::Near.include(context.snapshot.view().asker(peer.0)) == Some(true);
    text(
        StatusCode::OK,
        match is_near {
            true => {
                concat!("platformer ", env!("CARGO_PKG_VERSION"), " is here. `platformer status` shows what runs.\n")
            }
            false => "platformer is here.\n",
        },
    )
}

/// Container names and reasons come from outside and go into HTML.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_in_a_reason_stays_text() {
        assert_eq!(escape("<script>\"&'"), "&lt;script&gt;&quot;&amp;&#39;");
    }
}
