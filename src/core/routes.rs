//! Which request goes where, as a value: per app its hosts, paths, and the ready instances of each release.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::app::{Proxy, Sticky};
use super::grants::Granted;
use super::names::{AppName, PathPrefix, Version};
use super::split::{Percent, Split};

/// All routes. Equal routes render to equal text, so equality decides whether nginx is reloaded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Routes {
    pub apps: BTreeMap<AppName, Arc<AppRoute>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppRoute {
    /// Its hosts and paths: nobody else has them.
    #[serde(flatten)]
    pub granted: Granted,
    pub strip_prefix: bool,
    pub proxy: Proxy,
    /// Addresses of the ready instances of each release.
    pub releases: BTreeMap<Version, Vec<SocketAddr>>,
    pub stable: Option<Version>,
    pub candidate: Option<Version>,
    /// The shares of those releases that can serve.
    #[serde(default)]
    pub split: Split,
    #[serde(default)]
    pub sticky: Sticky,
    /// The secret with which a request picks the candidate.
    #[serde(default)]
    pub preview: Option<Arc<str>>,
    /// A page says that somebody is working on it.
    #[serde(default)]
    pub maintenance: bool,
    /// A registered service, which is no container of ours.
    #[serde(default)]
    pub outside: Option<Outside>,
    /// All releases share the traffic: the app is not declared, its containers speak for themselves.
    pub shared: bool,
}

/// Stands where a secret does that is not shown.
const HIDDEN: &str = "hidden";

impl Routes {
    /// The same routes, without the preview secrets of the apps that `shows` does not name.
    pub fn without_secrets(&self, shows: impl Fn(&AppName) -> bool) -> Self {
        let hide = |(app, route): (&AppName, &Arc<AppRoute>)| match route.preview {
            Some(_) if !shows(app) => {
                (app.clone(), Arc::new(AppRoute { preview: Some(HIDDEN.into()), ..AppRoute::clone(route) }))
            }
            _ => (app.clone(), route.clone()),
        };
        Self { apps: self.apps.iter().map(hide).collect() }
    }
}

/// How requests go to a registered service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outside {
    pub https: bool,
    /// The name under which it is asked for its certificate.
    pub tls_name: Option<String>,
    /// The `Host` that it is asked for; with several addresses it is the one that the visitor asked for.
    pub host: Option<String>,
    /// Below this it is found on the host of all services.
    pub prefix: PathPrefix,
}

impl AppRoute {
    /// The instances that the app's own hosts lead to.
    pub fn main(&self) -> Vec<SocketAddr> {
        let carries = |version: &Version| self.shared || self.split.share(version) > Percent::NONE;
        self.releases.iter().filter(|(version, _)| carries(version)).flat_map(|(_, all)| all).copied().collect()
    }

    /// Whether both are the same but for the instances behind them and how those share the traffic.
    pub fn is_shaped_like(&self, other: &AppRoute) -> bool {
        (&self.granted, self.strip_prefix, &self.proxy, &self.sticky, &self.outside)
            == (&other.granted, other.strip_prefix, &other.proxy, &other.sticky, &other.outside)
    }

    /// This route with the instances of another.
    pub fn serving_as(&self, other: &AppRoute) -> AppRoute {
        AppRoute {
            granted: self.granted.clone(),
            strip_prefix: self.strip_prefix,
            proxy: self.proxy.clone(),
            sticky: self.sticky.clone(),
            outside: self.outside.clone(),
            ..other.clone()
        }
    }

    /// This route without those instances that another does not have: an address may be somebody else's by now.
    pub fn with_instances_of(&self, other: &AppRoute) -> AppRoute {
        let mut route = self.clone();
        for (version, instances) in &mut route.releases {
            instances.retain(|address| other.releases.get(version).is_some_and(|all| all.contains(address)));
        }
        route.releases.retain(|_, instances| !instances.is_empty());
        route
    }
}

impl Routes {
    /// Puts an earlier route of an app back, without the hosts that others have been given since.
    pub fn restore(&mut self, app: &AppName, earlier: AppRoute) {
        let others = self.apps.iter().filter(|(name, _)| *name != app).map(|(_, route)| &route.granted);
        let granted = earlier.granted.beside(others);
        self.apps.insert(app.clone(), Arc::new(AppRoute { granted, ..earlier }));
    }

    /// Whether any release of any app has this instance.
    pub fn names(&self, address: SocketAddr) -> bool {
        self.apps.values().any(|app| app.releases.values().any(|instances| instances.contains(&address)))
    }
}
