//! One page of metrics in the making; `prometheus-client` writes it as OpenMetrics text.

use std::fmt;

use base::Histogram;
use base::histogram::BOUNDS_US;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

/// The labels of a sample, by name.
pub(super) type Labels = Vec<(&'static str, String)>;

/// Families in the order in which they were added. A help text is a sentence without its full stop, which the encoder adds; a counter's
/// name is written without `_total`, which it adds as well.
#[derive(Default)]
pub(super) struct Page(Registry);

impl Page {
    pub fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.counters(name, help, [(Labels::new(), value)]);
    }

    pub fn counters(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels, u64)>,
    ) {
        let samples = samples.into_iter();
        let samples = samples.map(|(labels, value)| (labels, Value::Counter(value)));
        self.family(name, help, MetricType::Counter, samples.collect());
    }

    pub fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.gauges(name, help, [(Labels::new(), value)]);
    }

    pub fn gauges(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels, u64)>,
    ) {
        let samples = samples.into_iter();
        let samples = samples.map(|(labels, value)| (labels, Value::Gauge(value)));
        self.family(name, help, MetricType::Gauge, samples.collect());
    }

    /// Gauges of durations in seconds.
    pub fn seconds(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels, f64)>,
    ) {
        let samples = samples.into_iter();
        let samples = samples.map(|(labels, value)| (labels, Value::Seconds(value)));
        self.family(name, help, MetricType::Gauge, samples.collect());
    }

    /// Durations, shown in seconds.
    pub fn histograms(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels, Histogram)>,
    ) {
        let samples = samples.into_iter();
        let samples = samples.map(|(labels, value)| (labels, Value::Durations(value)));
        self.family(name, help, MetricType::Histogram, samples.collect());
    }

    /// What the labels alone say; the sample's name ends in `_info`.
    pub fn info(&mut self, name: &str, help: &str, labels: Labels) {
        self.family(name, help, MetricType::Info, vec![(labels, Value::Info)]);
    }

    /// The registry is made for each page. `prometheus-client` would rather own the counters; ours belong to cores and are only read here.
    fn family(&mut self, name: &str, help: &str, kind: MetricType, samples: Vec<(Labels, Value)>) {
        self.0.register(name, help, Samples { kind, samples });
    }

    /// OpenMetrics 1.0 text, its end mark included.
    pub fn text(&self) -> String {
        let mut page = String::new();
        text::encode(&mut page, &self.0).expect("a string takes all text");
        page
    }
}

/// One family as it was when the page was asked for.
#[derive(Debug)]
struct Samples {
    kind: MetricType,
    samples: Vec<(Labels, Value)>,
}

#[derive(Debug)]
enum Value {
    Counter(u64),
    Gauge(u64),
    Seconds(f64),
    Durations(Histogram),
    Info,
}

impl EncodeMetric for Samples {
    fn encode(&self, mut encoder: MetricEncoder) -> fmt::Result {
        for (labels, value) in &self.samples {
            if let Value::Info = value {
                encoder.encode_info(labels)?;
                continue;
            }
            let mut encoder = encoder.encode_family(labels)?;
            match value {
                Value::Counter(value) => {
                    encoder.encode_counter::<NoLabelSet, u64, u64>(value, None)?;
                }
                Value::Gauge(value) => encoder.encode_gauge(value)?,
                Value::Seconds(value) => encoder.encode_gauge(value)?,
                Value::Durations(histogram) => {
                    let bounds = BOUNDS_US.iter().map(|us| seconds_of(*us));
                    // The last bucket has no bound: one that took longer than all others must not vanish from the count.
                    let bounds = bounds.chain([f64::INFINITY]);
                    let buckets: Vec<(f64, u64)> = bounds.zip(histogram.counts).collect();
                    let (sum, count) = (seconds_of(histogram.sum_us), histogram.count());
                    encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
                }
                Value::Info => unreachable!("written above"),
            }
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        self.kind
    }
}

fn seconds_of(us: u64) -> f64 {
    us as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_written_as_openmetrics_wants_it() {
        let mut page = Page::default();
        page.info("a", "What it is", vec![("version", "1".into())]);
        page.counter("b", "How many there were", 7);
        page.gauges(
            "c_bytes",
            "How many bytes",
            [(vec![("leg", "\"0\"".into())], 3)],
        );
        page.seconds("d_seconds", "How long, in seconds", [(Labels::new(), 0.25)]);
        let expected = "# HELP a What it is.\n# TYPE a info\na_info{version=\"1\"} 1\n\
            # HELP b How many there were.\n# TYPE b counter\nb_total 7\n\
            # HELP c_bytes How many bytes.\n# TYPE c_bytes gauge\nc_bytes{leg=\"\\\"0\\\"\"} 3\n\
            # HELP d_seconds How long, in seconds.\n# TYPE d_seconds gauge\nd_seconds 0.25\n# EOF\n";
        assert_eq!(page.text(), expected);
    }

    #[test]
    fn buckets_add_up_and_the_last_one_has_all() {
        let mut histogram = Histogram::default();
        for us in [50, 700, 700, 90_000_000] {
            histogram.note(us);
        }
        let mut page = Page::default();
        let leg = vec![("leg", "1".to_owned())];
        page.histograms("e_seconds", "How long, in seconds", [(leg, histogram)]);
        let text = page.text();
        for line in [
            "# TYPE e_seconds histogram\n",
            "e_seconds_sum{leg=\"1\"} 90.00145\n",
            "e_seconds_count{leg=\"1\"} 4\n",
            "e_seconds_bucket{le=\"0.0005\",leg=\"1\"} 1\n",
            "e_seconds_bucket{le=\"0.001\",leg=\"1\"} 3\n",
            "e_seconds_bucket{le=\"60.0\",leg=\"1\"} 3\n",
            "e_seconds_bucket{le=\"+Inf\",leg=\"1\"} 4\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
