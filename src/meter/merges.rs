//! Byte-pair encoding of one very long piece in linear time.
//!
//! The textbook way merges the lowest-ranked pair until none is left, which takes n·log n steps and
//! much memory for a piece of megabytes. This one goes from left to right, and rests on two facts
//! that hold for every vocabulary whose merges are chosen by rank, leftmost first:
//!
//! - a sequence of tokens is the encoding of its bytes if and only if every two neighbours are the
//!   encoding of theirs, because the first merge across a token boundary would also be made in
//!   the two neighbours alone;
//! - so the encoding of a prefix is a prefix of tokens, and its last token is unique.
//!
//! Hence: from each reached position take the longest token that fits behind the last one; where
//! none does, step back and remember that this position leads nowhere. Each position is left at most
//! once.

use std::collections::HashMap;

use ahash::RandomState;
use tiktoken::CoreBpe;

type Token = u32;
type Ranks<'a> = HashMap<&'a [u8], Token, RandomState>;

const NONE: u32 = u32::MAX;
/// The longest token of the six vocabularies, so all of the text that the choice of a token looks at.
const TOKEN_BYTES_MAX: usize = 128;
/// The longest repetition, in tokens, that is recognised.
const PERIOD_TOKENS_MAX: usize = 4;

/// The merge rules of a vocabulary, and its tokens by prefix.
pub(super) struct Merges {
    /// The two tokens that a token is merged from last. A single byte is its own half twice.
    halves: Vec<(Token, Token)>,
    /// What two neighbours are merged into.
    merged: HashMap<u64, Token, RandomState>,
    lengths: Vec<u8>,
    /// The longest token that is a proper prefix of a token.
    shorter: Vec<Token>,
    tokens: Trie,
}

/// Tokens by prefix. Nodes are numbered level by level, so that the children of a node have
/// consecutive numbers.
#[derive(Default)]
struct Trie {
    first_child: Vec<u32>,
    label: Vec<u8>,
    token: Vec<Token>,
}

impl Merges {
    /// Works the rules out from the tokens and their ranks.
    pub fn new(bpe: &CoreBpe) -> Self {
        let texts: Vec<Vec<u8>> =
            (0..bpe.vocab_size() as Token).map(|token| bpe.decode(&[token])).collect();
        let ranks: Ranks<'_> =
            texts.iter().zip(0..).map(|(text, token)| (text.as_slice(), token)).collect();
        let mut merges = Self {
            halves: vec![(NONE, NONE); texts.len()],
            merged: HashMap::with_capacity_and_hasher(texts.len(), RandomState::new()),
            lengths: texts.iter().map(|text| u8::try_from(text.len()).unwrap_or(0)).collect(),
            shorter: Vec::new(),
            tokens: Trie::default(),
        };
        for (text, token) in texts.iter().zip(0..) {
            if text.len() == 1 {
                merges.halves[token as usize] = (token, token);
            } else if let Some((left, right)) = last_merge(text, &ranks) {
                merges.halves[token as usize] = (left, right);
                merges.merged.insert(pair(left, right), token);
            }
        }
        // What no merge leads to can only be a piece by itself, and a long piece is none.
        let mut sorted: Vec<(&[u8], Token)> = texts
            .iter()
            .zip(0..)
            .filter(|&(_, token)| merges.halves[token as usize].0 != NONE)
            .map(|(text, token)| (text.as_slice(), token))
            .collect();
        sorted.sort_unstable();
        (merges.tokens, merges.shorter) = Trie::new(&sorted, texts.len());
        merges
    }

    /// The tokens of one piece.
    pub fn encode(&self, piece: &[u8]) -> Vec<Token> {
        let mut encoded: Vec<Token> = Vec::with_capacity(piece.len() / 6);
        let mut dead = Positions::new(piece.len() + 1);
        let mut last_dead = 0;
        let mut checked = Checked::new();
        let mut at = 0;
        let mut candidate = self.tokens.longest(piece);
        while at < piece.len() {
            if candidate == NONE {
                // Every byte is a token, so the first position always has a way on.
                let Some(last) = encoded.pop() else { break };
                dead.insert(at);
                last_dead = last_dead.max(at);
                at -= self.length(last);
                candidate = self.shorter[last as usize];
                continue;
            }
            let next = at + self.length(candidate);
            let fits = !dead.contains(next)
                && encoded.last().is_none_or(|&last| {
                    checked.or_insert(last, candidate, || self.neighbours(last, candidate))
                });
            if fits {
                encoded.push(candidate);
                at = self.repeat(piece, next, last_dead, &mut encoded);
                candidate = self.tokens.longest(&piece[at..]);
            } else {
                candidate = self.shorter[candidate as usize];
            }
        }
        encoded
    }

    /// Where the text goes on as it did, so does its encoding: repeats the last tokens for as long as
    /// the text, with all that a choice looks at, is the same as one period before. Returns the
    /// position reached.
    fn repeat(&self, piece: &[u8], at: usize, last_dead: usize, encoded: &mut Vec<Token>) -> usize {
        for period in 1..=PERIOD_TOKENS_MAX {
            let Some(before) = encoded.len().checked_sub(2 * period) else { break };
            let (first, second) = encoded[before..].split_at(period);
            if first != second {
                continue;
            }
            let bytes = second.iter().map(|&token| self.length(token)).sum::<usize>();
            // Nothing was refused in the last period for leading nowhere.
            if last_dead + bytes > at {
                break;
            }
            let same = common_prefix(&piece[at - bytes..], &piece[at..]);
            let times = same.saturating_sub(TOKEN_BYTES_MAX) / bytes;
            let tokens = encoded.len() - period..encoded.len();
            for _ in 0..times {
                encoded.extend_from_within(tokens.clone());
            }
            return at + times * bytes;
        }
        at
    }

    /// Bytes of a token.
    pub fn length(&self, token: Token) -> usize {
        self.lengths[token as usize] as usize
    }

    /// Whether two tokens are the encoding of their bytes.
    ///
    /// While the bytes are encoded, the right edge of the left token grows through its right
    /// halves, the left edge of the right token through its left halves. An edge lives until the
    /// merge that swallows it, whose rank is that of the token it becomes part of. The two tokens
    /// stay apart if no two edges that live at the same time have a merge that comes before the ends
    /// of both; of equal ranks the leftmost merge is made first. Walked from the last merge to
    /// the first.
    ///
    /// That takes for granted that a token is ranked above its halves, so that merges are made in the
    /// order of their ranks. Vocabularies that were edited after they were learnt have a few tokens
    /// that are not; with those the two are encoded the textbook way.
    fn neighbours(&self, left: Token, right: Token) -> bool {
        let (mut x, mut y) = (left, right);
        let (mut x_end, mut y_end) = (NONE, NONE);
        loop {
            if let Some(&merge) = self.merged.get(&pair(x, y))
                && merge < x_end
                && merge <= y_end
            {
                return false;
            }
            let (x_halves, y_halves) = (self.halves[x as usize], self.halves[y as usize]);
            let (x_whole, y_whole) = (x_halves.1 == x, y_halves.0 == y);
            // The edge that was born last is undone first: of equal ranks the one on the right.
            let (halves, whole) = if !y_whole && (x_whole || y >= x) {
                y_end = y;
                y = y_halves.0;
                (y_halves, y_end)
            } else if !x_whole {
                x_end = x;
                x = x_halves.1;
                (x_halves, x_end)
            } else {
                return true;
            };
            if halves.0 > whole || halves.1 > whole {
                return self.textbook(left, right) == [left, right];
            }
        }
    }

    /// The encoding of the bytes of two tokens: merges the lowest-ranked pair, the leftmost of equals,
    /// until none is left.
    fn textbook(&self, left: Token, right: Token) -> Vec<Token> {
        let mut tokens = Vec::with_capacity(2 * TOKEN_BYTES_MAX);
        self.spell(left, &mut tokens);
        self.spell(right, &mut tokens);
        let lowest = |tokens: &[Token]| {
            let merge = |at: usize| self.merged.get(&pair(tokens[at], tokens[at + 1]));
            (0..tokens.len() - 1).filter_map(|at| Some((*merge(at)?, at))).min()
        };
        while let Some((merged, at)) = lowest(&tokens) {
            tokens[at] = merged;
            tokens.remove(at + 1);
        }
        tokens
    }

    /// The bytes of a token, as tokens.
    fn spell(&self, token: Token, bytes: &mut Vec<Token>) {
        let (left, right) = self.halves[token as usize];
        if left == token {
            bytes.push(token);
        } else {
            self.spell(left, bytes);
            self.spell(right, bytes);
        }
    }
}

/// Encodes the bytes of a token the textbook way and returns its last merge; none if they do not come
/// out as this one token.
fn last_merge(text: &[u8], ranks: &Ranks<'_>) -> Option<(Token, Token)> {
    let rank = |from: usize, to: usize| ranks.get(&text[from..to]).copied().unwrap_or(NONE);
    // Where each part begins, and the rank of its merge with the part behind it.
    let mut parts: Vec<(usize, Token)> =
        (0..text.len()).map(|at| (at, rank(at, (at + 2).min(text.len())))).collect();
    while parts.len() > 2 {
        let end = |at: usize| parts.get(at).map_or(text.len(), |part| part.0);
        let at = (0..parts.len() - 1).min_by_key(|&at| parts[at].1)?;
        if parts[at].1 == NONE {
            return None;
        }
        let own = rank(parts[at].0, end(at + 3));
        let before = at.checked_sub(1).map(|before| rank(parts[before].0, end(at + 2)));
        parts[at].1 = own;
        if let Some(before) = before {
            parts[at - 1].1 = before;
        }
        parts.remove(at + 1);
    }
    let middle = parts.get(1)?.0;
    Some((*ranks.get(&text[..middle])?, *ranks.get(&text[middle..])?))
}

fn pair(left: Token, right: Token) -> u64 {
    u64::from(left) << 32 | u64::from(right)
}

impl Trie {
    /// From tokens in byte order. Also returns, for each token, its longest proper prefix.
    fn new(sorted: &[(&[u8], Token)], tokens: usize) -> (Self, Vec<Token>) {
        struct Node {
            range: std::ops::Range<usize>,
            depth: usize,
            /// The longest token on the way here, this node not included.
            above: Token,
        }
        let mut trie = Self { first_child: Vec::new(), label: vec![0], token: Vec::new() };
        let mut shorter = vec![NONE; tokens];
        let mut nodes = vec![Node { range: 0..sorted.len(), depth: 0, above: NONE }];
        let mut next = 0;
        while next < nodes.len() {
            let Node { range, depth, above } = &nodes[next];
            let (mut from, to, depth, mut above) = (range.start, range.end, *depth, *above);
            let mut token = NONE;
            if depth > 0 && from < to && sorted[from].0.len() == depth {
                token = sorted[from].1;
                shorter[token as usize] = above;
                above = token;
                from += 1;
            }
            trie.token.push(token);
            trie.first_child.push(nodes.len() as u32);
            while from < to {
                let byte = sorted[from].0[depth];
                let length = sorted[from..to].partition_point(|(text, _)| text[depth] == byte);
                nodes.push(Node { range: from..from + length, depth: depth + 1, above });
                trie.label.push(byte);
                from += length;
            }
            next += 1;
        }
        trie.first_child.push(nodes.len() as u32);
        (trie, shorter)
    }

    /// The longest token that the bytes begin with.
    fn longest(&self, bytes: &[u8]) -> Token {
        let (mut node, mut found) = (0usize, NONE);
        for &byte in bytes {
            let children = self.first_child[node] as usize..self.first_child[node + 1] as usize;
            let Ok(child) = self.label[children.clone()].binary_search(&byte) else { break };
            node = children.start + child;
            if self.token[node] != NONE {
                found = self.token[node];
            }
        }
        found
    }
}

/// How many bytes two texts begin with in common.
fn common_prefix(left: &[u8], right: &[u8]) -> usize {
    const BLOCK: usize = 64;
    let blocks = left.chunks_exact(BLOCK).zip(right.chunks_exact(BLOCK));
    let from = blocks.take_while(|(left, right)| left == right).count() * BLOCK;
    let bytes = left[from..].iter().zip(&right[from..]);
    from + bytes.take_while(|(left, right)| left == right).count()
}

/// Answers about neighbours, of which a text asks the same again and again. Forgetful.
struct Checked(Box<[u64]>);

impl Checked {
    const SLOTS_LOG2: u32 = 12;
    const FITS: u64 = 1 << 63;

    fn new() -> Self {
        // No token is `NONE`, so this is no pair.
        Self(vec![u64::MAX; 1 << Self::SLOTS_LOG2].into())
    }

    fn or_insert(&mut self, left: Token, right: Token, check: impl FnOnce() -> bool) -> bool {
        let pair = pair(left, right);
        // Fibonacci hashing: the high bits of a multiplication by 2^64 over the golden ratio.
        let slot = pair.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - Self::SLOTS_LOG2);
        let slot = &mut self.0[slot as usize];
        if *slot & !Self::FITS != pair {
            *slot = pair | if check() { Self::FITS } else { 0 };
        }
        *slot & Self::FITS != 0
    }
}

/// A set of positions, one bit each.
struct Positions(Vec<u64>);

impl Positions {
    fn new(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)])
    }

    fn insert(&mut self, position: usize) {
        self.0[position / 64] |= 1 << (position % 64);
    }

    fn contains(&self, position: usize) -> bool {
        self.0[position / 64] & 1 << (position % 64) != 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::meter::Vocabulary;

    /// The textbook way: merge the lowest-ranked pair, the leftmost of equals, until none is left.
    fn textbook(text: &[u8], ranks: &HashMap<Vec<u8>, Token>) -> Vec<Token> {
        let mut starts: Vec<usize> = (0..=text.len()).collect();
        let lowest = |starts: &[usize]| {
            (0..starts.len().saturating_sub(2))
                .filter_map(|at| Some((*ranks.get(&text[starts[at]..starts[at + 2]])?, at)))
                .min()
        };
        while let Some((_, at)) = lowest(&starts) {
            starts.remove(at + 1);
        }
        starts.windows(2).map(|part| ranks[&text[part[0]..part[1]]]).collect()
    }

    fn ranks(bpe: &CoreBpe) -> HashMap<Vec<u8>, Token> {
        (0..bpe.vocab_size() as Token).map(|token| (bpe.decode(&[token]), token)).collect()
    }

    #[test]
    fn every_tokens_last_merge_is_the_textbooks() {
        // The smallest of the published ones, and the one with tokens ranked below their halves.
        for vocabulary in [Vocabulary::Cl100k, Vocabulary::MistralV3] {
            let loaded = vocabulary.load();
            let merges = &loaded.long().merges;
            let ranks = ranks(loaded.bpe);
            // Every token would take minutes without optimisation; these are spread over all ranks.
            for token in (0..loaded.bpe.vocab_size() as Token).step_by(13) {
                let text = loaded.bpe.decode(&[token]);
                let reached = textbook(&text, &ranks) == [token];
                assert_eq!(merges.halves[token as usize].0 != NONE, reached, "{text:?}");
                if reached && text.len() > 1 {
                    let (left, right) = merges.halves[token as usize];
                    assert_eq!(merges.merged[&pair(left, right)], token);
                }
            }
        }
    }

    static RANKS: std::sync::OnceLock<[HashMap<Vec<u8>, Token>; 2]> = std::sync::OnceLock::new();

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

        #[test]
        fn encodes_as_the_textbook_does(parts in prop::collection::vec(
            prop_oneof![
                "[ab]{1,40}", "[a-z]{1,30}", "[ \\t]{1,90}", "[\r\n ]{1,30}", "[!=/-]{1,40}", "[ก-๙]{1,20}",
                "[一-丟]{1,20}", "\\PC{1,20}", "(na|an|banana){1,9}",
            ],
            1..4,
        ), times in prop_oneof![4 => Just(1), 1 => 2..40usize]) {
            let text = parts.concat().repeat(times);
            for vocabulary in [Vocabulary::Cl100k, Vocabulary::MistralV3] {
                let loaded = vocabulary.load();
                let ranks = RANKS.get_or_init(|| {
                    [Vocabulary::Cl100k, Vocabulary::MistralV3].map(|v| ranks(v.load().bpe))
                });
                let ranks = &ranks[usize::from(vocabulary == Vocabulary::MistralV3)];
                prop_assert_eq!(
                    loaded.long().merges.encode(text.as_bytes()),
                    textbook(text.as_bytes(), ranks)
                );
            }
        }
    }
}
