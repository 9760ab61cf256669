//! The fields of a message's head (RFC 9110, section 5), flat: the bytes that were received, once, and
//! where in them each name and value is.
//!
//! A proxy takes a head apart, leaves a few of its fields out, puts a few in, and writes it again. A hash
//! map with shared values is built for looking up many names often. Here a head has some ten fields, of
//! which weir looks for twenty names: which of these are there is one bit each ([`Name`]), and what is
//! left goes from where it was received into what is sent: lines that stand one behind the other in one
//! piece, names in the case in which they came.
//!
//! Whatever is put in is checked: neither a name nor a value can begin another line.

mod name;

use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

pub use name::{Name, Names};

/// Room for what is added to a head on its way, so that the list need not grow.
const ADDED_FIELDS: usize = 14;
/// Room for the text of it.
const ADDED_BYTES: usize = 512;
/// What a line has between its name and value, and behind them.
const COLON: &[u8] = b": ";
const END: &[u8] = b"\r\n";
/// What a line has beside its name and value.
const LINE_BYTES: usize = COLON.len() + END.len();
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
    /// The lines of what was added, as if they stood behind that.
    added: Vec<u8>,
    places: Vec<Place>,
    present: Names,
}

/// Where a field is.
#[derive(Clone, Copy)]
struct Place {
    known: Name,
    /// Its line stands there as it is sent: under this name, and with nothing but [`COLON`] and [`END`].
    is_line: bool,
    name_bytes: u16,
    name_at: u32,
    value_at: u32,
    value_bytes: u32,
}

impl Place {
    fn value_end(&self) -> usize {
        self.value_at as usize + self.value_bytes as usize
    }

    /// The length of its line.
    fn wire_bytes(&self) -> usize {
        usize::from(self.name_bytes) + self.value_bytes as usize + LINE_BYTES
    }

    /// Of its line.
    fn end(&self) -> usize {
        self.value_end() + END.len()
    }
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
            let name_at = field.name.as_ptr().addr() - start;
            let value_at = field.value.as_ptr().addr() - start;
            let (name_end, value_end) = (name_at + field.name.len(), value_at + field.value.len());
            let is_line = head.get(name_end..value_at) == Some(COLON)
                && head.get(value_end..value_end + END.len()) == Some(END);
            places.push(Place {
                known,
                is_line,
                name_bytes: u16::try_from(field.name.len()).ok()?,
                name_at: name_at as u32,
                value_at: value_at as u32,
                value_bytes: field.value.len() as u32,
            });
        }
        Some(Self { received: head, added: Vec::new(), places, present })
    }

    /// The same places in another head.
    pub(super) fn over(&self, head: Bytes) -> Self {
        let mut places = Vec::with_capacity(self.places.len() + ADDED_FIELDS);
        places.extend_from_slice(&self.places);
        Self { received: head, added: Vec::new(), places, present: self.present }
    }

    /// What was received.
    pub(super) fn received(&self) -> &[u8] {
        &self.received
    }

    /// Where in what was received the values of these names are.
    pub(super) fn values_at(&self, names: Names) -> impl Iterator<Item = Range<usize>> {
        let places = self.places.iter().filter(move |place| names.has(place.known));
        places.map(|place| place.value_at as usize..place.value_end())
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
        self.places.iter().map(Place::wire_bytes).sum()
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

    /// Whether there is one of any of these names.
    pub fn contains_any(&self, names: Names) -> bool {
        self.present.meets(names)
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
    #[inline]
    pub fn set_number(&mut self, name: Name, value: u64) {
        let name = Sought::from(name);
        let value_at = self.begin_line(name);
        self.added.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        let place = self.end_line(name, value_at);
        self.set_place(name, place);
    }

    /// The same with a text that is appended to a buffer which has others before it.
    #[inline]
    pub fn set_written(&mut self, name: Name, write: impl FnOnce(&mut Vec<u8>)) {
        let (name, begin) = (Sought::from(name), self.added.len());
        let value_at = self.begin_line(name);
        write(&mut self.added);
        if !self.added.get(value_at..).is_some_and(is_text) {
            self.added.truncate(begin);
            return;
        }
        let place = self.end_line(name, value_at);
        self.set_place(name, place);
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
            let place = &mut self.places[first];
            (place.known, place.is_line) = (to, false);
            place.name_bytes = to.as_str().len() as u16;
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

    /// Keeps those that are for whoever is behind the next neighbour, but for some names and those that
    /// begin in some ways. What is between two neighbours only (RFC 9110, section 7.6.1) goes: the
    /// fields that are so by their names, and those that `Connection` names.
    pub fn retain_end_to_end(&mut self, without: Names, beginnings: &[&[u8]]) {
        let without = without.and(HOP_BY_HOP);
        let mut nominating: SmallVec<[Place; 2]> = SmallVec::new();
        if self.present.has(Name::Connection) {
            let connection = |place: &&Place| place.known == Name::Connection;
            nominating.extend(self.places.iter().filter(connection).copied());
        }
        let is_nominated = |fields: &Self, place: &Place| {
            let mut options = nominating.iter().flat_map(|connection| {
                text(fields.value(connection)).unwrap_or_default().split(',').map(str::trim)
            });
            options.any(|option| option.as_bytes().eq_ignore_ascii_case(fields.name(place)))
        };
        self.keep(|fields, place| {
            if without.has(place.known) {
                return false;
            }
            let begins = |beginning: &&[u8]| fields.field(place).begins_with(beginning);
            let own = place.known == Name::Other && beginnings.iter().any(begins);
            !own && (nominating.is_empty() || !is_nominated(fields, place))
        });
    }

    /// Writes a line for each that is none of these.
    pub fn write_without(&self, names: Names, to: &mut Vec<u8>) {
        // Lines that stand one behind the other are written as one.
        let mut lines = 0..0;
        for place in &self.places {
            if names.has(place.known) {
                continue;
            }
            let (begin, end) = (place.name_at as usize, place.end());
            let follows = begin == lines.end && begin != self.received.len();
            if place.is_line && follows {
                lines.end = end;
                continue;
            }
            to.extend_from_slice(self.slice(lines));
            lines = 0..0;
            if place.is_line {
                lines = begin..end;
            } else {
                line(to, self.name(place), self.value(place));
            }
        }
        to.extend_from_slice(self.slice(lines));
    }

    /// The same as a map, for HTTP/2.
    pub fn to_map(&self) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(self.len());
        for place in &self.places {
            let end = place.value_end();
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
            Name::Other => {
                let at = place.name_at as usize;
                self.slice(at..at + usize::from(place.name_bytes))
            }
            known => known.as_str().as_bytes(),
        }
    }

    fn value(&self, place: &Place) -> &[u8] {
        self.slice(place.value_at as usize..place.value_end())
    }

    fn slice(&self, at: Range<usize>) -> &[u8] {
        match at.start.checked_sub(self.received.len()) {
            None => &self.received[at],
            Some(start) => &self.added[start..at.end - self.received.len()],
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

    #[inline]
    fn set_place(&mut self, name: Sought<'_>, place: Place) {
        if self.present.has(name.known) {
            self.replace(name, place);
        } else {
            self.places.push(place);
            self.present.add(name.known);
        }
    }

    #[inline(never)]
    fn replace(&mut self, name: Sought<'_>, place: Place) {
        if let Some(first) = self.places.iter().position(|place| self.is(place, name)) {
            self.places[first] = place;
            self.remove_behind(first, name);
        } else {
            self.places.push(place);
        }
    }

    fn remove_behind(&mut self, first: usize, name: Sought<'_>) {
        let last = |fields: &Self| fields.places.iter().rposition(|place| fields.is(place, name));
        while let Some(behind) = last(self).filter(|last| *last > first) {
            self.places.remove(behind);
        }
    }

    fn push(&mut self, name: Sought<'_>, value: &[u8]) {
        let place = self.write(name, value);
        self.places.push(place);
        self.present.add(name.known);
    }

    fn write(&mut self, name: Sought<'_>, value: &[u8]) -> Place {
        let value_at = self.begin_line(name);
        self.added.extend_from_slice(value);
        self.end_line(name, value_at)
    }

    /// Begins a line in what was added. Gives where in it the value begins.
    #[inline]
    fn begin_line(&mut self, name: Sought<'_>) -> usize {
        if self.added.capacity() == 0 {
            self.added.reserve(ADDED_BYTES);
        }
        if name.known == Name::Other {
            self.added.extend_from_slice(name.text.as_bytes());
            self.added.extend_from_slice(COLON);
        } else {
            self.added.extend_from_slice(name.known.beginning().as_bytes());
        }
        self.added.len()
    }

    #[inline]
    fn end_line(&mut self, name: Sought<'_>, value_at: usize) -> Place {
        let value_bytes = self.added.len() - value_at;
        self.added.extend_from_slice(END);
        let value_at = self.received.len() + value_at;
        let name_bytes = name.text.len();
        Place {
            known: name.known,
            is_line: true,
            name_bytes: name_bytes as u16,
            name_at: (value_at - COLON.len() - name_bytes) as u32,
            value_at: value_at as u32,
            value_bytes: value_bytes as u32,
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
    to.extend_from_slice(COLON);
    to.extend_from_slice(value);
    to.extend_from_slice(END);
}

fn text(value: &[u8]) -> Option<&str> {
    // ASCII is UTF-8.
    if is_text(value) { std::str::from_utf8(value).ok() } else { None }
}

/// Whether it is visible ASCII, spaces and tabs.
pub(super) fn is_text(value: &[u8]) -> bool {
    // Each is looked at, so that many are looked at at once.
    value.iter().fold(true, |all, byte| all & matches!(byte, b' '..=b'~' | b'\t'))
}

#[cfg(test)]
mod tests;
