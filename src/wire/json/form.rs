//! The ends of documents that differ in nothing but numbers.
//!
//! A provider's answers end with what they used, in the same words each time: the same keys in the
//! same order, behind them the same few members and brackets. Only the numbers are new. Comparing
//! such an end with the one before it, and reading its numbers, costs a sixth of reading its keys.
//!
//! A [`Form`] is the end of a document from a member of it on, without the numbers. A document that
//! ends with the same bytes around numbers of its own has that member, too, as
//! [`tail`](super::tail) says: its key cannot be within a string, and what follows it leads to the
//! last byte. So what is read of such a document is what reading its keys would have yielded.

use smallvec::SmallVec;

use super::super::lately::Lately;
use super::tail::{self, LastKey};
use super::value::{Cursor, Leaf, Value};

/// Most numbers of a form.
const NUMBERS_MAX: usize = 32;
/// Most digits of a number; one more may be more than fits.
const DIGITS_MAX: usize = 19;

/// The forms that documents had.
#[derive(Debug)]
pub struct Forms<T>(Lately<Form<T>>);

/// Numbers, in order, with what they are.
pub type Numbers<T> = SmallVec<[(T, u64); 12]>;

impl<T: Copy> Forms<T> {
    /// None yet.
    pub const fn none() -> Self {
        Self(Lately::new())
    }

    /// The numbers of an object that has the form of one before it.
    pub fn read(&mut self, object: Value<'_>) -> Option<Numbers<T>> {
        if object.raw().first() != Some(&b'{') {
            return None;
        }
        self.0.find(|form| form.read(object.raw()))
    }

    /// Remembers the form of an object from its last member with this key on, which is an object itself.
    /// `what` says of the leaves of that what their numbers are, where they matter.
    pub fn learn(
        &mut self,
        object: Value<'_>,
        key: &LastKey,
        what: impl Fn(&Leaf<'_>) -> Option<T>,
    ) {
        self.0.add(|| Form::of(object, key, what));
    }
}

/// The end of an object, without its numbers.
#[derive(Debug)]
struct Form<T> {
    /// What is around the numbers.
    text: Vec<u8>,
    /// Of each number, where in that it was, and what it is if that matters.
    numbers: Vec<(usize, Option<T>)>,
}

impl<T: Copy> Form<T> {
    /// None if the member is not found in the object's tail, or some of what matters is no plain number.
    fn of(object: Value<'_>, key: &LastKey, what: impl Fn(&Leaf<'_>) -> Option<T>) -> Option<Self> {
        let raw = object.raw();
        let member = tail::last(object, key, Cursor::value)?;
        let place = |value: &Value<'_>| value.span().start - object.span().start;
        // From the comma or bracket before its key on, in which there is none of either.
        let before = &raw[..place(&member)];
        let mut at = before.iter().rposition(|byte| matches!(byte, b',' | b'{'))?;
        let (mut text, mut numbers) = (Vec::new(), Vec::new());
        for leaf in member.leaves() {
            let what = what(&leaf);
            let digits = leaf.value.raw();
            let is_number = digits.len() <= DIGITS_MAX && digits.iter().all(u8::is_ascii_digit);
            if is_number {
                let begin = place(&leaf.value);
                text.extend_from_slice(&raw[at..begin]);
                numbers.push((text.len(), what));
                at = begin + digits.len();
            } else if what.is_some() {
                return None;
            }
        }
        text.extend_from_slice(&raw[at..]);
        (1..=NUMBERS_MAX).contains(&numbers.len()).then_some(Self { text, numbers })
    }

    /// From the last byte to the first: where the end is, is known.
    fn read(&self, document: &[u8]) -> Option<Numbers<T>> {
        let (mut rest, mut text) = (document, &self.text[..]);
        let mut numbers = Numbers::new();
        for (at, what) in self.numbers.iter().rev() {
            let (before, behind) = text.split_at(*at);
            let number;
            (rest, number) = split_number(rest.strip_suffix(behind)?)?;
            if let Some(what) = what {
                numbers.push((*what, number));
            }
            text = before;
        }
        numbers.reverse();
        rest.ends_with(text).then_some(numbers)
    }
}

/// What comes before the number that a text ends with, and the number.
fn split_number(text: &[u8]) -> Option<(&[u8], u64)> {
    let (mut number, mut place) = (0, 1);
    for (at, byte) in text.iter().enumerate().rev() {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            let before = &text[..=at];
            return (before.len() < text.len()).then_some((before, number));
        }
        if text.len() - at > DIGITS_MAX {
            break;
        }
        number += u64::from(digit) * place;
        place *= 10;
    }
    None
}

#[cfg(test)]
mod tests;
