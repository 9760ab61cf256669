//! From entries to what they say.

use super::{BROKEN, CLIENT_GONE, Common, Entry, HEDGED, STREAM, TEXTS, TOKENS, VERSION};

/// The entries of a buffer, in order. What cannot be read is passed over.
#[derive(Debug)]
pub struct Entries<'a> {
    buffer: &'a [u8],
    /// Where the next one begins.
    at: usize,
    /// What entries have in common, and where the entry begins that says so.
    commons: Vec<(usize, Common<'a>)>,
    /// The one that was needed last.
    last: usize,
}

impl<'a> Entries<'a> {
    /// Those of this buffer.
    pub fn of(buffer: &'a [u8]) -> Self {
        Self { buffer, at: 0, commons: Vec::new(), last: 0 }
    }

    /// What an entry of this buffer has in common with others.
    pub fn common(&self, entry: &Entry<'a>) -> &Common<'a> {
        &self.commons[entry.common].1
    }

    fn entry(&mut self, begin: usize, bytes: &'a [u8]) -> Option<Entry<'a>> {
        let (version, rest) = bytes.split_first()?;
        let mut reader = Reader(rest);
        match *version {
            version @ 1..=2 => {
                let (mut entry, common) = reader.whole(version)?;
                entry.common = self.known(begin, common);
                Some(entry)
            }
            VERSION => {
                let (mut entry, back) = reader.own_numbers()?;
                entry.common = match begin.checked_sub(back)? {
                    at if at == begin => {
                        let common = reader.common()?;
                        self.known(begin, common)
                    }
                    at => self.said_at(at)?,
                };
                reader.own_texts(&mut entry)?;
                Some(entry)
            }
            _ => None,
        }
    }

    fn known(&mut self, begin: usize, common: Common<'a>) -> usize {
        // Of entries that all say everything, nearly all say the same.
        let same = self.commons.last().is_some_and(|(_, last)| *last == common);
        if !same || self.buffer.get(begin + 4) == Some(&VERSION) {
            self.commons.push((begin, common));
        }
        self.last = self.commons.len() - 1;
        self.last
    }

    fn said_at(&mut self, at: usize) -> Option<usize> {
        if self.commons.get(self.last).is_none_or(|(last, _)| *last != at) {
            self.last = self.commons.binary_search_by_key(&at, |(begin, _)| *begin).ok()?;
        }
        Some(self.last)
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        loop {
            let begin = self.at;
            let split = self.buffer.get(begin..)?.split_first_chunk::<4>();
            let one =
                split.and_then(|(length, rest)| rest.get(..u32::from_le_bytes(*length) as usize));
            let Some(one) = one else {
                self.at = self.buffer.len();
                return None;
            };
            self.at = begin + 4 + one.len();
            let entry = self.entry(begin, one);
            if entry.is_some() {
                return entry;
            }
        }
    }
}

/// What is left of an entry.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    /// An entry of the first or second form.
    fn whole(&mut self, version: u8) -> Option<(Entry<'a>, Common<'a>)> {
        let mut entry = Entry { time_ms: self.number()?, ..Entry::default() };
        entry.duration_us = self.number()?;
        entry.ttft_us = self.number()?.checked_sub(1);
        let (status, flags) = (self.number()?, self.number()?);
        entry.attempts = self.number()?;
        self.amounts(&mut entry)?;
        entry.request_id = self.text()?;
        let (tenant, team, key) = (self.text()?, self.text()?, self.text()?);
        entry.user = self.text()?;
        let (route, pool) = (self.text()?, self.text()?);
        let (endpoint, dialect, asked) = (self.text()?, self.text()?, self.text()?);
        let mut texts = [tenant, team, key, route, pool, endpoint, dialect, "", "", "", "", "", ""];
        for text in &mut texts[7..] {
            *text = self.text()?;
        }
        entry.model_asked = (asked != texts[7]).then_some(asked);
        entry.tried = self.text()?;
        entry.named = if version == 1 { "" } else { self.text()? };
        Some((entry, Common::of(status, flags, texts)))
    }

    /// An entry's own numbers, and how many bytes before it what it has in common with others stands.
    fn own_numbers(&mut self) -> Option<(Entry<'a>, usize)> {
        let mut entry = Entry { time_ms: self.number()?, ..Entry::default() };
        entry.duration_us = self.number()?;
        entry.ttft_us = self.number()?.checked_sub(1);
        entry.attempts = self.number()?;
        self.amounts(&mut entry)?;
        Some((entry, usize::try_from(self.number()?).ok()?))
    }

    fn amounts(&mut self, entry: &mut Entry<'a>) -> Option<()> {
        let mut tokens = [0; TOKENS];
        for kind in &mut tokens {
            *kind = self.number()?;
        }
        entry.tokens = tokens;
        entry.cost_nano_usd = self.number()?.checked_sub(1);
        entry.body_in_bytes = self.number()?;
        entry.body_out_bytes = self.number()?;
        Some(())
    }

    fn common(&mut self) -> Option<Common<'a>> {
        let (status, flags) = (self.number()?, self.number()?);
        let mut texts = [""; TEXTS];
        for text in &mut texts {
            *text = self.text()?;
        }
        Some(Common::of(status, flags, texts))
    }

    fn own_texts(&mut self, entry: &mut Entry<'a>) -> Option<()> {
        (entry.request_id, entry.user) = (self.text()?, self.text()?);
        entry.model_asked = match self.number()?.checked_sub(1) {
            None => None,
            Some(length) => Some(self.text_of(length)?),
        };
        (entry.tried, entry.named) = (self.text()?, self.text()?);
        Some(())
    }

    #[inline]
    pub(super) fn number(&mut self) -> Option<u64> {
        const ENDS: u64 = 0x8080_8080_8080_8080;
        let Some(word) = self.0.first_chunk().map(|word| u64::from_le_bytes(*word)) else {
            return self.long_number();
        };
        let ends = !word & ENDS;
        if ends == 0 {
            return self.long_number();
        }
        // Seven bits of each of its bytes, put together in pairs, fours and eights.
        let bytes = ends.trailing_zeros() / 8 + 1;
        let bits = word & (u64::MAX >> (64 - 8 * bytes)) & !ENDS;
        let bits = bits & 0x007f_007f_007f_007f | (bits & 0x7f00_7f00_7f00_7f00) >> 1;
        let bits = bits & 0x0000_3fff_0000_3fff | (bits & 0x3fff_0000_3fff_0000) >> 2;
        let bits = bits & 0x0fff_ffff | (bits & 0x0fff_ffff_0000_0000) >> 4;
        self.0 = &self.0[bytes as usize..];
        Some(bits)
    }

    #[cold]
    fn long_number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = self.number()?;
        self.text_of(length)
    }

    fn text_of(&mut self, length: u64) -> Option<&'a str> {
        let (text, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        if text.is_empty() { Some("") } else { std::str::from_utf8(text).ok() }
    }
}

impl<'a> Common<'a> {
    fn of(status: u64, flags: u64, texts: [&'a str; TEXTS]) -> Self {
        let [
            tenant,
            team,
            key,
            route,
            pool,
            endpoint,
            dialect,
            model_served,
            provider,
            target,
            error,
            source,
            prices,
        ] = texts;
        Self {
            status,
            stream: flags & STREAM != 0,
            hedged: flags & HEDGED != 0,
            client_gone: flags & CLIENT_GONE != 0,
            broken: flags & BROKEN != 0,
            tenant,
            team,
            key,
            route,
            pool,
            endpoint,
            dialect,
            model_served,
            provider,
            target,
            error,
            source,
            prices,
        }
    }
}
