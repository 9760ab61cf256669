//! The fields of a message's head (RFC 9110, section 5), flat: the bytes that were received, once, and
//! where in them each name and value is.
//!
//! A proxy takes a head apart, leaves a few of its fields out, puts a few in, and writes it again. A hash
//! map with shared values is built for looking up many names often. Here a head has some ten fields, of
//! which weir looks for twenty names: which of these are there is one bit each ([`Name`]), and what is
//! left goes from where it was received into what is sent: lines that stand one behind the other in one
//! piece, names in the case in which they came.
//!
//! What is received is not changed. Where its fields are is shared with all heads that are alike; which
//! of them count no more is one bit for each name, and what is put in stands behind them: the order of
//! fields with different names says nothing (RFC 9110, section 5.3).
//!
//! Whatever is put in is checked: neither a name nor a value can begin another line.

mod added;
mod came;
mod name;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use added::Added;
use came::{Came, Place};
pub use name::{Name, Names};

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

/// Fields: those that came, in their order, and behind them those that were put in.
#[derive(Clone, Default)]
pub struct Fields {
    /// What was received.
    received: Bytes,
    /// Where in it fields are.
    came: Option<Arc<Came>>,
    /// Names of which none that came counts any more.
    gone: Names,
    added: Added,
    /// The names of all that count.
    present: Names,
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

impl Sought<'_> {
    fn is(self, field: &Field<'_>) -> bool {
        field.known == self.known
            && (self.known != Name::Other || field.name.eq_ignore_ascii_case(self.text.as_bytes()))
    }
}

impl Fields {
    /// What a parser has found in a head.
    ///
    /// None if a name is longer than 65,535 bytes.
    pub(super) fn parsed(head: Bytes, parsed: &[httparse::Header<'_>]) -> Option<Self> {
        let places =
            parsed.iter().map(|field| Place::parsed(&head, field)).collect::<Option<_>>()?;
        Some(Self::of(head, places))
    }

    fn of(received: Bytes, places: Vec<Place>) -> Self {
        let came = Came::new(places);
        let present = came.present;
        Self { received, came: Some(Arc::new(came)), present, ..Self::default() }
    }

    /// The same fields, as they came, in another head.
    pub(super) fn over(&self, head: Bytes) -> Self {
        let present = self.came.as_ref().map_or(Names::default(), |came| came.present);
        Self { received: head, came: self.came.clone(), present, ..Self::default() }
    }

    /// What was received.
    pub(super) fn received(&self) -> &[u8] {
        &self.received
    }

    /// Where in what was received the values of these names are.
    pub(super) fn values_at(&self, names: Names) -> impl Iterator<Item = Range<usize>> {
        let places = self.came().iter().filter(move |place| names.has(place.known));
        places.map(Place::value)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Their length on the wire.
    pub fn wire_bytes(&self) -> usize {
        let came = self.counted().map(Place::wire_bytes).sum::<usize>();
        came + self.added.bytes()
    }

    /// Whether they are no longer than this on the wire.
    pub fn fit(&self, bytes_max: usize) -> bool {
        self.wire_bytes_max() <= bytes_max || self.wire_bytes() <= bytes_max
    }

    /// Their length on the wire at most, without looking at each.
    pub fn wire_bytes_max(&self) -> usize {
        // A line may have come without the spaces with which it goes out.
        self.received.len() + self.came().len() * LINE_BYTES + self.added.bytes()
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = Field<'_>> {
        let (first, last) = self.added.fields();
        first.chain(self.counted().map(|place| self.field(place))).chain(last)
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
        match self.came.as_ref().filter(|_| !self.gone.has(name.known)) {
            Some(came) if name.known != Name::Other && came.present.has(name.known) => {
                Some(&self.received[came.first(name.known)?.value()])
            }
            _ if name.known == Name::Other => self.all(name).next(),
            _ => self.added.value(name.known),
        }
    }

    /// Whether a name occurs more than once.
    pub fn is_repeated(&self, name: Name) -> bool {
        // Only what was put in can stand beside what came once.
        let came = self.came.as_ref().is_some_and(|came| came.repeated.has(name));
        self.present.has(name)
            && (came || self.added.names().has(name))
            && self.all(name).nth(1).is_some()
    }

    /// The first value of a name, if it is text: of visible ASCII, spaces and tabs.
    pub fn text<'s>(&self, name: impl Into<Sought<'s>>) -> Option<&str> {
        self.get(name).and_then(text)
    }

    /// The same, if it is a number in digits.
    pub fn number(&self, name: Name) -> Option<u64> {
        self.get(name).and_then(number)
    }

    /// All values of a name, in order.
    pub fn all<'s>(&self, name: impl Into<Sought<'s>>) -> impl Iterator<Item = &[u8]> {
        let name = name.into();
        let some = self.present.has(name.known).then(|| self.iter());
        some.into_iter().flatten().filter(move |field| name.is(field)).map(|field| field.value)
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
        self.put(name.into(), itoa::Buffer::new().format(value).as_bytes());
    }

    /// The same with a text that is appended to a buffer which has others before it.
    #[inline]
    pub fn set_written(&mut self, name: Name, write: impl FnOnce(&mut Vec<u8>)) {
        self.replace(name.into());
        if self.added.add_written(name, write) {
            self.present.add(name);
        }
    }

    /// The same with any name, and any value that a field can have.
    pub fn set_field(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.put(name.as_str().into(), value.as_bytes());
    }

    /// Puts a field before all others, in place of all of its name.
    pub fn set_first(&mut self, name: Name, value: &HeaderValue) {
        self.replace(name.into());
        self.added.add_first(name, value.as_bytes());
        self.present.add(name);
    }

    /// Adds a field behind all others. One that cannot stand on the wire is left out.
    pub fn append(&mut self, name: &str, value: &str) {
        let sought = Sought::from(name);
        let named = sought.known != Name::Other || HeaderName::try_from(name).is_ok();
        if named && is_text(value.as_bytes()) {
            self.add(sought, value.as_bytes());
        }
    }

    /// Gives the first field of a name another name, in place of all of either.
    pub fn rename(&mut self, from: Name, to: Name) {
        if !self.present.has(from) {
            return;
        }
        let first = self.get(from).unwrap_or_default().to_vec();
        self.remove(from);
        self.put(to.into(), &first);
    }

    /// Removes all of a name.
    pub fn remove<'s>(&mut self, name: impl Into<Sought<'s>>) {
        let name = name.into();
        if self.present.has(name.known) {
            self.remove_all(name);
        }
    }

    /// Keeps some of them only.
    #[cold]
    pub fn retain(&mut self, keeps: impl Fn(Field<'_>) -> bool) {
        let counted = self.counted().filter(|place| keeps(self.field(place)));
        let came = Came::new(counted.copied().collect());
        (self.present, self.gone) = (came.present, Names::default());
        self.came = Some(Arc::new(came));
        self.added.keep(keeps);
        self.present = self.present.and(self.added.names());
    }

    /// Keeps those that are for whoever is behind the next neighbour, but for some names and those that
    /// begin in some ways. What is between two neighbours only (RFC 9110, section 7.6.1) goes: the
    /// fields that are so by their names, and those that `Connection` names.
    pub fn retain_end_to_end(&mut self, without: Names, beginnings: &[&[u8]]) {
        // Nearly all that say something of the connection name this one, which goes by its name.
        let usual = |connection: &[u8]| connection.eq_ignore_ascii_case(b"keep-alive");
        let nominates = self.present.has(Name::Connection)
            && (self.is_repeated(Name::Connection)
                || !self.get(Name::Connection).is_some_and(usual));
        if nominates {
            self.remove_nominated();
        }
        let begins = |field: &Field<'_>| beginnings.iter().any(|begin| field.begins_with(begin));
        let own = |field: &Field<'_>| field.known == Name::Other && begins(field);
        if self.present.has(Name::Other) && self.iter().any(|field| own(&field)) {
            self.retain(|field| !own(&field));
        }
        self.leave_out(without.and(HOP_BY_HOP));
    }

    /// Removes those that `Connection` names.
    #[cold]
    fn remove_nominated(&mut self) {
        let options = self.texts(Name::Connection).flat_map(|text| text.split(','));
        let options: Vec<String> = options.map(|option| option.trim().to_owned()).collect();
        for option in &options {
            self.remove(option.as_str());
        }
    }

    /// Writes a line for each that is none of these.
    pub fn write_without(&self, names: Names, to: &mut Vec<u8>) {
        self.added.write_without(names, to, |to| self.write_came(self.gone.and(names), to));
    }

    fn write_came(&self, without: Names, to: &mut Vec<u8>) {
        match self.came.as_ref().and_then(|came| came.sent(without)) {
            Some(pieces) => {
                for piece in pieces {
                    to.extend_from_slice(&self.received[piece.start as usize..piece.end as usize]);
                }
            }
            None => self.write_each(without, to),
        }
    }

    /// Those that came, one by one.
    fn write_each(&self, without: Names, to: &mut Vec<u8>) {
        for place in self.came().iter().filter(|place| !without.has(place.known)) {
            if place.is_line {
                to.extend_from_slice(&self.received[place.line()]);
            } else {
                let Field { name, value, .. } = self.field(place);
                line(to, name, value);
            }
        }
    }

    /// The same as a map, for HTTP/2.
    pub fn to_map(&self) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(self.len());
        let (first, last) = self.added.fields();
        let mut add = |field: Field<'_>, value| {
            // Neither fails for what was parsed, or checked when it was added.
            if let (Ok(name), Ok(mut value)) = (HeaderName::from_bytes(field.name), value) {
                HeaderValue::set_sensitive(&mut value, SECRET.has(field.known));
                map.append(name, value);
            }
        };
        first.for_each(|field| add(field, HeaderValue::from_bytes(field.value)));
        for place in self.counted() {
            let value = HeaderValue::from_maybe_shared(self.received.slice(place.value()));
            add(self.field(place), value);
        }
        last.for_each(|field| add(field, HeaderValue::from_bytes(field.value)));
        map
    }

    /// Those that came, whether they count or not.
    fn came(&self) -> &[Place] {
        self.came.as_ref().map_or(&[], |came| came.places())
    }

    /// Those of them that count.
    fn counted(&self) -> impl Iterator<Item = &Place> {
        self.came().iter().filter(|place| !self.gone.has(place.known))
    }

    fn field(&self, place: &Place) -> Field<'_> {
        let name = match place.known {
            Name::Other => &self.received[place.name()],
            known => known.as_str().as_bytes(),
        };
        Field { known: place.known, name, value: &self.received[place.value()] }
    }

    fn put(&mut self, name: Sought<'_>, value: &[u8]) {
        self.replace(name);
        self.add(name, value);
    }

    #[inline]
    fn add(&mut self, name: Sought<'_>, value: &[u8]) {
        self.added.add(name, value);
        self.present.add(name.known);
    }

    /// Makes place for one of this name.
    #[inline]
    fn replace(&mut self, name: Sought<'_>) {
        if self.present.has(name.known) {
            self.remove_all(name);
        }
    }

    fn remove_all(&mut self, name: Sought<'_>) {
        if name.known != Name::Other {
            self.leave_out(Names::of(&[name.known]));
        } else if self.get(name).is_some() {
            self.retain(|field| !name.is(&field));
        }
    }

    /// Removes all of these names.
    #[inline]
    fn leave_out(&mut self, names: Names) {
        self.gone = self.gone.and(names);
        if self.added.names().meets(names) {
            self.added.keep(|field| !names.has(field.known));
        }
        self.present = self.present.without(names);
    }
}

impl From<&HeaderMap> for Fields {
    fn from(map: &HeaderMap) -> Self {
        let (mut text, mut places) = (Vec::new(), Vec::with_capacity(map.len()));
        for (name, value) in map {
            let name_at = text.len();
            line(&mut text, name.as_str().as_bytes(), value.as_bytes());
            places.push(Place {
                known: Name::of(name.as_str().as_bytes()),
                is_line: true,
                // A name is shorter than 64 KiB there.
                name_bytes: name.as_str().len() as u16,
                name_at: name_at as u32,
                value_at: (name_at + name.as_str().len() + COLON.len()) as u32,
                value_bytes: value.len() as u32,
            });
        }
        Self::of(text.into(), places)
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
        fn pair(field: Field<'_>) -> (&[u8], &[u8]) {
            (field.name, field.value)
        }
        self.iter().map(pair).eq(other.iter().map(pair))
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

/// A number in digits and nothing else (RFC 9110, section 8.6).
pub(super) fn number(text: &[u8]) -> Option<u64> {
    let digit = |number: u64, byte: &u8| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    };
    if text.is_empty() { None } else { text.iter().try_fold(0, digit) }
}

fn text(value: &[u8]) -> Option<&str> {
    // ASCII is UTF-8.
    if is_text(value) { std::str::from_utf8(value).ok() } else { None }
}

/// Whether it is visible ASCII, spaces and tabs.
// Once, and not with all its ways for short and long wherever a field is set.
#[inline(never)]
pub(super) fn is_text(value: &[u8]) -> bool {
    // In pieces of one size, each of which is a few instructions; the last may cover some of the one before.
    if let Some(last) = value.last_chunk::<16>() {
        return value.as_chunks::<16>().0.iter().all(is_all_text) && is_all_text(last);
    }
    match (value.first_chunk::<8>(), value.last_chunk::<8>()) {
        (Some(first), Some(last)) => is_all_text(first) && is_all_text(last),
        _ => value.iter().all(|&byte| is_all_text(&[byte])),
    }
}

fn is_all_text<const N: usize>(value: &[u8; N]) -> bool {
    // Each is looked at, so that all are looked at at once.
    value.iter().fold(true, |all, byte| all & matches!(byte, b' '..=b'~' | b'\t'))
}

#[cfg(test)]
mod tests;
