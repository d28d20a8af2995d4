//! `doctor`: what is wrong with a machine, and what mends it.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::cli::client::Client;
use crate::cli::context::Contexts;
use crate::cli::globals::Globals;
use crate::cli::output::{self, Failure, Mark};
use crate::ports::doctor::Doctor;
use crate::supervisor::Machine;

/// A platform that runs is asked about itself: it knows its settings, its folders and its nginx. This machine is looked
/// at by the settings given here only where none runs.
pub async fn run(globals: &Globals) -> Result<(), Failure> {
    let is_here =
        Contexts::chosen(globals.context.as_deref())?.is_none() && std::env::var_os("PLATFORMER_API").is_none();
    let machine = Machine(Arc::new(globals.settings.clone()));
    let checks = match Client::open(globals).await?.get("/v1/doctor").await {
        Ok(mut answer) => {
            let mut checks = answer["checks"].take();
            if is_here {
                // In a container it sees the container's resolver, not the one of this machine.
                let own = machine.resolver();
                let theirs = checks.as_array_mut().into_iter().flatten().find(|check| check["name"] == own.name);
                theirs.into_iter().for_each(|check| *check = json!(own));
            }
            checks
        }
        Err(failure) if failure.is_unreachable() && is_here => json!(machine.examine().await),
        Err(failure) => return Err(failure),
    };
    if globals.json {
        output::json(&checks)?;
    }
    let text = |check: &Value, key: &str| globals.time.sentence(check[key].as_str().unwrap_or_default());
    for check in checks.as_array().into_iter().flatten().filter(|_| !globals.json) {
        let mark = match check["verdict"].as_str() {
            Some("ok") => Mark::Good,
            Some("warning") => Mark::Warning,
            _ => Mark::Bad,
        };
        output::marked(mark, &format!("{:<24} {}", text(check, "name"), text(check, "found")))?;
        if check["remedy"].is_string() {
            output::line(&format!("    what helps: {}", text(check, "remedy")))?;
        }
    }
    let is_failed = |check: &Value| check["verdict"] == "failed";
    if checks.as_array().is_some_and(|all| all.iter().any(is_failed)) { Err(Failure::silent()) } else { Ok(()) }
}
