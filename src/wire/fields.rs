//! The fields of a message's head (RFC 9110, section 5), flat: the bytes that were received, once, and
//! where in them each name and value is.
//!
//! A proxy takes a head apart, leaves a few of its fields out, puts a few in, and writes it again. A hash
//! map with shared values is built for looking up many names often. Here a head has some ten fields, of
//! which weir looks for twenty names: which of these are there is one bit each ([`Name`]), and what is
//! left goes from where it was received into what is sent.
//!
//! Whatever is put in is checked: neither a name nor a value can begin another line.

mod name;

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

pub use name::{Name, Names};

/// Room for what is added to a head on its way, so that the list need not grow.
const ADDED_FIELDS: usize = 14;
/// Room for the text of it.
const ADDED_BYTES: usize = 192;
/// What a line has beside its name and value: `: ` and the line's end.
const LINE_BYTES: usize = 4;
/// Fields between two neighbours only (RFC 9110, section 7.6.1).
const HOP_BY_HOP: Names = Names::of(&[
    Name::Connection,
    Name::KeepAlive,
    Name::ProxyConnection,
    Name::ProxyAuthenticate,
    Name::ProxyAuthorization,
    Name::Te,
    Name::Trailer,
    Name::TransferEncoding,
    Name::Upgrade,
]);
/// Fields whose values are secrets: HTTP/2 does not put them into a connection's tables (RFC 7541,
/// section 7.1).
const SECRET: Names = Names::of(&[
    Name::Authorization,
    Name::ProxyAuthorization,
    Name::Cookie,
    Name::SetCookie,
    Name::ApiKey,
    Name::XApiKey,
    Name::XGoogApiKey,
    Name::XAmzSecurityToken,
]);

/// Fields in the order in which they came.
#[derive(Clone, Default)]
pub struct Fields {
    /// What was received.
    received: Bytes,
    /// What was added, as if it stood behind that.
    added: Vec<u8>,
    places: Vec<Place>,
    present: Names,
}

/// Where a field is.
#[derive(Clone, Copy)]
struct Place {
    known: Name,
    /// Nothing for a known name.
    name_bytes: u16,
    name_at: u32,
    value_at: u32,
    value_bytes: u32,
}

/// One field.
#[derive(Clone, Copy)]
pub struct Field<'a> {
    /// Its name, if weir knows it.
    pub known: Name,
    /// Its name: in lower case if weir knows it, in any case otherwise.
    pub name: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
}

impl Field<'_> {
    /// Whether its name begins like this.
    pub fn begins_with(&self, beginning: &[u8]) -> bool {
        let first = |text: &[u8]| text.first().map(u8::to_ascii_lowercase);
        first(self.name) == first(beginning)
            && self
                .name
                .get(..beginning.len())
                .is_some_and(|own| own.eq_ignore_ascii_case(beginning))
    }
}

/// A name that is looked for.
#[derive(Clone, Copy)]
pub struct Sought<'a> {
    known: Name,
    text: &'a str,
}

impl From<Name> for Sought<'static> {
    fn from(known: Name) -> Self {
        Self { known, text: known.as_str() }
    }
}

impl<'a> From<&'a str> for Sought<'a> {
    fn from(text: &'a str) -> Self {
        Self { known: Name::of(text.as_bytes()), text }
    }
}

impl Fields {
    /// What a parser has found in a head.
    ///
    /// None if a name is longer than 65,535 bytes.
    pub(super) fn parsed(head: Bytes, parsed: &[httparse::Header<'_>]) -> Option<Self> {
        let start = head.as_ptr().addr();
        let mut places = Vec::with_capacity(parsed.len() + ADDED_FIELDS);
        let mut present = Names::default();
        for field in parsed {
            let known = Name::of(field.name.as_bytes());
            present.add(known);
            let name_bytes = if known == Name::Other { field.name.len() } else { 0 };
            places.push(Place {
                known,
                name_bytes: u16::try_from(name_bytes).ok()?,
                name_at: (field.name.as_ptr().addr() - start) as u32,
                value_at: (field.value.as_ptr().addr() - start) as u32,
                value_bytes: field.value.len() as u32,
            });
        }
        Some(Self { received: head, added: Vec::new(), places, present })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Their length on the wire.
    pub fn wire_bytes(&self) -> usize {
        self.iter().map(|field| field.name.len() + field.value.len() + LINE_BYTES).sum()
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = Field<'_>> {
        self.places.iter().map(|place| self.field(place))
    }

    /// Whether there is one of this name.
    pub fn contains<'s>(&self, name: impl Into<Sought<'s>>) -> bool {
        let name = name.into();
        match name.known {
            Name::Other => self.get(name).is_some(),
            known => self.present.has(known),
        }
    }

    /// The first value of a name.
    pub fn get<'s>(&self, name: impl Into<Sought<'s>>) -> Option<&[u8]> {
        let name = name.into();
        if !self.present.has(name.known) {
            return None;
        }
        let place = self.places.iter().find(|place| self.is(place, name))?;
        Some(self.value(place))
    }

    /// The first value of a name, if it is text: of visible ASCII, spaces and tabs.
    pub fn text<'s>(&self, name: impl Into<Sought<'s>>) -> Option<&str> {
        self.get(name).and_then(text)
    }

    /// All values of a name, in order.
    pub fn all<'s>(&self, name: impl Into<Sought<'s>>) -> impl Iterator<Item = &[u8]> {
        let name = name.into();
        let places = if self.present.has(name.known) { &self.places[..] } else { &[] };
        places.iter().filter(move |place| self.is(place, name)).map(|place| self.value(place))
    }

    /// The values of a name that are text, in order.
    pub fn texts<'s>(&self, name: impl Into<Sought<'s>>) -> impl Iterator<Item = &str> {
        self.all(name).filter_map(text)
    }

    /// Puts a field in place of all of its name. One whose value is no text is left out.
    pub fn set(&mut self, name: Name, value: &str) {
        if is_text(value.as_bytes()) {
            self.put(name.into(), value.as_bytes());
        }
    }

    /// The same with a number.
    pub fn set_number(&mut self, name: Name, value: u64) {
        self.set_written(name, |out| {
            out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        });
    }

    /// The same with a text that is appended to a buffer which has others before it.
    pub fn set_written(&mut self, name: Name, write: impl FnOnce(&mut Vec<u8>)) {
        self.reserve();
        let begin = self.added.len();
        write(&mut self.added);
        let value_bytes = self.added.len() - begin;
        if !is_text(&self.added[begin..]) {
            self.added.truncate(begin);
            return;
        }
        let at = (self.received.len() + begin) as u32;
        let place = Place {
            known: name,
            name_bytes: 0,
            name_at: at,
            value_at: at,
            value_bytes: value_bytes as u32,
        };
        self.set_place(name.into(), place);
    }

    /// The same with any name, and any value that a field can have.
    pub fn set_field(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.put(name.as_str().into(), value.as_bytes());
    }

    /// Puts a field before all others, in place of all of its name.
    pub fn set_first(&mut self, name: Name, value: &HeaderValue) {
        self.remove(name);
        let place = self.write(name.into(), value.as_bytes());
        self.places.insert(0, place);
        self.present.add(name);
    }

    /// Adds a field behind all others. One that cannot stand on the wire is left out.
    pub fn append(&mut self, name: &str, value: &str) {
        let sought = Sought::from(name);
        let named = sought.known != Name::Other || HeaderName::try_from(name).is_ok();
        if named && is_text(value.as_bytes()) {
            self.push(sought, value.as_bytes());
        }
    }

    /// Gives the first field of a name another name, in place of all of either.
    pub fn rename(&mut self, from: Name, to: Name) {
        if !self.present.has(from) {
            return;
        }
        self.remove(to);
        if let Some(first) = self.places.iter().position(|place| place.known == from) {
            self.places[first].known = to;
            self.remove_behind(first, from.into());
        }
        self.present.take(from);
        self.present.add(to);
    }

    /// Removes all of a name.
    pub fn remove<'s>(&mut self, name: impl Into<Sought<'s>>) {
        let name = name.into();
        if self.present.has(name.known) {
            self.keep(|fields, place| !fields.is(place, name));
        }
    }

    /// Keeps some of them only.
    pub fn retain(&mut self, keeps: impl Fn(Field<'_>) -> bool) {
        self.keep(|fields, place| keeps(fields.field(place)));
    }

    /// Keeps some of those that are for whoever is behind the next neighbour. What is between two
    /// neighbours only (RFC 9110, section 7.6.1) goes: the fields that are so by their names, and those
    /// that `Connection` names.
    pub fn retain_end_to_end(&mut self, keeps: impl Fn(Field<'_>) -> bool) {
        let mut nominating: SmallVec<[Place; 2]> = SmallVec::new();
        if self.present.has(Name::Connection) {
            let connection = |place: &&Place| place.known == Name::Connection;
            nominating.extend(self.places.iter().filter(connection).copied());
        }
        self.keep(|fields, place| {
            let mut options = nominating.iter().flat_map(|connection| {
                text(fields.value(connection)).unwrap_or_default().split(',').map(str::trim)
            });
            let field = fields.field(place);
            !HOP_BY_HOP.has(place.known)
                && !options.any(|option| option.as_bytes().eq_ignore_ascii_case(field.name))
                && keeps(field)
        });
    }

    /// Writes a line for each that is none of these, names in lower case.
    pub fn write_without(&self, names: Names, to: &mut Vec<u8>) {
        for place in &self.places {
            if names.has(place.known) {
                continue;
            }
            let start = to.len();
            let name = self.name(place);
            line(to, name, self.value(place));
            if place.known == Name::Other {
                to[start..start + name.len()].make_ascii_lowercase();
            }
        }
    }

    /// The same as a map, for HTTP/2.
    pub fn to_map(&self) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(self.len());
        for place in &self.places {
            let end = (place.value_at + place.value_bytes) as usize;
            let value = if end <= self.received.len() {
                HeaderValue::from_maybe_shared(self.received.slice(place.value_at as usize..end))
            } else {
                HeaderValue::from_bytes(self.value(place))
            };
            // Neither fails for what was parsed, or checked when it was added.
            if let (Ok(name), Ok(mut value)) = (HeaderName::from_bytes(self.name(place)), value) {
                value.set_sensitive(SECRET.has(place.known));
                map.append(name, value);
            }
        }
        map
    }

    fn field(&self, place: &Place) -> Field<'_> {
        Field { known: place.known, name: self.name(place), value: self.value(place) }
    }

    fn name(&self, place: &Place) -> &[u8] {
        match place.known {
            Name::Other => self.slice(place.name_at, u32::from(place.name_bytes)),
            known => known.as_str().as_bytes(),
        }
    }

    fn value(&self, place: &Place) -> &[u8] {
        self.slice(place.value_at, place.value_bytes)
    }

    fn slice(&self, at: u32, bytes: u32) -> &[u8] {
        let (at, bytes) = (at as usize, bytes as usize);
        match at.checked_sub(self.received.len()) {
            None => &self.received[at..at + bytes],
            Some(at) => &self.added[at..at + bytes],
        }
    }

    fn is(&self, place: &Place, name: Sought<'_>) -> bool {
        place.known == name.known
            && (place.known != Name::Other
                || self.name(place).eq_ignore_ascii_case(name.text.as_bytes()))
    }

    fn put(&mut self, name: Sought<'_>, value: &[u8]) {
        let place = self.write(name, value);
        self.set_place(name, place);
    }

    fn set_place(&mut self, name: Sought<'_>, place: Place) {
        if self.present.has(name.known)
            && let Some(first) = self.places.iter().position(|place| self.is(place, name))
        {
            self.places[first] = place;
            self.remove_behind(first, name);
        } else {
            self.places.push(place);
            self.present.add(name.known);
        }
    }

    fn remove_behind(&mut self, first: usize, name: Sought<'_>) {
        let mut next = first + 1;
        while next < self.places.len() {
            if self.is(&self.places[next], name) {
                self.places.remove(next);
            } else {
                next += 1;
            }
        }
    }

    fn push(&mut self, name: Sought<'_>, value: &[u8]) {
        let place = self.write(name, value);
        self.places.push(place);
        self.present.add(name.known);
    }

    fn reserve(&mut self) {
        if self.added.capacity() == 0 {
            self.added.reserve(ADDED_BYTES);
        }
    }

    fn write(&mut self, name: Sought<'_>, value: &[u8]) -> Place {
        self.reserve();
        let text = if name.known == Name::Other { name.text } else { "" };
        let name_at = (self.received.len() + self.added.len()) as u32;
        if !text.is_empty() {
            self.added.extend_from_slice(text.as_bytes());
        }
        self.added.extend_from_slice(value);
        Place {
            known: name.known,
            name_bytes: text.len() as u16,
            name_at,
            value_at: name_at + text.len() as u32,
            value_bytes: value.len() as u32,
        }
    }

    fn keep(&mut self, keeps: impl Fn(&Self, &Place) -> bool) {
        let mut places = std::mem::take(&mut self.places);
        let mut present = Names::default();
        places.retain(|place| {
            let keeps = keeps(self, place);
            if keeps {
                present.add(place.known);
            }
            keeps
        });
        (self.places, self.present) = (places, present);
    }
}

impl From<&HeaderMap> for Fields {
    fn from(map: &HeaderMap) -> Self {
        let mut fields = Self::default();
        fields.places.reserve(map.len() + ADDED_FIELDS);
        for (name, value) in map {
            fields.push(name.as_str().into(), value.as_bytes());
        }
        fields
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Fields {
    fn from_iter<T: IntoIterator<Item = (&'a str, &'a str)>>(all: T) -> Self {
        let mut fields = Self::default();
        for (name, value) in all {
            fields.append(name, value);
        }
        fields
    }
}

/// The same fields in the same order.
impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        let pair = |place| (self.name(place), self.value(place));
        let theirs = |place| (other.name(place), other.value(place));
        self.places.iter().map(pair).eq(other.places.iter().map(theirs))
    }
}

/// Names only: a value may be a secret.
impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.iter().map(|field| field.name.escape_ascii().to_string()))
            .finish()
    }
}

/// Writes a field's line (RFC 9112, section 5).
pub fn line(to: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    to.reserve(name.len() + value.len() + LINE_BYTES);
    to.extend_from_slice(name);
    to.extend_from_slice(b": ");
    to.extend_from_slice(value);
    to.extend_from_slice(b"\r\n");
}

fn text(value: &[u8]) -> Option<&str> {
    // ASCII is UTF-8.
    if is_text(value) { std::str::from_utf8(value).ok() } else { None }
}

fn is_text(value: &[u8]) -> bool {
    // Each is looked at, so that many are looked at at once.
    value.iter().fold(true, |all, byte| all & matches!(byte, b' '..=b'~' | b'\t'))
}

#[cfg(test)]
mod tests;
