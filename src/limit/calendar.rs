//! Periods of a calendar, in the time zone where the bill is read.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// For how long a budget lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    /// From midnight to midnight.
    Day,
    /// From Monday to Sunday (ISO 8601).
    Week,
    /// From the first of the month to its last day.
    Month,
    /// For ever.
    Total,
}

impl Period {
    /// The word in labels and messages.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Period::Day => "day",
            Period::Week => "week",
            Period::Month => "month",
            Period::Total => "total",
        }
    }

    /// Where the period around a moment begins and ends, in seconds since the Unix epoch.
    pub(super) fn around(self, unix_s: i64, zone: &TimeZone) -> (i64, i64) {
        const ALWAYS: (i64, i64) = (i64::MIN, i64::MAX);
        if self == Period::Total {
            return ALWAYS;
        }
        let Ok(now) = Timestamp::from_second(unix_s) else { return ALWAYS };
        let today = Zoned::new(now, zone.clone()).date();
        let (first, next) = match self {
            Period::Week => {
                let first = today.saturating_sub(today.weekday().to_monday_zero_offset().days());
                (first, first.saturating_add(7.days()))
            }
            Period::Month => {
                (today.first_of_month(), today.last_of_month().saturating_add(1.day()))
            }
            Period::Day | Period::Total => (today, today.saturating_add(1.day())),
        };
        // A day begins at midnight, or where the clocks skip that, at its first moment.
        let begins = |date: Date| date.to_zoned(zone.clone()).map(|at| at.timestamp().as_second());
        match (begins(first), begins(next)) {
            (Ok(begin), Ok(end)) => (begin, end),
            // The end of jiff's calendar, in the year 9999.
            _ => ALWAYS,
        }
    }
}

/// What was used in the current period.
#[derive(Debug)]
pub(super) struct Budget {
    period: Period,
    zone: TimeZone,
    begin_s: i64,
    end_s: i64,
    used: u64,
}

impl Budget {
    pub(super) fn new(period: Period, zone: &TimeZone, now_s: i64) -> Self {
        let (begin_s, end_s) = period.around(now_s, zone);
        Self { period, zone: zone.clone(), begin_s, end_s, used: 0 }
    }

    /// The zone that periods are reckoned in from the next one on.
    pub(super) fn move_to(&mut self, zone: &TimeZone) {
        if self.zone != *zone {
            self.zone = zone.clone();
        }
    }

    /// Begins a new period if the current one is over. True when it has.
    pub(super) fn roll(&mut self, now_s: i64) -> bool {
        let over = now_s >= self.end_s;
        if over {
            let (begin_s, end_s) = self.period.around(now_s, &self.zone);
            // Never back into what was counted, also where the zone changed.
            (self.begin_s, self.end_s) = (begin_s.max(self.end_s), end_s);
            self.used = 0;
        }
        over
    }

    /// Where the period begins and ends, in seconds since the Unix epoch; `None` if it never does.
    pub(super) fn period(&self) -> Option<(i64, i64)> {
        (self.end_s != i64::MAX).then_some((self.begin_s, self.end_s))
    }

    /// When the period began, in seconds since the Unix epoch; the least number if it always was.
    pub(super) fn begin_s(&self) -> i64 {
        self.begin_s
    }

    /// What will have been used at the end of the period if it goes on as it did until now. `None` before a
    /// hundredth of the period has passed, on which no word can be based.
    pub(super) fn forecast(&self, used: u64, now_s: i64) -> Option<u64> {
        const PART_MIN: i128 = 100;
        let (begin, end) = self.period()?;
        let (length, passed) =
            (i128::from(end) - i128::from(begin), i128::from(now_s) - i128::from(begin));
        if passed <= 0 || passed * PART_MIN < length {
            return None;
        }
        u64::try_from(i128::from(used) * length / passed.min(length)).ok()
    }

    pub(super) fn used(&self) -> u64 {
        self.used
    }

    pub(super) fn add(&mut self, amount: u64) {
        self.used = self.used.saturating_add(amount);
    }

    /// Takes back what was added at `at_s`, unless its period is over.
    pub(super) fn take_back(&mut self, at_s: i64, amount: u64) {
        if at_s >= self.begin_s {
            self.used = self.used.saturating_sub(amount);
        }
    }

    /// How long until the period is over; `None` if it never is.
    pub(super) fn ends_in_s(&self, now_s: i64) -> Option<u64> {
        (self.end_s != i64::MAX).then(|| self.end_s.saturating_sub(now_s).max(0).unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).expect("a zone")
    }

    fn unix_s(text: &str) -> i64 {
        text.parse::<Timestamp>().expect("a time").as_second()
    }

    #[test]
    fn periods_are_those_of_the_zone() {
        let now = unix_s("2026-03-29T22:30:00Z");
        let berlin = zone("Europe/Berlin");
        // In Berlin it is Monday the 30th, half past midnight, a day after summer time began.
        let cases = [
            (Period::Day, &berlin, "2026-03-29T22:00:00Z", "2026-03-30T22:00:00Z"),
            (Period::Week, &berlin, "2026-03-29T22:00:00Z", "2026-04-05T22:00:00Z"),
            (Period::Month, &berlin, "2026-02-28T23:00:00Z", "2026-03-31T22:00:00Z"),
            (Period::Day, &TimeZone::UTC, "2026-03-29T00:00:00Z", "2026-03-30T00:00:00Z"),
            (Period::Week, &TimeZone::UTC, "2026-03-23T00:00:00Z", "2026-03-30T00:00:00Z"),
        ];
        for (period, zone, begin, end) in cases {
            assert_eq!(period.around(now, zone), (unix_s(begin), unix_s(end)), "{period:?}");
        }
        assert_eq!(Period::Total.around(now, &berlin), (i64::MIN, i64::MAX));
    }

    #[test]
    fn a_forecast_goes_on_as_the_period_began() {
        let noon = unix_s("2026-06-11T12:00:00Z");
        let budget = Budget::new(Period::Month, &TimeZone::UTC, noon);
        // Ten and a half days of thirty have passed.
        assert_eq!(budget.forecast(1_050, noon), Some(3_000));
        assert_eq!(budget.forecast(9, unix_s("2026-06-01T02:00:00Z")), None, "too early to say");
        assert_eq!(Budget::new(Period::Total, &TimeZone::UTC, noon).forecast(9, noon), None);
    }

    #[test]
    fn a_day_of_23_hours_is_one_day() {
        let (begin, end) =
            Period::Day.around(unix_s("2026-03-29T12:00:00Z"), &zone("Europe/Berlin"));
        assert_eq!(end - begin, 23 * 3600);
    }

    #[test]
    fn a_new_period_begins_with_nothing_used() {
        let begin = unix_s("2026-11-30T12:00:00Z");
        let mut budget = Budget::new(Period::Month, &TimeZone::UTC, begin);
        budget.add(10);
        assert_eq!(budget.ends_in_s(begin), Some(12 * 3600));
        budget.roll(begin + 12 * 3600 - 1);
        assert_eq!(budget.used(), 10);
        budget.roll(begin + 12 * 3600);
        assert_eq!(budget.used(), 0);
        budget.add(3);
        budget.take_back(begin, 2);
        assert_eq!(budget.used(), 3, "November's money is not December's");
    }

    #[test]
    fn another_zone_does_not_open_a_period_again() {
        let begin = unix_s("2026-11-30T12:00:00Z");
        let mut budget = Budget::new(Period::Day, &TimeZone::UTC, begin);
        budget.add(10);
        budget.move_to(&zone("Asia/Tokyo"));
        budget.roll(begin + 3600);
        assert_eq!(budget.used(), 10);
        budget.roll(begin + 12 * 3600);
        assert_eq!((budget.used(), budget.ends_in_s(begin + 12 * 3600)), (0, Some(15 * 3600)));
    }
}
