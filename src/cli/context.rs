//! `context`: other machines whose platform is talked to, by name.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use reqwest::Url;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::globals::Globals;
use super::output::{self, Failure};

/// The platform of this machine, which always has this name.
const HERE: &str = "here";

#[derive(Debug, Args)]
pub struct ContextVerb {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Remember a platform: ssh://USER@HOST[:PORT] or https://HOST
    Add {
        name: String,
        url: String,
        /// A file with its token; else PLATFORMER_TOKEN; over ssh it is read there if neither is given
        #[arg(long, value_name = "FILE")]
        token_file: Option<PathBuf>,
    },
    /// The platforms there are, and which one is talked to
    List,
    /// Talk to this one from now on; `here` is this machine
    Use { name: String },
    /// Forget one
    Remove { name: String },
}

/// A platform elsewhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Context {
    pub url: String,
    pub token: Option<String>,
}

/// What is remembered, in a file that only its owner reads.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Contexts {
    current: Option<String>,
    contexts: BTreeMap<String, Context>,
}

impl ContextVerb {
    pub fn run(self, globals: &Globals) -> Result<(), Failure> {
        let path = file()?;
        let mut contexts = Contexts::read(&path)?;
        match self.verb {
            Verb::Add { name, url, token_file } => {
                check_name(&name)?;
                check_url(&url)?;
                let token = match token_file {
                    Some(file) => Some(std::fs::read_to_string(&file).map_err(|e| Failure::file(&file, &e))?),
                    None => std::env::var("PLATFORMER_TOKEN").ok(),
                };
                let token = token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty());
                if token.is_none() && !url.starts_with("ssh:") {
                    return Err(Failure::usage(format!("{url} needs a token")).with_remedy(
                        "give --token-file FILE or PLATFORMER_TOKEN; `platformer token create` makes one there",
                    ));
                }
                contexts.contexts.insert(name.clone(), Context { url, token });
                contexts.write(&path)?;
                globals.done(&json!({ "done": format!("{name} is remembered; `platformer context use {name}` talks to it from now on") }))
            }
            Verb::List => {
                let current = contexts.current.as_deref().unwrap_or(HERE);
                let mut rows = vec![(HERE, "this machine")];
                rows.extend(contexts.contexts.iter().map(|(name, context)| (name.as_str(), context.url.as_str())));
                if globals.json {
                    let all: Vec<Value> = rows
                        .iter()
                        .map(|(name, url)| json!({ "name": name, "url": url, "current": *name == current }))
                        .collect();
                    return output::json(&all);
                }
                let mark = |name: &str| if name == current { "*" } else { "" }.to_owned();
                let rows: Vec<Vec<String>> =
                    rows.iter().map(|(name, url)| vec![mark(name), (*name).to_owned(), (*url).to_owned()]).collect();
                output::table(&["", "NAME", "PLATFORM"], &rows)
            }
            Verb::Use { name } => {
                contexts.find(&name)?;
                contexts.current = Some(name.clone()).filter(|name| name != HERE);
                contexts.write(&path)?;
                globals.done(&json!({ "done": format!("{name} is talked to from now on") }))
            }
            Verb::Remove { name } => {
                contexts.find(&name)?;
                contexts.contexts.remove(&name);
                contexts.current = contexts.current.take().filter(|current| *current != name);
                contexts.write(&path)?;
                globals.done(&json!({ "done": format!("{name} is forgotten") }))
            }
        }
    }
}

impl Contexts {
    /// The context that was named, or the current one; `None` for this machine.
    pub fn chosen(named: Option<&str>) -> Result<Option<Context>, Failure> {
        match (named, file()) {
            (Some(HERE), _) | (None, Err(_)) => Ok(None),
            (Some(name), path) => Self::read(&path?)?.find(name),
            (None, Ok(path)) => {
                let contexts = Self::read(&path)?;
                contexts.current.as_deref().map_or(Ok(None), |name| contexts.find(name))
            }
        }
    }

    fn find(&self, name: &str) -> Result<Option<Context>, Failure> {
        if name == HERE {
            return Ok(None);
        }
        let near = || crate::core::names::nearest(name, self.contexts.keys().map(String::as_str));
        self.contexts.get(name).cloned().map(Some).ok_or_else(|| {
            let near = near().map(|near| format!(", did you mean {near}?")).unwrap_or_default();
            Failure::usage(format!("there is no context {name:?}{near}")).with_remedy("platformer context list")
        })
    }

    fn read(path: &Path) -> Result<Self, Failure> {
        match std::fs::read_to_string(path) {
            Ok(text) => {
                toml::from_str(&text).map_err(|e| Failure::failed(format!("{}: {}", path.display(), e.message())))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(Failure::failed(format!("{}: {error}", path.display()))),
        }
    }

    /// Whole or not at all, and readable for its owner only, since it holds tokens.
    fn write(&self, path: &Path) -> Result<(), Failure> {
        let failed = |e: std::io::Error| Failure::failed(format!("{}: {e}", path.display()));
        let text = toml::to_string(self).map_err(|e| Failure::failed(e.to_string()))?;
        if let Some(folder) = path.parent() {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        }
        let new = path.with_extension("new");
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new).map_err(failed)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
        std::fs::rename(&new, path).map_err(failed)
    }
}

/// `$XDG_CONFIG_HOME/platformer/contexts.toml`, or below `~/.config`.
fn file() -> Result<PathBuf, Failure> {
    let folder = std::env::var_os("XDG_CONFIG_HOME").filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = folder.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".config")));
    let folder = folder.ok_or_else(|| Failure::failed("HOME is not set, so contexts have no place to be kept"))?;
    Ok(folder.join("platformer/contexts.toml"))
}

fn check_name(name: &str) -> Result<(), Failure> {
    match name {
        HERE => Err(Failure::usage("`here` is this machine; choose another name")),
        _ if crate::core::names::is_dns_label(name) => Ok(()),
        _ => Err(Failure::usage(format!("context {name:?}: write lower-case letters, digits and hyphens"))),
    }
}

fn check_url(text: &str) -> Result<(), Failure> {
    let bad = |reason: &str| Failure::usage(format!("{text:?}: {reason}; write ssh://USER@HOST or https://HOST"));
    let url = Url::parse(text).map_err(|e| bad(&e.to_string()))?;
    let host = url.host_str().unwrap_or_default();
    match url.scheme() {
        _ if host.is_empty() || host.starts_with('-') || url.username().starts_with('-') => {
            Err(bad("it names no host"))
        }
        _ if url.password().is_some() => Err(bad("a password does not belong into it")),
        "ssh" | "https" => Ok(()),
        "http" if matches!(host, "localhost" | "127.0.0.1" | "[::1]") => Ok(()),
        "http" => Err(bad("a token would travel in the clear")),
        _ => Err(bad("ssh and https are spoken")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_kept_where_only_their_owner_reads_them() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("platformer/contexts.toml");
        let context = Context { url: "https://h".into(), token: Some("t".into()) };
        let contexts = Contexts { current: Some("prod".into()), contexts: [("prod".to_owned(), context)].into() };
        contexts.write(&path).unwrap();
        assert_eq!(Contexts::read(&path).unwrap(), contexts);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(contexts.find("here").unwrap().is_none() && contexts.find("pord").is_err());
    }

    #[test]
    fn a_token_never_travels_in_the_clear_and_no_host_is_an_option() {
        for good in ["ssh://me@host", "ssh://host:2222", "https://host", "http://localhost:7700", "http://127.0.0.1:1"]
        {
            assert!(check_url(good).is_ok(), "{good}");
        }
        for bad in ["", "host", "http://host", "ssh://-oProxyCommand=x", "ssh://me:pw@host", "ftp://host", "ssh://"] {
            assert!(check_url(bad).is_err(), "{bad}");
        }
    }
}
