//! The control API's routes. Handlers read the snapshot and send commands; none of them acts by itself.

use super::super::api::{
    apps, config, deployments, diff, events, images, library, logs, metrics, platform, services, sync, tokens,
};
use super::super::context::Context;
use super::super::route::table::{Row, delete, get, post, put};
use super::super::webhooks;
use crate::core::access::Right::{Admin, Deploy, Open, Read};
use crate::core::asker::Askers;

/// `unasked` use the registry without a token.
pub fn rows(unasked: Askers) -> Vec<Row> {
    let mut rows = vec![
        get("/healthz", Open, "Whether the supervisor answers", platform::health),
        get("/metrics", Read, "Totals for Prometheus", metrics::show),
        get("/v1/status", Read, "The platform at this moment", platform::status),
        get("/v1/generation", Read, "Which routes are wanted, written and live", platform::generation),
        get("/v1/render", Read, "nginx's config as it is wanted; ?diff=true against what is live", platform::render),
        get("/v1/dns", Read, "Every name that the DNS server answers", platform::dns),
        get("/v1/doctor", Admin, "What is wrong with the machine, and what mends it", platform::doctor),
        get("/v1/why", Read, "The chain behind an answer: ?target=HOST or URL", platform::why),
        get(
            "/v1/events",
            Read,
            "Events as a server-sent stream, after Last-Event-ID, or with ?new those to come",
            events::stream,
        )
        .streams(),
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
        post("/v1/apps/{app}/sync", Deploy, "Looks at the app's source now", sync::now),
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
pub fn unasked(context: &Context) -> Askers {
    if context.services_open { Askers::Loopback } else { Askers::Nobody }
}

/// The registry for the listener that containers reach: they may look.
pub fn near_registry(context: &Context) -> Vec<Row> {
    registry(Askers::Near, unasked(context))
}
