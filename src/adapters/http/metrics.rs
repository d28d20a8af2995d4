//! `/metrics` for Prometheus: seconds and totals, labelled `app` and `release`.

use std::collections::BTreeMap;
use std::fmt;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::Context;
use super::error::Problem;
use crate::core::deploy::Tally;
use crate::ports::meters::Totals;

/// As the exposition format calls itself.
const FORMAT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub async fn show(State(context): State<Context>) -> Result<Response, Problem> {
    let view = context.snapshot.view();
    let is_there = |app: &_| view.status.apps.iter().find(|a| a.name == *app);
    let totals = context.meters.totals(|app, version| {
        let kept = view.releases.get(app).is_some_and(|r| r.all.get(version).is_some_and(|r| !r.pruned));
        kept || is_there(app).is_some_and(|a| a.instances.iter().any(|i| i.release == *version))
    });
    let mut instances: BTreeMap<[String; 3], u64> = BTreeMap::new();
    for app in &view.status.apps {
        for instance in &app.instances {
            let state = format!("{:?}", instance.state).to_lowercase();
            *instances.entry([app.name.to_string(), instance.release.to_string(), state]).or_default() += 1;
        }
    }
    let shown = Shown {
        totals,
        instances,
        wanted: view.status.generation.wanted,
        live: view.status.generation.live.unwrap_or_default(),
        problems: view.status.problems.len() as u64,
    };
    let mut registry = Registry::default();
    registry.register_collector(Box::new(shown));
    let mut text = String::new();
    encode(&mut text, &registry)
        .map_err(|e| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", e.to_string()))?;
    Ok(([(header::CONTENT_TYPE, FORMAT)], text).into_response())
}

#[derive(Debug)]
struct Shown {
    totals: Totals,
    instances: BTreeMap<[String; 3], u64>,
    wanted: u64,
    live: u64,
    problems: u64,
}

impl Collector for Shown {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        self.requests(&mut encoder)?;
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
        };
        let mut registry = Registry::default();
        registry.register_collector(Box::new(shown));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        insta::assert_snapshot!(text);
    }
}
