//! What is known of the objects within each format's requests. Beside members that are read, these are
//! members that say nothing to another format: indices, types, the ids of a client's own items.

use crate::dialect::ir::{Format, Known};

const CHAT: [Known; 6] = [
    (
        &["messages", "[]"],
        "role content refusal tool_calls tool_call_id reasoning_content reasoning \
         reasoning_details cache_control",
    ),
    (
        &["messages", "[]", "content", "[]"],
        "type text refusal image_url input_audio file cache_control",
    ),
    (&["messages", "[]", "content", "[]", "image_url"], "url detail"),
    (&["messages", "[]", "tool_calls", "[]"], "id type function index extra_content"),
    (&["tools", "[]"], "type function cache_control"),
    (&["tools", "[]", "function"], "name description parameters strict"),
];

const RESPONSES: [Known; 3] = [
    (
        &["input", "[]"],
        "type role content id status call_id name arguments output summary encrypted_content",
    ),
    (
        &["input", "[]", "content", "[]"],
        "type text refusal image_url file_id detail file_url file_data filename input_audio",
    ),
    (&["tools", "[]"], "type name description parameters strict"),
];

const ANTHROPIC: [Known; 6] = [
    (&["system", "[]"], "type text cache_control"),
    (&["messages", "[]"], "role content"),
    (
        &["messages", "[]", "content", "[]"],
        "type text source title context id name input tool_use_id content is_error thinking \
         signature data cache_control",
    ),
    (&["tools", "[]"], "type name description input_schema strict cache_control"),
    (&["thinking"], "type budget_tokens display"),
    (&["tool_choice"], "type name disable_parallel_tool_use"),
];

const GEMINI: [Known; 4] = [
    (&["contents", "[]"], "role parts"),
    (
        &["contents", "[]", "parts", "[]"],
        "text thought thoughtSignature thought_signature inlineData inline_data fileData \
         file_data functionCall function_call functionResponse function_response executableCode \
         codeExecutionResult toolCall toolResponse",
    ),
    (
        &["tools", "[]", "functionDeclarations", "[]"],
        "name description parameters parametersJsonSchema parameters_json_schema",
    ),
    (&["contents", "[]", "parts", "[]", "functionCall"], "id name args"),
];

const COHERE: [Known; 3] = [
    (&["messages", "[]"], "role content tool_calls tool_plan tool_call_id"),
    (&["messages", "[]", "tool_calls", "[]"], "id type function"),
    (&["tools", "[]", "function"], "name description parameters"),
];

const BEDROCK: [Known; 4] = [
    (&["messages", "[]", "content", "[]", "citationsContent"], "content"),
    (&["messages", "[]"], "role content"),
    (&["toolConfig", "tools", "[]", "toolSpec"], "name description inputSchema strict"),
    (&["messages", "[]", "content", "[]", "toolResult"], "toolUseId content status"),
];

/// Whether a conversation would be another one without a member.
pub(super) fn is_essential(name: &str) -> bool {
    matches!(name, "messages[].function_call" | "messages[].audio")
}

/// The list of a format.
pub(super) fn of(format: Format) -> &'static [Known] {
    match format {
        Format::Chat => &CHAT,
        Format::Responses => &RESPONSES,
        Format::Anthropic => &ANTHROPIC,
        Format::Gemini => &GEMINI,
        Format::Cohere => &COHERE,
        Format::Bedrock => &BEDROCK,
    }
}
