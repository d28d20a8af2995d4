//! Versions that come from elsewhere: tags of images in a real registry, tags and commits of git repositories, and
//! the webhooks that tell of them.

mod git;
mod registry;
mod webhooks;

use std::time::Instant;

use serde_json::Value;

use crate::harness::{Answer, DEADLINE, Platform, app_of, request_with};

async fn call(platform: &Platform, method: &str, path: &str, body: &str) -> Answer {
    let token = format!("Authorization: Bearer {}\r\nContent-Type: application/json\r\n", platform.token().unwrap());
    request_with(platform.api_address(), method, "localhost", path, &token, body.as_bytes()).await.unwrap()
}

async fn hook(platform: &Platform, path: &str, headers: &str, body: &str) -> Answer {
    request_with(platform.api_address(), "POST", "localhost", path, headers, body.as_bytes()).await.unwrap()
}

/// Declares the app `shop` with this source.
fn declare(platform: &Platform, source: &str) {
    let text = format!(
        "[source]\nauto = \"newest\"\npoll = \"1h\"\n{source}\n[deploy]\ngrace = \"100ms\"\nmonitor = \"0s\"\n"
    );
    platform.put("apps/shop.toml", text);
}

async fn until_stable(platform: &Platform, version: &str) -> Value {
    let is_there = |s: &Value| {
        app_of(s, "shop").is_some_and(|a| a["stable"] == version && a["ready"] == 1 && a["candidate"].is_null())
    };
    platform.until(&format!("shop is {version}"), is_there).await
}

async fn shop(platform: &Platform) -> Value {
    app_of(&platform.status().await.unwrap(), "shop").unwrap().clone()
}

async fn until_open(port: u16) {
    let end = Instant::now() + DEADLINE;
    while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        assert!(Instant::now() < end, "nobody listens on {port}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
