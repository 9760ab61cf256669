//! Metrics as the encoder wants them: each with its name and help, and its samples with their labels.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::super::cell::{Counter, Histogram};
use super::super::family::Family;
use super::super::live::{Live, LivePool, LiveTarget};

/// The page being written.
pub(super) struct Page<'a>(pub(super) DescriptorEncoder<'a>);

/// The samples of one metric.
pub(super) struct Rows<'a>(MetricEncoder<'a>);

impl Page<'_> {
    pub(super) fn metric(
        &mut self,
        name: &'static str,
        help: &str,
        kind: MetricType,
    ) -> Result<Rows<'_>, fmt::Error> {
        Ok(Rows(self.0.encode_descriptor(name, help, None, kind)?))
    }

    /// A counter without labels. Its samples get `_total` added to `name`.
    pub(super) fn counter(&mut self, name: &'static str, help: &str, value: u64) -> fmt::Result {
        self.metric(name, help, MetricType::Counter)?.counter(&[], value)
    }

    /// A gauge without labels.
    pub(super) fn gauge(&mut self, name: &'static str, help: &str, value: i64) -> fmt::Result {
        self.metric(name, help, MetricType::Gauge)?.gauge(&[], value)
    }

    /// A family of counters.
    pub(super) fn counters<const N: usize>(
        &mut self,
        name: &'static str,
        help: &str,
        family: &Family<Counter, N>,
    ) -> fmt::Result {
        let mut rows = self.metric(name, help, MetricType::Counter)?;
        for (labels, counter) in family.read() {
            rows.counter(&pairs(&labels), counter.get())?;
        }
        Ok(())
    }

    /// A histogram in every series of a family.
    pub(super) fn histograms<M, const N: usize>(
        &mut self,
        name: &'static str,
        help: &str,
        family: &Family<M, N>,
        histogram: impl Fn(&M) -> &Histogram,
    ) -> fmt::Result {
        let mut rows = self.metric(name, help, MetricType::Histogram)?;
        for (labels, series) in family.read() {
            rows.histogram(&pairs(&labels), histogram(&series))?;
        }
        Ok(())
    }

    /// A gauge for every target of every pool.
    pub(super) fn targets(
        &mut self,
        name: &'static str,
        help: &str,
        live: &Live,
        value: impl Fn(&LiveTarget) -> i64,
    ) -> fmt::Result {
        let mut rows = self.metric(name, help, MetricType::Gauge)?;
        for pool in &live.pools {
            for target in &pool.targets {
                rows.gauge(&[("pool", &*pool.name), ("target", &*target.id)], value(target))?;
            }
        }
        Ok(())
    }

    /// A gauge for every pool.
    pub(super) fn pools(
        &mut self,
        name: &'static str,
        help: &str,
        live: &Live,
        value: impl Fn(&LivePool) -> i64,
    ) -> fmt::Result {
        let mut rows = self.metric(name, help, MetricType::Gauge)?;
        for pool in &live.pools {
            rows.gauge(&[("pool", &*pool.name)], value(pool))?;
        }
        Ok(())
    }
}

impl Rows<'_> {
    pub(super) fn counter(&mut self, labels: &[(&str, &str)], value: u64) -> fmt::Result {
        if labels.is_empty() {
            return self.0.encode_counter::<NoLabelSet, _, u64>(&value, None);
        }
        self.0.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    pub(super) fn gauge(&mut self, labels: &[(&str, &str)], value: i64) -> fmt::Result {
        if labels.is_empty() {
            return self.0.encode_gauge(&value);
        }
        self.0.encode_family(&labels)?.encode_gauge(&value)
    }

    /// A gauge of a measure that is no whole number.
    pub(super) fn real(&mut self, labels: &[(&str, &str)], value: f64) -> fmt::Result {
        self.0.encode_family(&labels)?.encode_gauge(&value)
    }

    /// The same for a counter without labels.
    pub(super) fn real_counter(&mut self, value: f64) -> fmt::Result {
        self.0.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    pub(super) fn histogram(
        &mut self,
        labels: &[(&str, &str)],
        histogram: &Histogram,
    ) -> fmt::Result {
        let reading = histogram.read();
        // A series that only a sibling histogram has seen is left out.
        if reading.count == 0 {
            return Ok(());
        }
        self.0.encode_family(&labels)?.encode_histogram::<NoLabelSet>(
            reading.sum,
            reading.count,
            &reading.buckets,
            None,
        )
    }
}

/// Label pairs as the encoder wants them.
pub(super) fn pairs<'a>(labels: &'a [(&'static str, Box<str>)]) -> Vec<(&'a str, &'a str)> {
    labels.iter().map(|(name, value)| (*name, &**value)).collect()
}
