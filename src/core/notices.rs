//! Which problems people are told of, and when: those that last, once each, together where they concern one app.
//!
//! In: the problems there are at a moment. Out: what to tell now. A problem counts from when it was first seen here,
//! so that a restart, an upgrade or a reboot, which pass, tell nobody anything.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::event::Event;
use super::problem::{Problem, ProblemKind};

/// A problem is told once it has been there for so long, and its end once it has been gone for as long.
pub const LASTING: Duration = Duration::from_secs(30);
/// Reasons in one message; more are counted.
const REASONS: usize = 3;

pub const PROBLEM: &str = "problem";
pub const RESOLVED: &str = "resolved";

/// Something to tell people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// [`PROBLEM`] or [`RESOLVED`].
    pub kind: &'static str,
    pub subject: String,
    pub message: String,
    /// The kinds of problems that it tells of.
    pub about: Vec<ProblemKind>,
}

/// What was told and what may have to be.
#[derive(Debug, Default)]
pub struct Notices {
    /// Seen without a break since then, by subject and kind.
    pending: BTreeMap<(String, ProblemKind), Timestamp>,
    /// Told and not resolved, by what it was told of and by kind.
    told: BTreeMap<(String, ProblemKind), Told>,
}

#[derive(Debug)]
struct Told {
    reason: String,
    /// Since when it has not been seen.
    gone: Option<Timestamp>,
}

impl Notices {
    /// Goes on after what was told before, oldest first.
    pub fn recall(events: &[Event]) -> Self {
        let mut told = BTreeMap::new();
        for event in events {
            for kind in &event.about {
                let key = (event.subject.clone(), *kind);
                match &*event.kind {
                    PROBLEM => _ = told.insert(key, Told { reason: event.message.clone(), gone: None }),
                    RESOLVED => _ = told.remove(&key),
                    _ => {}
                }
            }
        }
        Self { pending: BTreeMap::new(), told }
    }

    /// Takes in the problems there are, and says what to tell of them.
    pub fn observe(&mut self, problems: &[Problem], now: Timestamp) -> Vec<Notice> {
        let is_away = problems.iter().any(|p| p.kind == ProblemKind::EngineAway);
        let known = |problem: &&Problem| {
            !problem.kind.is_told_as_decision() && (!is_away || problem.kind.stands_without_engine())
        };
        let problems: Vec<&Problem> = problems.iter().filter(known).collect();
        let there: BTreeSet<_> = problems.iter().map(|p| (p.subject.as_str(), p.kind)).collect();
        self.pending.retain(|(subject, kind), _| there.contains(&(subject.as_str(), *kind)));
        for (subject, kind) in there {
            let since = self.pending.entry((subject.to_owned(), kind)).or_insert(now);
            // A clock that was set back makes nobody wait until it has caught up.
            *since = (*since).min(now);
        }
        let mut notices = self.begun(&problems, now);
        notices.extend(self.ended(&problems, is_away, now));
        notices
    }

    /// What has lasted. What else concerns the same subject is told with it.
    fn begun(&mut self, problems: &[&Problem], now: Timestamp) -> Vec<Notice> {
        let mut new: BTreeMap<String, Vec<&Problem>> = BTreeMap::new();
        for problem in problems {
            let key = (group(problem), problem.kind);
            if !self.told.contains_key(&key) {
                new.entry(key.0).or_default().push(problem);
            }
        }
        let lasts = |problem: &&Problem| {
            let since = self.pending.get(&(problem.subject.clone(), problem.kind));
            since.is_some_and(|since| has_passed(*since, now))
        };
        new.retain(|_, problems| problems.iter().any(lasts));
        let mut notices = Vec::new();
        for (subject, problems) in new {
            let mut reasons = Vec::new();
            let mut about: Vec<ProblemKind> = Vec::new();
            for problem in problems {
                let reason = match problem.subject == subject {
                    true => problem.reason.clone(),
                    false => format!("{}: {}", problem.subject, problem.reason),
                };
                let kind = problem.kind;
                if !about.contains(&kind) {
                    let told = Told { reason: reason.clone(), gone: None };
                    self.told.insert((subject.clone(), kind), told);
                    about.push(kind);
                }
                reasons.push(reason);
            }
            notices.push(Notice { kind: PROBLEM, subject, message: together(reasons), about });
        }
        notices
    }

    /// What was told and has been gone for long enough. What is not known while the engine is away stays as it was.
    fn ended(&mut self, problems: &[&Problem], is_away: bool, now: Timestamp) -> Vec<Notice> {
        let there: BTreeSet<(String, ProblemKind)> = problems.iter().map(|p| (group(p), p.kind)).collect();
        for ((subject, kind), told) in &mut self.told {
            if is_away && !kind.stands_without_engine() {
                continue;
            }
            told.gone = match there.contains(&(subject.clone(), *kind)) {
                true => None,
                false => Some(told.gone.unwrap_or(now).min(now)),
            };
        }
        let mut over: BTreeMap<String, (Vec<String>, Vec<ProblemKind>)> = BTreeMap::new();
        self.told.retain(|(subject, kind), told| {
            let is_over = told.gone.is_some_and(|since| has_passed(since, now));
            if is_over {
                let (reasons, about) = over.entry(subject.clone()).or_default();
                reasons.push(told.reason.clone());
                about.push(*kind);
            }
            !is_over
        });
        let told = |(subject, (mut reasons, about)): (String, (Vec<String>, _))| {
            reasons.dedup();
            Notice { kind: RESOLVED, subject, message: format!("resolved: {}", together(reasons)), about }
        };
        over.into_iter().map(told).collect()
    }
}

/// What a problem is told of: the app that suffers, else whatever it is of.
fn group(problem: &Problem) -> String {
    problem.app.as_ref().map_or_else(|| problem.subject.clone(), |app| format!("app {app}"))
}

/// Reasons as one text.
fn together(mut reasons: Vec<String>) -> String {
    let more = reasons.len().saturating_sub(REASONS);
    reasons.truncate(REASONS);
    let text = reasons.join("; ");
    if more > 0 { format!("{text}; and {more} more") } else { text }
}

fn has_passed(since: Timestamp, now: Timestamp) -> bool {
    Duration::try_from(now.duration_since(since)).is_ok_and(|passed| passed >= LASTING)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::event::Level;
    use crate::core::names::AppName;
    use crate::core::testing::at;

    fn shop() -> AppName {
        AppName::parse("shop").unwrap()
    }

    fn unready(container: &str, reason: &str) -> Problem {
        let subject = format!("container {container}");
        Problem::new(ProblemKind::NotReady, subject, reason, "docker logs", at(0)).in_app(&shop())
    }

    fn dying(reason: &str) -> Problem {
        Problem::of_app(ProblemKind::Dying, &shop(), reason, "platformer logs shop", at(0))
    }

    fn away() -> Problem {
        Problem::new(ProblemKind::EngineAway, "docker", "the engine does not answer", "start Docker", at(0))
    }

    /// What is told over time: at each second the problems that begin to be there then, until the next.
    fn told(notices: &mut Notices, course: &[(i64, Vec<Problem>)], end: i64) -> Vec<(i64, String)> {
        let mut all = Vec::new();
        let mut there: &[Problem] = &[];
        for second in course.first().map_or(0, |(second, _)| *second)..=end {
            if let Some((_, problems)) = course.iter().find(|(at, _)| *at == second) {
                there = problems;
            }
            let told = notices.observe(there, at(second));
            all.extend(told.into_iter().map(|n| (second, format!("{}: {}", n.subject, n.message))));
        }
        all
    }

    fn texts(told: &[(i64, String)]) -> Vec<(i64, &str)> {
        told.iter().map(|(second, text)| (*second, text.as_str())).collect()
    }

    #[test]
    fn a_problem_is_told_once_it_has_lasted_and_its_end_in_other_words() {
        let course = [(0, vec![dying("exit 1")]), (10, vec![dying("exit 2")]), (100, vec![])];
        assert_eq!(
            texts(&told(&mut Notices::default(), &course, 300)),
            [(30, "app shop: exit 2"), (130, "app shop: resolved: exit 2")]
        );
    }

    #[test]
    fn a_reason_that_changes_with_every_look_is_one_problem() {
        let course: Vec<_> =
            (0..3000).map(|s| (s, vec![dying(if s % 2 == 0 { "no answer" } else { "refused" })])).collect();
        assert_eq!(told(&mut Notices::default(), &course, 2999).len(), 1);
    }

    #[test]
    fn what_passes_is_told_to_nobody() {
        // A rolling restart: one instance after the other is not ready for a while, some of them at once.
        let course: Vec<_> = (0..20).map(|n| (n * 20, vec![unready(&format!("shop-{n}"), "starting")])).collect();
        assert_eq!(told(&mut Notices::default(), &course, 400).len(), 0);
    }

    #[test]
    fn what_concerns_one_app_is_told_together() {
        let both = vec![unready("shop-1", "no answer"), unready("shop-2", "no answer"), dying("exit 1")];
        let all = told(&mut Notices::default(), &[(0, both.clone()), (60, vec![dying("exit 1")]), (200, vec![])], 400);
        assert_eq!(
            texts(&all),
            [
                (30, "app shop: container shop-1: no answer; container shop-2: no answer; exit 1"),
                (90, "app shop: resolved: container shop-1: no answer"),
                (230, "app shop: resolved: exit 1"),
            ]
        );
    }

    #[test]
    fn what_goes_and_comes_back_at_once_was_never_gone() {
        let course: Vec<_> =
            (0..20).map(|n| (n * 20, if n % 4 == 3 { vec![] } else { vec![dying("exit 1")] })).collect();
        assert_eq!(texts(&told(&mut Notices::default(), &course, 400)), [(30, "app shop: exit 1")]);
    }

    #[test]
    fn while_the_engine_is_away_one_message_is_told() {
        let mut notices = Notices::default();
        let file = || Problem::new(ProblemKind::File, "file apps/x.toml", "no TOML", "mend it", at(0));
        let course = [
            (0, vec![dying("exit 1")]),
            (40, vec![away(), unready("shop-1", "gone")]),
            (100, vec![away(), unready("shop-1", "refused"), unready("other", "gone")]),
            (160, vec![away(), unready("shop-1", "gone"), file()]),
            // It is back; the app needs a moment, and is well.
            (200, vec![dying("exit 1"), file()]),
            (210, vec![file()]),
        ];
        assert_eq!(
            texts(&told(&mut notices, &course, 400)),
            [
                (30, "app shop: exit 1"),
                (70, "docker: the engine does not answer"),
                (190, "file apps/x.toml: no TOML"),
                (230, "docker: resolved: the engine does not answer"),
                (240, "app shop: resolved: exit 1"),
            ]
        );
    }

    #[test]
    fn who_is_restarted_tells_nothing_twice_and_owes_no_end() {
        let event = |id, kind: &'static str, about: &[ProblemKind]| Event {
            id,
            at: at(0),
            kind: kind.into(),
            subject: "app shop".into(),
            message: "exit 1".into(),
            level: Some(Level::Warning),
            about: about.to_vec(),
        };
        let before = [event(1, PROBLEM, &[ProblemKind::Dying, ProblemKind::Held]), event(2, "decision", &[])];
        let mut notices = Notices::recall(&before);
        let all = told(&mut notices, &[(0, vec![dying("exit 1")]), (100, vec![])], 300);
        assert_eq!(texts(&all), [(30, "app shop: resolved: exit 1"), (130, "app shop: resolved: exit 1")]);
        let mut notices =
            Notices::recall(&[event(1, PROBLEM, &[ProblemKind::Dying]), event(2, RESOLVED, &[ProblemKind::Dying])]);
        assert_eq!(told(&mut notices, &[(0, vec![])], 100).len(), 0);
    }

    #[test]
    fn a_held_deployment_was_told_as_a_decision() {
        let held = Problem::of_app(ProblemKind::Held, &shop(), "held", "platformer resume shop", at(0));
        assert_eq!(told(&mut Notices::default(), &[(0, vec![held])], 100).len(), 0);
    }

    #[test]
    fn a_clock_that_is_set_back_makes_nobody_wait_for_it() {
        let mut notices = Notices::default();
        assert!(notices.observe(&[dying("exit 1")], at(10_000)).is_empty());
        assert!(notices.observe(&[dying("exit 1")], at(0)).is_empty());
        assert_eq!(notices.observe(&[dying("exit 1")], at(30)).len(), 1);
    }
}
