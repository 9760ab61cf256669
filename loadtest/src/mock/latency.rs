//! How long a simulated model takes.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::words::Rng;

/// A distribution of delays. Written as `20ms`, `uniform:10ms,50ms`, `jitter:20ms,5ms` or
/// `lognormal:200ms,0.5`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Latency {
    /// No delay.
    #[default]
    Zero,
    /// Always the same.
    Fixed(Duration),
    /// Evenly between two bounds.
    Uniform(Duration, Duration),
    /// A base plus or minus up to a jitter, evenly.
    Jitter(Duration, Duration),
    /// Log-normal: the median, and sigma of the underlying normal distribution.
    LogNormal(Duration, f64),
}

/// The longest delay that is ever drawn.
const DELAY_MAX: Duration = Duration::from_secs(600);

impl Latency {
    /// A fixed delay in milliseconds.
    pub const fn ms(ms: u64) -> Self {
        if ms == 0 { Self::Zero } else { Self::Fixed(Duration::from_millis(ms)) }
    }

    pub(super) fn sample(self, rng: &mut Rng) -> Duration {
        let drawn = match self {
            Self::Zero => Duration::ZERO,
            Self::Fixed(delay) => delay,
            Self::Uniform(low, high) => low + high.saturating_sub(low).mul_f64(rng.unit()),
            Self::Jitter(base, jitter) => {
                (base + jitter.mul_f64(2.0 * rng.unit())).saturating_sub(jitter)
            }
            Self::LogNormal(median, sigma) => {
                let factor = (sigma * rng.normal()).exp().min(1e6);
                Duration::from_secs_f64((median.as_secs_f64() * factor).min(600.0))
            }
        };
        drawn.min(DELAY_MAX)
    }

    /// Whether nothing is ever waited for.
    pub(super) fn is_zero(self) -> bool {
        self == Self::Zero
    }
}

/// Reads `250us`, `20ms`, `1.5s` or a bare number of milliseconds.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let hint = || format!("`{text}` is not a duration: write for example 250us, 20ms or 1.5s");
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().map_err(|_| hint())?;
    let seconds = match unit {
        "us" => number / 1e6,
        "ms" | "" => number / 1e3,
        "s" => number,
        _ => return Err(hint()),
    };
    if seconds > DELAY_MAX.as_secs_f64() {
        return Err(format!("`{text}` is too long: at most {}s", DELAY_MAX.as_secs()));
    }
    Ok(Duration::from_secs_f64(seconds))
}

impl FromStr for Latency {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((kind, arguments)) = text.split_once(':') else {
            let delay = duration(text)?;
            return Ok(if delay.is_zero() { Self::Zero } else { Self::Fixed(delay) });
        };
        let (first, second) = arguments
            .split_once(',')
            .ok_or_else(|| format!("`{text}` needs two numbers, such as {kind}:20ms,5ms"))?;
        let first = duration(first)?;
        match kind {
            "uniform" => {
                let second = duration(second)?;
                if second < first {
                    return Err(format!("`{text}`: the second bound is below the first"));
                }
                Ok(Self::Uniform(first, second))
            }
            "jitter" => Ok(Self::Jitter(first, duration(second)?)),
            "lognormal" => match second.trim().parse::<f64>() {
                Ok(sigma) if (0.0..=5.0).contains(&sigma) => Ok(Self::LogNormal(first, sigma)),
                _ => Err(format!("`{second}` is not a sigma between 0 and 5")),
            },
            _ => Err(format!("`{kind}` is not a distribution: uniform, jitter or lognormal")),
        }
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |delay: Duration| delay.as_secs_f64() * 1e3;
        match *self {
            Self::Zero => f.write_str("0ms"),
            Self::Fixed(delay) => write!(f, "{}ms", ms(delay)),
            Self::Uniform(low, high) => write!(f, "uniform:{}ms,{}ms", ms(low), ms(high)),
            Self::Jitter(base, jitter) => write!(f, "jitter:{}ms,{}ms", ms(base), ms(jitter)),
            Self::LogNormal(median, sigma) => write!(f, "lognormal:{}ms,{sigma}", ms(median)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for text in
            ["0ms", "20ms", "0.25ms", "uniform:10ms,50ms", "jitter:20ms,5ms", "lognormal:200ms,0.5"]
        {
            assert_eq!(text.parse::<Latency>().unwrap().to_string(), text);
        }
        assert_eq!("1.5s".parse(), Ok(Latency::Fixed(Duration::from_millis(1500))));
    }

    #[test]
    fn refuses_nonsense() {
        for text in [
            "",
            "fast",
            "-1ms",
            "uniform:5ms",
            "uniform:9ms,5ms",
            "gamma:1ms,2ms",
            "1e9s",
            "9999s",
            "lognormal:1ms,9",
        ] {
            assert!(text.parse::<Latency>().is_err(), "{text}");
        }
    }

    #[test]
    fn samples_follow_the_distribution() {
        let mut rng = Rng::new(5);
        let uniform: Latency = "uniform:10ms,50ms".parse().unwrap();
        let jitter: Latency = "jitter:20ms,5ms".parse().unwrap();
        let lognormal: Latency = "lognormal:200ms,0.5".parse().unwrap();
        let mut below = 0;
        for _ in 0..4000 {
            let sample = uniform.sample(&mut rng);
            assert!(sample >= Duration::from_millis(10) && sample <= Duration::from_millis(50));
            let sample = jitter.sample(&mut rng);
            assert!(sample >= Duration::from_millis(15) && sample <= Duration::from_millis(25));
            below += u32::from(lognormal.sample(&mut rng) < Duration::from_millis(200));
        }
        assert!((1800..2200).contains(&below), "the median is off: {below} of 4000 below it");
    }
}
