//! `dashboard`: a link that logs a browser in once, opened or printed.

use std::process::{Command, Stdio};

use clap::Args;
use reqwest::Method;
use serde_json::json;

use crate::cli::client::Client;
use crate::cli::globals::Globals;
use crate::cli::output::{self, Failure};

#[derive(Debug, Args)]
pub struct Dashboard {
    /// Only print the link
    #[arg(long)]
    print: bool,
}

impl Dashboard {
    pub async fn run(self, client: &Client, globals: &Globals) -> Result<(), Failure> {
        let answer = client.json(client.request(Method::POST, "/v1/login-links")).await?;
        let base = client.base().ok_or_else(|| {
            Failure::failed("a browser cannot go through this context's ssh connection by itself")
                .with_remedy("ssh -L 7700:127.0.0.1:7700 USER@HOST, then `platformer dashboard` with PLATFORMER_API=http://127.0.0.1:7700")
        })?;
        let link = format!("{base}{}", answer["path"].as_str().unwrap_or_default());
        if globals.json {
            return output::json(&json!({ "url": link, "seconds": answer["seconds"] }));
        }
        // Where there is no desktop, or nobody sits at it, the link itself has to do.
        if !self.print && output::is_terminal() && opens(&link) {
            return output::line("opened in a browser; the link works once");
        }
        output::line(&link)
    }
}

fn opens(link: &str) -> bool {
    ["xdg-open", "open"].into_iter().any(|program| {
        let mut command = Command::new(program);
        command.arg(link).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    })
}
