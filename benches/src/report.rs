//! A self-contained HTML page: acceptance over time and latency by share of messages, one line per run.

use std::fmt::Write;

use crate::figures::{Sheet, percentile};
use crate::load::smtp::Outcome;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 70.0;
const BELOW: f64 = 40.0;
const COLOURS: &[&str] = &[
    "#2563eb", "#d97706", "#059669", "#dc2626", "#7c3aed", "#4b5563",
];

/// One run as the page shows it.
pub struct Run<'a> {
    pub name: &'a str,
    pub outcome: &'a Outcome,
}

pub fn html(title: &str, runs: &[Run<'_>], sheet: &Sheet) -> String {
    let mut page = format!(
        "<!doctype html><meta charset=\"utf-8\"><title>{title}</title>\
         <style>body{{font:15px system-ui;margin:2em;max-width:60em}}td{{padding:.1em 1em .1em 0}}svg{{display:block;margin:1em 0}}</style>\
         <h1>{title}</h1>"
    );
    let rates = runs
        .iter()
        .map(|run| (run.name, rate_points(run.outcome)))
        .collect::<Vec<_>>();
    page.push_str(&chart(
        "messages accepted per second",
        "second",
        "msg/s",
        &rates,
    ));
    let latencies = runs
        .iter()
        .map(|run| (run.name, latency_points(run.outcome)))
        .collect::<Vec<_>>();
    page.push_str(&chart(
        "latency at the 250",
        "% of messages",
        "ms",
        &latencies,
    ));
    page.push_str("<table>");
    for figure in &sheet.figures {
        let words = figure.to_string();
        let cells = words
            .split(' ')
            .map(|word| format!("<td>{word}</td>"))
            .collect::<String>();
        let _ = write!(page, "<tr>{cells}</tr>");
    }
    page.push_str("</table>\n");
    page
}

fn rate_points(outcome: &Outcome) -> Vec<(f64, f64)> {
    outcome
        .per_second
        .iter()
        .enumerate()
        .map(|(second, count)| (second as f64, f64::from(*count)))
        .collect()
}

fn latency_points(outcome: &Outcome) -> Vec<(f64, f64)> {
    let mut samples = outcome.latencies_us.clone();
    (0..=100)
        .map(|share| {
            (
                f64::from(share),
                f64::from(percentile(&mut samples, f64::from(share) / 100.0)) / 1_000.0,
            )
        })
        .collect()
}

fn chart(title: &str, across: &str, up: &str, lines: &[(&str, Vec<(f64, f64)>)]) -> String {
    let points = || lines.iter().flat_map(|(_, points)| points);
    let x_max = points().map(|point| point.0).fold(1.0, f64::max);
    let y_max = points().map(|point| point.1).fold(1e-9, f64::max);
    let place = |point: &(f64, f64)| {
        let x = LEFT + point.0 / x_max * (WIDTH - LEFT - 10.0);
        let y = (HEIGHT - BELOW) - point.1 / y_max * (HEIGHT - BELOW - 10.0);
        format!("{x:.1},{y:.1}")
    };
    let floor = HEIGHT - BELOW;
    let mut svg = format!(
        "<h2>{title}</h2><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" role=\"img\" aria-label=\"{title}\">\
         <path d=\"M{LEFT} 10V{floor}H{WIDTH}\" fill=\"none\" stroke=\"#888\"/>\
         <text x=\"0\" y=\"18\" font-size=\"12\">{y_max:.1} {up}</text>\
         <text x=\"{}\" y=\"{}\" font-size=\"12\" text-anchor=\"end\">{x_max:.0} {across}</text>",
        WIDTH - 5.0,
        HEIGHT - 8.0
    );
    for (index, (name, points)) in lines.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let path = points.iter().map(place).collect::<Vec<_>>().join(" ");
        let _ = write!(
            svg,
            "<polyline points=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\
             <text x=\"{}\" y=\"{}\" font-size=\"12\" fill=\"{colour}\">{name}</text>",
            LEFT + 10.0,
            24.0 + 15.0 * index as f64
        );
    }
    svg.push_str("</svg>");
    svg
}
