//! A validated document whose outermost value is an object, with an index of its members.

use std::ops::Range;

use bytes::Bytes;
use smallvec::SmallVec;

use super::scan::{self, Limits, Outermost};
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
    let mut object = Object { document, span: 0..0, members: SmallVec::new(), escaped: false };
    object.span = scan::scan(document, limits, &mut object)?;
    if document[object.span.start] != b'{' {
        return Err(JsonError::at(document, object.span.start, "expected an object"));
    }
    Ok(object)
}

impl Outermost for Object<'_> {
    fn key(&mut self, start: usize, end: usize) -> bool {
        let key = &self.document[start + 1..end - 1];
        self.escaped |= key.contains(&b'\\');
        self.members.push(Member { key, key_start: start, value: Value::new(&[], end) });
        self.members.len() <= MEMBERS_MAX
    }

    fn value(&mut self, start: usize, end: usize) {
        if let Some(member) = self.members.last_mut() {
            member.value = Value::new(&self.document[start..end], start);
        }
    }
}

/// A valid document whose outermost value is an object.
#[derive(Clone, Debug)]
pub struct Object<'a> {
    document: &'a [u8],
    span: Range<usize>,
    members: SmallVec<[Member<'a>; MEMBERS_INLINE]>,
    /// A key is spelled with escapes.
    escaped: bool,
}

impl<'a> Object<'a> {
    /// The value of a member. The last one if the key occurs more than once, as most parsers have
    /// it; whoever depends on the value should refuse [duplicates](Self::duplicate).
    pub fn get(&self, key: &str) -> Option<Value<'a>> {
        self.named(key).next_back().map(|member| member.value)
    }

    /// The members, in order, duplicates included.
    pub fn members(&self) -> impl DoubleEndedIterator<Item = Member<'a>> + '_ {
        self.members.iter().copied()
    }

    /// Whether the key occurs more than once, in whatever spelling.
    pub fn duplicate(&self, key: &str) -> bool {
        self.named(key).nth(1).is_some()
    }

    /// The members with that key, in whatever spelling.
    fn named(&self, key: &str) -> impl DoubleEndedIterator<Item = &Member<'a>> {
        let is = move |member: &&Member<'a>| {
            member.key == key.as_bytes() || self.escaped && member.is(key)
        };
        self.members.iter().filter(is)
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
