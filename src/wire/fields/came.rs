//! The fields that came in a head: where they are. The same for all heads that are alike.

use std::ops::Range;
use std::sync::OnceLock;

use smallvec::SmallVec;

use super::name::COUNT;
use super::{COLON, END, LINE_BYTES, Name, Names};

/// Where a field is.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) known: Name,
    /// Its line stands there as it is sent: under this name, and with nothing but [`COLON`] and [`END`].
    pub(super) is_line: bool,
    pub(super) name_bytes: u16,
    pub(super) name_at: u32,
    pub(super) value_at: u32,
    pub(super) value_bytes: u32,
}

impl Place {
    /// Of a field that a parser has found in a head. None if its name is longer than 65,535 bytes.
    pub(super) fn parsed(head: &[u8], field: &httparse::Header<'_>) -> Option<Self> {
        let start = head.as_ptr().addr();
        let name_at = field.name.as_ptr().addr() - start;
        let value_at = field.value.as_ptr().addr() - start;
        let (name_end, value_end) = (name_at + field.name.len(), value_at + field.value.len());
        let is_line = head.get(name_end..value_at) == Some(COLON)
            && head.get(value_end..value_end + END.len()) == Some(END);
        Some(Self {
            known: Name::of(field.name.as_bytes()),
            is_line,
            name_bytes: u16::try_from(field.name.len()).ok()?,
            name_at: name_at as u32,
            value_at: value_at as u32,
            value_bytes: field.value.len() as u32,
        })
    }

    pub(super) fn name(&self) -> Range<usize> {
        self.name_at as usize..self.name_at as usize + usize::from(self.name_bytes)
    }

    pub(super) fn value(&self) -> Range<usize> {
        self.value_at as usize..self.value_at as usize + self.value_bytes as usize
    }

    /// Its line, where it is one.
    pub(super) fn line(&self) -> Range<usize> {
        self.name_at as usize..self.value().end + END.len()
    }

    /// The length of its line.
    pub(super) fn wire_bytes(&self) -> usize {
        usize::from(self.name_bytes) + self.value_bytes as usize + LINE_BYTES
    }
}

/// Lines, of which those that stand one behind the other are one piece.
pub(super) type Pieces = SmallVec<[Range<u32>; 4]>;

/// Of so many fields the place has to be looked for.
const BEYOND: u16 = u16::MAX;

/// The fields that came.
pub(super) struct Came {
    places: Vec<Place>,
    pub(super) present: Names,
    /// Names that more than one has.
    pub(super) repeated: Names,
    /// Where in `places` the first of each name is, or [`BEYOND`].
    first: [u16; COUNT],
    /// What is sent on of them without some names. Heads that are alike lose the same ones each time.
    sent: OnceLock<(Names, Option<Pieces>)>,
}

impl Came {
    pub(super) fn new(places: Vec<Place>) -> Self {
        let (mut present, mut repeated) = (Names::default(), Names::default());
        let mut first = [0; COUNT];
        for (at, place) in places.iter().enumerate() {
            if present.has(place.known) {
                repeated.add(place.known);
            } else {
                first[place.known as usize] = u16::try_from(at).unwrap_or(BEYOND);
            }
            present.add(place.known);
        }
        Self { places, present, repeated, first, sent: OnceLock::new() }
    }

    pub(super) fn places(&self) -> &[Place] {
        &self.places
    }

    /// The first of a name that weir knows.
    pub(super) fn first(&self, name: Name) -> Option<&Place> {
        match self.first[name as usize] {
            BEYOND => self.places.iter().find(|place| place.known == name),
            at => self.places.get(usize::from(at)).filter(|place| place.known == name),
        }
    }

    /// What is sent without these names. `None` where not all of it came as it is sent.
    pub(super) fn sent(&self, without: Names) -> Option<&Pieces> {
        let (names, pieces) = self.sent.get_or_init(|| (without, self.pieces(without)));
        pieces.as_ref().filter(|_| *names == without)
    }

    fn pieces(&self, without: Names) -> Option<Pieces> {
        let mut pieces = Pieces::new();
        for place in self.places.iter().filter(|place| !without.has(place.known)) {
            let line = place.line();
            let line = u32::try_from(line.start).ok()?..u32::try_from(line.end).ok()?;
            match pieces.last_mut() {
                _ if !place.is_line => return None,
                Some(last) if last.end == line.start => last.end = line.end,
                _ => pieces.push(line),
            }
        }
        Some(pieces)
    }
}
