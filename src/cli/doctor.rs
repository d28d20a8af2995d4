//! `doctor`: what is wrong with a machine, and what mends it.

use std::sync::Arc;

use serde_json::{Value, json};

use super::Globals;
use super::client::Client;
use super::context::Contexts;
use super::output::{self, Failure, coloured};
use crate::ports::doctor::Doctor;
use crate::supervisor::Machine;

/// This machine is looked at also where no platform runs on it; another one by its platform.
pub async fn run(globals: &Globals) -> Result<(), Failure> {
    let checks = match Contexts::chosen(globals.context.as_deref())? {
        Some(_) => Client::open(globals).await?.get("/v1/doctor").await?["checks"].take(),
        None => json!(Machine(Arc::new(globals.settings.clone())).examine().await),
    };
    if globals.json {
        output::json(&checks)?;
    }
    let text = |check: &Value, key: &str| check[key].as_str().unwrap_or_default().to_owned();
    for check in checks.as_array().into_iter().flatten().filter(|_| !globals.json) {
        let mark = match check["verdict"].as_str() {
            Some("ok") => coloured("✓", 32),
            Some("warning") => coloured("!", 33),
            _ => coloured("✗", 31),
        };
        output::line(&format!("{mark} {:<24} {}", text(check, "name"), text(check, "found")))?;
        if check["remedy"].is_string() {
            output::line(&format!("    what helps: {}", text(check, "remedy")))?;
        }
    }
    let is_failed = |check: &Value| check["verdict"] == "failed";
    if checks.as_array().is_some_and(|all| all.iter().any(is_failed)) { Err(Failure::silent()) } else { Ok(()) }
}
