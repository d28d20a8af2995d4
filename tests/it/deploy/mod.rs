//! Releases: every strategy under load, gates, rollbacks, and what goes wrong in each.
//!
//! Commands block the thread they run on, so the clients beside them need another.

mod kills;
mod steered;
mod strategies;
mod underway;

use serde_json::Value;

use crate::harness::{Platform, app_of};

/// A running platform with `hello` at 1.0.0 and 1.1.0 in the repository.
async fn with_versions(declaration: &str) -> Platform {
    let mut platform = Platform::new();
    platform.add_demo("hello", "1.0.0", &unmonitored(declaration));
    platform.up();
    let count = declaration.lines().find_map(|l| l.strip_prefix("replicas = ")).map_or(1, |n| n.parse().unwrap());
    platform.until_ready("hello", count).await;
    platform.add_version("hello", "1.1.0");
    platform.until_listed("artefacts/hello/1.1.0/hello.tgz").await;
    platform
}

/// A declaration whose releases get traffic as soon as they are ready.
fn unmonitored(declaration: &str) -> String {
    match declaration.contains("[deploy]") {
        true if declaration.contains("monitor") => declaration.to_owned(),
        true => declaration.replace("[deploy]", "[deploy]\nmonitor = \"0s\""),
        false => format!("{declaration}\n[deploy]\nmonitor = \"0s\""),
    }
}

async fn version(platform: &Platform) -> String {
    platform.get("hello.localhost", "/").await.json()["version"].as_str().unwrap_or_default().to_owned()
}

/// The app's last deployment; null while the platform boots.
fn deployment(status: &Value) -> Value {
    app_of(status, "hello").map(|app| app["deployment"].clone()).unwrap_or_default()
}

async fn until_state(platform: &Platform, state: &str) -> Value {
    deployment(&platform.until(state, |s| deployment(s)["state"] == state).await)
}
