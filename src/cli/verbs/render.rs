//! `render`: the nginx config that is wanted, or how it differs from what is live.

use clap::Args;
use reqwest::Method;
use serde_json::json;

use crate::cli::client::Client;
use crate::cli::globals::Globals;
use crate::cli::output::{self, Failure};

#[derive(Debug, Args)]
pub struct Render {
    /// The difference between what is live and what is wanted
    #[arg(long)]
    diff: bool,
}

impl Render {
    pub async fn run(self, client: &Client, globals: &Globals) -> Result<(), Failure> {
        let response = client.send(client.request(Method::GET, &format!("/v1/render?diff={}", self.diff))).await?;
        let text = response.text().await.map_err(|e| Failure::failed(e.to_string()))?;
        if globals.json {
            return output::json(&json!({ "diff": self.diff, "text": text }));
        }
        if text.is_empty() { Ok(()) } else { output::line(text.trim_end()) }
    }
}
