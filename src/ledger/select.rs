//! What somebody asks of the ledger, in the words of commands and addresses.

use super::listing::list;
use super::query::{Cell, Column, Field, Filter, Part, Question, record_columns, sum_columns};
use super::reconcile;
use crate::database::{Connection, Error};

/// Which records, and whether they are added up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Which records.
    pub filter: Filter,
    /// Sums by these fields instead of the records themselves; of all together by none.
    pub by: Option<Vec<Field>>,
}

impl Selection {
    /// The columns of the answer.
    pub fn columns(&self) -> Vec<Column> {
        self.by.as_deref().map_or_else(record_columns, sum_columns)
    }

    /// Gives each row of this part of the answer as it comes.
    ///
    /// # Errors
    ///
    /// What is asked is no longer kept in that detail, or cannot be read.
    pub fn ask(
        &self,
        connection: &mut Connection,
        part: Part,
        each: &mut dyn FnMut(&[Cell]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        match &self.by {
            None => list(connection, &self.filter, part, each),
            Some(by) => Question::sums(connection, &self.filter, by, part)?.ask(connection, each),
        }
    }
}

/// A day (`2026-11-22`), a moment (RFC 3339, or seconds since 1970), or how long ago (`24h`, `7d`).
pub fn moment(text: &str, now_ms: u64) -> Result<u64, String> {
    if let Some(moment) = reconcile::moment(text) {
        return Ok(moment);
    }
    let hours = match text.as_bytes().last() {
        Some(b'h') => 1,
        Some(b'd') => 24,
        _ => 0,
    };
    let number = text.get(..text.len().saturating_sub(1)).and_then(|it| it.parse::<u64>().ok());
    match number {
        Some(number) if hours > 0 => {
            Ok(now_ms.saturating_sub(number.saturating_mul(hours * 3_600_000)))
        }
        _ => Err("write a day (2026-11-22), a moment (2026-11-22T10:00:00Z), or 24h or 7d".into()),
    }
}

/// From the begin of a month (`2026-11`) of UTC to that of the next.
pub fn month(text: &str) -> Result<(u64, u64), String> {
    let begin = |first: jiff::civil::Date| reconcile::moment(&first.to_string());
    let first = format!("{text}-01").parse::<jiff::civil::Date>().ok().filter(|_| text.len() == 7);
    let next = first.and_then(|first| first.checked_add(jiff::Span::new().months(1)).ok());
    let bounds = first.and_then(begin).zip(next.and_then(begin));
    bounds.ok_or_else(|| "write a month, such as 2026-11".to_owned())
}

/// A field by its name.
pub fn field(name: &str) -> Result<Field, String> {
    Field::named(name).ok_or_else(|| {
        let names = Field::ALL.map(Field::as_str).join(", ");
        format!("there are {names}")
    })
}

/// Fields with commas between them.
pub fn fields(names: &str) -> Result<Vec<Field>, String> {
    let fields: Vec<Field> = names.split(',').map(field).collect::<Result<_, _>>()?;
    let twice = fields.iter().enumerate().find(|(at, field)| fields[..*at].contains(field));
    match twice {
        Some((_, field)) => Err(format!("{} is there twice", field.as_str())),
        None => Ok(fields),
    }
}

/// A field and the value that records must have.
pub fn condition(field: Field, value: &str) -> Result<(Field, String), String> {
    match field {
        Field::Hour | Field::Day => Err("give a period by its begin and end".into()),
        Field::Status if value.parse::<u16>().is_err() => Err("a status is a number".into()),
        _ => Ok((field, value.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_and_months() {
        let now = 1_800_000_000_000;
        assert_eq!(moment("1970-01-02", now), Ok(86_400_000));
        assert_eq!(moment("1970-01-01T00:00:01Z", now), Ok(1000));
        assert_eq!(moment("2d", now), Ok(now - 2 * 86_400_000));
        for wrong in [
            "",
            "h",
            "x",
            "99999999999999999999h",
            "-1h",
            "1w",
            "ä",
            "18446744073709551615",
            "99999999999999999",
        ] {
            assert!(moment(wrong, now).is_err(), "{wrong}");
        }
        assert_eq!(month("2023-12"), Ok((1_701_388_800_000, 1_704_067_200_000)));
        for wrong in ["", "2023", "2023-13", "2023-1", "23-12", "9999-12x", "2023-12-01"] {
            assert!(month(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn conditions() {
        assert_eq!(condition(Field::Status, "429"), Ok((Field::Status, "429".to_owned())));
        assert!(condition(Field::Status, "many").is_err());
        assert!(condition(Field::Day, "2023-01-01").is_err());
        assert_eq!(fields("day,key"), Ok(vec![Field::Day, Field::Key]));
        assert!(fields("day,day").is_err() && fields("day,").is_err() && fields("").is_err());
        assert!(field("nothing").is_err_and(|why| why.contains("tenant")));
    }
}
