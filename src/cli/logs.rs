//! `logs`: what the instances of an app print.

use std::io::Write;

use clap::Args;
use futures_util::StreamExt;
use reqwest::Method;

use super::client::Client;
use super::content::segment;
use super::output::Failure;

#[derive(Debug, Args)]
pub struct Logs {
    app: String,
    /// Go on with what comes
    #[arg(short, long)]
    follow: bool,
    /// Only instances of this release
    #[arg(long, value_name = "VERSION")]
    release: Option<String>,
    /// Only the last lines
    #[arg(long, value_name = "LINES")]
    tail: Option<usize>,
}

impl Logs {
    pub async fn run(self, client: &Client) -> Result<(), Failure> {
        let mut url = format!("/v1/apps/{}/logs?follow={}", segment(&self.app), self.follow);
        if let Some(release) = &self.release {
            url += &format!("&release={}", segment(release));
        }
        if let Some(tail) = self.tail {
            url += &format!("&tail={tail}");
        }
        let mut chunks = client.send(client.request(Method::GET, &url)).await?.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|e| Failure::failed(format!("the log was cut off: {e}")))?;
            let mut output = std::io::stdout();
            output.write_all(&chunk)?;
            output.flush()?;
        }
        Ok(())
    }
}
