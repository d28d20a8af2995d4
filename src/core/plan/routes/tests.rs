use super::super::zone;
use super::*;
use crate::core::container::Container;
use crate::core::testing::{at, container, world_with};
use crate::core::world::{Fact, Intent, Subject};

/// The routes and problems of a world with shop declared and these containers, those in `ready` being so.
fn routed(all: Vec<Container>, ready: &[&str]) -> (Routes, Vec<Problem>) {
    let (mut world, _) = world_with("", |_, _| Intent::new(at(0)));
    let listed = Fact::Listed { containers: all.clone(), networks: Vec::new(), local: Vec::new() };
    world.apply(listed, at(1));
    for container in all.iter().filter(|c| ready.contains(&&*c.name)) {
        let (subject, started_at) = (Subject::Container(container.id.clone()), container.started_at);
        world.apply(Fact::Probed { subject, started_at, verdict: Ok(()) }, at(1));
    }
    let members = world.instances();
    let mut problems = Vec::new();
    let routes = routes(&world, &members, &zone::containers(&world), &mut problems, at(1)).0;
    (routes, problems)
}

fn hosts(routes: &Routes, app: &str) -> Vec<String> {
    let route = routes.apps.get(&AppName::parse(app).unwrap());
    route.map(|r| r.granted.hosts().iter().map(ToString::to_string).collect()).unwrap_or_default()
}

#[test]
fn a_container_that_is_not_ready_takes_nothing_from_one_that_is() {
    let old = container("old", &[("platformer.app", "aaa"), ("platformer.host", "x.platform,db.platform")]);
    let mut young = container("young", &[("platformer.app", "zzz"), ("platformer.host", "x.platform")]);
    young.created_at = at(9);
    let all = vec![old, young, container("db", &[])];
    let (both, problems) = routed(all.clone(), &["young"]);
    assert_eq!(hosts(&both, "zzz"), ["x.platform", "zzz.localhost"]);
    assert_eq!(hosts(&both, "aaa"), ["aaa.localhost"]);
    let told: Vec<_> = problems.iter().filter(|p| p.subject == "container old").map(|p| &*p.reason).collect();
    assert!(told.iter().any(|r| r.contains("db.platform is the name of a container")), "{told:?}");
    assert!(told.iter().any(|r| r.contains("already held by app zzz")), "{told:?}");
    assert_eq!(hosts(&routed(all, &["old", "young"]).0, "aaa"), ["x.platform", "db.platform", "aaa.localhost"]);
}

#[test]
fn a_second_container_of_an_app_takes_none_of_its_names_away() {
    let first = container("blog-1", &[("platformer.app", "blog")]);
    let labels = [("platformer.app", "blog"), ("platformer.host", "y.platform"), ("platformer.path", "/x")];
    let second = container("blog-2", &labels);
    let (routes, _) = routed(vec![first, second], &["blog-1"]);
    assert_eq!(hosts(&routes, "blog"), ["blog.platform", "blog.localhost", "y.platform"]);
    assert_eq!(routes.apps[&AppName::parse("blog").unwrap()].granted.paths(), [PathPrefix::root()]);
}

#[test]
fn the_address_of_a_single_release_is_granted_to_no_label() {
    let labels = [("platformer.app", "aaa"), ("platformer.host", "stable.shop.platform,candidate.shop.localhost")];
    let (routes, problems) = routed(vec![container("evil", &labels)], &["evil"]);
    assert_eq!(hosts(&routes, "aaa"), ["aaa.localhost"]);
    assert_eq!(hosts(&routes, "shop"), ["shop.platform", "shop.localhost"]);
    assert!(problems.iter().all(|p| p.subject == "container evil"), "{problems:?}");
    assert!(problems[0].reason.contains("single release of app shop"), "{problems:?}");
}

#[test]
fn a_container_that_is_called_like_its_app_keeps_its_host_while_it_is_not_ready() {
    let (web, other) = (container("web", &[("platformer.route", "true")]), container("db", &[]));
    let (routes, problems) = routed(vec![web, other], &[]);
    assert_eq!(hosts(&routes, "web"), ["web.platform", "web.localhost"]);
    assert!(problems.iter().all(|problem| problem.subject != "container web"), "{problems:?}");
}
