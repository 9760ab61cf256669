//! Records in the order of time.
//!
//! A file keeps them in blocks that overlap, so they have to be sorted. What is asked for is therefore
//! read a few blocks at a time: no more of them are in memory, and a page of a long answer costs
//! what is on it and not what comes after it.

use super::books::next_block;
use super::query::{Cell, Filter, Mark, Part, Question};
use crate::database::{Connection, Error};

/// Blocks that are read first, and at a time at most: where few of their records are meant, more are
/// read.
const BLOCKS_MIN: u64 = 2;
const BLOCKS_MAX: u64 = 64;

/// Gives each record of this part of the answer as it comes.
pub fn list(
    connection: &mut Connection,
    filter: &Filter,
    part: Part,
    each: &mut dyn FnMut(&[Cell]) -> Result<(), Error>,
) -> Result<(), Error> {
    let after = match part.after {
        Some(Mark::Record { time_ms, .. }) => time_ms,
        _ => 0,
    };
    let mut from_ms = filter.from_ms.unwrap_or_default().max(after);
    let (mut left, mut blocks) = (part.limit, BLOCKS_MIN);
    loop {
        let until = next_block(connection, from_ms, blocks)?
            .filter(|until| filter.to_ms.is_none_or(|to| *until < to));
        let period = Filter {
            from_ms: Some(from_ms),
            to_ms: until.or(filter.to_ms),
            with: filter.with.clone(),
        };
        let question = Question::records(&period, Part { after: part.after, limit: left });
        let mut rows = 0;
        question.ask(connection, &mut |cells| {
            rows += 1;
            each(cells)
        })?;
        left = left.map(|left| left.saturating_sub(rows));
        match until {
            Some(until) if left != Some(0) => from_ms = until,
            _ => return Ok(()),
        }
        blocks = BLOCKS_MAX.min(blocks * 2);
    }
}
