//! Something of the platform's own state that could not be used as it was found, and what became of it.

use jiff::Timestamp;

/// What people are told of it, until the supervisor starts anew.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flaw {
    /// `state events.sqlite`, `state ledger.sqlite, row shop of intents`.
    pub subject: String,
    pub reason: String,
    pub remedy: String,
}

/// So many are told of; more say nothing new.
const MOST: usize = 100;

/// What was found so far, each with when.
#[derive(Debug, Clone, Default)]
pub struct Flaws(Vec<(Flaw, Timestamp)>);

impl Flaws {
    pub fn add(&mut self, flaw: Flaw, now: Timestamp) {
        if self.0.len() < MOST && !self.0.iter().any(|(known, _)| *known == flaw) {
            self.0.push((flaw, now));
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &(Flaw, Timestamp)> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::testing::at;

    #[test]
    fn a_flaw_is_told_once_and_there_are_never_more_than_people_can_read() {
        let flaw = |n: usize| Flaw { subject: format!("row {n}"), reason: String::new(), remedy: String::new() };
        let mut flaws = Flaws::default();
        (0..1000).for_each(|n| flaws.add(flaw(n % 200), at(n as i64)));
        assert_eq!(flaws.iter().count(), MOST);
        assert_eq!(flaws.iter().next().unwrap(), &(flaw(0), at(0)));
    }
}
