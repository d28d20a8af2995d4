//! Charts of an app's recent traffic as SVG, drawn by plotters: a line per release, a mark per deployment.

use std::collections::BTreeMap;

use jiff::Timestamp;
use plotters::prelude::*;

use crate::core::deploy::Tally;
use crate::core::names::Version;
use crate::ports::meters::{SLOT, SLOTS};

const SIZE: (u32, u32) = (560, 180);
/// The same order as the sheet's `c0` to `c3`.
const COLOURS: [RGBColor; 4] =
    [RGBColor(37, 99, 201), RGBColor(180, 84, 10), RGBColor(109, 63, 192), RGBColor(11, 122, 117)];

type Recent = BTreeMap<Version, Vec<(Timestamp, Tally)>>;

/// The 95th percentile of how long requests took, in milliseconds.
pub fn p95(recent: &Recent, marks: &[Timestamp]) -> String {
    draw(recent, marks, |tally| tally.quantile(0.95).map(Tally::bound))
}

/// The part of the requests that failed, in percent.
pub fn failed(recent: &Recent, marks: &[Timestamp]) -> String {
    draw(recent, marks, |tally| (tally.requests > 0).then(|| tally.failure_rate() * 100.0))
}

fn draw(recent: &Recent, marks: &[Timestamp], value: impl Fn(&Tally) -> Option<f64>) -> String {
    let mut text = String::new();
    let lines: Vec<Vec<(i64, f64)>> = recent
        .values()
        .map(|slots| slots.iter().filter_map(|(at, tally)| Some((at.as_second(), value(tally)?))).collect())
        .collect();
    // Drawing into a text fails in no way that a reader could do anything about.
    let _ = plot(&mut text, &lines, marks);
    text
}

fn plot(text: &mut String, lines: &[Vec<(i64, f64)>], marks: &[Timestamp]) -> Result<(), Box<dyn std::error::Error>> {
    let end = lines.iter().flatten().map(|(at, _)| *at).max().unwrap_or(SLOT * SLOTS);
    let begin = end - SLOT * SLOTS;
    let top = lines.iter().flatten().map(|(_, value)| *value).fold(1.0, f64::max) * 1.1;
    let root = SVGBackend::with_string(text, SIZE).into_drawing_area();
    let mut chart = ChartBuilder::on(&root)
        .margin(6)
        .x_label_area_size(22)
        .y_label_area_size(44)
        .build_cartesian_2d(begin..end, 0.0..top)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .x_labels(5)
        .y_labels(4)
        .x_label_formatter(&|at| format!("{} min", (at - end) / 60))
        .y_label_formatter(&|value| if top < 10.0 { format!("{value:.1}") } else { format!("{value:.0}") })
        .draw()?;
    for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        chart.draw_series(LineSeries::new(line.iter().copied(), colour.stroke_width(2)))?;
    }
    for mark in marks.iter().map(|mark| mark.as_second()).filter(|at| (begin..end).contains(at)) {
        chart.draw_series(DashedLineSeries::new([(mark, 0.0), (mark, top)], 4, 4, BLACK.stroke_width(1)))?;
    }
    root.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_drawn_per_release_and_nothing_is_drawn_of_nothing() {
        let mut tally = Tally::default();
        tally.count(0.020, Some(1));
        let at = |minute: i64| Timestamp::from_second(1_000_000 + minute * 60).unwrap();
        let line: Vec<_> = (0..10).map(|minute| (at(minute), tally.clone())).collect();
        let recent: Recent =
            ["1.0", "1.1"].map(|version| (Version::parse(version).unwrap(), line.clone())).into_iter().collect();
        let drawn = p95(&recent, &[at(5)]);
        let lines = |text: &str| text.matches("<polyline").count();
        assert!(drawn.starts_with("<svg") && lines(&drawn) > lines(&p95(&Recent::new(), &[])) + 1, "{drawn}");
        assert!(!drawn.contains("style="), "our policy forbids it");
        assert!(failed(&recent, &[]).contains("100"));
    }
}
