//! What a deployment is going to do, in words, before it is begun.

use super::Deployment;
use crate::core::app::Strategy;

/// The deployment with its plan, a line for each thing that happens: of an app that is to have `wanted` instances, of
/// which `surge` more may run while they are replaced one by one.
pub fn foretold(deployment: Deployment, wanted: u16, surge: u16) -> Deployment {
    let (app, release) = (&deployment.app, &deployment.release);
    let mut plan = vec![format!("deploy {app}@{release} by strategy {}", deployment.strategy)];
    let old = deployment.from.as_ref().map(|from| format!("{app}@{from}"));
    if let Some(old) = old.as_ref().filter(|_| deployment.stop_first) {
        let why = match deployment.strategy {
            Strategy::Recreate => "as its strategy says",
            _ => "since its single instance writes to a volume",
        };
        plan.push(format!("drain {old} and stop it first, {why}; a page says so meanwhile"));
    }
    let (is_one_by_one, first) = (deployment.is_one_by_one(), deployment.first(wanted, surge));
    plan.push(format!("start {first} of {app}@{release} and wait until ready, at most {}", deployment.ready_timeout));
    if let Some(gate) = &deployment.gate {
        plan.push(format!(
            "run the gate {} against the candidate, at most {}; it gets no traffic before that",
            gate.image, gate.timeout
        ));
    }
    plan.push(match (deployment.strategy, &old) {
        (Strategy::Manual, _) => "stay at 0 % until `split` or `promote`".to_owned(),
        _ if deployment.waits => "stay at 0 % until `promote`".to_owned(),
        (Strategy::Rolling, Some(old)) if is_one_by_one => {
            format!("replace the {wanted} instances one after the other: each of {old} is drained and stopped as one is ready")
        }
        (Strategy::Rolling | Strategy::BlueGreen | Strategy::Recreate, _) => "switch all traffic at once".to_owned(),
        (Strategy::Canary, _) => {
            let steps: Vec<String> = deployment.canary.steps.iter().map(|s| format!("{s} %")).collect();
            format!(
                "give it {} and then 100 % of the traffic, each for {} and {} requests at least",
                steps.join(", "),
                deployment.canary.step,
                deployment.canary.requests
            )
        }
    });
    if !deployment.bake.get().is_zero() {
        plan.push(format!("watch it with all traffic for {}", deployment.bake));
    }
    match old {
        Some(old) if deployment.keep_old => plan.push(format!("keep {old} running, to be swapped back to")),
        Some(old) if !is_one_by_one && !deployment.stop_first => plan.push(format!("drain {old} and stop it")),
        _ => {}
    }
    Deployment { plan, ..deployment }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::deploy::Stage;
    use crate::core::testing::deployment;

    #[test]
    fn each_strategy_stops_what_runs_once() {
        let plan = |strategy, change: fn(&mut Deployment)| {
            let mut deployment = deployment(strategy, Stage::Queued);
            change(&mut deployment);
            foretold(deployment, 3, 1).plan
        };
        for strategy in [Strategy::Rolling, Strategy::BlueGreen, Strategy::Canary, Strategy::Recreate, Strategy::Manual]
        {
            let changes: [fn(&mut Deployment); 4] = [
                |_| {},
                |d| d.stop_first = true,
                |d| d.keep_old = d.strategy == Strategy::BlueGreen,
                |d| d.waits = true,
            ];
            for change in changes {
                let plan = plan(strategy, change);
                assert_eq!(plan.iter().filter(|line| line.contains("shop@1.0 ")).count(), 1, "{plan:?}");
            }
        }
        let rolling = plan(Strategy::Rolling, |_| {});
        assert_eq!(rolling[1], "start 1 of shop@2.0 and wait until ready, at most 2m");
        assert_eq!(
            rolling[2],
            "replace the 3 instances one after the other: each of shop@1.0 is drained and stopped as one is ready"
        );
        let first = plan(Strategy::Recreate, |d| d.from = None);
        assert!(!first.iter().any(|line| line.contains("stop")), "{first:?}");
    }
}
