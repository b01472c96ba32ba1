//! Figures: `name value unit`, one per line; and the order statistics they are made of.

use serde::Serialize;

/// One measured number. `name` has no spaces (`postfix.accepted`), `unit` is a word (`msg/s`, `ms`, `ratio`).
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    pub name: String,
    pub value: f64,
    pub unit: &'static str,
}

/// Figures in the order they were measured.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Sheet {
    pub figures: Vec<Figure>,
}

impl Sheet {
    pub fn note(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        let name = name.into();
        assert!(
            !name.contains(char::is_whitespace),
            "a figure's name is one word"
        );
        self.figures.push(Figure { name, value, unit });
    }

    /// Notes and prints at once, so that a long run shows its way.
    pub fn tell(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        self.note(name, value, unit);
        if let Some(figure) = self.figures.last() {
            println!("{figure}");
        }
    }

    pub fn value(&self, name: &str) -> Option<f64> {
        self.figures
            .iter()
            .rev()
            .find(|figure| figure.name == name)
            .map(|figure| figure.value)
    }

    pub fn print(&self) {
        for figure in &self.figures {
            println!("{figure}");
        }
    }

    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self)
            .unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
    }
}

impl std::fmt::Display for Figure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = match self.value.abs() {
            value if value >= 1_000.0 => 0,
            value if value >= 10.0 => 1,
            value if value >= 0.1 => 3,
            _ => 5,
        };
        write!(f, "{} {:.*} {}", self.name, digits, self.value, self.unit)
    }
}

/// The value below which `share` (0..=1) of the samples are. 0 when there are none. Sorts in place.
pub fn percentile(samples: &mut [u32], share: f64) -> u32 {
    if samples.is_empty() {
        return 0;
    }
    samples.sort_unstable();
    let index = ((samples.len() - 1) as f64 * share.clamp(0.0, 1.0)).round() as usize;
    samples[index]
}

/// The middle value; 0 of nothing.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        count if count % 2 == 1 => sorted[count / 2],
        count => (sorted[count / 2 - 1] + sorted[count / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples() {
        let mut samples: Vec<u32> = (1..=101).rev().collect();
        assert_eq!(percentile(&mut samples, 0.5), 51);
        assert_eq!(percentile(&mut samples, 1.0), 101);
        assert_eq!(percentile(&mut [], 0.5), 0);
    }

    #[test]
    fn median_of_even_and_odd() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&[]), 0.0);
    }

    #[test]
    fn a_figure_is_three_words() {
        let mut sheet = Sheet::default();
        sheet.note("ours.accepted", 12_345.6, "msg/s");
        assert_eq!(sheet.figures[0].to_string(), "ours.accepted 12346 msg/s");
    }
}
