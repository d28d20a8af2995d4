//! `/metrics` for Prometheus: seconds and totals, labelled `app` and `release`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::adapters::http::context::Context;
use crate::adapters::http::dashboard::LINKS;
use crate::adapters::http::error::Problem;
use crate::adapters::http::keyring::{SESSIONS, TOKENS};
use crate::core::deploy::Tally;
use crate::core::kv::MOST_KEYS;
use crate::ports::meters::Totals;

/// As the exposition formats call themselves.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";

pub async fn show(State(context): State<Context>, headers: HeaderMap) -> Result<Response, Problem> {
    let view = context.snapshot.view();
    let totals = context.meters.totals(|app, version| {
        let kept = view.releases.get(app).is_some_and(|r| r.all.get(version).is_some_and(|r| !r.pruned));
        kept || view.status.app(app).is_some_and(|a| a.instances.iter().any(|i| i.release == *version))
    });
    let mut instances: BTreeMap<[String; 3], u64> = BTreeMap::new();
    for app in &view.status.apps {
        for instance in &app.instances {
            let state = instance.state.word().to_owned();
            *instances.entry([app.name.to_string(), instance.release.to_string(), state]).or_default() += 1;
        }
    }
    let shown = Shown {
        totals,
        instances,
        wanted: view.status.generation.wanted,
        live: view.status.generation.live.unwrap_or_default(),
        problems: view.status.problems.len() as u64,
        held: held(&context),
    };
    let mut registry = Registry::default();
    registry.register_collector(Box::new(shown));
    let mut text = String::new();
    encode(&mut text, &registry)
        .map_err(|e| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", e.to_string()))?;
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    Ok(match wants_plain(accept.unwrap_or("*/*")) {
        true => ([(header::CONTENT_TYPE, PLAIN)], plain(&text)).into_response(),
        false => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
    })
}

/// What others make us hold: what is in the table of limits, and what is kept by number.
fn held(context: &Context) -> Vec<Held> {
    let mut keys = 0;
    context.kv.read(&mut |tree| keys = tree.below("").count());
    let (tokens, sessions) = (context.keyring.list().len(), context.keyring.sessions(Timestamp::now()).len());
    let kept = [
        ("keys", keys, MOST_KEYS),
        ("tokens", tokens, TOKENS),
        // Of each token, and of the one in the state folder.
        ("sessions", sessions, SESSIONS * (tokens + 1)),
        ("login_links", context.links.count(), LINKS * (tokens + 1)),
    ];
    let taken = context.limits.levels().into_iter().map(|level| Held {
        name: level.limit.name,
        held: level.held,
        limit: level.limit.total,
        refused: Some(level.refused),
    });
    taken.chain(kept.map(|(name, held, limit)| Held { name, held, limit, refused: None })).collect()
}

/// Whether whoever accepts this would rather have the older format (RFC 9110 §12.5.1).
fn wants_plain(accept: &str) -> bool {
    let quality = |kinds: [&str; 3]| {
        let ranges = accept.split(',').filter_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            let place =
                kinds.iter().position(|kind| parts.clone().next().is_some_and(|k| k.eq_ignore_ascii_case(kind)))?;
            let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |q| q.parse::<f32>().ok());
            Some((place, weight.unwrap_or(0.0)))
        });
        // The most specific range counts, and of several alike the best.
        ranges.min_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1))).map_or(0.0, |(_, weight)| weight)
    };
    quality(["text/plain", "text/*", "*/*"]) > quality(["application/openmetrics-text", "application/*", "*/*"])
}

/// The same in the text format 0.0.4: there a counter is called as its samples are, and nothing marks the end.
fn plain(text: &str) -> String {
    let counters: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let line = |line: &str| {
        let (kind, rest) = line.strip_prefix("# ").and_then(|rest| rest.split_once(' ')).unwrap_or(("", ""));
        match (kind, rest.split_once(' ')) {
            ("HELP" | "TYPE", Some((name, said))) if counters.contains(name) => {
                format!("# {kind} {name}_total {said}\n")
            }
            ("UNIT", _) => String::new(),
            _ => format!("{line}\n"),
        }
    };
    text.lines().filter(|line| *line != "# EOF").map(line).collect()
}

#[derive(Debug)]
struct Shown {
    totals: Totals,
    instances: BTreeMap<[String; 3], u64>,
    wanted: u64,
    live: u64,
    problems: u64,
    held: Vec<Held>,
}

/// Something that others make us hold.
#[derive(Debug)]
struct Held {
    name: &'static str,
    held: usize,
    limit: usize,
    /// How often somebody was refused for it, where that is counted.
    refused: Option<u64>,
}

impl Collector for Shown {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        self.requests(&mut encoder)?;
        self.held(&mut encoder)?;
        let mut gauge = |name: &str, help: &str, value: f64| {
            encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
        };
        gauge("platformer_generation_wanted", "The number of the routes that are wanted", self.wanted as f64)?;
        gauge("platformer_generation_live", "The number of the routes that nginx serves", self.live as f64)?;
        gauge("platformer_problems", "What needs a person", self.problems as f64)?;
        let longest = self.totals.longest.as_secs_f64();
        gauge("platformer_loop_longest_turn_seconds", "The loop's longest turn since the last look", longest)?;
        let mut counter = |name: &str, help: &str, value: f64| {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            metric.encode_counter::<NoLabelSet, _, f64>(&value, None)
        };
        let totals = &self.totals;
        counter("platformer_switches", "Generations that went live", totals.switched as f64)?;
        counter("platformer_switch_failures", "Generations that did not go live", totals.unswitched as f64)?;
        counter("platformer_dns_answers", "Names that were answered", totals.answered as f64)?;
        counter("platformer_dns_forwards", "Names that were asked elsewhere", totals.forwarded as f64)?;
        counter("platformer_loop_turns", "Turns of the loop", totals.turns as f64)?;
        counter("platformer_loop_seconds", "Time that the loop's turns took", totals.turning.as_secs_f64())?;
        let mut family =
            encoder.encode_descriptor("platformer_instances", "Instances by state", None, MetricType::Gauge)?;
        for ([app, release, state], count) in &self.instances {
            let labels = [("app", app.as_str()), ("release", release), ("state", state)];
            family.encode_family(&labels)?.encode_gauge(&(*count as f64))?;
        }
        Ok(())
    }
}

impl Shown {
    fn held(&self, encoder: &mut DescriptorEncoder) -> Result<(), fmt::Error> {
        for (name, help, value) in [
            ("platformer_held", "What others make the platform hold", (|held| held.held) as fn(&Held) -> usize),
            ("platformer_held_limit", "How much of it there may be", |held| held.limit),
        ] {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for held in &self.held {
                family.encode_family(&[("resource", held.name)])?.encode_gauge(&(value(held) as f64))?;
            }
        }
        let help = "How often somebody was refused for it";
        let mut family = encoder.encode_descriptor("platformer_refused", help, None, MetricType::Counter)?;
        for (name, refused) in self.held.iter().filter_map(|held| Some((held.name, held.refused?))) {
            let labels = [("resource", name)];
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&(refused as f64), None)?;
        }
        Ok(())
    }

    fn requests(&self, encoder: &mut DescriptorEncoder) -> Result<(), fmt::Error> {
        let totals = |tally: &Tally| [tally.requests, tally.failures, tally.gone];
        for (n, (name, help)) in [
            ("platformer_requests", "Requests that were answered"),
            ("platformer_request_failures", "Requests of which any try failed"),
            ("platformer_requests_given_up", "Requests that the client gave up"),
        ]
        .into_iter()
        .enumerate()
        {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for ((app, release), tally) in &self.totals.requests {
                let count = totals(tally).get(n).copied().unwrap_or_default();
                let labels = [("app", app.as_str()), ("release", release.as_str())];
                family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&(count as f64), None)?;
            }
        }
        let (name, help) = ("platformer_request_duration_seconds", "How long requests took");
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for ((app, release), tally) in &self.totals.requests {
            let buckets = doubling(tally);
            let labels = [("app", app.as_str()), ("release", release.as_str())];
            let sum = tally.micros as f64 / 1e6;
            family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, tally.requests, &buckets, None)?;
        }
        Ok(())
    }
}

/// Every second bucket, so that bounds double; the last one has none.
fn doubling(tally: &Tally) -> Vec<(f64, u64)> {
    let count = |n: usize| tally.durations.get(n).copied().unwrap_or_default();
    let last = tally.durations.len().saturating_sub(1);
    let bounds = (0..last).step_by(2);
    let below = bounds.map(|n| (Tally::bound(n) / 1000.0, count(n) + n.checked_sub(1).map_or(0, count)));
    below.chain([(f64::INFINITY, count(last))]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::names::{AppName, Version};

    #[test]
    fn totals_are_told_as_prometheus_reads_them() {
        let mut tally = Tally::default();
        tally.count(0.004, None);
        tally.count(3.0, Some(1));
        let key = (AppName::parse("shop").unwrap(), Version::parse("1.0").unwrap());
        let shown = Shown {
            totals: Totals { requests: BTreeMap::from([(key, tally)]), switched: 3, ..Totals::default() },
            instances: BTreeMap::from([(["shop".into(), "1.0".into(), "ready".into()], 2)]),
            wanted: 5,
            live: 4,
            problems: 0,
            held: vec![Held { name: "streams", held: 3, limit: 256, refused: Some(1) }],
        };
        let mut registry = Registry::default();
        registry.register_collector(Box::new(shown));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let older = plain(&text);
        assert!(older.contains("# TYPE platformer_requests_total counter\nplatformer_requests_total{"), "{older}");
        assert!(older.contains("# TYPE platformer_held gauge\nplatformer_held{resource=\"streams\"} 3.0\n"), "{older}");
        assert!(!older.contains("# EOF") && text.ends_with("# EOF\n"), "{older}");
        insta::assert_snapshot!(text);
    }

    #[test]
    fn the_format_that_is_asked_for_is_given() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
        for (accept, expected) in [
            ("text/plain", true),
            ("text/plain;version=0.0.4", true),
            ("text/plain, */*;q=0.5", true),
            ("application/openmetrics-text", false),
            ("*/*", false),
            (prometheus, false),
            ("text/plain;q=0.9,application/openmetrics-text;q=0.1", true),
            ("application/openmetrics-text;q=0, */*", true),
        ] {
            assert_eq!(wants_plain(accept), expected, "{accept}");
        }
    }
}
