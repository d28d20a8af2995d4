//! `config`: an app's keys.

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::Globals;
use super::client::Client;
use super::content::segment;
use super::output::{self, Failure};

#[derive(Debug, Args)]
pub struct Config {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// All keys, or the value of one
    Get { app: String, key: Option<String> },
    /// Set a key; instances that start from now on see it
    Set {
        app: String,
        /// KEY=VALUE; KEY alone takes the value from standard input, where no other process sees it
        #[arg(value_name = "KEY=VALUE")]
        assignment: String,
        /// Keep it so that only the app's own instances can read it
        #[arg(long)]
        secret: bool,
    },
    /// Remove a key
    Unset { app: String, key: String },
}

impl Config {
    pub async fn run(self, client: &Client, globals: &Globals) -> Result<(), Failure> {
        match self.verb {
            Verb::Get { app, key } => {
                let answer = client.get(&format!("/v1/config/{}", segment(&app))).await?;
                get(&app, key.as_deref(), &answer, globals)
            }
            Verb::Set { app, assignment, secret } => {
                let (key, value) = match assignment.split_once('=') {
                    Some((key, value)) => (key.to_owned(), value.to_owned()),
                    None => (assignment, std::io::read_to_string(std::io::stdin())?),
                };
                let asked = json!({ "value": value, "secret": secret });
                let url = format!("/v1/config/{}/{}", segment(&app), segment(&key));
                done(client.json(client.request(Method::PUT, &url).json(&asked)).await?, globals)
            }
            Verb::Unset { app, key } => {
                let url = format!("/v1/config/{}/{}", segment(&app), segment(&key));
                done(client.json(client.request(Method::DELETE, &url)).await?, globals)
            }
        }
    }
}

fn get(app: &str, key: Option<&str>, answer: &Value, globals: &Globals) -> Result<(), Failure> {
    let Some(key) = key else {
        if globals.json {
            return output::json(answer);
        }
        for (key, value) in answer["config"].as_object().into_iter().flatten() {
            output::line(&format!("{key}={}", value.as_str().unwrap_or_default()))?;
        }
        return Ok(());
    };
    let value = answer["config"][key].as_str().ok_or_else(|| Failure::failed(format!("{app} has no key {key}")))?;
    if globals.json { output::json(&json!({ key: value })) } else { output::line(value) }
}

/// Prints what was decided.
pub fn done(answer: Value, globals: &Globals) -> Result<(), Failure> {
    if globals.json { output::json(&answer) } else { output::line(answer["done"].as_str().unwrap_or("done")) }
}
