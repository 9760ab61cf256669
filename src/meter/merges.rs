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

const NONE: u32 = u32::MAX;

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
        let ranks: HashMap<&[u8], Token, RandomState> =
            texts.iter().zip(0..).map(|(text, token)| (text.as_slice(), token)).collect();
        let lengths = texts.iter().map(|text| u8::try_from(text.len()).unwrap_or(0)).collect();
        let mut merges = Self {
            halves: vec![(NONE, NONE); texts.len()],
            merged: HashMap::with_capacity_and_hasher(texts.len(), RandomState::new()),
            lengths,
            shorter: Vec::new(),
            tokens: Trie::default(),
        };
        for (text, token) in texts.iter().zip(0..) {
            if text.len() == 1 {
                merges.halves[token as usize] = (token, token);
            } else if let Some((left, right)) = merges.last_merge(text, &ranks) {
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

    /// The last merge on the way to a token, from the merges of all lower ranks: the one split into two
    /// tokens that stay apart until this merge. None if no merge leads to it. A token is ranked above
    /// the two it is merged from, because it was learnt after them.
    fn last_merge(
        &self,
        text: &[u8],
        ranks: &HashMap<&[u8], Token, RandomState>,
    ) -> Option<(Token, Token)> {
        let known = |part: &[u8]| {
            let token = *ranks.get(part)?;
            (self.halves[token as usize].0 != NONE).then_some(token)
        };
        (1..text.len()).find_map(|middle| {
            let (left, right) = (known(&text[..middle])?, known(&text[middle..])?);
            self.neighbours(left, right).then_some((left, right))
        })
    }

    /// The tokens of one piece.
    pub fn encode(&self, piece: &[u8]) -> Vec<Token> {
        let mut encoded: Vec<Token> = Vec::with_capacity(piece.len() / 6);
        let mut dead = Positions::new(piece.len() + 1);
        let mut at = 0;
        let mut candidate = self.tokens.longest(piece);
        while at < piece.len() {
            if candidate == NONE {
                // Every byte is a token, so the first position always has a way on.
                let Some(last) = encoded.pop() else { break };
                dead.insert(at);
                at -= self.length(last);
                candidate = self.shorter[last as usize];
                continue;
            }
            let next = at + self.length(candidate);
            let fits = !dead.contains(next)
                && encoded.last().is_none_or(|&last| self.neighbours(last, candidate));
            if fits {
                encoded.push(candidate);
                at = next;
                candidate = self.tokens.longest(&piece[at..]);
            } else {
                candidate = self.shorter[candidate as usize];
            }
        }
        encoded
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
    fn neighbours(&self, left: Token, right: Token) -> bool {
        let (mut left, mut right) = (left, right);
        let (mut left_end, mut right_end) = (NONE, NONE);
        loop {
            if let Some(&merge) = self.merged.get(&pair(left, right))
                && merge < left_end
                && merge <= right_end
            {
                return false;
            }
            let (left_half, right_half) =
                (self.halves[left as usize].1, self.halves[right as usize].0);
            let (left_whole, right_whole) = (left_half == left, right_half == right);
            // The edge that was born last is undone first: a merge on the left is made before one of the
            // same rank on the right.
            if !right_whole && (left_whole || right >= left) {
                right_end = right;
                right = right_half;
            } else if !left_whole {
                left_end = left;
                left = left_half;
            } else {
                return true;
            }
        }
    }
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
        for vocabulary in Vocabulary::ALL {
            let loaded = vocabulary.load();
            let merges = &loaded.long().merges;
            let ranks = ranks(loaded.bpe);
            // Every token would take minutes without optimisation; these are spread over all ranks.
            for token in (0..loaded.bpe.vocab_size() as Token).step_by(13) {
                let text = loaded.bpe.decode(&[token]);
                let reached = textbook(&text, &ranks) == [token];
                assert_eq!(merges.halves[token as usize].0 != NONE, reached, "{text:?}");
                if reached {
                    let (left, right) = merges.halves[token as usize];
                    assert!(text.len() == 1 || (left < token && right < token), "{text:?}");
                }
            }
        }
    }

    static RANKS: std::sync::OnceLock<[HashMap<Vec<u8>, Token>; 2]> = std::sync::OnceLock::new();

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn encodes_as_the_textbook_does(parts in prop::collection::vec(
            prop_oneof![
                "[ab]{1,40}", "[a-z]{1,30}", "[ \\t]{1,90}", "[\r\n ]{1,30}", "[!=/-]{1,40}", "[ก-๙]{1,20}",
                "[一-丟]{1,20}", "\\PC{1,20}", "(na|an|banana){1,9}",
            ],
            1..4,
        )) {
            let text = parts.concat();
            for vocabulary in [Vocabulary::O200k, Vocabulary::DeepSeekV3] {
                let loaded = vocabulary.load();
                let ranks = RANKS.get_or_init(|| {
                    [Vocabulary::O200k, Vocabulary::DeepSeekV3].map(|v| ranks(v.load().bpe))
                });
                let ranks = &ranks[usize::from(vocabulary == Vocabulary::DeepSeekV3)];
                prop_assert_eq!(
                    loaded.long().merges.encode(text.as_bytes()),
                    textbook(text.as_bytes(), ranks)
                );
            }
        }
    }
}
