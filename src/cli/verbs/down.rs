//! `down`: stop the supervisor and what it started, and return when it has.

use std::time::Duration;

use clap::Args;
use reqwest::Method;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::cli::client::Client;
use crate::cli::globals::Globals;
use crate::cli::output::{self, Failure};

/// Draining may take the longest of the apps' limits.
const PATIENCE: Duration = Duration::from_secs(180);

#[derive(Debug, Args)]
pub struct Down {
    /// Leave the instances running
    #[arg(long)]
    keep_apps: bool,
}

impl Down {
    pub async fn run(self, client: &Client, globals: &Globals) -> Result<(), Failure> {
        let answer =
            client.json(client.request(Method::POST, "/v1/down").json(&json!({ "keep_apps": self.keep_apps }))).await?;
        let deadline = Instant::now() + PATIENCE;
        while client.get("/v1/generation").await.is_ok() {
            if Instant::now() > deadline {
                return Err(
                    Failure::failed(format!("it is still there after {PATIENCE:?}")).with_remedy("platformer status")
                );
            }
            sleep(Duration::from_millis(50)).await;
        }
        if globals.json { output::json(&answer) } else { output::line("the platform is down") }
    }
}
