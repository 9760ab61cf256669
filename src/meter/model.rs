//! Which vocabulary a model name stands for.
//!
//! Names come in many spellings: with a publisher or a path in front (`meta-llama/…`,
//! `accounts/fireworks/models/…`, `us.anthropic.…`), with a revision or a quantisation behind
//! (`…-v1:0`, `…:free`, `…@20241022`). The rules below look at the plain name in lower case; the
//! first that matches wins, so special cases stand before their families.

use std::cell::RefCell;

use super::vocabulary::Vocabulary;

/// What a model's text is counted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tokenizer {
    /// The vocabulary.
    pub vocabulary: Vocabulary,
    /// Whether it is the model's own. False for models whose vocabulary is not public or not carried
    /// here: their text is counted with `o200k_base` or a relative of their own, which is a stated
    /// approximation (within about 10 % for English with most models, less so for other scripts and
    /// for the newest Claude models, which use about a third more tokens).
    pub exact: bool,
}

/// How a rule looks at a name.
enum Rule {
    Begins(&'static str),
    Holds(&'static str),
}

use Rule::{Begins, Holds};
use Vocabulary::{Cl100k, DeepSeekV3, Llama3, MistralV3, O200k, Qwen2};

/// Longest name that is remembered with its tokenizer.
const KEPT_BYTES_MAX: usize = 128;

/// Own vocabulary: from the publishers' `tokenizer.json`, and for `OpenAI` from tiktoken's model list.
const EXACT: bool = true;
/// A stand-in.
const STAND_IN: bool = false;

const RULES: &[(Rule, Vocabulary, bool)] = &[
    // Distilled models keep the vocabulary of the model they were distilled into.
    (Holds("distill-llama"), Llama3, EXACT),
    (Holds("distill-qwen"), Qwen2, EXACT),
    // OpenAI.
    (Begins("gpt-4o"), O200k, EXACT),
    (Begins("chatgpt-4o"), O200k, EXACT),
    (Begins("gpt-4.1"), O200k, EXACT),
    (Begins("gpt-4.5"), O200k, EXACT),
    (Begins("gpt-5"), O200k, EXACT),
    (Begins("gpt-oss"), O200k, EXACT),
    (Begins("gpt-realtime"), O200k, EXACT),
    (Begins("gpt-audio"), O200k, EXACT),
    (Begins("o1"), O200k, EXACT),
    (Begins("o3"), O200k, EXACT),
    (Begins("o4"), O200k, EXACT),
    (Begins("codex-"), O200k, EXACT),
    (Begins("computer-use-preview"), O200k, EXACT),
    (Begins("gpt-4"), Cl100k, EXACT),
    (Begins("gpt-3.5"), Cl100k, EXACT),
    (Begins("gpt-35"), Cl100k, EXACT),
    (Begins("text-embedding-3"), Cl100k, EXACT),
    (Begins("text-embedding-ada-002"), Cl100k, EXACT),
    (Begins("davinci-002"), Cl100k, EXACT),
    (Begins("babbage-002"), Cl100k, EXACT),
    // Llama. Llama 4 and Llama 2 have vocabularies of their own.
    (Holds("llama-4"), O200k, STAND_IN),
    (Holds("llama4"), O200k, STAND_IN),
    (Holds("llama-3"), Llama3, EXACT),
    (Holds("llama3"), Llama3, EXACT),
    (Holds("llama-v3"), Llama3, EXACT),
    (Holds("llama"), Llama3, STAND_IN),
    // Qwen 1.5 to 3 share one vocabulary; 3.5 has a larger one.
    (Holds("qwen3.5"), Qwen2, STAND_IN),
    (Holds("qwen3.6"), Qwen2, STAND_IN),
    (Holds("qwen3.7"), Qwen2, STAND_IN),
    (Holds("qwen3.8"), Qwen2, STAND_IN),
    (Holds("qwen1.5"), Qwen2, EXACT),
    (Holds("qwen2"), Qwen2, EXACT),
    (Holds("qwen3"), Qwen2, EXACT),
    (Holds("qwen-2"), Qwen2, EXACT),
    (Holds("qwen-3"), Qwen2, EXACT),
    (Begins("qwq"), Qwen2, EXACT),
    (Begins("qvq"), Qwen2, EXACT),
    (Holds("qwen"), Qwen2, STAND_IN),
    // DeepSeek: V2 and the first coder models have vocabularies of their own.
    (Holds("deepseek-v2"), DeepSeekV3, STAND_IN),
    (Holds("deepseek-coder"), DeepSeekV3, STAND_IN),
    (Holds("deepseek-llm"), DeepSeekV3, STAND_IN),
    (Holds("deepseek-v3"), DeepSeekV3, EXACT),
    (Holds("deepseek-v4"), DeepSeekV3, EXACT),
    (Holds("deepseek-r1"), DeepSeekV3, EXACT),
    (Begins("deepseek-chat"), DeepSeekV3, EXACT),
    (Begins("deepseek-reasoner"), DeepSeekV3, EXACT),
    (Holds("deepseek"), DeepSeekV3, STAND_IN),
    // Mistral's Tekken; the older models use SentencePiece vocabularies.
    (Holds("mistral-nemo"), MistralV3, EXACT),
    (Begins("open-mistral-nemo"), MistralV3, EXACT),
    (Begins("ministral"), MistralV3, EXACT),
    (Begins("pixtral-12b"), MistralV3, EXACT),
    (Begins("mistral-small-2402"), MistralV3, STAND_IN),
    (Begins("mistral-small-2409"), MistralV3, STAND_IN),
    (Begins("mistral-small"), MistralV3, EXACT),
    (Begins("devstral"), MistralV3, EXACT),
    (Begins("magistral-small"), MistralV3, EXACT),
    (Holds("mistral"), MistralV3, STAND_IN),
    (Holds("mixtral"), MistralV3, STAND_IN),
    (Holds("codestral"), MistralV3, STAND_IN),
    (Holds("magistral"), MistralV3, STAND_IN),
    (Holds("pixtral"), MistralV3, STAND_IN),
    // Close relatives of cl100k_base.
    (Begins("phi-4"), Cl100k, STAND_IN),
    (Begins("text-davinci"), Cl100k, STAND_IN),
];

/// The vocabulary that a model's text is counted with. A name that nobody knows (a deployment's own
/// name, Claude, Gemini, Cohere) is counted with `o200k_base`, marked as approximate.
pub fn tokenizer_for(model: &str) -> Tokenizer {
    thread_local! {
        /// The one asked for last, which most requests ask for again.
        static LAST: RefCell<(String, Option<Tokenizer>)> = RefCell::default();
    }
    LAST.with_borrow_mut(|(last, tokenizer)| match tokenizer {
        Some(tokenizer) if last == model => *tokenizer,
        _ => {
            // Names are as long as clients make them; only usual ones are kept.
            let found = by_rules(model);
            if model.len() <= KEPT_BYTES_MAX {
                model.clone_into(last);
                *tokenizer = Some(found);
            }
            found
        }
    })
}

fn by_rules(model: &str) -> Tokenizer {
    let name = plain_name(model).to_ascii_lowercase();
    RULES
        .iter()
        .find(|(rule, ..)| match rule {
            Begins(beginning) => name.starts_with(beginning),
            Holds(part) => name.contains(part),
        })
        .map_or(Tokenizer { vocabulary: O200k, exact: false }, |&(_, vocabulary, exact)| {
            Tokenizer { vocabulary, exact }
        })
}

/// What may stand before the first point of a Bedrock id, and what before the next.
const REGIONS: &[&str] = &["us", "eu", "apac", "global", "us-gov", "jp", "au"];
const PUBLISHERS: &[&str] = &[
    "anthropic",
    "meta",
    "mistral",
    "cohere",
    "amazon",
    "deepseek",
    "openai",
    "qwen",
    "ai21",
    "google",
];

/// A model name without what providers put around it.
pub(super) fn plain_name(model: &str) -> &str {
    // A fine-tuned model: `ft:gpt-4o-mini:organisation::id`.
    let mut name = match model.strip_prefix("ft:") {
        Some(tuned) => tuned.split(':').next().unwrap_or(tuned),
        None => model,
    };
    // A path, an ARN: `accounts/fireworks/models/…`, `arn:aws:bedrock:…:inference-profile/…`.
    name = name.rsplit('/').next().unwrap_or(name);
    // A Bedrock id: region, publisher.
    for prefixes in [REGIONS, PUBLISHERS] {
        let Some((first, rest)) = name.split_once('.') else { break };
        if prefixes.contains(&first) {
            name = rest;
        }
    }
    // A revision or a tag: `…-v1:0`, `…:free`, `…@20241022`.
    let name = name.split([':', '@']).next().unwrap_or(name);
    for revision in ["-v1", "-v2"] {
        // A Bedrock revision; `deepseek-v2` is a name.
        if let Some(rest) = name.strip_suffix(revision)
            && rest.contains('-')
        {
            return rest;
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_their_vocabularies() {
        for (model, vocabulary, exact) in [
            ("gpt-4o-mini", O200k, true),
            ("gpt-4-turbo", Cl100k, true),
            ("gpt-4.1-nano-2025-04-14", O200k, true),
            ("openai/gpt-oss-120b", O200k, true),
            ("ft:gpt-3.5-turbo-0125:acme::9x", Cl100k, true),
            ("meta-llama/Meta-Llama-3.1-8B-Instruct", Llama3, true),
            ("accounts/fireworks/models/llama-v3p1-70b-instruct", Llama3, true),
            ("us.meta.llama3-3-70b-instruct-v1:0", Llama3, true),
            ("llama3.2:3b", Llama3, true),
            ("meta-llama/Llama-4-Scout-17B-16E-Instruct", O200k, false),
            ("deepseek-ai/DeepSeek-R1-Distill-Qwen-32B", Qwen2, true),
            ("deepseek-ai/DeepSeek-V3", DeepSeekV3, true),
            ("deepseek-coder-33b", DeepSeekV3, false),
            ("Qwen/Qwen2.5-72B-Instruct", Qwen2, true),
            ("qwen-max", Qwen2, false),
            ("mistralai/Mistral-Nemo-Instruct-2407", MistralV3, true),
            ("mistral-large-latest", MistralV3, false),
            ("claude-sonnet-4-20250514", O200k, false),
            ("gemini-2.5-pro", O200k, false),
            ("command-r-plus", O200k, false),
            ("", O200k, false),
        ] {
            assert_eq!(tokenizer_for(model), Tokenizer { vocabulary, exact }, "{model}");
        }
    }

    #[test]
    fn decoration_is_taken_off() {
        for (name, plain) in [
            ("us.anthropic.claude-3-5-haiku-20241022-v1:0", "claude-3-5-haiku-20241022"),
            ("anthropic/claude-sonnet-4", "claude-sonnet-4"),
            ("claude-3-5-sonnet-v2@20241022", "claude-3-5-sonnet"),
            ("meta-llama/llama-3.3-70b-instruct:free", "llama-3.3-70b-instruct"),
            ("deepseek-v2", "deepseek-v2"),
            ("gpt-4o", "gpt-4o"),
        ] {
            assert_eq!(plain_name(name), plain);
        }
    }
}
