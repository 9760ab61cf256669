//! The nearest known word to one that is not known.

/// The candidate that `word` was most likely meant to be, if one is near enough: case and the
/// difference between `-` and `_` do not count, a third of the letters may be wrong.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = folded(word);
    let length = word.chars().count();
    let edits_max = match length {
        0 => return None,
        1..=2 => 1,
        3..=6 => 2,
        _ => length / 3,
    };
    candidates
        .into_iter()
        .filter_map(|candidate| {
            let folded = folded(candidate);
            let edits = strsim::damerau_levenshtein(&word, &folded);
            let shared = folded.starts_with(&word) || word.starts_with(&folded);
            let near = edits <= edits_max && edits < folded.chars().count();
            (near || (shared && length >= 3 && folded.len() >= 3)).then_some((edits, candidate))
        })
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

fn folded(word: &str) -> String {
    // Longer words are no typing errors, and the distance is quadratic.
    word.chars().take(64).map(|c| if c == '-' { '_' } else { c.to_ascii_lowercase() }).collect()
}

/// `a`, `a or b`, `a, b or c`, each between backticks; at most `max` of them.
pub fn list<'a>(words: impl IntoIterator<Item = &'a str>, max: usize) -> String {
    let words: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    match words.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [start @ .., last] if words.len() <= max => format!("{} or {last}", start.join(", ")),
        _ => format!("{}, …", words[..max].join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_finds_its_word_and_a_different_word_finds_none() {
        let known = ["timeouts", "targets", "strategy", "retry", "hash_on"];
        assert_eq!(nearest("tmeouts", known), Some("timeouts"));
        assert_eq!(nearest("Targets", known), Some("targets"));
        assert_eq!(nearest("target", known), Some("targets"));
        assert_eq!(nearest("hash-on", known), Some("hash_on"));
        assert_eq!(nearest("hsah_on", known), Some("hash_on"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest("", known), None);
    }

    #[test]
    fn lists_read_as_a_sentence_does() {
        assert_eq!(list(["a"], 9), "`a`");
        assert_eq!(list(["a", "b"], 9), "`a` or `b`");
        assert_eq!(list(["a", "b", "c"], 9), "`a`, `b` or `c`");
        assert_eq!(list(["a", "b", "c"], 2), "`a`, `b`, …");
    }
}
