//! `why`: the chain behind an answer.

use clap::Args;

use crate::cli::client::Client;
use crate::cli::globals::Globals;
use crate::cli::output::{self, Failure, Mark};

#[derive(Debug, Args)]
pub struct Why {
    /// A host name or an URL
    target: String,
}

impl Why {
    pub async fn run(self, client: &Client, globals: &Globals) -> Result<(), Failure> {
        let request = client
            .request(reqwest::Method::GET, &format!("/v1/why?target={}", crate::cli::content::segment(&self.target)));
        let answer = client.json(request).await?;
        if globals.json {
            output::json(&answer)?;
        } else {
            for step in answer["steps"].as_array().into_iter().flatten() {
                let mark = if step["ok"] == true { Mark::Good } else { Mark::Bad };
                output::marked(mark, &globals.time.sentence(step["what"].as_str().unwrap_or_default()))?;
                if let Some(remedy) = step["remedy"].as_str() {
                    output::line(&format!("    what helps: {remedy}"))?;
                }
            }
        }
        if answer["ok"] == true { Ok(()) } else { Err(Failure::silent()) }
    }
}
