//! `config`: an app's keys.

use std::io::{IsTerminal, Read, Write};

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::deploy;
use crate::cli::client::Client;
use crate::cli::content::segment;
use crate::cli::globals::Globals;
use crate::cli::new::New;
use crate::cli::output::{self, Failure};
use crate::core::names::nearest;

#[derive(Debug, Args)]
pub struct Config {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// All keys, or the value of one
    Get { app: String, key: Option<String> },
    /// Set a key; the next release has it, what runs keeps its own config
    Set {
        app: String,
        /// KEY=VALUE; KEY alone asks for the value, or takes it from standard input, where no other process sees it
        #[arg(value_name = "KEY=VALUE")]
        assignment: String,
        /// Keep it so that only the app's own instances can read it
        #[arg(long)]
        secret: bool,
        #[command(flatten)]
        new: New,
        #[command(flatten)]
        then: Then,
    },
    /// Remove a key; the next release lacks it, what runs keeps its own config
    Unset {
        app: String,
        key: String,
        #[command(flatten)]
        then: Then,
    },
    /// Delete an app's whole config
    Remove { app: String },
}

#[derive(Debug, Args)]
struct Then {
    /// Deploy the version that runs, with the new config
    #[arg(long)]
    deploy: bool,
    /// With --deploy, wait for the outcome: 0 promoted, 1 failed, 3 rolled back, 4 held
    #[arg(long, requires = "deploy")]
    wait: bool,
}

impl Then {
    /// Says what was done; where it is asked for, makes a release of it.
    async fn run(self, app: &str, key: &str, done: Value, client: &Client, globals: &Globals) -> Result<(), Failure> {
        if !self.deploy {
            return globals.done(&done);
        }
        let status = client.get(&format!("/v1/apps/{}", segment(app))).await?;
        let Some(stable) = status["stable"].as_str() else {
            let why = format!("the config of {app} is changed, and no version of it runs; platformer deploy {app}");
            return Err(Failure::failed(why));
        };
        let again = deploy::again(app, stable, &format!("config {key}"), self.wait, client, globals).await;
        again.map_err(|failure| match failure.is_refused() {
            true => failure.after(&format!("the config of {app} is changed, and not deployed: ")),
            false => failure,
        })
    }
}

impl Config {
    pub async fn run(self, client: &Client, globals: &Globals) -> Result<(), Failure> {
        match self.verb {
            Verb::Get { app, key } => {
                let answer = client.get(&format!("/v1/config/{}", segment(&app))).await?;
                get(&app, key.as_deref(), &answer, globals)
            }
            Verb::Set { app, assignment, secret, new, then } => {
                let (key, value) = match assignment.split_once('=') {
                    Some((key, value)) => (key.to_owned(), value.to_owned()),
                    None => (assignment.clone(), ask(&app, &assignment, secret)?),
                };
                if key.is_empty() {
                    return Err(Failure::usage(format!("{assignment:?} has no name before the =; write KEY=VALUE")));
                }
                let asked = json!({ "value": value, "secret": secret });
                let url = format!("/v1/config/{}/{}{}", segment(&app), segment(&key), new.query());
                let done = client.json(client.request(Method::PUT, &url).json(&asked)).await?;
                then.run(&app, &key, done, client, globals).await
            }
            Verb::Unset { app, key, then } => {
                let url = format!("/v1/config/{}/{}", segment(&app), segment(&key));
                let done = client.json(client.request(Method::DELETE, &url)).await?;
                then.run(&app, &key, done, client, globals).await
            }
            Verb::Remove { app } => {
                let url = format!("/v1/config/{}", segment(&app));
                globals.done(&client.json(client.request(Method::DELETE, &url)).await?)
            }
        }
    }
}

/// The value from standard input; where somebody sits at it he is asked, for a secret without showing what he types.
fn ask(app: &str, key: &str, secret: bool) -> Result<String, Failure> {
    let mut input = std::io::stdin();
    if !input.is_terminal() {
        let mut value = String::new();
        input.read_to_string(&mut value)?;
        if value.is_empty() {
            let why = format!("nothing comes on standard input for {key}; {key}= sets it to nothing");
            return Err(Failure::usage(why));
        }
        return Ok(value);
    }
    let question = format!("{key} of {app}: ");
    if secret {
        return rpassword::prompt_password(question).map_err(Failure::from);
    }
    write!(std::io::stderr(), "{question}")?;
    let mut value = String::new();
    input.read_line(&mut value)?;
    Ok(value.trim_end_matches(['\r', '\n']).to_owned())
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
    let value = answer["config"][key].as_str().ok_or_else(|| {
        let keys = answer["config"].as_object().into_iter().flatten().map(|(key, _)| key.as_str());
        let near = nearest(key, keys).map(|near| format!(", did you mean {near}?")).unwrap_or_default();
        Failure::failed(format!("{app} has no key {key}{near}"))
    })?;
    if globals.json { output::json(&json!({ key: value })) } else { output::value(value) }
}
