//! Self-contained HTML pages. Of one load: acceptance over time and latency by share of messages, one line per run. Of the
//! whole bench: what the servers did side by side, the promises, every figure.

use std::fmt::Write;

use crate::figures::{Sheet, percentile};
use crate::load::smtp::Outcome;
use crate::promises;

/// Of one chart, in pixels.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 260.0;
/// Room for the scale at the left.
const LEFT: f64 = 70.0;
/// Room for the scale below.
const BELOW: f64 = 40.0;
/// One for each line of a chart, in turn.
const COLOURS: &[&str] = &[
    "#2563eb", "#d97706", "#059669", "#dc2626", "#7c3aed", "#4b5563",
];

/// One run as the page shows it.
pub struct Run<'a> {
    /// The run's name in the legend.
    pub name: &'a str,
    pub outcome: &'a Outcome,
}

/// The page of one load, or of several to be compared.
pub fn html(title: &str, runs: &[Run<'_>], sheet: &Sheet) -> String {
    let mut page = opening(title);
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
    page.push_str(&figures(sheet));
    page
}

/// The page of `cargo xtask bench`: bars for what servers are compared by, then the promises and all figures as tables.
pub fn page(sheet: &Sheet) -> String {
    let mut page = opening("Ringpost, measured");
    for comparison in COMPARISONS {
        page.push_str(&bars(comparison, sheet));
    }
    page.push_str("<h2>promises</h2><table>");
    for row in promises::table(sheet).lines() {
        let cells = row.trim_matches('|').split('|').map(str::trim);
        // Markdown's rule between head and rows.
        if cells
            .clone()
            .all(|cell| !cell.is_empty() && cell.trim_matches('-').is_empty())
        {
            continue;
        }
        page.push_str(&table_row(cells.map(|cell| cell.trim_matches(['`', '*']))));
    }
    page.push_str("</table><h2>all figures</h2>");
    page.push_str(&figures(sheet));
    page
}

/// Bars of one chart: a figure of several servers.
struct Comparison {
    title: &'static str,
    /// Name of the bar and of its figure.
    bars: &'static [(&'static str, &'static str)],
}

/// What servers are compared by. The names are those that `scenario` gives its figures.
const COMPARISONS: &[Comparison] = &[
    Comparison {
        title: "accepted (10 KiB, 50 connections), msg/s",
        bars: &[
            ("Ringpost, two legs", "ringpost.accepted"),
            ("Ringpost without its store", "sink.accepted"),
            ("Postfix, hold queue", "postfix.accepted"),
            ("Postfix + Dovecot LMTP", "postfix_dovecot.accepted"),
        ],
    },
    Comparison {
        title: "in the mailbox, msg/s",
        bars: &[
            ("Ringpost, two legs", "ringpost.delivered"),
            ("Postfix + Dovecot LMTP", "postfix_dovecot.delivered"),
        ],
    },
    Comparison {
        title: "latency at the 250, 99 of 100 messages, ms",
        bars: &[
            ("Ringpost, two legs", "ringpost.latency_p99"),
            ("Postfix, hold queue", "postfix.latency_p99"),
            ("Postfix + Dovecot LMTP", "postfix_dovecot.latency_p99"),
        ],
    },
    Comparison {
        title: "server CPU, ms per message",
        bars: &[
            ("Ringpost, two legs", "ringpost.cpu"),
            ("Ringpost without its store", "sink.cpu"),
            ("Postfix, hold queue", "postfix.cpu"),
            ("Postfix + Dovecot LMTP", "postfix_dovecot.cpu"),
        ],
    },
    Comparison {
        title: "FETCH of whole messages, msg/s",
        bars: &[("Ringpost", "ringpost.fetch"), ("Dovecot", "dovecot.fetch")],
    },
    Comparison {
        title: "SELECT of 100,000 messages, ms",
        bars: &[
            ("Ringpost", "ringpost.select"),
            ("Dovecot", "dovecot.select"),
        ],
    },
];

/// Nothing when none of the figures was measured.
fn bars(comparison: &Comparison, sheet: &Sheet) -> String {
    const ROW: f64 = 26.0;
    const NAMES: f64 = 220.0;
    const VALUES: f64 = 80.0;
    let measured: Vec<(&str, f64)> = comparison
        .bars
        .iter()
        .filter_map(|(name, figure)| Some((*name, sheet.value(figure)?)))
        .collect();
    let most = measured.iter().map(|bar| bar.1).fold(0.0, f64::max);
    if most <= 0.0 {
        return String::new();
    }
    let title = comparison.title;
    let height = ROW * measured.len() as f64;
    let mut svg = format!(
        "<h2>{title}</h2><svg viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" role=\"img\" aria-label=\"{title}\">"
    );
    for (index, (name, value)) in measured.into_iter().enumerate() {
        let top = ROW * index as f64;
        let length = value / most * (WIDTH - NAMES - VALUES);
        let colour = COLOURS[usize::from(!name.starts_with("Ringpost"))];
        let digits = if value >= 100.0 { 0 } else { 3 };
        let _ = write!(
            svg,
            "<text x=\"0\" y=\"{text:.1}\" font-size=\"13\">{name}</text>\
             <rect x=\"{NAMES}\" y=\"{bar:.1}\" width=\"{length:.1}\" height=\"18\" fill=\"{colour}\"/>\
             <text x=\"{end:.1}\" y=\"{text:.1}\" font-size=\"13\">{value:.digits$}</text>",
            text = top + 17.0,
            bar = top + 4.0,
            end = NAMES + length + 6.0,
        );
    }
    svg.push_str("</svg>");
    svg
}

/// The page's head and its title.
fn opening(title: &str) -> String {
    format!(
        "<!doctype html><meta charset=\"utf-8\"><title>{title}</title>\
         <style>body{{font:15px system-ui;margin:2em;max-width:60em}}td{{padding:.1em 1em .1em 0}}svg{{display:block;margin:1em 0}}</style>\
         <h1>{title}</h1>"
    )
}

/// Every figure, one to a row.
fn figures(sheet: &Sheet) -> String {
    let rows = sheet
        .figures
        .iter()
        .map(|figure| table_row(figure.to_string().split(' ')));
    format!("<table>{}</table>\n", rows.collect::<String>())
}

/// Cells of one row, as they are: figures have no characters that HTML reserves.
fn table_row<'a>(cells: impl Iterator<Item = &'a str>) -> String {
    let cells: String = cells.map(|cell| format!("<td>{cell}</td>")).collect();
    format!("<tr>{cells}</tr>")
}

/// Accepted messages by second.
fn rate_points(outcome: &Outcome) -> Vec<(f64, f64)> {
    outcome
        .per_second
        .iter()
        .enumerate()
        .map(|(second, count)| (second as f64, f64::from(*count)))
        .collect()
}

/// Latency in milliseconds by the share of messages that were as fast.
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

/// A chart of lines with one scale, so that runs can be compared by eye.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_shows_what_was_measured_and_only_that() {
        let mut sheet = Sheet::default();
        sheet.note("ringpost.accepted", 20_000.0, "msg/s");
        sheet.note("postfix.accepted", 2_000.0, "msg/s");
        let page = page(&sheet);
        let width = |name: &str| {
            let bar = page.split(name).nth(1).expect("a bar of that name");
            let width = bar.split("width=\"").nth(1).expect("a width");
            width
                .split('"')
                .next()
                .unwrap_or("")
                .parse::<f64>()
                .expect("a number")
        };
        let (ours, theirs) = (
            width(">Ringpost, two legs<"),
            width(">Postfix, hold queue<"),
        );
        assert!((ours / theirs - 10.0).abs() < 0.1, "{ours} {theirs}");
        assert!(!page.contains("SELECT of 100,000 messages, ms"));
        assert!(page.contains("<td>ratio.accepted.postfix</td>") && !page.contains("---"));
    }
}
