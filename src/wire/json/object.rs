//! A validated document whose outermost value is an object, with an index of its members.

use std::ops::Range;

use bytes::Bytes;
use smallvec::SmallVec;

use super::scan::{self, Limits, Outermost, Spelling};
use super::value::{self, Member, Value};
use super::{Edit, JsonError};

/// How many members the outermost object may have. The largest requests known have some forty; the
/// bound keeps the index small whatever a client sends.
pub const MEMBERS_MAX: usize = 1024;

/// Members indexed without an allocation: those of a usual request. Each makes the index longer, which
/// is handed on by value.
const MEMBERS_INLINE: usize = 8;

/// Validates a whole document and indexes the members of its outermost object.
pub fn object(document: &[u8], limits: Limits) -> Result<Object<'_>, JsonError> {
    let mut object = Object { document, span: 0..0, members: SmallVec::new(), keys: 0 };
    object.span = scan::scan(document, limits, &mut object)?;
    if document[object.span.start] != b'{' {
        return Err(JsonError::at(document, object.span.start, "expected an object"));
    }
    Ok(object)
}

impl Outermost for Object<'_> {
    fn key(&mut self, span: Range<usize>, spelling: Spelling) -> bool {
        let key = &self.document[span.start + 1..span.end - 1];
        self.keys |= match spelling {
            Spelling::Plain => bit(key),
            Spelling::Escaped => ANY_KEY,
        };
        self.members.push(Member { key, key_start: span.start, value: Value::new(&[], span.end) });
        self.members.len() <= MEMBERS_MAX
    }

    fn value(&mut self, start: usize, end: usize) {
        if let Some(member) = self.members.last_mut() {
            member.value = Value::new(&self.document[start..end], start);
        }
    }
}

/// A key occurs more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeated;

/// A valid document whose outermost value is an object.
#[derive(Clone, Debug)]
pub struct Object<'a> {
    document: &'a [u8],
    span: Range<usize>,
    members: SmallVec<[Member<'a>; MEMBERS_INLINE]>,
    /// The [bits](bit) of all keys.
    keys: u64,
}

/// The bits of what may be any key, as one with escapes.
const ANY_KEY: u64 = u64::MAX;

/// The bit of a key. Most members that are asked for are not there, which is known if the bit is not.
const fn bit(key: &[u8]) -> u64 {
    let last = match key.last() {
        Some(last) => *last as usize,
        None => 0,
    };
    1 << ((key.len() + last) % u64::BITS as usize)
}

impl<'a> Object<'a> {
    /// The value of a member. The last one if the key occurs more than once, as most parsers have
    /// it; whoever depends on the value should ask for a [single](Self::single) one.
    #[inline]
    pub fn get(&self, key: &str) -> Option<Value<'a>> {
        if self.may_have(key) { self.named(key).next_back() } else { None }
    }

    /// The value of a member whose key occurs only once, in whatever spelling, if at all.
    ///
    /// # Errors
    ///
    /// [`Repeated`], if it occurs more than once.
    #[inline]
    pub fn single(&self, key: &str) -> Result<Option<Value<'a>>, Repeated> {
        if !self.may_have(key) {
            return Ok(None);
        }
        let mut values = self.named(key);
        let value = values.next();
        if values.next().is_some() { Err(Repeated) } else { Ok(value) }
    }

    /// The members, in order, duplicates included.
    pub fn members(&self) -> impl DoubleEndedIterator<Item = Member<'a>> + '_ {
        self.members.iter().copied()
    }

    /// False only if no member has that key.
    fn may_have(&self, key: &str) -> bool {
        self.keys & bit(key.as_bytes()) != 0
    }

    /// The values of the members with that key, in whatever spelling.
    fn named(&self, key: &str) -> impl DoubleEndedIterator<Item = Value<'a>> {
        let escaped = self.keys == ANY_KEY;
        let is =
            move |member: &&Member<'a>| member.key == key.as_bytes() || escaped && member.is(key);
        self.members.iter().filter(is).map(|member| member.value)
    }

    /// The object as a value.
    pub fn value(&self) -> Value<'a> {
        Value::new(&self.document[self.span.clone()], self.span.start)
    }

    /// The offset of the closing bracket, where a member can be added.
    pub fn insert_at(&self) -> usize {
        self.span.end - 1
    }

    /// The edit that adds a member, of which `raw` is the value, behind the others.
    pub fn insert(&self, key: &str, raw: &str) -> Edit {
        let mut with = Vec::with_capacity(key.len() + raw.len() + 4);
        if !self.members.is_empty() {
            with.push(b',');
        }
        super::quote(key, &mut with);
        with.push(b':');
        with.extend_from_slice(raw.as_bytes());
        Edit { span: self.insert_at()..self.insert_at(), with: Bytes::from(with) }
    }

    /// The value at a path of keys and array indices.
    pub fn find(&self, path: &[&str]) -> Option<Value<'a>> {
        let (first, rest) = path.split_first()?;
        value::descend(self.get(first)?, rest)
    }
}
