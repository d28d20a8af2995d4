use jiff::Timestamp;

use super::*;
use crate::core::decide::{Command, Seed, Steer};
use crate::core::names::{AppName, Version};
use crate::core::notices::Notices;
use crate::core::problem::ProblemKind;
use crate::core::release::Release;
use crate::core::testing::{at, world_with};
use crate::core::world::{Action, Fact, Intent, Write};

fn version(text: &str) -> Version {
    Version::parse(text).unwrap()
}

/// An app whose release is recorded and secured.
fn brain() -> (Brain, AppName) {
    let (mut world, app) = world_with("image = \"shop:1.0\"", |app, index| {
        let stable = version("1.0");
        let release = Release::draft(app, stable.clone(), None, index, at(0));
        let release = Release { image_digest: Some("sha256:1".into()), proven: true, ..release };
        Intent { stable: Some(stable.clone()), releases: [(stable, release)].into(), ..Intent::new(at(0)) }
    });
    world.apply(Fact::Adopted(None), at(0));
    (Brain::new(world, Notices::default(), at(0)), app.name.clone())
}

/// A turn with a ledger that keeps what `keeps` says; what it was asked to keep.
fn turn(brain: &mut Brain, now: Timestamp, keeps: impl Fn(&[Write]) -> bool) -> (Turn, Vec<Write>) {
    let mut asked = Vec::new();
    let mut step = brain.turn(now, Seed::new("test"));
    loop {
        step = match step {
            Step::Done(turn) => return (*turn, asked),
            Step::Record(pending) => {
                asked.extend(pending.writes().to_vec());
                match keeps(pending.writes()) {
                    true => pending.kept(),
                    false => pending.lost("disk full".into()),
                }
            }
        };
    }
}

fn all(_: &[Write]) -> bool {
    true
}

fn none(_: &[Write]) -> bool {
    false
}

fn scale(app: &AppName, replicas: u16) -> Command {
    Command::Scale { app: app.clone(), replicas }
}

fn starts(turn: &Turn) -> usize {
    turn.actions.iter().filter(|action| matches!(action, Action::Start(_))).count()
}

#[test]
fn nothing_follows_from_what_the_ledger_does_not_have() {
    let (mut brain, app) = brain();
    let (first, _) = turn(&mut brain, at(1), all);
    assert_eq!(starts(&first), 1);
    let before = brain.world().intents.clone();
    brain.ask(Ticket(1), scale(&app, 3), "me".into());
    let (lost, asked) = turn(&mut brain, at(2), none);
    assert_eq!((starts(&lost), asked.len()), (0, 1));
    assert!(matches!(&lost.answers[..], [(Ticket(1), Err(Declined::NotRecorded(why)))] if why == "disk full"));
    assert!(lost.events.is_empty(), "{:?}", lost.events);
    assert_eq!(brain.world().intents, before);
    brain.ask(Ticket(2), scale(&app, 3), "me".into());
    let (kept, _) = turn(&mut brain, at(3), all);
    assert!(matches!(&kept.answers[..], [(Ticket(2), Ok(_))]));
    assert_eq!((starts(&kept), kept.events.len()), (2, 1), "it is told, and follows in the same turn");
}

#[test]
fn a_full_ledger_is_a_problem_that_is_tried_again_and_holds_up_nothing_else() {
    let (mut brain, app) = brain();
    let world = &mut brain.world;
    world.intents.get_mut(&app).unwrap().stable = None;
    let decision = |writes: &[Write]| !matches!(writes, [Write::Decision(_), ..]);
    let (full, asked) = turn(&mut brain, at(1), decision);
    assert!(!asked.is_empty(), "the first release is decided on by itself");
    assert!(full.actions.iter().any(|action| matches!(action, Action::Publish(_))));
    let problems = full.plan.unwrap().problems;
    assert!(problems.iter().any(|p| p.kind == ProblemKind::Ledger && p.reason == "disk full"), "{problems:?}");
    assert_eq!(full.wake_at, Some(at(2)));
    let (again, _) = turn(&mut brain, at(2), all);
    assert_eq!(brain.world().stable(&app), Some(&version("1.0")));
    assert!(!again.plan.unwrap().problems.iter().any(|p| p.kind == ProblemKind::Ledger));
}

#[test]
fn of_two_commands_in_one_turn_the_second_sees_what_the_first_decided() {
    let (mut brain, app) = brain();
    turn(&mut brain, at(1), all);
    let remove = || Command::Remove(app.clone());
    brain.ask(Ticket(1), remove(), "me".into());
    brain.ask(Ticket(2), Command::Close { keep_apps: true }, "me".into());
    brain.ask(Ticket(3), remove(), "you".into());
    let (done, asked) = turn(&mut brain, at(2), all);
    let outcomes: Vec<(u64, bool)> = done.answers.iter().map(|(t, answer)| (t.0, answer.is_ok())).collect();
    assert_eq!((outcomes, asked.len()), (vec![(1, true), (2, true), (3, false)], 1));
    assert!(brain.is_closed());
}

#[test]
fn a_command_waits_for_what_its_image_means_and_others_do_not() {
    let (mut brain, app) = brain();
    turn(&mut brain, at(1), all);
    let steer = Steer::Deploy(Box::default());
    brain.ask(Ticket(1), Command::Steer { app: app.clone(), steer }, "me".into());
    brain.ask(Ticket(2), scale(&app, 2), "me".into());
    let (asks, _) = turn(&mut brain, at(2), all);
    let [(Ticket(1), images)] = &asks.questions[..] else { panic!("{:?}", asks.questions) };
    assert!(matches!(&asks.answers[..], [(Ticket(2), Ok(_))]));
    let image = images.first().unwrap().clone();
    let now = crate::core::release::ImageNow { id: Some("sha256:2".into()), manifest: None };
    brain.images(Ticket(1), [(image, now)].into());
    let (done, _) = turn(&mut brain, at(3), all);
    let [(Ticket(1), Ok(done))] = &done.answers[..] else { panic!("{:?}", done.answers) };
    assert_eq!(done.deployment.as_ref().unwrap().release, version("1.0-r2"));
}

#[test]
fn what_is_no_news_is_not_planned_with() {
    let (mut brain, _) = brain();
    let (first, _) = turn(&mut brain, at(1), all);
    brain.tell(Fact::LookedUp(Default::default()));
    let (idle, _) = turn(&mut brain, at(2), all);
    assert!(first.plan.is_some() && idle.plan.is_none() && idle.actions.is_empty());
    assert_eq!(idle.wake_at, first.wake_at);
    let (woken, _) = turn(&mut brain, first.wake_at.unwrap(), all);
    assert!(woken.plan.is_some());
}
