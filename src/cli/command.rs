//! The command line: which verbs there are, and how one is run.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use super::client::Client;
use super::globals::Globals;
use super::output::Failure;
use super::times::Times;
use super::verbs::{
    apps, config, dashboard, deploy, dns, doctor, down, history, kv, logs, push, render, repository, resolver,
    services, shell, status, steer, token, up, watch, why,
};
use super::{context, help};
use crate::settings::{self, Settings};

/// One supervisor that turns a machine into an app platform: DNS, repository, load balancer, apps.
#[derive(Debug, Parser)]
#[command(name = "platformer", version, max_term_width = 110)]
pub(super) struct Arguments {
    /// The settings file (default: PLATFORMER_CONFIG, ./platformer.toml, /etc/platformer/platformer.toml)
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set one setting, such as --set listen.http=0.0.0.0:8080
    #[arg(long, global = true, value_name = "KEY=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,
    /// The platform to talk to: one of `context list`
    #[arg(long, global = true, value_name = "NAME", env = "PLATFORMER_CONTEXT")]
    context: Option<String>,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    /// How times are shown to people: how long ago, or RFC 3339
    #[arg(long, global = true, value_enum, default_value_t, value_name = "HOW")]
    time: Times,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    #[command(flatten)]
    There(There),
    #[command(flatten)]
    Here(Here),
    /// A script that completes commands in a shell
    Completions(shell::Completions),
    /// The manual page
    Man,
}

/// What the platform is asked for, wherever it is.
#[derive(Debug, Subcommand)]
enum There {
    /// Stop the supervisor and what it started
    Down(down::Down),
    /// One line per app: releases, split, instances; and what is wrong
    Status(status::Status),
    /// The chain behind an answer: name, host, app, release, instance, or where it breaks
    Why(why::Why),
    /// The nginx config that is wanted now
    Render(render::Render),
    /// What the DNS server answers, and from which container
    Dns(dns::Dns),
    /// Artefacts and configs: list, push, remove, verify
    Repository(repository::Repository),
    /// An app's config: get, set, unset, remove
    Config(config::Config),
    /// The log of an app's instances
    Logs(logs::Logs),
    /// Send an image of this machine to the platform, without a registry
    Push(push::Push),
    /// Make a release stable: newest version, or APP@VERSION
    Deploy(deploy::Deploy),
    /// Give the candidate all traffic now, and make it stable
    Promote(apps::Named),
    /// Halt a deployment where it is
    Pause(apps::Named),
    /// Let a paused or held deployment go on
    Resume(apps::Named),
    /// Take the candidate back
    Abort(apps::Named),
    /// Back to the release before, or to a kept one
    Rollback(deploy::Rollback),
    /// Swap the two sides of a blue-green pair
    Swap(apps::Named),
    /// Hold an app at a version, whatever is newer
    Pin(steer::Pin),
    /// Let a held app follow its newest version again
    Unpin(steer::Unpin),
    /// Set the share of each release by hand
    Split(steer::Split),
    /// Answer everything with a page, or stop doing so
    Maintenance(steer::Maintenance),
    /// What was done with an app, when, by whom, and why
    History(history::History),
    /// The releases of an app
    Releases(history::Releases),
    /// What differs between two releases
    Diff(history::Diff),
    /// Declare apps from their files
    Apply(apps::Apply),
    /// Set the number of instances
    Scale(apps::Scale),
    /// Start an app again
    Start(apps::Named),
    /// Stop an app; it keeps its release and its files
    Stop(apps::Named),
    /// Replace every instance of an app, one after the other
    Restart(apps::Named),
    /// Take an app away; its files stay unless --files
    Remove(apps::Remove),
    /// Open the dashboard with a link that logs in once
    Dashboard(dashboard::Dashboard),
    /// Keys and values: get, put, delete, list
    Kv(kv::Kv),
    /// Services that are no containers: list, set, remove
    Services(services::Services),
    /// Who may do what over the API: create, list, revoke tokens
    Token(token::Token),
}

/// What concerns this machine.
#[derive(Debug, Subcommand)]
enum Here {
    /// Boot the platform and stay in the foreground
    Up(up::Up),
    /// Follow containers for an nginx that somebody else runs, and nothing else
    Watch(watch::Watch),
    /// Check Docker, ports, nginx, DNS, disk, clock, permissions
    Doctor,
    /// Make this machine ask our DNS server, or put back what was there
    Resolver(resolver::Resolver),
    /// Platforms on other machines: add, list, use, remove
    Context(context::ContextVerb),
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

/// Parses the command line and runs its verb.
pub fn main() -> ExitCode {
    let read = help::grouped(Arguments::command()).try_get_matches();
    let arguments = match read.and_then(|matches| Arguments::from_arg_matches(&matches)) {
        Ok(arguments) => arguments,
        // Help and the version come this way too. Programs read what is wrong as they read any other refusal.
        Err(error) if error.use_stderr() && std::env::args_os().any(|argument| argument == "--json") => {
            let text = error.to_string();
            return Failure::usage(text.trim_start_matches("error: ").trim_end()).report(true);
        }
        Err(error) => error.exit(),
    };
    let json = arguments.json;
    // Whoever speaks TLS speaks it with ring. Fails only where that is set already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let foreground = matches!(arguments.verb, Verb::Here(Here::Up(_) | Here::Watch(_)));
    let default = if foreground { "warn" } else { "error" };
    let filter = EnvFilter::try_from_env("PLATFORMER_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr).init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::failed(format!("no runtime: {error}")).report(json),
    };
    match runtime.block_on(run(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(json),
    }
}

async fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { config, set, context, json, time, verb } = arguments;
    let globals = || Ok::<_, Failure>(Globals { settings: load(config.as_deref(), set)?, context, json, time });
    match verb {
        // These need no platform, not even settings that can be read.
        Verb::Completions(verb) => verb.run::<Arguments>(),
        Verb::Man => shell::man::<Arguments>(),
        Verb::Here(verb) => here(verb, &globals()?).await,
        Verb::There(verb) => there(verb, &globals()?).await,
    }
}

async fn here(verb: Here, globals: &Globals) -> Result<(), Failure> {
    match verb {
        Here::Up(verb) => verb.run(globals).await,
        Here::Watch(verb) => verb.run(globals).await,
        Here::Doctor => doctor::run(globals).await,
        Here::Resolver(verb) => verb.run(globals),
        Here::Context(verb) => verb.run(globals),
    }
}

async fn there(verb: There, globals: &Globals) -> Result<(), Failure> {
    let client = Client::open(globals).await?;
    match verb {
        There::Down(verb) => verb.run(&client, globals).await,
        There::Status(verb) => verb.run(&client, globals).await,
        There::Why(verb) => verb.run(&client, globals).await,
        There::Render(verb) => verb.run(&client, globals).await,
        There::Dns(verb) => verb.run(&client, globals).await,
        There::Repository(verb) => verb.run(&client, globals).await,
        There::Config(verb) => verb.run(&client, globals).await,
        There::Logs(verb) => verb.run(&client, globals).await,
        There::Push(verb) => verb.run(&client, globals).await,
        There::Deploy(verb) => verb.run(&client, globals).await,
        There::Promote(verb) => verb.run("promote", &client, globals).await,
        There::Pause(verb) => verb.run("pause", &client, globals).await,
        There::Resume(verb) => verb.run("resume", &client, globals).await,
        There::Abort(verb) => verb.run("abort", &client, globals).await,
        There::Rollback(verb) => verb.run(&client, globals).await,
        There::Swap(verb) => verb.run("swap", &client, globals).await,
        There::Pin(verb) => verb.run(&client, globals).await,
        There::Unpin(verb) => verb.run(&client, globals).await,
        There::Split(verb) => verb.run(&client, globals).await,
        There::Maintenance(verb) => verb.run(&client, globals).await,
        There::History(verb) => verb.run(&client, globals).await,
        There::Releases(verb) => verb.run(&client, globals).await,
        There::Diff(verb) => verb.run(&client, globals).await,
        There::Apply(verb) => verb.run(&client, globals).await,
        There::Scale(verb) => verb.run(&client, globals).await,
        There::Start(verb) => verb.run("start", &client, globals).await,
        There::Stop(verb) => verb.run("stop", &client, globals).await,
        There::Restart(verb) => verb.run("restart", &client, globals).await,
        There::Dashboard(verb) => verb.run(&client, globals).await,
        There::Kv(verb) => verb.run(&client, globals).await,
        There::Services(verb) => verb.run(&client, globals).await,
        There::Token(verb) => verb.run(&client, globals).await,
        There::Remove(verb) => verb.run(&client, globals).await,
    }
}

fn load(config: Option<&Path>, mut flags: Vec<(String, String)>) -> Result<Settings, Failure> {
    let environment: Vec<(String, String)> = std::env::vars().collect();
    let here = std::env::current_dir().map_err(|e| Failure::failed(format!("the current folder is gone: {e}")))?;
    settings::check_environment(&environment)?;
    let source = settings::find(config)?;
    // DOCKER_HOST is what users of Docker set; ours, if set, wins.
    let docker_host =
        std::env::var("DOCKER_HOST").ok().filter(|_| std::env::var_os("PLATFORMER_DOCKER_HOST").is_none());
    if let Some(host) =
        docker_host.filter(|host| !host.is_empty() && !flags.iter().any(|(key, _)| key == "docker.host"))
    {
        flags.push(("docker.host".into(), host));
    }
    Ok(settings::load(source.as_ref(), &environment, &flags)?.absolute(&here))
}
