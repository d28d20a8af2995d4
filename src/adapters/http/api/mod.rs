//! The control API's routes. Handlers read the snapshot and send commands; none of them acts by itself.

mod apps;
mod by;
pub mod deployments;
pub mod diff;
pub mod library;
mod once;
mod openapi;
pub mod platform;
mod sent;
mod slice;
pub mod table;
pub mod tokens;

use std::sync::LazyLock;

use axum::http::Method;
use axum::{Json, Router, middleware};
use serde_json::Value;

use super::consul::{self, agent, catalog, kv, txn};
use super::{Context, access, config, dashboard, events, images, linger, logs, metrics, services, webhooks};
use crate::core::access::Right::{Admin, Change, Deploy, Open, Read};
use crate::core::asker::Askers;
pub use apps::Listed;
pub use by::{By, Vouched};
pub use sent::{Sent, read_json};
use table::{Row, delete, get, post, put};

/// `unasked` use the registry without a token.
fn rows(unasked: Askers) -> Vec<Row> {
    let mut rows = vec![
        get("/healthz", Open, "Whether the supervisor answers", platform::health),
        get("/metrics", Read, "Totals for Prometheus", metrics::show),
        get("/v1/status", Read, "The platform at this moment", platform::status),
        get("/v1/generation", Read, "Which routes are wanted, written and live", platform::generation),
        get("/v1/render", Read, "nginx's config as it is wanted; ?diff=true against what is live", platform::render),
        get("/v1/dns", Read, "Every name that the DNS server answers", platform::dns),
        get("/v1/doctor", Admin, "What is wrong with the machine, and what mends it", platform::doctor),
        get("/v1/why", Read, "The chain behind an answer: ?target=HOST or URL", platform::why),
        get("/v1/events", Read, "Events as a server-sent stream, after Last-Event-ID", events::stream).streams(),
        post("/v1/down", Admin, "Stops the platform", platform::down).asks::<platform::DownRequest>(),
        get("/v1/apps", Read, "Every app; ?q=TEXT in its name, ?limit, ?offset", apps::list),
        get("/v1/apps/{app}", Read, "One app", apps::show),
        put("/v1/apps/{app}", Admin, "Declares an app with the text of its file", apps::apply),
        delete("/v1/apps/{app}", Admin, "Takes an app away; ?files=true with its files", apps::remove),
        put("/v1/apps/{app}/scale", Deploy, "Sets the number of instances", apps::scale).asks::<apps::ScaleRequest>(),
        post("/v1/apps/{app}/start", Deploy, "Starts an app again", apps::start),
        post("/v1/apps/{app}/stop", Deploy, "Stops an app, which keeps its release", apps::stop),
        post("/v1/apps/{app}/restart", Deploy, "Replaces every instance, one after the other", apps::restart),
        post("/v1/apps/{app}/deployments", Deploy, "Begins to make a release stable", deployments::deploy)
            .asks::<deployments::Deploy>(),
        get("/v1/apps/{app}/deployments/{id}", Read, "One deployment", deployments::show),
        get("/v1/deployments", Read, "Deployments, newest first; ?app, ?limit, ?offset", deployments::list),
        post("/v1/apps/{app}/promote", Deploy, "Gives the candidate all traffic now", deployments::promote),
        post("/v1/apps/{app}/pause", Deploy, "Halts a deployment where it is", deployments::pause),
        post("/v1/apps/{app}/resume", Deploy, "Lets a halted deployment go on", deployments::resume),
        post("/v1/apps/{app}/abort", Deploy, "Takes the candidate back", deployments::abort),
        post("/v1/apps/{app}/rollback", Deploy, "Back to the release before, or to a kept one", deployments::rollback)
            .asks::<deployments::Rollback>(),
        post("/v1/apps/{app}/swap", Deploy, "Swaps the two sides of a blue-green pair", deployments::swap),
        put("/v1/apps/{app}/split", Deploy, "Sets each release's share", deployments::split)
            .asks::<deployments::SplitRequest>(),
        put("/v1/apps/{app}/maintenance", Deploy, "Answers everything with a page, or not", deployments::maintenance)
            .asks::<deployments::Maintenance>(),
        put("/v1/apps/{app}/pin", Deploy, "Holds an app at a version, or at its stable one", deployments::pin)
            .asks::<deployments::Rollback>(),
        delete("/v1/apps/{app}/pin", Deploy, "Lets a held app go", deployments::unpin),
        post("/v1/apps/{app}/sync", Deploy, "Looks at the app's source now", webhooks::sync_now),
        get("/v1/apps/{app}/webhooks", Admin, "The addresses and the secret of the app's webhooks", webhooks::show),
        post("/v1/apps/{app}/layers", Deploy, "How much of an image is here already", images::layers)
            .asks::<images::LayersRequest>(),
        get("/v1/apps/{app}/images/{version}/{sha256}", Deploy, "How much of an image has come", images::offset),
        put("/v1/apps/{app}/images/{version}/{sha256}", Deploy, "Sends an image on from ?offset=N", images::append)
            .uploads(),
        post("/v1/apps/{app}/images/{version}/{sha256}", Deploy, "Loads an image that has come", images::load)
            .streams(),
        get(
            "/v1/apps/{app}/history",
            Read,
            "What was done, newest first; ?action, ?release, ?limit, ?offset",
            deployments::history,
        ),
        get("/v1/apps/{app}/releases", Read, "The releases, newest first; ?limit, ?offset", deployments::releases),
        get("/v1/apps/{app}/diff", Read, "What differs between two releases: ?from=V&to=V", diff::show),
        get("/v1/apps/{app}/logs", Read, "The instances' logs; ?follow, ?tail=N, ?release=V", logs::stream).streams(),
        get("/v1/config/{app}", Read, "An app's config", config::show),
        put("/v1/config/{app}/{key}", Deploy, "Sets a key", config::set).asks::<config::SetRequest>(),
        delete("/v1/config/{app}/{key}", Deploy, "Unsets a key", config::unset),
        delete("/v1/config/{app}", Deploy, "Takes an app's whole config away", config::remove),
        get("/v1/repository", Read, "Every file with its SHA-256; ?prefix, ?limit, ?offset", library::list),
        post("/v1/repository/verify", Admin, "Reads every file again", library::verify),
        put("/v1/repository/{app}/{version}/{file}", Deploy, "Uploads an artefact", library::push).uploads(),
        delete("/v1/repository/{app}/{version}", Deploy, "Deletes a version that is not in use", library::remove),
        get(
            "/v1/tokens",
            Admin,
            "The tokens there are, without their text; ?sessions=true with the sessions that are open",
            tokens::list,
        ),
        post("/v1/tokens", Admin, "Makes a token; its text is shown once", tokens::create)
            .asks::<tokens::TokenRequest>(),
        delete(
            "/v1/tokens/{id}",
            Admin,
            "Ends a token and the sessions opened with it, or one session",
            tokens::revoke,
        ),
    ];
    rows.extend(registry(unasked, unasked));
    rows.extend(hooks());
    rows.extend(dashboard::routes());
    rows.extend(of_consul());
    rows
}

/// Webhooks need no token: each brings a proof of its own.
fn hooks() -> Vec<Row> {
    vec![
        post("/webhooks/dockerhub/{app}/{secret}", Open, "Docker Hub pushed an image", webhooks::docker_hub),
        post("/webhooks/registry/{app}/{secret}", Open, "A registry notifies of pushes", webhooks::registry),
        post("/webhooks/github/{app}", Open, "GitHub, with X-Hub-Signature-256", webhooks::github),
        post("/webhooks/gitea/{app}", Open, "Gitea or Forgejo, with its signature", webhooks::gitea),
        post("/webhooks/gitlab/{app}", Open, "GitLab, with X-Gitlab-Token", webhooks::gitlab),
    ]
}

/// The small registry: who may look there without a token, and who may write.
fn registry(look: Askers, write: Askers) -> Vec<Row> {
    vec![
        get("/services", Read, "Every registered service", services::list).free_to(look),
        get("/services/{app}", Read, "Where a service is", services::show).free_to(look),
        put("/services/{app}", Deploy, "Registers a service", services::put)
            .asks::<services::ServiceRequest>()
            .free_to(write),
        post("/services/{app}/{*url}", Deploy, "Registers a service at an URL-encoded address", services::post)
            .free_to(write),
        delete("/services/{app}", Deploy, "Takes a service away", services::remove).free_to(write),
    ]
}

/// Who uses the registry without a token: this machine, if it was opened to it.
fn unasked(context: &Context) -> Askers {
    if context.services_open { Askers::Loopback } else { Askers::Nobody }
}

/// The registry for the listener that containers reach: they may look.
pub fn near_registry(context: &Context) -> Vec<Row> {
    registry(Askers::Near, unasked(context))
}

/// Consul's wire format, for its clients.
fn of_consul() -> Vec<Row> {
    let mut rows = vec![
        put("/v1/txn", Change, "Several operations on keys, all or none", txn::commit),
        get("/v1/catalog/datacenters", Read, "The one datacenter", catalog::datacenters).free_to(Askers::Loopback),
        get("/v1/catalog/nodes", Read, "The one node", catalog::nodes),
        get("/v1/catalog/services", Read, "Every service with its tags", catalog::services),
        get("/v1/catalog/service/{name}", Read, "The instances of a service", catalog::service),
        get("/v1/health/service/{name}", Read, "The same with their health; ?passing", catalog::health),
        get("/v1/status/leader", Read, "Who leads: this node", catalog::leader).free_to(Askers::Loopback),
        get("/v1/agent/self", Read, "This node", catalog::this_agent).free_to(Askers::Loopback),
        get("/v1/agent/services", Read, "The registered services", agent::services),
        put("/v1/agent/service/register", Change, "Registers a service", agent::add).asks::<agent::Registration>(),
        put("/v1/agent/service/deregister/{*id}", Change, "Takes a service away", agent::remove),
    ];
    for (all, one) in [("/v1/kv/", "/v1/kv/{*key}"), ("/api/kv/", "/api/kv/{*key}")] {
        rows.extend([
            get(all, Read, "All keys: ?recurse or ?keys", kv::get_all),
            delete(all, Change, "Deletes all keys, with ?recurse", kv::delete_all),
            get(one, Read, "A key, or with ?recurse all below it; ?index=N waits for a change", kv::get),
            put(one, Change, "Sets a key to the body; ?cas=INDEX, ?flags=N", kv::put),
            delete(one, Change, "Deletes a key, or with ?recurse all below it", kv::delete),
        ]);
    }
    for path in ["/v1/session/{*rest}", "/v1/acl/{*rest}", "/v1/event/{*rest}", "/v1/query/{*rest}"] {
        rows.push(get(path, Read, "Not offered", consul::not_offered));
        rows.push(put(path, Change, "Not offered", consul::not_offered));
    }
    let waits = |row: Row| if row.method == Method::GET { row.streams() } else { row };
    rows.into_iter().map(|row| waits(row).token_in_query()).collect()
}

/// Every row, and the one that describes them all.
fn all_rows(unasked: Askers) -> Vec<Row> {
    let mut rows = rows(unasked);
    rows.push(get("/openapi.json", Open, "This document", described));
    rows
}

async fn described() -> Json<&'static Value> {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(|| openapi::document(&all_rows(Askers::Nobody)));
    Json(&DOCUMENT)
}

pub fn router(context: Context) -> Router {
    table::router(all_rows(unasked(&context)), &context)
        .fallback(access::nothing)
        .layer(middleware::from_fn(linger::read_out))
        .with_state(context)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::access::Right;

    #[test]
    fn whoever_may_look_changes_nothing_and_little_is_open() {
        let open: Vec<&str> =
            rows(Askers::Nobody).iter().filter(|row| row.right == Right::Open).map(|row| row.path).collect();
        let (hooks, open): (Vec<&str>, Vec<&str>) = open.into_iter().partition(|path| path.starts_with("/webhooks/"));
        let expected = ["/healthz", "/login", "/login", "/logout", "/static/{file}"];
        assert_eq!((open, hooks.len()), (expected.to_vec(), 5));
        for row in rows(Askers::Nobody).iter().filter(|row| row.right == Right::Read) {
            // A link that logs its maker in opens nothing that he could not open before.
            let is_safe = row.method == axum::http::Method::GET || row.path == "/v1/login-links";
            assert!(is_safe, "{}", row.path);
        }
        for row in rows(Askers::Nobody).iter().filter(|row| row.right == Right::Deploy) {
            assert!(row.variables().any(|name| name == "app"), "{} names no app whose scope would open it", row.path);
        }
    }

    #[test]
    fn every_route_is_described() {
        let document = openapi::document(&rows(Askers::Nobody));
        for row in rows(Askers::Nobody) {
            let operation = &document["paths"][row.path.replace("{*", "{")][row.method.as_str().to_lowercase()];
            assert_eq!(operation["summary"], row.summary, "{} {}", row.method, row.path);
            assert_eq!(operation["parameters"].as_array().map(Vec::len), Some(row.variables().count()));
        }
        let schema = &document["components"]["schemas"]["Deploy"]["properties"];
        assert!(schema["version"].is_object() && schema["dry_run"].is_object(), "{schema}");
    }
}
