//! What a deployment would make of an app's routes, before it is begun.

use std::net::SocketAddr;

use crate::core::app::Strategy;
use crate::core::deploy::Deployment;
use crate::core::routes::AppRoute;
use crate::core::split::{Percent, Split};

/// Of a rolling deployment no more replacements are shown one by one.
const SHOWN: u16 = 10;

/// The routes that a deployment of an app that serves as `route` leads through, one generation each, with what
/// brings it there. Instances that there are not yet stand under addresses for documentation (RFC 5737).
pub fn ahead(route: &AppRoute, deployment: &Deployment, wanted: u16, port: u16) -> Vec<(String, AppRoute)> {
    let (release, stable) = (&deployment.release, route.stable.as_ref());
    let instances = (1..=wanted.min(250)).map(|n| SocketAddr::from(([192, 0, 2, n.to_le_bytes()[0]], port))).collect();
    let mut current = route.clone();
    current.releases.insert(release.clone(), instances);
    current.candidate = Some(release.clone());
    current.preview = Some(deployment.preview.clone());
    current.split = Split::between(stable, release, Percent::NONE).without_idle();
    let mut steps = vec![(format!("{release} is ready, at 0 %"), current.clone())];
    for share in shares(deployment, wanted) {
        current.split = Split::between(stable, release, share).without_idle();
        steps.push((format!("{release} has {share} %"), current.clone()));
    }
    if deployment.strategy != Strategy::Manual && !deployment.waits {
        current.releases.retain(|version, _| version == release || (deployment.keep_old && Some(version) == stable));
        (current.stable, current.candidate, current.preview) = (Some(release.clone()), None, None);
        steps.push((format!("{release} is stable"), current));
    }
    steps
}

/// The candidate's share, step by step.
fn shares(deployment: &Deployment, wanted: u16) -> Vec<Percent> {
    match deployment.strategy {
        _ if deployment.waits => Vec::new(),
        Strategy::Manual => Vec::new(),
        Strategy::BlueGreen | Strategy::Recreate => vec![Percent::ALL],
        Strategy::Canary => deployment.canary.steps.iter().copied().chain([Percent::ALL]).collect(),
        Strategy::Rolling => {
            let count = wanted.clamp(1, SHOWN);
            (1..=count).map(|n| Percent::of(u64::from(n), u64::from(count))).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::deploy::Stage;
    use crate::core::names::Version;
    use crate::core::testing::{at, deployment, planned, world_with};
    use crate::core::world::Intent;

    #[test]
    fn each_strategy_tells_the_shares_that_it_leads_through() {
        let stable = Version::parse("1.0").unwrap();
        let (mut world, app) =
            world_with("image = \"shop:1.0\"", |_, _| Intent { stable: Some(stable), ..Intent::new(at(0)) });
        let routes = planned(&mut world, at(1)).routes;
        let of = |strategy| {
            let steps = ahead(&routes.apps[&app.name], &deployment(strategy, Stage::Queued), 2, 8080);
            steps.into_iter().map(|(says, _)| says).collect::<Vec<_>>()
        };
        assert_eq!(of(Strategy::Manual), ["2.0 is ready, at 0 %"]);
        assert_eq!(of(Strategy::BlueGreen), ["2.0 is ready, at 0 %", "2.0 has 100 %", "2.0 is stable"]);
        assert_eq!(of(Strategy::Rolling)[1..], ["2.0 has 50 %", "2.0 has 100 %", "2.0 is stable"]);
        assert_eq!(of(Strategy::Canary).len(), 6, "5, 25, 50 and 100 %");
    }
}
