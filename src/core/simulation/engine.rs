//! The engine, as far as trouble lets it: it starts, stops and forgets.

use super::Mistake;
use super::outside::{Outside, never_ready};
use crate::core::container::{Attachment, Container, ContainerId, RunState};
use crate::core::deploy::GateResult;
use crate::core::names::{AppName, Version};
use crate::core::routes::Routes;
use crate::core::testing::container;
use crate::core::world::{Action, Fact, Subject, Undone, Unprepared};

impl Outside {
    pub(super) fn version_of(&self, id: &ContainerId) -> Option<Version> {
        Version::parse(self.containers.get(id)?.label("platformer.version")?).ok()
    }

    /// Nothing is done about a release that the ledger does not know.
    pub(super) fn is_on_record(&mut self, app: &AppName, version: &Version) -> bool {
        let is_known = self.ledger.get(app).is_some_and(|intent| intent.releases.contains_key(version));
        if !is_known {
            self.violation = Some(format!("something is begun for {app}@{version}, which is not on record"));
        }
        is_known
    }

    /// Carries an action out, as far as trouble lets it.
    pub(super) fn act(&mut self, action: Action) {
        match action {
            Action::Publish(_) | Action::Keep { .. } | Action::Connect(_) | Action::RemoveNetwork(_) => {}
            Action::Prepare { app, release } => {
                let is_on_record = self.is_on_record(&app, &release.version);
                let result = match self.random.draw() % 12 {
                    0 if self.troubled => Err(Unprepared::Later("no answer".into())),
                    1 if self.troubled
                        && is_on_record
                        && self.ledger[&app].stable.as_ref() != Some(&release.version) =>
                    {
                        Err(Unprepared::Never("no such image".into()))
                    }
                    _ => Ok("sha256:1".into()),
                };
                self.facts.push_back(Fact::Prepared { app, version: release.version, result });
            }
            Action::Gate { deployment, .. } => {
                let result = GateResult { exit_code: Some(i64::from(self.trouble(4))), error: None, log: Vec::new() };
                if result.passed() {
                    self.passed.insert(deployment.clone());
                }
                self.facts.push_back(Fact::Gated { deployment, result });
            }
            Action::Probe(targets) => {
                for target in targets.iter() {
                    let Subject::Container(id) = &target.subject else { continue };
                    let bad = self.version_of(id).is_some_and(|v| never_ready(&v)) || self.trouble(8);
                    let verdict = if bad { Err("no answer".to_owned()) } else { Ok(()) };
                    self.facts.push_back(Fact::Probed {
                        subject: target.subject.clone(),
                        started_at: target.started_at,
                        verdict,
                    });
                }
            }
            Action::Switch(_) if self.mistake == Some(Mistake::NeverTell) => {}
            Action::Switch(switch) => self.switch(switch),
            Action::Start(spec) => {
                self.is_on_record(&spec.app, &spec.version);
                if self.trouble(8) {
                    self.facts.push_back(Fact::Started {
                        name: spec.name.clone(),
                        result: Err(Undone::Refused("no memory".into())),
                    });
                    return;
                }
                self.next_id += 1;
                let labels: Vec<(&str, &str)> = spec.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
                let made = Container {
                    id: ContainerId(format!("c{}", self.next_id).into()),
                    name: spec.name.as_str().into(),
                    created_at: self.now,
                    started_at: Some(self.now),
                    attachments: vec![Attachment {
                        network: "platform".into(),
                        addresses: vec![std::net::Ipv4Addr::from(0xAC1E_0000 + self.next_id).into()],
                        aliases: Vec::new(),
                    }],
                    ..container("x", &labels)
                };
                self.containers.insert(made.id.clone(), made.clone());
                self.facts.push_back(Fact::Started { name: spec.name, result: Ok(Box::new(made)) });
            }
            Action::Restart(id) => {
                let now = self.now;
                if let Some(container) = self.containers.get_mut(&id) {
                    container.state = RunState::Running;
                    container.started_at = Some(now);
                    let seen = Fact::Seen(Box::new(container.clone()));
                    self.tell(seen);
                }
                self.facts.push_back(Fact::Restarted { id, result: Ok(()) });
            }
            Action::Drain { id, .. } if self.mistake == Some(Mistake::StopUndrained) => {
                self.facts.push_back(Fact::Drained(id));
            }
            Action::Drain { id, address, limit } => {
                let names = |routes: &Routes| address.is_some_and(|address| routes.names(address));
                let last = self.leaving.iter().filter(|(routes, _)| names(routes)).map(|(_, until)| *until).max();
                self.later.push((last.map_or(self.now, |last| last.min(self.now + limit)), Fact::Drained(id)));
            }
            Action::Stop { id, .. } if self.mistake == Some(Mistake::LeaveAnInstance) => {
                self.facts.push_back(Fact::Stopped { id, result: Ok(()) });
            }
            Action::Stop { id, .. } => {
                if self.containers.get(&id).is_some_and(|c| !c.ours) {
                    self.violation = Some(format!("{id} was stopped and is none of ours"));
                }
                let address = self.containers.get(&id).and_then(|c| c.address_on("platform"));
                let named = |routes: &Routes| address.is_some_and(|ip| routes.names((ip, 8080).into()));
                if self.live.as_ref().is_some_and(|(_, routes)| named(routes)) {
                    self.violation = Some(format!("{id} was stopped while the live routes name it"));
                }
                let is_needed = self.leaving.iter().any(|(routes, until)| *until > self.now && named(routes));
                if is_needed && !self.drained.contains(&id) {
                    self.violation = Some(format!("{id} was stopped while an old worker has connections to it"));
                }
                self.containers.remove(&id);
                self.facts.push_back(Fact::Stopped { id, result: Ok(()) });
            }
        }
    }
}
