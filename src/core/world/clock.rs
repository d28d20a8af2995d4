//! The wall clock was set: what waits goes on waiting as long as it would have.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::moment::move_by;
use super::{EngineState, World};

impl World {
    /// Moves every moment that time is counted from or up to. What others stamped, as the engine its containers, stays
    /// as they tell it; so that none is taken to wait for a year, waiting for readiness begins anew.
    pub(super) fn clock_set(&mut self, by: SignedDuration, now: Timestamp) {
        let (EngineState::Connected { since } | EngineState::Unknown { since }) = &mut self.engine;
        *since = now;
        let pauses = self.backoff.values_mut().map(|backoff| &mut backoff.until);
        let health = self.health.values_mut().chain(self.endpoint_health.values_mut()).map(|health| &mut health.since);
        let debts = self.restless.values_mut().flat_map(|debt| std::iter::once(&mut debt.paid).chain(&mut debt.held));
        let unprepared = self.unprepared.values_mut().flat_map(|known| [&mut known.since, &mut known.tried]);
        let disks = self.disks.iter_mut().map(|(_, since)| since);
        pauses
            .chain(health)
            .chain(debts)
            .chain(unprepared)
            .chain(self.departed.values_mut())
            .chain(self.steered.values_mut())
            .chain(disks)
            .for_each(|moment| move_by(moment, by));
        self.balancer.clock_set(by);
        for intent in self.intents.values_mut() {
            if let Some(deployment) = intent.deployment.as_mut().filter(|deployment| deployment.is_active()) {
                Arc::make_mut(deployment).clock_set(|moment| move_by(moment, by));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::app::Strategy;
    use crate::core::deploy::Stage;
    use crate::core::names::{AppName, Version};
    use crate::core::templates::Templates;
    use crate::core::testing::{at, deployment, platform};
    use crate::core::world::{Backoff, Fact, Intent, Unprepared, Unsecured};

    #[test]
    fn a_year_forwards_and_back_leaves_every_wait_as_it_was() {
        let year = SignedDuration::from_hours(365 * 24);
        let (app, version) = (AppName::parse("shop").unwrap(), Version::parse("1.0").unwrap());
        let mut world = World::new(platform(), Arc::new(Templates::built_in()), at(0));
        let key = (app.clone(), version.clone());
        world.backoff.insert(key.clone(), Backoff { failures: 3, away: 0, until: at(30), reason: String::new() });
        world.unprepared.insert(
            key.clone(),
            Unsecured { since: at(5), tried: at(5), times: 1, why: Unprepared::Later(String::new()) },
        );
        world.departed.insert(app.clone(), at(7));
        world.balancer.retry = Some((at(9), 1, String::new()));
        let active = deployment(Strategy::Rolling, Stage::Starting);
        let since = active.since;
        world.intents.insert(app.clone(), Intent { deployment: Some(Arc::new(active)), ..Intent::new(at(0)) });
        let moments = |world: &World| {
            let deployment = world.intents[&app].deployment.as_ref().unwrap().since;
            let retry = world.balancer.retry.as_ref().unwrap().0;
            [world.backoff[&key].until, world.unprepared[&key].tried, world.departed[&app], retry, deployment]
        };
        let before = [at(30), at(5), at(7), at(9), since];
        assert_eq!(moments(&world), before);
        world.apply(Fact::ClockSet { by: year }, at(10) + year);
        assert_eq!(moments(&world), before.map(|moment| moment + year));
        assert_eq!(world.engine, EngineState::Unknown { since: at(10) + year });
        world.apply(Fact::ClockSet { by: -year }, at(11));
        assert_eq!(moments(&world), before);
    }
}
