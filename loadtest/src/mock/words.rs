//! The text that simulated models speak: ordinary words, the same for the same seed.
//!
//! Every piece is about one token of a current vocabulary and is already escaped for a JSON string,
//! so that encoders copy it and never look inside.

use std::str::FromStr;

/// A small generator whose whole state is one word: copying it replays the text from there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rng(u64);

impl Rng {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    /// The next 64 bits (`SplitMix64`, Steele, Lea and Flood 2014).
    pub(super) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; zero when `bound` is.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    /// A number in `[0, 1)`.
    pub(super) fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A standard normal number (Box and Muller 1958).
    pub(super) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }
}

/// What the text is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    /// English words and punctuation, ASCII only.
    #[default]
    Words,
    /// Several scripts and emoji as raw UTF-8.
    Unicode,
    /// The same as `\u` escapes, with surrogate pairs split over two pieces.
    Escapes,
    /// Something like source code: quotes, backslashes, line breaks.
    Code,
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "words" => Ok(Self::Words),
            "unicode" => Ok(Self::Unicode),
            "escapes" => Ok(Self::Escapes),
            "code" => Ok(Self::Code),
            _ => Err(format!("`{text}` is not a text kind: words, unicode, escapes or code")),
        }
    }
}

const OPENERS: [&str; 16] = [
    "The", "A", "When", "Every", "This", "In", "For", "It", "We", "Each", "Some", "On", "Most",
    "If", "Then", "While",
];

const WORDS: [&str; 96] = [
    " the", " river", " water", " flows", " over", " a", " low", " dam", " and", " into", " quiet",
    " pool", " where", " small", " fish", " wait", " for", " evening", " light", " stone", " wall",
    " holds", " back", " only", " what", " it", " must", " lets", " rest", " pass", " through",
    " measure", " of", " stream", " at", " gate", " each", " morning", " someone", " reads",
    " level", " writes", " down", " number", " in", " long", " green", " book", " with", " years",
    " behind", " spring", " flood", " comes", " from", " hills", " brings", " wood", " sand",
    " leaves", " summer", " shows", " bed", " between", " banks", " willow", " roots", " drink",
    " slowly", " bridge", " carries", " road", " to", " town", " market", " opens", " early",
    " people", " talk", " about", " weather", " price", " bread", " news", " far", " places",
    " winter", " ice", " covers", " edge", " but", " middle", " keeps", " moving", " toward",
    " sea",
];

const UNICODE: [&str; 24] = [
    " été",
    "水",
    "の",
    "流れ",
    " река",
    " течёт",
    " через",
    " Grüße",
    " 🌊",
    "🐟",
    " नदी",
    " ποταμός",
    " ñandú",
    "。",
    " 강물",
    " 이",
    "👩‍🔬",
    " نهر",
    " שלום",
    "ว่า",
    " œuvre",
    "—",
    " “",
    "”",
];

const ESCAPES: [&str; 12] = [
    " \\u00e9t\\u00e9",
    "\\u6c34",
    "\\ud83c",
    "\\udf0a",
    " caf\\u00e9",
    "\\ud83d",
    "\\udc1f",
    " \\u0440\\u0435\\u043a\\u0430",
    "\\t",
    "\\u2014",
    " \\/path\\/",
    "\\u0001",
];

const CODE: [&str; 20] = [
    "fn", " main", "()", " {\\n", "    ", "let", " path", " =", " \\\"", "C:\\\\", "temp", "\\\";",
    "\\n", " if", " x", " <", " 10", " &&", " y", " }\\n\\n",
];

/// An endless text.
#[derive(Clone, Debug)]
pub(super) struct Words {
    kind: Kind,
    rng: Rng,
    /// Words until the sentence ends; zero before its first word.
    left: u32,
    started: bool,
    /// Position in a table whose order matters (surrogate pairs).
    next: usize,
}

impl Words {
    pub(super) fn new(kind: Kind, seed: u64) -> Self {
        Self { kind, rng: Rng::new(seed), left: 0, started: false, next: 0 }
    }

    /// The next piece, escaped for a JSON string.
    pub(super) fn piece(&mut self) -> &'static str {
        let piece = match self.kind {
            Kind::Words => self.sentence(),
            Kind::Unicode => UNICODE[self.rng.below(UNICODE.len() as u64) as usize],
            Kind::Escapes => self.in_order(&ESCAPES),
            Kind::Code => self.in_order(&CODE),
        };
        self.started = true;
        piece
    }

    fn in_order(&mut self, table: &[&'static str]) -> &'static str {
        let piece = table[self.next % table.len()];
        self.next += 1;
        piece
    }

    fn sentence(&mut self) -> &'static str {
        if self.left == 0 {
            self.left = 6 + self.rng.below(12) as u32;
            let opener = OPENERS[self.rng.below(OPENERS.len() as u64) as usize];
            return if self.started { opener } else { opener.trim_start() };
        }
        self.left -= 1;
        if self.left == 0 {
            ".\\n"
        } else if self.left > 2 && self.rng.below(9) == 0 {
            ","
        } else {
            WORDS[self.rng.below(WORDS.len() as u64) as usize]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(kind: Kind, seed: u64, pieces: usize) -> String {
        let mut words = Words::new(kind, seed);
        (0..pieces).map(|_| words.piece()).collect()
    }

    #[test]
    fn same_seed_same_text() {
        assert_eq!(text(Kind::Words, 7, 200), text(Kind::Words, 7, 200));
        assert_ne!(text(Kind::Words, 7, 200), text(Kind::Words, 8, 200));
    }

    #[test]
    fn every_kind_is_a_valid_json_string() {
        for kind in [Kind::Words, Kind::Unicode, Kind::Escapes, Kind::Code] {
            let quoted = format!("\"{}\"", text(kind, 3, 12 * 20 * 24));
            assert!(serde_json::from_str::<String>(&quoted).is_ok(), "{kind:?}");
        }
    }

    #[test]
    fn numbers_stay_in_their_range() {
        let mut rng = Rng::new(1);
        let mut sum = 0.0;
        for _ in 0..10_000 {
            assert!(rng.below(7) < 7);
            let unit = rng.unit();
            assert!((0.0..1.0).contains(&unit));
            sum += rng.normal();
        }
        assert!((sum / 10_000.0).abs() < 0.05);
        assert_eq!(rng.below(0), 0);
    }
}
