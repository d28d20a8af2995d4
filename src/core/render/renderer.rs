//! Tera over the view: templates parsed once, rendered per generation.

use tera::{Context, Tera};

use super::view::{Frame, View};
use super::{RenderError, Rendered};
use crate::core::routes::Routes;
use crate::core::templates::Templates;

/// Parsed templates, ready to render.
pub struct Renderer {
    tera: Tera,
    origin: String,
}

impl Renderer {
    pub fn new(templates: &Templates) -> Result<Self, RenderError> {
        let mut tera = Tera::default();
        tera.autoescape_on(Vec::<&str>::new());
        tera.add_raw_templates(templates.texts()).map_err(|error| explain(&templates.origin, &error))?;
        Ok(Self { tera, origin: templates.origin.clone() })
    }

    pub fn render(&self, generation: u64, frame: &Frame, routes: &Routes) -> Result<Rendered, RenderError> {
        let view = View::new(generation, frame, routes);
        let context = Context::from_serialize(&view).map_err(|error| explain(&self.origin, &error))?;
        let render = |name: &str| self.tera.render(name, &context).map_err(|error| explain(name, &error));
        Ok(Rendered { http: render("platformer.conf.tera")?, main: render("nginx.conf.tera")? })
    }
}

/// Tera's report on one line; its source excerpt would only repeat the file.
fn explain(template: &str, error: &tera::Error) -> RenderError {
    let text = error.to_string();
    let lines: Vec<_> = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('|')).collect();
    RenderError { template: template.to_owned(), reason: lines.join(" ") }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::core::app::{Proxy, Size, Sticky, StickyMode};
    use crate::core::grants::Granted;
    use crate::core::names::{AppName, PathPrefix, Version};
    use crate::core::render::Listeners;
    use crate::core::routes::{AppRoute, Outside};
    use crate::core::split::{Percent, Split};
    use crate::core::testing::frame;

    fn route(releases: &[(&str, &[&str])], paths: &[&str]) -> Arc<AppRoute> {
        let version = |v: &str| Version::parse(v).unwrap();
        let releases: BTreeMap<_, _> =
            releases.iter().map(|(v, all)| (version(v), all.iter().map(|a| a.parse().unwrap()).collect())).collect();
        Arc::new(AppRoute {
            granted: Granted::of(&["shop.platform", "shop.localhost"], paths),
            strip_prefix: true,
            proxy: Proxy::default(),
            stable: releases.keys().next().cloned(),
            candidate: None,
            split: releases.keys().next().cloned().map(Split::all).unwrap_or_default(),
            sticky: Sticky::default(),
            preview: None,
            maintenance: false,
            outside: None,
            releases,
            shared: false,
        })
    }

    /// 1.1 is the candidate beside 1.0, with this share.
    fn canary(share: &str, mode: StickyMode, preview: bool) -> Arc<AppRoute> {
        let both = route(&[("1.0", &["172.30.0.5:8080"]), ("1.1", &["172.30.0.6:8080"])], &["/api"]);
        let (stable, candidate) = (Version::parse("1.0").unwrap(), Version::parse("1.1").unwrap());
        Arc::new(AppRoute {
            split: Split::between(Some(&stable), &candidate, Percent::parse(share).unwrap()),
            sticky: Sticky { mode },
            preview: preview.then(|| "secret".into()),
            candidate: Some(candidate),
            ..(*both).clone()
        })
    }

    fn render(frame: &Frame, route: Arc<AppRoute>) -> Rendered {
        let routes = Routes { apps: [(AppName::parse("shop").unwrap(), route)].into() };
        Renderer::new(&Templates::built_in()).unwrap().render(7, frame, &routes).unwrap()
    }

    #[test]
    fn a_registered_service_is_asked_for_its_own_host() {
        let service = Arc::new(AppRoute {
            granted: Granted::of_service(&["shop.platform", "shop.localhost"]),
            strip_prefix: false,
            stable: None,
            split: Split::default(),
            outside: Some(Outside {
                https: true,
                tls_name: Some("legacy.corp".into()),
                host: Some("legacy.corp:8443".into()),
                prefix: PathPrefix::parse("/shop").unwrap(),
            }),
            shared: true,
            ..(*route(&[("latest", &["192.0.2.9:8443"])], &["/"])).clone()
        });
        let services = Some("127.0.0.1:8000".parse().unwrap());
        let frame = Frame { listen: Listeners { services, ..frame().listen }, ..frame() };
        let text = render(&frame, service.clone()).http;
        let from = text.find("# app shop").unwrap();
        insta::assert_snapshot!("service", &text[from..]);
        let frame = Frame { services_ca: Some("/etc/ca.pem".into()), ..frame };
        let text = render(&frame, service).http;
        assert!(text.contains("proxy_ssl_verify on;") && text.contains("/etc/ca.pem;"), "{text}");
    }

    #[test]
    fn the_rendered_text_is_as_it_was_looked_at() {
        insta::assert_snapshot!(
            "ready",
            render(&frame(), route(&[("1.0", &["172.30.0.5:8080", "172.30.0.6:8080"])], &["/api"])).http
        );
        insta::assert_snapshot!("main", render(&frame(), route(&[], &["/"])).main);
    }

    #[test]
    fn a_split_is_drawn_per_visitor_release_or_request_and_needs_no_cookie_before() {
        insta::assert_snapshot!("visitor", render(&frame(), canary("33.33", StickyMode::Visitor, true)).http);
        insta::assert_snapshot!("release", render(&frame(), canary("33.33", StickyMode::Release, false)).http);
        let off = render(&frame(), canary("33.33", StickyMode::Off, false)).http;
        assert!(
            off.contains("split_clients \"$connection.$connection_requests\"") && !off.contains("Set-Cookie"),
            "{off}"
        );
        for share in ["0", "100"] {
            let text = render(&frame(), canary(share, StickyMode::Visitor, false)).http;
            assert!(!text.contains("split_clients") && !text.contains("Set-Cookie"), "{share}: {text}");
            let text = render(&frame(), canary(share, StickyMode::Visitor, true)).http;
            assert!(
                !text.contains("$platformer_visitor") && text.contains("$platformer_chosen_shop"),
                "{share}: {text}"
            );
        }
    }

    #[test]
    fn instance_mode_hashes_visitors_to_instances_where_there_are_several() {
        let sticky = |addresses: &[&str]| {
            let plain = route(&[("1.0", addresses)], &["/"]);
            let text = render(
                &frame(),
                Arc::new(AppRoute { sticky: Sticky { mode: StickyMode::Instance }, ..(*plain).clone() }),
            )
            .http;
            (text.contains("hash $platformer_visitor consistent;"), text.contains("$platformer_new_visitor"))
        };
        assert_eq!(sticky(&["172.30.0.5:1"]), (false, false));
        assert_eq!(sticky(&["172.30.0.5:1", "172.30.0.6:1"]), (true, true));
    }

    #[test]
    fn the_name_of_an_upstream_tells_its_release() {
        for version in ["1.0", "1.0-RC1", "v2", "1__0x", "1__A_", "default", "Include", "default_"] {
            let (app, version) = (AppName::parse("my-shop").unwrap(), Version::parse(version).unwrap());
            let name = super::super::upstream::upstream_name(&app, &version);
            assert_eq!(super::super::release_of(&name), Some((app, version)), "{name}");
        }
        assert_eq!(super::super::release_of("platformer.supervisor"), None);
    }

    #[test]
    fn heads_as_large_as_any_app_wants_are_read_and_no_container_is_connected_to_for_a_second() {
        let large = Proxy {
            max_head: Size::parse("64k").unwrap(),
            connect_timeout: Duration::from_secs(5),
            buffering: true,
            ..Proxy::default()
        };
        let plain = route(&[("1.0", &["172.30.0.5:8080"])], &["/"]);
        let text = render(&frame(), Arc::new(AppRoute { proxy: large, ..(*plain).clone() })).http;
        for expected in [
            "large_client_header_buffers 4 64k;",
            "proxy_buffer_size 64k;",
            "proxy_buffers 4 64k;",
            "proxy_connect_timeout 900ms;",
        ] {
            assert!(text.contains(expected), "{expected}: {text}");
        }
        assert!(render(&frame(), plain).http.contains("large_client_header_buffers 4 32k;"));
    }

    #[test]
    fn proxies_in_front_are_believed_and_nobody_else() {
        let trusting = Frame { trusted: vec!["10.0.0.0/8".into(), "fd00::1".into()], ..frame() };
        let text = render(&trusting, route(&[("1.0", &["172.30.0.5:8080"])], &["/"])).http;
        let from = text.find("# What proxies").unwrap();
        insta::assert_snapshot!("trusted", &text[from..from + text[from..].find("# As all").unwrap()]);
        assert!(text.contains("X-Forwarded-Proto $platformer_proto;") && !text.contains("$proxy_add_x"), "{text}");
    }

    #[test]
    fn an_app_without_instances_has_no_upstream_and_answers_503() {
        let text = render(&frame(), route(&[], &["/"])).http;
        assert!(!text.contains("upstream app.") && text.contains("return 503"), "{text}");
    }

    #[test]
    fn a_version_that_is_a_word_of_nginx_is_spelt_otherwise() {
        let both = canary("25", StickyMode::Release, false);
        let (old, new) = (Version::parse("default").unwrap(), Version::parse("include").unwrap());
        let servers = |n: u8| vec![([172, 30, 0, n], 8080).into()];
        let named = AppRoute {
            releases: [(old.clone(), servers(5)), (new.clone(), servers(6))].into(),
            split: Split::between(Some(&old), &new, Percent::parse("25").unwrap()),
            stable: Some(old),
            candidate: Some(new),
            ..(*both).clone()
        };
        let text = render(&frame(), Arc::new(named)).http;
        assert!(text.contains("\"default_\" app.shop.default_;") && text.contains("\"include_\" "), "{text}");
        assert!(!text.contains("\"default\"") && !text.contains("\"include\""), "{text}");
    }

    #[test]
    fn versions_that_differ_in_case_have_upstreams_of_their_own() {
        let text = render(&frame(), route(&[("1a", &["172.30.0.5:1"]), ("1A", &["172.30.0.6:1"])], &["/"])).http;
        assert!(text.contains("upstream app.shop.1a {") && text.contains("upstream app.shop.1_a {"), "{text}");
    }

    #[test]
    fn somebody_elses_http_block_gets_servers_and_nothing_that_reaches_their_own() {
        let trusted = vec!["10.0.0.0/8".into()];
        let foreign = Frame { supervisor: None, status: None, owns_http: false, trusted, ..frame() };
        let text = render(&foreign, route(&[("1.0", &["172.30.0.5:8080"])], &["/"])).http;
        for forbidden in
            ["default_server", "server_names_hash", "unix:", "recursive_error_pages", "limit_conn", "set_real_ip"]
        {
            assert!(!text.contains(forbidden), "{forbidden} in {text}");
        }
        let first = &text[text.find("server {").unwrap()..];
        assert!(first.find("No app answers at this host").unwrap() < first.find("no candidate").unwrap(), "{text}");
    }
}
