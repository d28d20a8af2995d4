//! How each fact changes the world.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::{
    Action, Claimed, EngineState, Fact, Health, Intent, Notes, Phase, Refused, Retiring, Subject, SwitchError,
    Switching, World, Write,
};
use crate::core::container::{Container, ContainerId, Network, RunState, Subnet};
use crate::core::disk;
use crate::core::names::AppName;
use crate::core::repository::Index;

impl World {
    /// Whether the fact says anything that the plan could depend on and that is not known already: most probes
    /// only find what the one before found.
    pub fn is_news(&self, fact: &Fact) -> bool {
        match fact {
            Fact::Probed { subject, started_at, verdict } => {
                let known = match subject {
                    Subject::Container(id) => self.health.get(id),
                    Subject::Endpoint(name, id) => self.endpoint_health.get(&(name.clone(), id.clone())),
                };
                self.run_of(subject) == Some(*started_at)
                    && known.is_none_or(|h| (&h.started_at, &h.verdict) != (started_at, verdict))
            }
            Fact::LookedUp(found) => *found != self.looked_up,
            Fact::Disks(found) => !found.iter().eq(self.disks.iter().map(|(disk, _)| disk)),
            Fact::Counted(counts) => counts
                .iter()
                .any(|c| self.intents.get(&c.app).is_some_and(|i| i.active().is_some() || i.split.is_some())),
            Fact::Seen(container) => {
                self.containers.get(&container.id).is_none_or(|known| *known.container != **container)
            }
            _ => true,
        }
    }

    /// Takes in what has become known. One arm for each fact: what takes more than a few lines has a name of its own.
    pub fn apply(&mut self, fact: Fact, now: Timestamp) {
        match fact {
            Fact::Listed { containers, networks, local } => self.listed(containers, networks, local, now),
            Fact::Seen(container) => {
                self.see(*container, now);
                self.join_anew(now);
            }
            Fact::Gone(id) => {
                self.removed.remove(&id);
                self.forget(&id, now);
                self.join_anew(now);
            }
            Fact::Died { id, code, at } => self.container_died(&id, code, at, now),
            Fact::EngineLost => {
                if !matches!(self.engine, EngineState::Unknown { .. }) {
                    self.engine = EngineState::Unknown { since: now };
                }
            }
            Fact::Indexed(index) => self.indexed(index, now),
            Fact::TemplatesLoaded(templates) => self.templates = templates,
            Fact::Recalled(intents) => self.intents = intents,
            Fact::Registered(services) => self.services = services,
            Fact::Inherited(ids) => {
                self.inherited = ids;
                self.claim_anew();
            }
            Fact::LookedUp(found) => self.looked_up = found,
            Fact::Sourced { app, look } => _ = self.found.insert(app, look),
            Fact::Probed { subject, started_at, verdict } => self.probed(subject, started_at, verdict, now),
            Fact::Adopted(found) => {
                self.balancer.adopt(found);
                self.follow_traffic();
            }
            Fact::Reached(generation) => {
                self.balancer.reached(generation);
                self.follow_traffic();
            }
            Fact::Settled(generation) => self.balancer.settled(generation),
            Fact::WorkersEnded(count) => self.balancer.workers_ended(count, now),
            Fact::Unswitched { generation, error } => self.unswitched(generation, error, now),
            Fact::BalancerDied { reason } => self.balancer.died(now, reason),
            Fact::Started { name, result } => self.started(&name, result, now),
            Fact::NameTaken(name) => self.name_taken(name, now),
            Fact::Restarted { id, result } => self.restarted(&id, result, now),
            Fact::Drained(id) => {
                self.busy.remove(&id);
                if let Some(retiring) = self.retiring.get_mut(&id) {
                    retiring.phase = Phase::Stopping;
                }
            }
            Fact::Wrote { deployment, lines } => {
                if !lines.is_empty() {
                    self.last_lines.entry(deployment).or_insert(lines);
                }
            }
            Fact::Stopped { id, result } => {
                self.busy.remove(&id);
                if result.is_ok() {
                    self.forget(&id, now);
                    self.removed.insert(id);
                }
            }
            Fact::Prepared { app, version, result } => self.prepared((app, version), result, now),
            // Ended because we go down: it is run anew when we are back.
            Fact::Gated { deployment, .. } if self.closing.is_some() => _ = self.gates.remove(&deployment),
            Fact::Gated { deployment, result } => _ = self.gates.insert(deployment, Some(result)),
            Fact::Counted(counts) => {
                for counted in counts {
                    self.traffic.entry(counted.app.clone()).or_default().count(&counted);
                }
            }
            Fact::Flawed(flaw) => self.flaws.add(flaw, now),
            Fact::Disks(found) => disk::renew(&mut self.disks, found, now),
            Fact::ClockSet { by } => self.clock_set(by, now),
        }
    }

    fn listed(&mut self, containers: Vec<Container>, networks: Vec<Network>, local: Vec<Subnet>, now: Timestamp) {
        if !matches!(self.engine, EngineState::Connected { .. }) {
            self.engine = EngineState::Connected { since: now };
            self.back(now);
        }
        self.listed = true;
        self.taken_names.clear();
        self.joining.clear();
        self.leaving.clear();
        self.local_addresses = local;
        if self.networks != networks {
            self.networks = networks;
            self.claim_anew();
        }
        let listed: BTreeSet<_> = containers.iter().map(|c| c.id.clone()).collect();
        self.removed.retain(|id| listed.contains(id));
        let gone: Vec<_> = self.containers.keys().filter(|id| !listed.contains(*id)).cloned().collect();
        for id in gone {
            self.forget(&id, now);
        }
        for container in containers {
            self.see(container, now);
        }
        self.join_anew(now);
    }

    /// The process of a container ended; one that began later is not meant.
    fn container_died(&mut self, id: &ContainerId, code: i64, at: Timestamp, now: Timestamp) {
        let known = self.containers.get(id).map(|known| &known.container);
        let known = known.filter(|c| c.is_running() && c.started_at.is_none_or(|s| s <= at));
        if let Some(container) = known {
            let state = RunState::Exited { code, oom: false, at: Some(at) };
            self.see(Container { state, attachments: Vec::new(), ..(**container).clone() }, now);
        }
    }

    /// Takes over what the ledger has.
    pub fn take_over(&mut self, write: &Write) {
        match write {
            Write::Decision(record) => {
                if record.afresh {
                    self.backoff.retain(|(name, _), _| *name != record.app);
                    self.unprepared.retain(|(name, _), _| *name != record.app);
                }
                self.decided(&record.app, &record.intent);
            }
            Write::Service { name, service, .. } => {
                match service {
                    Some(service) => _ = self.services.insert(name.clone(), service.clone()),
                    None => _ = self.services.remove(name),
                }
                let services = &self.services;
                self.endpoint_health
                    .retain(|(name, id), _| services.get(name).is_some_and(|s| s.endpoints.contains_key(id)));
            }
            Write::Inherited(ids) => {
                self.inherited = Some(ids.clone());
                self.claim_anew();
            }
        }
    }

    /// Notes what is about to be done, so that the next plan does not ask for it again.
    pub fn begin(&mut self, action: &Action, now: Timestamp) {
        match action {
            Action::Prepare { app, release } => {
                self.preparing.insert((app.clone(), release.version.clone()));
            }
            Action::Gate { deployment, .. } => {
                self.gates.entry(deployment.clone()).or_insert(None);
            }
            Action::Keep { kept, .. } => self.keeping = Some(kept.clone()),
            Action::Publish(zone) => self.published = Some(zone.clone()),
            Action::Probe(targets) => self.probing = targets.clone(),
            Action::Switch(switch) => {
                self.balancer.begin(switch, now);
            }
            Action::Start(spec) => {
                self.starting.insert(spec.name.clone(), (spec.app.clone(), spec.version.clone()));
            }
            Action::Connect(id) => _ = self.joining.insert(id.clone()),
            Action::RemoveNetwork(name) => _ = self.leaving.insert(name.clone()),
            Action::Restart(id) | Action::Stop { id, .. } => {
                self.busy.insert(id.clone());
            }
            Action::Drain { id, .. } => {
                self.busy.insert(id.clone());
                if let Some(retiring) = self.retiring.get_mut(id) {
                    retiring.phase = Phase::Draining;
                }
            }
        }
    }

    /// What is counted from now on is about the splits that are live.
    fn follow_traffic(&mut self) {
        let Some(live) = &self.balancer.live else { return };
        for (app, route) in live.routes.apps.iter().filter(|(_, route)| !route.shared) {
            self.traffic.entry(app.clone()).or_default().follow(&route.split, live.generation);
        }
    }

    /// Notes what was thought of it.
    pub fn note(&mut self, notes: &Notes) {
        notes.retire.iter().for_each(|id| self.retire(id));
        self.balancer.refusals.forget(&notes.released);
    }

    /// Begins to take an instance out of service.
    pub fn retire(&mut self, id: &ContainerId) {
        let address = self.containers.get(id).and_then(|known| self.address_of(known));
        self.retiring.entry(id.clone()).or_insert(Retiring { phase: Phase::Unrouting, address });
    }

    fn indexed(&mut self, index: Arc<Index>, now: Timestamp) {
        let known: Vec<AppName> = self.declared.keys().cloned().collect();
        for (name, app) in &index.apps {
            self.declared.insert(name.clone(), app.clone());
            self.intents.entry(name.clone()).or_insert_with(|| Intent::new(now));
        }
        let is_broken = |name: &AppName| index.troubles.iter().any(|t| t.path == format!("apps/{name}.toml"));
        // What never ran has nothing to go on with once its file is gone.
        let runs: BTreeSet<AppName> = self.ours().map(|(_, instance)| instance.app.clone()).collect();
        let (intents, starting) = (&self.intents, &self.starting);
        self.declared.retain(|name, _| {
            let is_starting = starting.values().any(|(app, _)| app == name);
            let ran = intents.get(name).is_some_and(|intent| intent.stable.is_some()) || runs.contains(name);
            index.apps.contains_key(name) || is_broken(name) || is_starting || ran
        });
        if !self.declared.keys().eq(&known) {
            self.claim_anew();
        }
        self.index = Some(index);
    }

    fn probed(&mut self, subject: Subject, started_at: Option<Timestamp>, verdict: Result<(), String>, now: Timestamp) {
        if self.run_of(&subject) != Some(started_at) {
            return;
        }
        let health = |before: Option<&Health>, presumed: bool| {
            let before = before.filter(|h| h.started_at == started_at);
            let since = before.filter(|h| h.verdict.is_ok() == verdict.is_ok()).map_or(now, |h| h.since);
            let was_ready = verdict.is_ok() || before.is_some_and(|h| h.was_ready) || presumed;
            Health { started_at, verdict: verdict.clone(), since, was_ready }
        };
        match subject {
            Subject::Container(id) => {
                let presumed = self.containers.get(&id).is_some_and(|known| self.is_presumed_ready(known));
                let was_able = self.is_able(&id);
                let health = health(self.health.get(&id), presumed);
                self.health.insert(id.clone(), health);
                self.may_have_lost(&id, was_able, now);
            }
            Subject::Endpoint(name, id) => {
                let key = (name, id);
                let before = self.endpoint_health.get(&key);
                let is_lost = verdict.is_err() && before.is_none_or(|health| health.verdict.is_ok());
                let health = health(before, false);
                self.endpoint_health.insert(key.clone(), health);
                if is_lost {
                    self.has_lost(Subject::Endpoint(key.0, key.1), now);
                }
            }
        }
    }

    /// The run of a container, or the registration of an endpoint, that verdicts are about now.
    fn run_of(&self, subject: &Subject) -> Option<Option<Timestamp>> {
        match subject {
            Subject::Container(id) => Some(self.containers.get(id)?.container.started_at),
            Subject::Endpoint(name, id) => Some(Some(self.services.get(name)?.endpoints.get(id)?.at)),
        }
    }

    fn is_presumed_ready(&self, known: &Claimed) -> bool {
        self.address_of(known).is_some_and(|address| self.balancer.adopted_names(address))
    }

    fn unswitched(&mut self, generation: u64, error: SwitchError, now: Timestamp) {
        let Some(switching) = self.balancer.switching.take_if(|s| s.switch.generation == generation) else {
            return;
        };
        let Switching { switch, .. } = switching;
        match error {
            SwitchError::Template { reason } if !switch.templates.is_built_in() => {
                self.balancer.refused_templates = Some(Refused { input: switch.templates, reason, since: now });
            }
            SwitchError::Apps(culprits) => self.balancer.refusals.refuse(&switch.routes, culprits, now),
            SwitchError::Template { reason } | SwitchError::Trouble { reason } => {
                let failures = self.balancer.retry.as_ref().map_or(0, |(_, failures, _)| *failures);
                let pause = super::starts::pause(failures).min(super::balancer::LONGEST_PAUSE);
                self.balancer.retry = Some((now + pause, failures + 1, reason));
            }
        }
    }
}
