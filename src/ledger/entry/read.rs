//! From entries to what they say.

use super::{
    BROKEN, CLIENT_GONE, Common, Entry, HEDGED, MODEL_ASKED, NAMED, STREAM, TEXTS, TOKENS, TRIED,
    USER, VERSION, group,
};

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

    /// The entry that begins there and has these bytes behind its length.
    fn entry(&mut self, begin: usize, bytes: &'a [u8]) -> Option<Entry<'a>> {
        let (version, rest) = bytes.split_first()?;
        let mut reader = Reader(rest);
        match *version {
            VERSION => {
                let (numbers, end) = group::read(self.buffer.get(begin + 5..)?, rest.len())?;
                reader.0 = &rest[end..];
                let (mut entry, back) = Entry::of(numbers)?;
                entry.common = self.said(begin, back, &mut reader)?;
                reader.texts(&mut entry)?;
                Some(entry)
            }
            3 => {
                let (mut entry, back) = reader.third_numbers()?;
                entry.common = self.said(begin, back, &mut reader)?;
                reader.third_texts(&mut entry)?;
                Some(entry)
            }
            version @ 1..=2 => {
                let (mut entry, common) = reader.whole(version)?;
                // Of entries that all say everything, nearly all say the same.
                if self.commons.last().is_none_or(|(_, last)| *last != common) {
                    self.commons.push((begin, common));
                }
                self.last = self.commons.len() - 1;
                entry.common = self.last;
                Some(entry)
            }
            _ => None,
        }
    }

    /// What the entry that begins there has in common with others: it says so itself, or one that begins
    /// so many bytes before it.
    fn said(&mut self, begin: usize, back: usize, reader: &mut Reader<'a>) -> Option<usize> {
        let at = begin.checked_sub(back)?;
        if at < begin {
            return self.said_at(at);
        }
        self.commons.push((begin, reader.common()?));
        self.last = self.commons.len() - 1;
        Some(self.last)
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

    /// The numbers of an entry of the third form, and how many bytes before it what it has in common with
    /// others stands.
    fn third_numbers(&mut self) -> Option<(Entry<'a>, usize)> {
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

    #[inline(never)]
    fn common(&mut self) -> Option<Common<'a>> {
        let (status, flags) = (self.number()?, self.number()?);
        let mut texts = [""; TEXTS];
        for text in &mut texts {
            *text = self.text()?;
        }
        Some(Common::of(status, flags, texts))
    }

    fn third_texts(&mut self, entry: &mut Entry<'a>) -> Option<()> {
        (entry.request_id, entry.user) = (self.text()?, self.text()?);
        entry.model_asked = match self.number()?.checked_sub(1) {
            None => None,
            Some(length) => Some(self.text_of(length)?),
        };
        (entry.tried, entry.named) = (self.text()?, self.text()?);
        Some(())
    }

    /// The texts of an entry, up to its end.
    fn texts(&mut self, entry: &mut Entry<'a>) -> Option<()> {
        let (flags, rest) = self.0.split_first()?;
        self.0 = rest;
        if *flags != 0 {
            return self.all_texts(*flags, entry);
        }
        entry.request_id = utf8(self.0)?;
        Some(())
    }

    /// The same where it has some that few have.
    #[inline(never)]
    fn all_texts(&mut self, flags: u8, entry: &mut Entry<'a>) -> Option<()> {
        if flags & !(USER | MODEL_ASKED | TRIED | NAMED) != 0 {
            return None;
        }
        let mut lengths = [0; 4];
        for (at, length) in lengths.iter_mut().enumerate() {
            if flags & 1 << at != 0 {
                *length = usize::try_from(self.number()?).ok()?;
            }
        }
        let mut rest = utf8(self.0)?;
        let mut next = |length: usize| {
            let (text, behind) = rest.split_at_checked(length)?;
            rest = behind;
            Some(text)
        };
        let [user, asked, tried, named] = lengths;
        entry.user = next(user)?;
        let asked = next(asked)?;
        entry.model_asked = (flags & MODEL_ASKED != 0).then_some(asked);
        (entry.tried, entry.named) = (next(tried)?, next(named)?);
        entry.request_id = rest;
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
        utf8(text)
    }
}

fn utf8(text: &[u8]) -> Option<&str> {
    if text.is_empty() { Some("") } else { simdutf8::basic::from_utf8(text).ok() }
}

impl Entry<'_> {
    /// One with these numbers, and how many bytes before it what it has in common with others stands.
    fn of(numbers: [u64; group::NUMBERS]) -> Option<(Self, usize)> {
        let [
            time_ms,
            duration_us,
            ttft_us,
            attempts,
            input,
            output,
            cost_nano_usd,
            body_in_bytes,
            body_out_bytes,
            back,
            kinds @ ..,
        ] = numbers;
        let [cached, written_5m, written_1h, reasoning, audio_in, audio_out] = kinds;
        let entry = Self {
            time_ms,
            duration_us,
            ttft_us: ttft_us.checked_sub(1),
            attempts,
            tokens: [input, output, cached, written_5m, written_1h, reasoning, audio_in, audio_out],
            cost_nano_usd: cost_nano_usd.checked_sub(1),
            body_in_bytes,
            body_out_bytes,
            ..Self::default()
        };
        Some((entry, usize::try_from(back).ok()?))
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
