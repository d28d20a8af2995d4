//! Who is to blame when nginx refuses a generation: found by having it read parts of the text, off the hot path.
//!
//! In: a refused [`Switch`], and perhaps the app whose line nginx named. Out: the smallest part to leave out. What is
//! live was accepted, so only what differs from it is suspected; of two that cannot be together the later loses.

use std::sync::Arc;

use tokio::time::{Duration, Instant};

use crate::core::names::{AppName, HostName};
use crate::core::render::{Frame, Renderer};
use crate::core::routes::{AppRoute, Routes};
use crate::core::templates::Templates;
use crate::core::world::{Culprit, Switch, SwitchError};
use crate::ports::balancer::{Balancer, BalancerError};

/// A search that takes longer leaves out what it has not looked at; that is tried again later.
const PATIENCE: Duration = Duration::from_secs(5);

/// A refusal of one generation, being looked into.
pub struct Search<'a> {
    balancer: &'a dyn Balancer,
    frame: &'a Frame,
    switch: &'a Switch,
    reason: &'a str,
    until: Instant,
}

impl<'a> Search<'a> {
    pub fn new(balancer: &'a dyn Balancer, frame: &'a Frame, switch: &'a Switch, reason: &'a str) -> Self {
        Self { balancer, frame, switch, reason, until: Instant::now() + PATIENCE }
    }

    /// `suspect` is the app behind the line that nginx named, `line` how that is told.
    pub async fn run(&self, suspect: Option<AppName>, line: &str) -> SwitchError {
        let Switch { routes, templates, live, .. } = self.switch;
        let template = |why: &str| SwitchError::Template { reason: format!("nginx refuses it: {why}{line}") };
        let accepts_built_in =
            async || !templates.is_built_in() && self.refusal(&Templates::built_in(), routes).await.is_none();
        if self.switch.is_new_text && accepts_built_in().await {
            return template(self.reason);
        }
        let before =
            Routes { apps: live.apps.iter().filter(|(app, _)| routes.apps.contains_key(*app)).map(owned).collect() };
        let is_new = |(app, route): &(&AppName, &Arc<AppRoute>)| before.apps.get(*app) != Some(*route);
        let mut changed: Vec<&AppName> = routes.apps.iter().filter(is_new).map(|(app, _)| app).collect();
        // Added later, suspected sooner: the last of these are put in last.
        changed.sort_by_key(|app| (suspect.as_ref() == Some(*app), !before.apps.contains_key(*app)));
        let suspect = suspect.filter(|suspect| changed.last() == Some(&suspect));
        if let Some(suspect) = suspect {
            let mut without = (**routes).clone();
            replace(&mut without, &suspect, before.apps.get(&suspect));
            if self.refusal(templates, &without).await.is_none() {
                return SwitchError::Apps(vec![self.culprit(&without, &suspect, self.reason).await]);
            }
        }
        if !changed.is_empty() && self.refusal(templates, &before).await.is_none() {
            return SwitchError::Apps(self.among(before, changed).await);
        }
        // What was accepted before is not any more, so it is not about what changed.
        if let Some(why) = self.refusal(templates, &Routes::default()).await {
            return match accepts_built_in().await {
                true => template(&why),
                false => SwitchError::Trouble { reason: why },
            };
        }
        changed.sort_unstable();
        let mut all: Vec<&AppName> = routes.apps.keys().collect();
        all.sort_by_key(|app| changed.binary_search(app).is_ok());
        let culprits = self.among(Routes::default(), all).await;
        match culprits.is_empty() {
            true => SwitchError::Trouble { reason: self.reason.to_owned() },
            false => SwitchError::Apps(culprits),
        }
    }

    /// Adds as many of the apps as nginx accepts to what it accepts already, halving what it refuses.
    async fn among(&self, mut accepted: Routes, apps: Vec<&AppName>) -> Vec<Culprit> {
        let (mut found, mut groups) = (Vec::new(), vec![apps]);
        while let Some(group) = groups.pop() {
            let mut with = accepted.clone();
            for app in &group {
                replace(&mut with, app, self.switch.routes.apps.get(*app));
            }
            let refusal = match Instant::now() < self.until {
                true => self.refusal(&self.switch.templates, &with).await,
                false => Some(format!("it was not looked at yet, since others are refused: {}", self.reason)),
            };
            match (refusal, group.as_slice()) {
                (None, _) => accepted = with,
                (Some(why), [app]) => found.push(((*app).clone(), why)),
                (Some(_), _) => {
                    let (first, second) = group.split_at(group.len() / 2);
                    groups.push(second.to_vec());
                    groups.push(first.to_vec());
                }
            }
        }
        let mut culprits = Vec::new();
        for (app, why) in found {
            let culprit = self.culprit(&accepted, &app, &why).await;
            replace(&mut accepted, &app, culprit.instead.as_ref());
            culprits.push(culprit);
        }
        culprits
    }

    /// What of the app's newest routes can be had with what is accepted, host by host; else its routes in there stay.
    async fn culprit(&self, accepted: &Routes, app: &AppName, why: &str) -> Culprit {
        let before = || accepted.apps.get(app).cloned();
        let plain = |instead| Culprit { app: app.clone(), instead, reason: why.to_owned() };
        let Some(wanted) = self.switch.routes.apps.get(app).filter(|wanted| wanted.granted.hosts().len() > 1) else {
            return plain(before());
        };
        let only = |hosts: &[HostName]| AppRoute { granted: wanted.granted.only(hosts), ..(**wanted).clone() };
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        for host in wanted.granted.hosts() {
            let with = [&good[..], std::slice::from_ref(host)].concat();
            let mut routes = accepted.clone();
            replace(&mut routes, app, Some(&Arc::new(only(&with))));
            match Instant::now() < self.until && self.refusal(&self.switch.templates, &routes).await.is_none() {
                true => good = with,
                false => bad.push(host.as_str()),
            }
        }
        match good.is_empty() || bad.is_empty() {
            true => plain(before()),
            false => {
                let reason = format!("{}: {why}", bad.join(", "));
                Culprit { app: app.clone(), instead: Some(Arc::new(only(&good))), reason }
            }
        }
    }

    /// Why nginx, or the template, refuses these routes. Trouble that is nobody's fault counts as a refusal too: what
    /// could not be looked at is not taken for good.
    async fn refusal(&self, templates: &Templates, routes: &Routes) -> Option<String> {
        let rendered = Renderer::new(templates).and_then(|r| r.render(self.switch.generation, self.frame, routes));
        match rendered {
            Err(error) => Some(error.to_string()),
            Ok(rendered) => match self.balancer.check(&rendered).await {
                Ok(()) => None,
                Err(BalancerError::Refused { reason, .. } | BalancerError::Trouble(reason)) => Some(reason),
            },
        }
    }
}

fn owned((app, route): (&AppName, &Arc<AppRoute>)) -> (AppName, Arc<AppRoute>) {
    (app.clone(), route.clone())
}

fn replace(routes: &mut Routes, app: &AppName, route: Option<&Arc<AppRoute>>) {
    match route {
        Some(route) => _ = routes.apps.insert(app.clone(), route.clone()),
        None => _ = routes.apps.remove(app),
    }
}
