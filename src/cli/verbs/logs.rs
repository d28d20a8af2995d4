//! `logs`: what the instances of an app print.

use std::io::{IsTerminal, Write};

use clap::Args;
use futures_util::StreamExt;
use reqwest::Method;
use serde_json::json;

use crate::cli::client::Client;
use crate::cli::content::segment;
use crate::cli::globals::Globals;
use crate::cli::output::Failure;
use crate::core::log::plain;

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
    /// With `--json` each line is a JSON string.
    pub async fn run(self, client: &Client, globals: &Globals) -> Result<(), Failure> {
        let mut url = format!("/v1/apps/{}/logs?follow={}", segment(&self.app), self.follow);
        if let Some(release) = &self.release {
            url += &format!("&release={}", segment(release));
        }
        if let Some(tail) = self.tail {
            url += &format!("&tail={tail}");
        }
        let mut chunks = client.send(client.request(Method::GET, &url)).await?.bytes_stream();
        let mut output = std::io::stdout();
        let is_terminal = output.is_terminal();
        let mut waiting = Vec::new();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|e| Failure::failed(format!("the log was cut off: {e}")))?;
            if is_terminal || globals.json {
                waiting.extend_from_slice(&chunk);
                let lines = waiting.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
                output.write_all(shown(&waiting[..lines], globals).as_bytes())?;
                waiting.drain(..lines);
            } else {
                output.write_all(&chunk)?;
            }
            output.flush()?;
        }
        output.write_all(shown(&waiting, globals).as_bytes())?;
        Ok(())
    }
}

/// Whole lines as they are written out.
fn shown(lines: &[u8], globals: &Globals) -> String {
    let text = String::from_utf8_lossy(lines);
    match globals.json {
        true => text.lines().map(|line| format!("{}\n", json!(line))).collect(),
        false => plain(&text),
    }
}
