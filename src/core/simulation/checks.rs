//! Whether everything has come to rest as it should.

use super::outside::{APPS, Outside, index, never_ready};
use crate::core::names::{AppName, Version};
use crate::core::split::Split;

impl Outside {
    /// Whether what is live and what runs is what is wanted, and nothing is under way.
    pub(super) fn converged(&self) -> Result<(), String> {
        let live = self.live.as_ref().map(|(_, routes)| routes.clone()).unwrap_or_default();
        for (app, _) in APPS {
            let app = AppName::parse(app).unwrap();
            let intent = self.ledger.get(&app).ok_or("nothing is recorded")?;
            if let Some(active) = intent.active() {
                let there: Vec<_> = self.containers.values().map(|c| (&c.name, &c.state)).collect();
                return Err(format!(
                    "{} of {} ({:?}) is {}: {}; stable {:?}, warm {:?}, there are {there:?}",
                    active.id,
                    active.release,
                    active.strategy,
                    active.state(),
                    active.reason,
                    intent.stable,
                    intent.warm
                ));
            }
            let wanted = intent.replicas.map_or(index().apps[&app].replicas, |r| r);
            let route = live.apps.get(&app).ok_or(format!("{app} has no route"))?;
            let stable = intent.stable.clone().ok_or(format!("{app} has no stable release"))?;
            let routed = route.releases.get(&stable).map_or(0, Vec::len);
            let of = |version: Option<&Version>| {
                let mine =
                    self.containers.values().filter(|c| c.ours && c.label("platformer.app") == Some(app.as_str()));
                mine.filter(|c| version.is_none_or(|v| c.label("platformer.version") == Some(v.as_str()))).count()
            };
            let warm = intent.warm.as_ref().map_or(0, |_| usize::from(wanted));
            let wanted = usize::from(wanted);
            // Promoted while no instance was wanted, so that nothing could prove it: it never serves.
            if never_ready(&stable) || intent.warm.as_ref().is_some_and(never_ready) {
                continue;
            }
            if (routed, of(Some(&stable)), of(None)) != (wanted, wanted, wanted + warm) {
                let (mine, all) = (of(Some(&stable)), of(None));
                return Err(format!(
                    "{app}@{stable}: {routed} routed, {mine} run, {all} in all; {wanted} wanted, {warm} warm"
                ));
            }
            if intent.split.is_none() && wanted > 0 && route.split != Split::all(stable) {
                return Err(format!("{app} is split {:?}", route.split));
            }
        }
        Ok(())
    }
}
