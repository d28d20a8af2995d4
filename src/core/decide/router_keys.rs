//! The keys of two older routers: their reading of an app's true state, and what writing them asks for.
//!
//! `rolling/APP/{stable/id,candidate/id,blendpercent,stickyness}` with the placeholder `rolling/null`, and
//! `blue-green/APP/{current,blue/id,green/id}` with `blue-green/null`. Ids read `APP@VERSION`; any value that names
//! a known version is taken. Several keys written together are one wish: what is asked for follows from where the
//! app stands and where all of them want it.

use std::collections::{BTreeMap, BTreeSet};

use super::request::{DeployRequest, Steer};
use crate::core::app::{StickyMode, Strategy};
use crate::core::names::{AppName, Version};
use crate::core::split::{Percent, Split};
use crate::core::world::Intent;

/// What stands for no release.
const NULL: [&str; 2] = ["rolling/null", "blue-green/null"];

/// One of an app's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    StableId,
    CandidateId,
    Blend,
    Stickyness,
    Current,
    Blue,
    Green,
}

const SLOTS: [(Slot, &str, &str); 7] = [
    (Slot::StableId, "rolling/", "/stable/id"),
    (Slot::CandidateId, "rolling/", "/candidate/id"),
    (Slot::Blend, "rolling/", "/blendpercent"),
    (Slot::Stickyness, "rolling/", "/stickyness"),
    (Slot::Current, "blue-green/", "/current"),
    (Slot::Blue, "blue-green/", "/blue/id"),
    (Slot::Green, "blue-green/", "/green/id"),
];

/// What is written of each app.
pub type Wishes = BTreeMap<AppName, BTreeMap<Slot, String>>;

/// Whether the key is one that the platform answers for, and nobody may store anything under.
pub fn is_ours(key: &str) -> bool {
    key.starts_with("rolling/") || key.starts_with("blue-green/")
}

/// Whether some of them are below the prefix, besides others.
pub fn are_below(prefix: &str) -> bool {
    ["rolling/", "blue-green/"].iter().any(|ours| ours.starts_with(prefix))
}

/// The app and the slot that a key means.
pub fn parse(key: &str) -> Option<(AppName, Slot)> {
    SLOTS.iter().find_map(|(slot, before, after)| {
        let app = key.strip_prefix(before)?.strip_suffix(after)?;
        Some((AppName::parse(app).ok()?, *slot))
    })
}

/// What stands there always.
pub fn placeholders() -> [(String, String); 2] {
    NULL.map(|key| (key.to_owned(), "-".to_owned()))
}

/// Where an app stands, as far as the keys tell.
#[derive(Debug, Clone, PartialEq)]
pub struct Keys {
    stable: Option<Version>,
    candidate: Option<Version>,
    /// What the other colour holds while nothing is being deployed.
    warm: Option<Version>,
    blend: Percent,
    sticky: StickyMode,
    blue_is_current: bool,
    /// The candidate is being given all traffic: to clear it is what happens anyway.
    promoting: bool,
}

impl Keys {
    pub fn of(intent: &Intent, declared: StickyMode) -> Self {
        let candidate = intent.candidate().cloned();
        Self {
            blend: candidate.as_ref().map_or(Percent::NONE, |version| intent.split().share(version)),
            promoting: intent.underway().is_some_and(|d| d.hurried),
            stable: intent.stable.clone(),
            warm: intent.warm.clone(),
            sticky: intent.sticky.unwrap_or(declared),
            blue_is_current: intent.blue_is_current,
            candidate,
        }
    }

    /// Every key of the app with its value, in the order of the keys.
    pub fn pairs(&self, app: &AppName) -> BTreeMap<String, String> {
        let id = |version: Option<&Version>, null: &str| version.map_or(null.to_owned(), |v| format!("{app}@{v}"));
        let other = self.candidate.as_ref().or(self.warm.as_ref());
        let (blue, green) =
            if self.blue_is_current { (self.stable.as_ref(), other) } else { (other, self.stable.as_ref()) };
        let value = |slot| match slot {
            Slot::StableId => id(self.stable.as_ref(), NULL[0]),
            Slot::CandidateId => id(self.candidate.as_ref(), NULL[0]),
            Slot::Blend => self.blend.to_string(),
            Slot::Stickyness => if self.sticky == StickyMode::Off { "0" } else { "1" }.into(),
            Slot::Current => if self.blue_is_current { "blue" } else { "green" }.into(),
            Slot::Blue => id(blue, NULL[1]),
            Slot::Green => id(green, NULL[1]),
        };
        SLOTS.iter().map(|(slot, before, after)| (format!("{before}{app}{after}"), value(*slot))).collect()
    }

    /// What writing these values together asks for, in order; nothing where they say what is so already.
    ///
    /// # Errors
    /// Why they make no sense as the app stands now.
    pub fn write(
        &self,
        app: &AppName,
        values: &BTreeMap<Slot, String>,
        known: &BTreeSet<Version>,
    ) -> Result<Vec<Steer>, String> {
        let mut steps = Vec::new();
        let text = |slot: Slot| values.get(&slot).map(|value| value.trim());
        if let Some(value) = text(Slot::Stickyness) {
            let mode = match value {
                "0" => StickyMode::Off,
                "1" if self.sticky == StickyMode::Off => StickyMode::Visitor,
                "1" => self.sticky,
                other => return Err(format!("stickyness is 0 or 1, not {other:?}")),
            };
            steps.extend((mode != self.sticky).then_some(Steer::Sticky(mode)));
        }
        let read = |slot: Slot| text(slot).map(|value| read_id(app, value, known)).transpose();
        let (stable, mut candidate) = (read(Slot::StableId)?, read(Slot::CandidateId)?);
        let (own, other) = if self.blue_is_current { (Slot::Blue, Slot::Green) } else { (Slot::Green, Slot::Blue) };
        if let Some(id) = read(own)?
            && id != self.stable
        {
            return Err(format!("this colour serves {app}: write the other one, then current"));
        }
        let mut by_colour = false;
        if let Some(id) = read(other)? {
            by_colour = true;
            // The side that stays warm is neither deployed anew nor taken away by saying what it is.
            let is_so = self.candidate.is_none() && id == self.warm;
            candidate = if is_so { candidate } else { Some(id) };
        }
        let is_switched = match text(Slot::Current) {
            None => false,
            Some("blue") => !self.blue_is_current,
            Some("green") => self.blue_is_current,
            Some(value) => return Err(format!("current is blue or green, not {value:?}")),
        };
        let blend = text(Slot::Blend).map(read_blend).transpose()?;
        let is_promoted = match &stable {
            Some(None) if self.stable.is_some() => {
                return Err(format!("{app} has a stable release; `platformer stop {app}` takes it out of service"));
            }
            Some(Some(version)) if Some(version) == self.candidate.as_ref() => true,
            Some(_) | None => is_switched && self.candidate.is_some(),
        };
        if is_promoted {
            steps.extend((!self.promoting).then_some(Steer::Promote));
            // The candidate is stable then: cleared, with a share of 0, is what that means.
            return match candidate {
                Some(Some(version)) if Some(&version) != self.candidate.as_ref() => {
                    Err(format!("{version} can be the candidate once the promotion is done"))
                }
                _ => Ok(steps),
            };
        }
        if is_switched {
            return match self.warm {
                Some(_) => Ok([steps, vec![Steer::Swap]].concat()),
                None => Err(format!("the other colour of {app} holds nothing that could serve")),
            };
        }
        if let Some(Some(version)) = stable.filter(|id| *id != self.stable) {
            let request = DeployRequest { strategy: Some(Strategy::BlueGreen), ..deploy(version) };
            steps.push(Steer::Deploy(Box::new(request)));
            return Ok(steps);
        }
        match candidate {
            Some(None) if self.candidate.is_some() && !self.promoting => steps.push(Steer::Abort),
            Some(Some(version)) if Some(&version) != self.candidate.as_ref() => {
                if blend.is_some_and(|blend| blend != Percent::NONE) {
                    return Err(format!("{version} begins at 0: write blendpercent once it is ready"));
                }
                // The side that is left stays warm where the two are colours.
                let strategy = if by_colour { Strategy::BlueGreen } else { Strategy::Manual };
                let request = DeployRequest { strategy: Some(strategy), waits: true, ..deploy(version) };
                steps.push(Steer::Deploy(Box::new(request)));
            }
            Some(_) | None => steps.extend(self.blend(app, blend)?),
        }
        Ok(steps)
    }

    fn blend(&self, app: &AppName, blend: Option<Percent>) -> Result<Option<Steer>, String> {
        match (blend, &self.candidate) {
            (Some(share), Some(candidate)) if share != self.blend && !self.promoting => {
                Ok(Some(Steer::Split(Split::between(self.stable.as_ref(), candidate, share))))
            }
            (Some(share), None) if share != Percent::NONE => {
                Err(format!("{app} has no candidate to give {share} % to"))
            }
            _ => Ok(None),
        }
    }
}

fn deploy(version: Version) -> DeployRequest {
    DeployRequest { version: Some(version), replace: true, ..DeployRequest::default() }
}

fn read_blend(text: &str) -> Result<Percent, String> {
    Percent::parse(text).map_err(|error| format!("blendpercent is a share from 0 to 100: {error}"))
}

/// The version that an id names: `APP@VERSION`, the bare version, or a path with both, as older scripts write it.
/// Of several known versions that it contains, the longest is meant.
fn read_id(app: &AppName, text: &str, known: &BTreeSet<Version>) -> Result<Option<Version>, String> {
    if text.is_empty() || NULL.contains(&text) {
        return Ok(None);
    }
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '.';
    let is_named = |version: &str| {
        text.match_indices(version).any(|(at, _)| {
            let before = text.get(..at).map(|t| t.strip_suffix('v').unwrap_or(t));
            let before = before.and_then(|t| t.chars().next_back()).is_none_or(|c| !is_part(c));
            before && text.get(at + version.len()..).and_then(|t| t.chars().next()).is_none_or(|c| !is_part(c))
        })
    };
    let names = |version: &&Version| is_named(version.as_str()) || is_named(&version.plain());
    let alone = text.strip_prefix(app.as_str()).and_then(|t| t.strip_prefix('@')).unwrap_or(text);
    let exact = Version::parse(alone).ok().and_then(|version| known.get(&version));
    let found = exact.or_else(|| known.iter().filter(names).max_by_key(|version| version.as_str().len())).cloned();
    let all: Vec<&str> = known.iter().map(Version::as_str).collect();
    found.map(Some).ok_or_else(|| {
        let text: String = text.chars().take(80).collect();
        format!("{text:?} names no version of {app}: there are {}", all.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::decide::Steer::{Abort, Promote, Swap};

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap()
    }

    fn shop() -> AppName {
        AppName::parse("shop").unwrap()
    }

    fn keys(stable: &str, candidate: Option<&str>, warm: Option<&str>) -> Keys {
        Keys {
            stable: Some(version(stable)),
            candidate: candidate.map(version),
            warm: warm.map(version),
            blend: Percent::NONE,
            sticky: StickyMode::Visitor,
            blue_is_current: false,
            promoting: false,
        }
    }

    fn write(keys: &Keys, values: &[(Slot, &str)]) -> Result<Vec<Steer>, String> {
        let known = ["1.0", "1.1", "1.1-rc1", "2.0"].map(version).into();
        keys.write(&shop(), &values.iter().map(|(slot, value)| (*slot, (*value).to_owned())).collect(), &known)
    }

    #[test]
    fn the_keys_tell_the_true_state() {
        let pairs = keys("1.0", Some("1.1"), None).pairs(&shop());
        let expected = [
            ("blue-green/shop/blue/id", "shop@1.1"),
            ("blue-green/shop/current", "green"),
            ("blue-green/shop/green/id", "shop@1.0"),
            ("rolling/shop/blendpercent", "0"),
            ("rolling/shop/candidate/id", "shop@1.1"),
            ("rolling/shop/stable/id", "shop@1.0"),
            ("rolling/shop/stickyness", "1"),
        ];
        assert_eq!(pairs, expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
        assert!(pairs.keys().all(|key| parse(key).is_some_and(|(app, _)| app == shop()) && is_ours(key)));
        assert_eq!(keys("1.0", None, None).pairs(&shop())["rolling/shop/candidate/id"], "rolling/null");
    }

    #[test]
    fn what_is_written_together_is_one_wish() {
        use Slot::{Blend, Blue, CandidateId, Current, Green, StableId, Stickyness};
        let none = keys("1.0", None, None);
        let one = keys("1.0", Some("1.1"), None);
        let promoting = Keys { promoting: true, ..one.clone() };
        let warm = keys("1.0", None, Some("2.0"));
        let deploy = |text: &str, strategy| {
            let waits = strategy == Strategy::Manual;
            Steer::Deploy(Box::new(DeployRequest { strategy: Some(strategy), waits, ..super::deploy(version(text)) }))
        };
        let green = DeployRequest { strategy: Some(Strategy::BlueGreen), waits: true, ..super::deploy(version("1.1")) };
        let half = || Steer::Split(Split::between(Some(&version("1.0")), &version("1.1"), Percent::of(1, 2)));
        for (keys, values, expected) in [
            (&none, &[(CandidateId, "shop@1.1")][..], vec![deploy("1.1", Strategy::Manual)]),
            (&none, &[(CandidateId, "apps/shop-1.1-rc1-80/containers")], vec![deploy("1.1-rc1", Strategy::Manual)]),
            (&none, &[(StableId, "2.0")], vec![deploy("2.0", Strategy::BlueGreen)]),
            (&none, &[(StableId, "shop@v2.0")], vec![deploy("2.0", Strategy::BlueGreen)]),
            (&none, &[(CandidateId, "apps/shop-v1.1-80")], vec![deploy("1.1", Strategy::Manual)]),
            (&none, &[(StableId, "1.0"), (CandidateId, "rolling/null"), (Blend, "0"), (Stickyness, "1")], vec![]),
            (&none, &[(Stickyness, "0")], vec![Steer::Sticky(StickyMode::Off)]),
            (&none, &[(Blue, "shop@1.1")], vec![Steer::Deploy(Box::new(green))]),
            (&one, &[(Blend, "50")], vec![half()]),
            (&one, &[(CandidateId, "rolling/null")], vec![Abort]),
            (&one, &[(StableId, "1.1"), (CandidateId, "rolling/null"), (Blend, "0"), (Stickyness, "1")], vec![Promote]),
            (&one, &[(Current, "blue")], vec![Promote]),
            (&one, &[(Blue, "1.1"), (Green, "1.0"), (Current, "green")], vec![]),
            (&promoting, &[(Blend, "0")], vec![]),
            (&promoting, &[(CandidateId, "rolling/null")], vec![]),
            (&warm, &[(Current, "blue")], vec![Swap]),
            (&warm, &[(Blue, "blue-green/null")], vec![]),
        ] {
            assert_eq!(write(keys, values).as_ref(), Ok(&expected), "{values:?}");
        }
        for (keys, values, why) in [
            (&none, &[(Blend, "10")][..], "no candidate"),
            (&none, &[(CandidateId, "9.9")], "names no version of shop: there are 1.0, 1.1-rc1, 1.1"),
            (&none, &[(CandidateId, "11.0")], "names no version"),
            (&none, &[(StableId, "rolling/null")], "has a stable release"),
            (&none, &[(CandidateId, "1.1"), (Blend, "10")], "begins at 0"),
            (&none, &[(Stickyness, "yes")], "0 or 1"),
            (&none, &[(Blend, "101")], "from 0 to 100"),
            (&none, &[(Current, "red")], "blue or green"),
            (&none, &[(Current, "blue")], "holds nothing"),
            (&none, &[(Green, "1.1")], "serves shop"),
            (&one, &[(StableId, "1.1"), (CandidateId, "2.0")], "once the promotion is done"),
        ] {
            let error = write(keys, values).unwrap_err();
            assert!(error.contains(why), "{values:?}: {error}");
        }
    }
}
