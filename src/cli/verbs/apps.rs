//! `apply`, `scale`, `start`, `stop`, `restart`, `remove`: what is to run.

use std::path::PathBuf;

use clap::Args;
use reqwest::Method;
use serde_json::json;

use crate::cli::client::Client;
use crate::cli::content::segment;
use crate::cli::globals::Globals;
use crate::cli::output::{self, Failure, Mark, cell};

#[derive(Debug, Args)]
pub struct Named {
    app: String,
}

impl Named {
    pub async fn run(self, verb: &str, client: &Client, globals: &Globals) -> Result<(), Failure> {
        let url = format!("/v1/apps/{}/{verb}", segment(&self.app));
        globals.done(&client.json(client.request(Method::POST, &url)).await?)
    }
}

#[derive(Debug, Args)]
pub struct Scale {
    app: String,
    /// How many instances, 0 to 100
    #[arg(value_parser = clap::value_parser!(u16).range(0..=100))]
    replicas: u16,
}

impl Scale {
    pub async fn run(self, client: &Client, globals: &Globals) -> Result<(), Failure> {
        let request = client.request(Method::PUT, &format!("/v1/apps/{}/scale", segment(&self.app)));
        globals.done(&client.json(request.json(&json!({ "replicas": self.replicas }))).await?)
    }
}

#[derive(Debug, Args)]
pub struct Apply {
    /// Files named APP.toml
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl Apply {
    /// Reads every file before the first is sent, so that a missing one changes nothing.
    pub async fn run(self, client: &Client, globals: &Globals) -> Result<(), Failure> {
        let mut declarations = Vec::new();
        for path in &self.files {
            let name = path.file_name().and_then(|n| n.to_str()).and_then(|n| n.strip_suffix(".toml"));
            let name = name.ok_or_else(|| {
                Failure::usage(format!("{}: the file's name is the app's, so it must be APP.toml", path.display()))
            })?;
            let text = std::fs::read_to_string(path).map_err(|e| Failure::file(path, &e))?;
            declarations.push((name.to_owned(), text));
        }
        let mut is_well = true;
        for (app, text) in declarations {
            let request = client.request(Method::PUT, &format!("/v1/apps/{}", segment(&app))).body(text);
            let answer = client.json(request).await?;
            let problems = answer["problems"].as_array().cloned().unwrap_or_default();
            is_well &= problems.is_empty();
            globals.done(&answer)?;
            for problem in problems.iter().filter(|_| !globals.json) {
                let text = |key: &str| cell(&problem[key]);
                output::marked(Mark::Warning, &format!("{}: {}", text("subject"), text("reason")))?;
                output::line(&format!("    what helps: {}", text("remedy")))?;
            }
        }
        if is_well { Ok(()) } else { Err(Failure::silent()) }
    }
}

#[derive(Debug, Args)]
pub struct Remove {
    app: String,
    /// Delete its declaration, config and artefacts too
    #[arg(long)]
    files: bool,
}

impl Remove {
    pub async fn run(self, client: &Client, globals: &Globals) -> Result<(), Failure> {
        let url = format!("/v1/apps/{}?files={}", segment(&self.app), self.files);
        globals.done(&client.json(client.request(Method::DELETE, &url)).await?)
    }
}
