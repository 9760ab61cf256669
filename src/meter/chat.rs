//! What `weir count` prints: tokens of a text, or of the prompt of a chat request.

use std::fmt;

use serde_json::Value;

use super::count::count;
use super::model::{Tokenizer, tokenizer_for};
use super::vocabulary::Vocabulary;

/// Tokens that a chat format adds around each message (`OpenAI`'s published recipe: start, role,
/// separator and end, of which one is the role itself and counted as text).
const TOKENS_PER_MESSAGE: u64 = 3;
/// Tokens for a message's `name`.
const TOKENS_PER_NAME: u64 = 1;
/// Tokens that open the answer.
const TOKENS_OF_REPLY: u64 = 3;

/// A count, with what it stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountReport {
    /// Tokens.
    pub tokens: u64,
    /// The vocabulary they were counted with.
    pub vocabulary: Vocabulary,
    /// Whether that is what the model itself would see. False with a stand-in vocabulary, and for a
    /// chat request unless it is plain messages for an `OpenAI` model.
    pub exact: bool,
}

/// Why a chat request cannot be counted.
#[derive(Debug)]
pub enum ChatError {
    /// It is not JSON.
    Json(serde_json::Error),
    /// It has neither `messages`, `input`, `contents` nor `prompt`.
    NoPrompt,
}

impl fmt::Display for ChatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChatError::Json(error) => write!(f, "the request is not JSON: {error}"),
            ChatError::NoPrompt => f.write_str(
                "the request has no prompt: none of `messages`, `input`, `contents` and `prompt`",
            ),
        }
    }
}

impl std::error::Error for ChatError {}

/// Counts a text as the model would. Loads the vocabulary on the calling thread.
pub fn count_text(model: &str, text: &str) -> CountReport {
    let Tokenizer { vocabulary, exact } = tokenizer_for(model);
    CountReport { tokens: count(vocabulary, text), vocabulary, exact }
}

/// Counts the prompt of a chat request in any of the dialects: the texts of its messages, system
/// prompt and tools, and what the chat format adds. With an empty `model` the request's own
/// `model` decides. Images, audio and files are left out.
pub fn count_chat(model: &str, json: &str) -> Result<CountReport, ChatError> {
    let request: Value = serde_json::from_str(json).map_err(ChatError::Json)?;
    // Gemini's token counts may be asked for a whole request within the request.
    let request = request.get("generateContentRequest").unwrap_or(&request);
    let own = request.get("model").and_then(Value::as_str).unwrap_or_default();
    let model = if model.is_empty() { own } else { model };
    let Tokenizer { vocabulary, exact } = tokenizer_for(model);
    let mut prompt = Prompt { vocabulary, tokens: TOKENS_OF_REPLY, plain: true };
    let turns = ["messages", "contents", "input", "prompt"]
        .iter()
        .find_map(|key| request.get(key))
        .ok_or(ChatError::NoPrompt)?;
    match turns {
        Value::Array(turns) => turns.iter().for_each(|turn| prompt.turn(turn)),
        turn => prompt.turn(turn),
    }
    for key in ["system", "instructions", "systemInstruction", "system_instruction"] {
        if let Some(system) = request.get(key) {
            prompt.turn(system);
        }
    }
    for key in ["tools", "functions", "toolConfig", "response_format"] {
        if let Some(schema) = request.get(key) {
            // How a schema is shown to a model is not public; its JSON is close.
            prompt.plain = false;
            prompt.text(&schema.to_string());
        }
    }
    let openai = matches!(vocabulary, Vocabulary::O200k | Vocabulary::Cl100k);
    Ok(CountReport { tokens: prompt.tokens, vocabulary, exact: exact && openai && prompt.plain })
}

/// The sum so far.
struct Prompt {
    vocabulary: Vocabulary,
    tokens: u64,
    /// Only messages with text, so that the recipe is the published one.
    plain: bool,
}

impl Prompt {
    fn text(&mut self, text: &str) {
        self.tokens += count(self.vocabulary, text);
    }

    fn turn(&mut self, turn: &Value) {
        self.tokens += TOKENS_PER_MESSAGE;
        let Value::Object(members) = turn else { return self.content(turn) };
        for (key, value) in members {
            match (key.as_str(), value) {
                ("role", Value::String(role)) => self.text(role),
                ("name", Value::String(name)) => {
                    self.tokens += TOKENS_PER_NAME;
                    self.text(name);
                }
                ("content" | "parts" | "text", content) => self.content(content),
                (_, Value::Null) => {}
                (_, other) => {
                    self.plain = false;
                    self.content(other);
                }
            }
        }
    }

    /// Every text inside, whatever the dialect calls its parts.
    fn content(&mut self, content: &Value) {
        match content {
            Value::String(text) => self.text(text),
            Value::Array(parts) => parts.iter().for_each(|part| self.content(part)),
            Value::Object(part) => {
                for (key, value) in part {
                    match key.as_str() {
                        "type" | "id" | "tool_use_id" | "tool_call_id" | "cache_control" => {}
                        "text" => self.content(value),
                        "image_url" | "inlineData" | "inline_data" | "source" | "image"
                        | "input_audio" | "file" | "document" | "fileData" => self.plain = false,
                        "input" | "args" | "schema" => {
                            self.plain = false;
                            self.text(&value.to_string());
                        }
                        _ => {
                            self.plain = false;
                            self.content(value);
                        }
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_recipe() {
        // The example of OpenAI's guide "How to count tokens": 124 tokens with gpt-4o.
        let json = r#"{"model":"gpt-4o","messages":[
            {"role":"system","content":"You are a helpful, pattern-following assistant that translates corporate jargon into plain English."},
            {"role":"system","name":"example_user","content":"New synergies will help drive top-line growth."},
            {"role":"system","name":"example_assistant","content":"Things working well together will increase revenue."},
            {"role":"system","name":"example_user","content":"Let's circle back when we have more bandwidth to touch base on opportunities for increased leverage."},
            {"role":"system","name":"example_assistant","content":"Let's talk later when we're less busy about how to do better."},
            {"role":"user","content":"This late pivot means we don't have time to boil the ocean for the client deliverable."}]}"#;
        let report = count_chat("", json).unwrap();
        assert_eq!((report.tokens, report.exact), (124, true));
        assert_eq!(count_chat("gpt-4", json).unwrap().tokens, 129);
    }

    #[test]
    fn other_dialects_and_tools_are_approximate() {
        let anthropic = r#"{"system":"Be brief.","messages":[{"role":"user","content":[{"type":"text","text":"Hi"}]}]}"#;
        assert!(!count_chat("claude-sonnet-4", anthropic).unwrap().exact);
        let gemini = r#"{"contents":[{"role":"user","parts":[{"text":"Hi"}]}]}"#;
        assert_eq!(count_chat("gpt-4o", gemini).unwrap().tokens, 3 + 3 + 1 + 1);
        let tools =
            r#"{"messages":[{"role":"user","content":"Hi"}],"tools":[{"type":"function"}]}"#;
        assert!(!count_chat("gpt-4o", tools).unwrap().exact);
    }

    #[test]
    fn what_is_no_request_says_so() {
        assert!(matches!(count_chat("gpt-4o", "{"), Err(ChatError::Json(_))));
        assert!(matches!(count_chat("gpt-4o", "{}"), Err(ChatError::NoPrompt)));
    }

    #[test]
    fn a_text_is_counted_with_its_models_vocabulary() {
        let report = count_text("gpt-4o", "Hello, world!");
        assert_eq!((report.tokens, report.exact), (4, true));
        assert_eq!(report.vocabulary.as_str(), "o200k_base");
    }
}
