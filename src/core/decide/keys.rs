//! What is written to the older routers' keys: several wishes, decided as one.

use std::collections::{BTreeMap, BTreeSet};

use super::command::{Command, Done};
use super::record::{Decided, Decision};
use super::refusal::Refusal;
use super::request::{Decider, Steer};
use super::router_keys::{Keys, Slot, Wishes};
use crate::core::app::StickyMode;
use crate::core::names::{AppName, ImageRef, Version};
use crate::core::release::Images;
use crate::core::world::{Intent, Record, World, Write};

impl World {
    /// Decides on all wishes, each with what the ones before it have come to.
    pub(super) fn write_keys(&self, wishes: &Wishes, images: Option<&Images>, who: Decider<'_>) -> Decision {
        let mut writes = Vec::new();
        for (app, values) in wishes {
            writes.extend(self.write_keys_of(app, values, images, who)?.map(Write::Decision));
        }
        Ok(Decided::new(writes, Done { said: "the keys are written".into(), deployment: None }))
    }

    fn write_keys_of(
        &self,
        app: &AppName,
        values: &BTreeMap<Slot, String>,
        images: Option<&Images>,
        who: Decider<'_>,
    ) -> Result<Option<Record>, Refusal> {
        let mut record: Option<Record> = None;
        for step in self.steps(app, values)? {
            let intent = record.as_ref().map(|record| (*record.intent).clone());
            let intent = intent.or_else(|| self.intents.get(app).cloned()).unwrap_or_else(|| Intent::new(who.now));
            let decided = self.steer_from(app, intent, &self.told(app, step, images), who)?;
            for write in decided.writes {
                let Write::Decision(next) = write else { continue };
                match &mut record {
                    None => record = Some(next),
                    Some(record) => {
                        record.intent = next.intent;
                        record.ended.extend(next.ended);
                        record.entries.extend(next.entries);
                    }
                }
            }
        }
        Ok(record)
    }

    fn steps(&self, app: &AppName, values: &BTreeMap<Slot, String>) -> Result<Vec<Steer>, Refusal> {
        let intent = self.intents.get(app).ok_or_else(|| Refusal::Keys(format!("there is no app {app}")))?;
        let declared = self.declared.get(app).map_or(StickyMode::Visitor, |app| app.sticky.mode);
        let kept = intent.releases.values().filter(|r| !r.pruned).map(|r| r.version.clone());
        let listed = self.index.iter().flat_map(|index| index.versions(app).into_keys());
        let known: BTreeSet<Version> = kept.chain(listed).collect();
        Keys::of(intent, declared).write(app, values, &known).map_err(Refusal::Keys)
    }

    fn told(&self, app: &AppName, step: Steer, images: Option<&Images>) -> Steer {
        let Steer::Deploy(mut request) = step else { return step };
        let now = self.image_of(app, &request).and_then(|image| images?.get(&image));
        request.image_now = now.cloned();
        Steer::Deploy(request)
    }

    /// The images of which has to be asked what their names mean, before the command is decided on.
    pub fn images_to_ask(&self, command: &Command) -> BTreeSet<ImageRef> {
        match command {
            Command::Steer { app, steer: Steer::Deploy(request) } if request.image_now.is_none() => {
                self.image_of(app, request).into_iter().collect()
            }
            Command::Keys { wishes, images: None } => {
                let steps = wishes.iter().flat_map(|(app, values)| {
                    self.steps(app, values).unwrap_or_default().into_iter().map(move |step| (app, step))
                });
                let image = |(app, step): (&AppName, Steer)| match step {
                    Steer::Deploy(request) => self.image_of(app, &request),
                    _ => None,
                };
                steps.filter_map(image).collect()
            }
            _ => BTreeSet::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::release::{ImageNow, Release};
    use crate::core::testing::{at, world_with};

    const ME: Decider<'_> = Decider { by: "me", now: jiff::Timestamp::UNIX_EPOCH, secret: "" };

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap()
    }

    fn shop(image: &str) -> (World, AppName) {
        let (world, app) = world_with(&format!("image = \"{image}\""), |app, index| {
            let stable = version("1.0");
            let release = Release {
                image_digest: Some("sha256:1".into()),
                proven: true,
                was_stable: Some(true),
                ..Release::draft(app, stable.clone(), None, index, at(0))
            };
            let releases = [(stable.clone(), release)].into();
            Intent { stable: Some(stable), releases, ..Intent::new(at(0)) }
        });
        (world, app.name.clone())
    }

    #[test]
    fn of_keys_that_are_written_together_none_is_taken_where_one_is_refused() {
        let (world, app) = shop("shop:1.0");
        let write = |values: &[(Slot, &str)]| Command::Keys {
            wishes: [(app.clone(), values.iter().map(|(slot, text)| (*slot, (*text).to_owned())).collect())].into(),
            images: None,
        };
        let before = world.intents.clone();
        for refused in [
            &[(Slot::Stickyness, "0"), (Slot::Blend, "10")][..],
            // The second step is refused only once the first has been decided on.
            &[(Slot::Stickyness, "0"), (Slot::StableId, "9.9")],
        ] {
            assert!(matches!(world.decide(&write(refused), ME), Err(Refusal::Keys(_))));
            assert_eq!(world.intents, before);
        }
        let decided = world.decide(&write(&[(Slot::Stickyness, "0")]), ME).unwrap();
        assert_eq!(world.intents, before, "it is taken over once it is recorded");
        assert!(matches!(&decided.writes[..], [Write::Decision(r)] if r.intent.sticky == Some(StickyMode::Off)));
        let one_of_two = Command::Keys {
            wishes: [
                (app.clone(), [(Slot::Stickyness, "0".to_owned())].into()),
                (AppName::parse("zoo").unwrap(), [(Slot::Stickyness, "0".to_owned())].into()),
            ]
            .into(),
            images: None,
        };
        assert!(world.decide(&one_of_two, ME).is_err(), "there is no app zoo");
        assert_eq!(world.intents, before);
    }

    #[test]
    fn another_image_under_the_same_name_is_another_release() {
        let (world, app) = shop("shop:1.0");
        let image = ImageRef::parse("shop:1.0").unwrap();
        let deploy = |id: Option<&str>, manifest: Option<&str>| {
            let steer = Steer::Deploy(Box::default());
            let command = Command::Steer { app: app.clone(), steer };
            assert_eq!(world.images_to_ask(&command), [image.clone()].into());
            let now = ImageNow { id: id.map(Into::into), manifest: manifest.map(Into::into) };
            let command = command.with_images([(image.clone(), now)].into());
            assert!(world.images_to_ask(&command).is_empty(), "it has been asked");
            let done = world.decide(&command, ME);
            done.map(|decided| decided.done.deployment.unwrap().release.to_string()).map_err(|e| e.to_string())
        };
        for unchanged in [deploy(Some("sha256:1"), None), deploy(None, None)] {
            assert!(unchanged.unwrap_err().contains("nothing has changed"));
        }
        assert_eq!(deploy(Some("sha256:2"), None).unwrap(), "1.0-r2", "built again");
        assert_eq!(deploy(None, Some("sha256:m")).unwrap(), "1.0-r2", "pushed again, and not here yet");
    }
}
