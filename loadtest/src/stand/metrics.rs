//! A scrape of `/metrics`, to compare with a later one.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::client::blocking;

/// Samples by name and labels, as they stand in the text.
#[derive(Clone, Debug, Default)]
pub struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    /// Scrapes weir's admin listener.
    pub fn scrape(admin: SocketAddr) -> Result<Self, String> {
        let page = blocking::call(admin, "GET", "/metrics", "")?;
        Ok(Self::parse(&String::from_utf8_lossy(&page)))
    }

    fn parse(page: &str) -> Self {
        let sample = |line: &str| {
            let line = line.trim();
            // The value is behind the labels, which may hold blanks; a timestamp may follow it.
            let name_end = line.rfind('}').map_or_else(|| line.find(' '), |at| Some(at + 1))?;
            let value = line[name_end..].split_ascii_whitespace().next()?.parse().ok()?;
            Some((line[..name_end].to_owned(), value))
        };
        Self(page.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect())
    }

    /// The sum over all samples of this name whose labels hold every one of `labels`.
    pub fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        self.0
            .iter()
            .filter(|(key, _)| {
                key.split('{').next() == Some(name)
                    && labels.iter().all(|label| key.contains(label))
            })
            .map(|(_, value)| value)
            .sum()
    }

    /// Samples of these names that have grown since `earlier`, by how much.
    pub fn grown(&self, earlier: &Metrics, names: &[&str]) -> BTreeMap<String, f64> {
        self.0
            .iter()
            .filter(|(key, _)| names.iter().any(|name| key.split('{').next() == Some(name)))
            .map(|(key, value)| (key, value - earlier.0.get(key).unwrap_or(&0.0)))
            .filter(|(_, delta)| *delta > 0.0)
            .map(|(key, delta)| (key.clone(), delta))
            .collect()
    }

    /// Gauges of this name that are not zero.
    pub fn nonzero(&self, name: &str) -> BTreeMap<String, f64> {
        self.grown(&Metrics::default(), &[name])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_found_summed_and_compared() {
        let before =
            Metrics::parse("# TYPE a counter\na{x=\"1 }\",y=\"2\"} 3\na{x=\"2\"} 4\nb 1 17\n");
        let after = Metrics::parse("a{x=\"1 }\",y=\"2\"} 5\na{x=\"2\"} 4\nb 1\nab 9\n");
        assert!((before.sum("a", &[]) - 7.0).abs() < 1e-9);
        assert!((before.sum("a", &["x=\"2\""]) - 4.0).abs() < 1e-9);
        assert!((before.sum("b", &[]) - 1.0).abs() < 1e-9);
        let grown = after.grown(&before, &["a"]);
        assert_eq!(grown.into_iter().collect::<Vec<_>>(), [("a{x=\"1 }\",y=\"2\"}".into(), 2.0)]);
    }
}
