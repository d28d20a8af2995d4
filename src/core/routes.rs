//! Which request goes where, as a value: per app its hosts, paths, and the ready instances of each release.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::app::Proxy;
use super::names::{AppName, HostName, PathPrefix, Version};

/// All routes. Equal routes render to equal text, so equality decides whether nginx is reloaded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Routes {
    pub apps: BTreeMap<AppName, Arc<AppRoute>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppRoute {
    pub hosts: Vec<HostName>,
    pub paths: Vec<PathPrefix>,
    pub strip_prefix: bool,
    pub proxy: Proxy,
    /// Addresses of the ready instances of each release.
    pub releases: BTreeMap<Version, Vec<SocketAddr>>,
    pub stable: Option<Version>,
    pub candidate: Option<Version>,
    /// All releases share the traffic: the app is not declared, its containers speak for themselves.
    pub shared: bool,
}

impl AppRoute {
    /// The instances that the app's own hosts lead to.
    pub fn main(&self) -> Vec<SocketAddr> {
        match &self.stable {
            _ if self.shared => self.releases.values().flatten().copied().collect(),
            Some(stable) => self.releases.get(stable).cloned().unwrap_or_default(),
            None => Vec::new(),
        }
    }
}

impl Routes {
    /// Whether any release of any app has this instance.
    pub fn names(&self, address: SocketAddr) -> bool {
        self.apps.values().any(|app| app.releases.values().any(|instances| instances.contains(&address)))
    }
}
