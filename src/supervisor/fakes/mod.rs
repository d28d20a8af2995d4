//! Fakes for all ports, and the whole loop run with them: what no real Docker or nginx can be made to do on demand.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;

use crate::core::container::ContainerId;
use crate::core::decide::Command;
use crate::core::names::AppName;
use crate::core::testing::container;
use crate::core::world::Fact;
use crate::ports::balancer::BalancerError;
use crate::ports::engine::EngineError;
use crate::ports::inbox::CommandError;
use crate::ports::snapshot::View;
use crate::supervisor::clock::{Clock, Reading};

mod outside;
mod rig;

use outside::trouble;
use rig::Rig;

#[tokio::test]
async fn a_reload_that_fails_once_heals_with_no_new_event() {
    let rig = Rig::new(|_, balancer, _| {
        balancer.answers.lock().unwrap().extend([trouble("disk full"), trouble("disk full")])
    });
    rig.declare(&["shop"]);
    rig.until("the trouble is shown", |v| v.status.problems.iter().any(|p| p.reason.contains("disk full"))).await;
    rig.until_served("shop").await;
    rig.until("the trouble is over", |v| v.status.problems.is_empty()).await;
}

#[tokio::test]
async fn a_refused_app_is_found_without_a_line_and_everything_else_goes_on() {
    let refused = || BalancerError::Refused { reason: "could not build hash".into(), line: None };
    let rig = Rig::new(|_, _, _| {});
    rig.declare(&["shop"]);
    rig.until_served("shop").await;
    rig.balancer.answers.lock().unwrap().extend([refused()]);
    // Refused only once "bad" has an upstream: until then nothing of it could be to blame.
    rig.declare(&["shop", "bad", "other"]);
    rig.until_served("other").await;
    rig.until_served("shop").await;
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_done() {
    let rig = Rig::new(|_, _, _| {});
    rig.declare(&["shop"]);
    rig.until_served("shop").await;
    *rig.ledger.full.lock().unwrap() = true;
    let app = AppName::parse("shop").unwrap();
    let answer = rig.inbox.ask(Command::Scale { app: app.clone(), replicas: 5 }, "test").await;
    assert!(matches!(answer, Err(CommandError::NotRecorded(_))), "{answer:?}");
    assert_eq!(rig.engine.started.lock().unwrap().len(), 1);
    *rig.ledger.full.lock().unwrap() = false;
    rig.inbox.ask(Command::Scale { app, replicas: 2 }, "test").await.unwrap();
    rig.until("two", |v| v.status.apps.iter().any(|a| a.ready == 2)).await;
}

#[tokio::test]
async fn a_new_app_starts_only_once_its_release_is_recorded() {
    let rig = Rig::new(|_, _, ledger| *ledger.full.lock().unwrap() = true);
    rig.declare(&["shop"]);
    rig.until("the full ledger is shown", |v| v.status.problems.iter().any(|p| p.subject == "ledger")).await;
    assert!(rig.engine.started.lock().unwrap().is_empty());
    *rig.ledger.full.lock().unwrap() = false;
    rig.until_served("shop").await;
}

#[tokio::test]
async fn instances_found_without_a_record_are_kept() {
    let rig = Rig::new(|_, _, ledger| *ledger.full.lock().unwrap() = true);
    let labels = [("platformer.app", "shop"), ("platformer.version", "1.0"), ("platformer.owner", "me")];
    rig.inbox.tell(Fact::Seen(Box::new(container("shop-1.0-7", &labels))));
    rig.declare(&["shop"]);
    rig.until("the full ledger is shown", |v| v.status.problems.iter().any(|p| p.subject == "ledger")).await;
    *rig.ledger.full.lock().unwrap() = false;
    rig.until_served("shop").await;
    assert!(rig.engine.stopped.lock().unwrap().is_empty() && rig.engine.started.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_act_that_panics_is_reported_and_tried_again() {
    let rig = Rig::new(|engine, _, _| *engine.panics.lock().unwrap() = true);
    rig.declare(&["shop"]);
    rig.until_served("shop").await;
}

#[tokio::test]
async fn a_taken_name_is_no_failure_and_a_missing_image_is_shown() {
    let rig = Rig::new(|engine, _, _| {
        let missing = EngineError::Refused("image x:1.0 is not here".into());
        engine.answers.lock().unwrap().extend([EngineError::NameTaken("shop-1.0-1".into()), missing.clone(), missing]);
    });
    rig.declare(&["shop"]);
    let missing =
        |v: &View| v.status.problems.iter().any(|p| p.subject == "app shop" && p.reason.contains("is not here"));
    rig.until("the missing image", missing).await;
    rig.until_served("shop").await;
    assert_eq!(*rig.engine.started.lock().unwrap(), ["shop-1.0-2"]);
}

#[tokio::test]
async fn a_clock_that_is_set_a_year_forwards_and_back_leaves_routes_and_pauses_as_they_are() {
    let offset: Arc<Mutex<jiff::SignedDuration>> = Arc::default();
    let (seen, began) = (offset.clone(), std::time::Instant::now());
    let clock = Clock::new(move || {
        let steady = began.elapsed();
        Reading { wall: Timestamp::from_second(1_700_000_000).unwrap() + steady + *seen.lock().unwrap(), steady }
    });
    let rig = Rig::timed(clock, |_, _, _| {});
    rig.declare(&["shop"]);
    rig.until_served("shop").await;
    let year = jiff::SignedDuration::from_hours(365 * 24);
    let mut apps = vec!["shop"];
    for (set, app) in [(year, "blog"), (jiff::SignedDuration::ZERO, "docs"), (-year, "wiki")] {
        *offset.lock().unwrap() = set;
        apps.push(app);
        // The pause after it is as long as it is, whatever the clock says.
        rig.balancer.answers.lock().unwrap().push_back(trouble("once"));
        rig.declare(&apps);
        rig.until_served(app).await;
        let view = rig.until("nothing is wrong", |v| v.status.problems.is_empty()).await;
        assert_eq!(view.live_routes.as_ref().unwrap().apps.len(), apps.len());
    }
    assert!(rig.engine.stopped.lock().unwrap().is_empty());
}

async fn close(rig: &Rig) {
    rig.inbox.ask(Command::Close { keep_apps: false }, "test").await.unwrap();
    let end = std::time::Instant::now() + Duration::from_secs(10);
    while rig.engine.stopped.lock().unwrap().is_empty() {
        assert!(std::time::Instant::now() < end, "nothing was stopped");
        tokio::task::yield_now().await;
    }
    assert_eq!(*rig.engine.stopped.lock().unwrap(), [ContainerId("shop-1.0-1".into())]);
}

#[tokio::test]
async fn closing_stops_what_we_started_and_ends_the_loop() {
    let rig = Rig::new(|_, _, _| {});
    rig.declare(&["shop"]);
    rig.until_served("shop").await;
    close(&rig).await;
}

#[tokio::test]
async fn closing_waits_for_no_balancer_that_has_died_and_cannot_be_started() {
    let rig = Rig::new(|_, _, _| {});
    rig.declare(&["shop"]);
    rig.until_served("shop").await;
    rig.balancer.answers.lock().unwrap().extend(std::iter::repeat_n(trouble("the port is taken"), 1000));
    rig.inbox.tell(Fact::BalancerDied { reason: "killed".into() });
    rig.until("the trouble is shown", |v| v.status.problems.iter().any(|p| p.reason.contains("taken"))).await;
    close(&rig).await;
}
