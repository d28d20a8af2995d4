//! The last step of the boot: each app is told as it becomes ready, or as soon as it is known that it does not.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::progress::Progress;
use crate::core::names::AppName;
use crate::core::problem::ProblemKind;
use crate::core::view::AppStatus;
use crate::ports::snapshot::{Snapshot, View};

/// After this the boot says what is not ready yet, and goes on.
const APPS: Duration = Duration::from_secs(120);

/// Waits until a generation is live. What keeps it from that is said meanwhile.
pub async fn balancer(snapshot: &Snapshot, progress: &dyn Progress) -> u64 {
    let trouble = |view: &View| {
        let kinds = [ProblemKind::BalancerTrouble, ProblemKind::BalancerDied];
        view.status.problems.iter().find(|p| kinds.contains(&p.kind)).cloned()
    };
    let view = snapshot.until(|view| view.status.generation.live.is_some() || trouble(view).is_some()).await;
    if let (None, Some(problem)) = (view.status.generation.live, trouble(&view)) {
        progress.warn(&format!("{}: {} ({})", problem.subject, problem.reason, problem.remedy));
    }
    let view = snapshot.until(|view| view.status.generation.live.is_some()).await;
    view.status.generation.live.unwrap_or_default()
}

/// Tells each app, and what is wrong, and then how many are ready and which are not.
pub async fn apps(snapshot: &Snapshot, progress: &dyn Progress) {
    let began = Instant::now();
    let mut told: BTreeSet<AppName> = BTreeSet::new();
    loop {
        let is_next = |view: &View| {
            let mut open = view.status.apps.iter().filter(|app| !told.contains(&app.name)).peekable();
            view.informed && (open.peek().is_none() || open.any(|app| outcome(view, app).is_some()))
        };
        let in_time = timeout_at(began + APPS, snapshot.until(is_next)).await;
        let view = in_time.as_ref().map_or_else(|_| snapshot.view(), |view| view.clone());
        for app in view.status.apps.iter().filter(|app| !told.contains(&app.name)).cloned().collect::<Vec<_>>() {
            let outcome = outcome(&view, &app);
            if outcome.is_some() || in_time.is_err() {
                tell(&view, &app, outcome == Some(true), progress, began);
                told.insert(app.name);
            }
        }
        if view.status.apps.iter().all(|app| told.contains(&app.name)) {
            return ready(&view, progress, began);
        }
    }
}

/// Whether the app is ready and served, or will not be for now; `None` while that is not known.
fn outcome(view: &View, app: &AppStatus) -> Option<bool> {
    let routed = |routes: &crate::core::routes::Routes| routes.apps.get(&app.name).cloned();
    if is_ready(app) {
        let live = view.live_routes.as_ref().and_then(|live| routed(live));
        return (live == routed(&view.routes)).then_some(true);
    }
    let moving = app.deployment.as_ref().is_some_and(|d| d.ended_at.is_none() && d.state == d.stage);
    let fails = view.status.problems.iter().any(|p| p.app.as_ref() == Some(&app.name) && keeps_from_ready(p.kind));
    (fails || (app.stable.is_none() && !moving)).then_some(false)
}

fn is_ready(app: &AppStatus) -> bool {
    app.ready >= app.wanted && app.stable.is_some()
}

fn keeps_from_ready(kind: ProblemKind) -> bool {
    use ProblemKind::{Dying, NoVersion, NotReady, RoutesRefused, Unhealthy, Unprepared, Unreachable};
    matches!(kind, Dying | NoVersion | NotReady | RoutesRefused | Unhealthy | Unprepared | Unreachable)
}

fn tell(view: &View, app: &AppStatus, is_ready: bool, progress: &dyn Progress, began: Instant) {
    let version = app.stable.as_ref().map_or("no version".to_owned(), |v| format!("@{v}"));
    if is_ready {
        let host = app.hosts.first().map(|h| format!("http://{h}/")).unwrap_or_default();
        let detail = format!("{version} {}/{} ready {host}", app.ready, app.wanted);
        return progress.done(&format!("app {}", app.name), &detail, began.elapsed());
    }
    let why = why(view, app).map(|why| format!(": {why}")).unwrap_or_default();
    progress.warn(&format!("app {} {version} {}/{} ready{why}", app.name, app.ready, app.wanted));
}

/// The first true reason why an app is not ready.
fn why(view: &View, app: &AppStatus) -> Option<String> {
    let mut problems = view.status.problems.iter().filter(|p| p.app.as_ref() == Some(&app.name));
    let problem = problems.find(|p| keeps_from_ready(p.kind)).map(|p| format!("{} ({})", p.reason, p.remedy));
    problem.or_else(|| app.instances.iter().find_map(|instance| instance.reason.clone()))
}

fn ready(view: &View, progress: &dyn Progress, began: Instant) {
    for problem in &view.status.problems {
        // What keeps an app from being ready stands in its own line.
        if !keeps_from_ready(problem.kind) || problem.app.is_none() {
            progress.warn(&format!("{}: {} ({})", problem.subject, problem.reason, problem.remedy));
        }
    }
    let (ready, not): (Vec<_>, Vec<_>) = view.status.apps.iter().partition(|app| is_ready(app));
    let not: Vec<&str> = not.iter().map(|app| app.name.as_str()).collect();
    let not = if not.is_empty() { String::new() } else { format!("; not ready: {}", not.join(", ")) };
    progress.done("ready", &format!("{} of {} apps{not}", ready.len(), view.status.apps.len()), began.elapsed());
}
