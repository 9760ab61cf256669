//! The gaps between the frames of one stream, as a small histogram.

use std::time::Duration;

/// Sub-buckets per doubling: quantiles are right to about 1/8.
const PER_OCTAVE: usize = 8;
/// Octaves above [`FLOOR_US`]: up to about 17 minutes.
const OCTAVES: usize = 24;
/// Gaps below this are all alike, in microseconds.
const FLOOR_US: u64 = 64;

/// Counts of gaps by size. Most answers do not stream and have none: the counts are only there once
/// there is something to count. Every open stream has them, so they are small: before one of them is too
/// large, all of them are halved.
#[derive(Default)]
pub(super) struct Gaps {
    counts: Option<Box<[u16; PER_OCTAVE * OCTAVES + 1]>>,
}

impl Gaps {
    pub(super) fn observe(&mut self, gap: Duration) {
        let us = u64::try_from(gap.as_micros()).unwrap_or(u64::MAX);
        let counts = self.counts.get_or_insert_with(|| Box::new([0; PER_OCTAVE * OCTAVES + 1]));
        let bucket = bucket(us);
        if counts[bucket] == u16::MAX {
            counts.iter_mut().for_each(|count| *count /= 2);
        }
        counts[bucket] += 1;
    }

    /// The quantile; `None` when there was no gap.
    pub(super) fn quantile(&self, quantile: f64) -> Option<Duration> {
        let counts = self.counts.as_ref()?;
        let total: u32 = counts.iter().map(|count| u32::from(*count)).sum();
        let rank = (f64::from(total) * quantile).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (at, count) in counts.iter().enumerate() {
            seen += u64::from(*count);
            if *count > 0 && seen >= rank {
                return Some(Duration::from_micros(upper_us(at)));
            }
        }
        None
    }
}

fn bucket(us: u64) -> usize {
    if us < FLOOR_US {
        return 0;
    }
    let octave = (us / FLOOR_US).ilog2() as usize;
    let base = FLOOR_US << octave.min(OCTAVES - 1);
    let part = ((us - base.min(us)) as usize * PER_OCTAVE / base as usize).min(PER_OCTAVE - 1);
    1 + (octave * PER_OCTAVE + part).min(PER_OCTAVE * OCTAVES - 1)
}

fn upper_us(bucket: usize) -> u64 {
    match bucket.checked_sub(1) {
        None => FLOOR_US,
        Some(at) => {
            let base = FLOOR_US << (at / PER_OCTAVE);
            base + base * (at % PER_OCTAVE + 1) as u64 / PER_OCTAVE as u64
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_to_an_eighth() {
        let mut gaps = Gaps::default();
        assert!(gaps.quantile(0.5).is_none());
        for ms in 1..=100 {
            gaps.observe(Duration::from_millis(ms));
        }
        for quantile in [0.5, 0.9, 0.99] {
            let exact = 100.0 * quantile;
            let found = gaps.quantile(quantile).expect("some").as_secs_f64() * 1000.0;
            assert!((exact..=exact * 1.13).contains(&found), "{quantile}: {found}");
        }
    }

    #[test]
    fn a_long_stream_has_the_same_quantiles() {
        let mut gaps = Gaps::default();
        for at in 0..1_000_000 {
            gaps.observe(Duration::from_millis(if at % 10 == 0 { 500 } else { 20 }));
        }
        let ms = |quantile| gaps.quantile(quantile).expect("some").as_millis();
        assert!((20..=23).contains(&ms(0.85)), "{}", ms(0.85));
        assert!((500..=565).contains(&ms(0.95)), "{}", ms(0.95));
    }

    #[test]
    fn nothing_is_out_of_range() {
        let mut gaps = Gaps::default();
        for gap in [Duration::ZERO, Duration::from_micros(63), Duration::from_secs(1 << 40)] {
            gaps.observe(gap);
        }
        assert!(gaps.quantile(0.01).is_some());
    }
}
