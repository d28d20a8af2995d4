//! Why somebody is not given a host: whose it is, and what helps.

use std::sync::Arc;

use jiff::Timestamp;

use super::wish::{Ask, MOST_OF_LABELS, MOST_OF_ONE, Rank};
use crate::core::names::{AppName, PathPrefix};

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// It is an IP address, in whichever spelling.
    Address,
    Localhost,
    Domain,
    /// It is below this name of the platform.
    Platform(&'static str),
    Machine,
    /// A single release of this app answers there.
    Release(AppName),
    Taken {
        path: PathPrefix,
        holder: AppName,
    },
    /// It is of a declared app, which labels may not share.
    Closed(AppName),
    Service(AppName),
    /// It is a container's name, and who asks for it is not ready.
    Container,
    /// Labels have as many hosts as they may.
    Full,
    /// The labels of one container have.
    Many,
    /// The path, not the host, is the platform's own.
    OwnPath,
}

/// Hosts that one asker is not given for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub subject: Arc<str>,
    pub app: AppName,
    pub by: Rank,
    pub since: Timestamp,
    /// The first of the hosts, or the path.
    pub what: String,
    /// How many more there are.
    pub more: usize,
    pub why: Why,
}

/// Notes that `count` hosts or paths are refused, of which `what` is the first; to one asker for one reason that is one.
pub(super) fn add(refused: &mut Vec<Refusal>, app: &AppName, ask: &Ask, what: &str, count: usize, why: Why) {
    // An asker's hosts are looked at one after the other, so what can be joined is near the end.
    let near = refused.iter_mut().rev().take_while(|r| r.subject == ask.subject && r.app == *app);
    match near.into_iter().find(|r| r.why == why) {
        Some(same) if same.what == what => {}
        Some(same) => same.more += count,
        None => refused.push(Refusal {
            subject: ask.subject.clone(),
            app: app.clone(),
            by: ask.rank,
            since: ask.since,
            what: what.to_owned(),
            more: count - 1,
            why,
        }),
    }
}

impl Refusal {
    pub fn reason(&self) -> String {
        let what = match (&self.why, self.more) {
            (Why::OwnPath, _) => format!("path {}", self.what),
            (_, 0) => format!("host {}", self.what),
            (_, more) => format!("host {} (and {more} more)", self.what),
        };
        match &self.why {
            Why::Address => {
                format!("{what} is an address and no name; an address leads to this machine, not to an app")
            }
            Why::Localhost => format!("{what} is this machine itself"),
            Why::Domain => format!("{what} is the platform's domain itself"),
            Why::Platform(part) => format!("{what} belongs to the platform's own {part:?}"),
            Why::Machine => format!("{what} is a name of this machine itself"),
            Why::Release(of) => format!("{what} leads to a single release of app {of}, and to nobody else"),
            Why::Taken { path, holder } => {
                format!("{what} with path {path} is already held by app {holder}, which keeps it")
            }
            Why::Closed(holder) => format!("{what} is of app {holder}, which is declared; labels get no part of it"),
            Why::Service(holder) => format!("{what} is of the registered service {holder}; labels get no part of it"),
            Why::Container => format!("{what} is the name of a container, and nothing of app {} is ready", self.app),
            Why::Full => {
                format!("{what} is one too many: labels may have {MOST_OF_LABELS} pairs of host and path in all")
            }
            Why::Many => {
                format!("{what} is one too many: a container's labels may have {MOST_OF_ONE} pairs of host and path")
            }
            Why::OwnPath => format!("{what} belongs to the platform's own pages"),
        }
    }

    pub fn remedy(&self) -> String {
        let app = &self.app;
        match &self.why {
            Why::Address | Why::Localhost | Why::Domain | Why::Machine => {
                format!("leave it out, or choose another; {app}.localhost needs no set-up")
            }
            Why::Platform(_) | Why::Release(_) => "choose another host".into(),
            Why::Taken { .. } | Why::Service(_) => format!("give {app} another host or path"),
            Why::Closed(holder) => {
                format!(
                    "choose another host, or write open = true into apps/{holder}.toml to let labels have other paths"
                )
            }
            Why::Container => format!("platformer logs {app}; or choose another host"),
            Why::Full | Why::Many => {
                "ask for fewer hosts, or declare the app: what is declared counts by itself".into()
            }
            Why::OwnPath => format!("give {app} another path"),
        }
    }
}
