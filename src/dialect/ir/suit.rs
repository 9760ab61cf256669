//! A request is made to suit the model that it goes to.

use super::{
    Block, Content, Format, Loss, ModelQuirk, Output, Request, Role, Schema, Seal, Text, Thought,
    Tool, ToolChoice,
};
use crate::wire::json;

/// The tool whose arguments are the answer, for models that give none of a schema.
pub const ANSWER_TOOL: &str = "json_answer";

const ANSWER_TOOL_IS_FOR: &str = "Gives the answer. Call it once, when no other tool is needed any \
     more, with the whole answer as its arguments; whatever is said beside the call is not read.";

/// What Google names for a call of which there is no signature, since another model made it.
const CALL_OF_ANOTHER_MODEL: &str = "skip_thought_signature_validator";

impl Request<'_> {
    /// Says what the quirks of its model do not let it say in another way, or reports it as lost.
    /// Whether the answer will be the arguments of a call of [`ANSWER_TOOL`].
    pub fn suit_model(&mut self, loss: &mut Loss) -> bool {
        let quirks = self.quirks;
        let by_call = quirks.has(ModelQuirk::SchemaByCall) && self.answer_by_call(loss);
        if quirks.has(ModelQuirk::UnforcedTools) {
            self.leave_tools_unforced(by_call, loss);
        }
        if quirks.has(ModelQuirk::TemperatureOrTopP)
            && self.temperature.is_some()
            && self.top_p.take().is_some()
        {
            loss.drop("top_p");
        }
        if quirks.has(ModelQuirk::SignedCalls) {
            self.sign_calls(loss);
        }
        if quirks.has(ModelQuirk::PlainThoughts) {
            self.say_thoughts();
        }
        by_call
    }

    /// Puts a tool in the place of the schema. A turn in which the client wants one of its own tools
    /// called has no answer yet.
    fn answer_by_call(&mut self, loss: &mut Loss) -> bool {
        let schema = match std::mem::take(&mut self.output) {
            Output::Schema(schema) => schema,
            other => {
                self.output = other;
                return false;
            }
        };
        let calls_first = match &self.tool_choice {
            Some(ToolChoice::Required | ToolChoice::Function(_)) => !self.tools.is_empty(),
            Some(ToolChoice::Among { required, .. }) => *required,
            _ => false,
        };
        if calls_first {
            return false;
        }
        let taken =
            |tool: &Tool<'_>| matches!(tool, Tool::Function { name, .. } if name == ANSWER_TOOL);
        if self.tools.iter().any(taken) || !is_of_objects(&schema) {
            loss.refuse("response_format");
        }
        let some_tools = self.tools.iter().any(|tool| matches!(tool, Tool::Function { .. }));
        match &mut self.tool_choice {
            Some(ToolChoice::Among { names, required }) => {
                names.push(Text::Borrowed(ANSWER_TOOL));
                *required = true;
            }
            None | Some(ToolChoice::Auto) if some_tools => {
                self.tool_choice = Some(ToolChoice::Required);
            }
            _ => self.tool_choice = Some(ToolChoice::Function(Text::Borrowed(ANSWER_TOOL))),
        }
        self.tools.push(Tool::Function {
            name: Text::Borrowed(ANSWER_TOOL),
            description: Some(match schema.description {
                Some(description) => format!("{ANSWER_TOOL_IS_FOR} {description}").into(),
                None => Text::Borrowed(ANSWER_TOOL_IS_FOR),
            }),
            parameters: Some(schema.schema),
            strict: None,
            cache: None,
        });
        true
    }

    /// Leaves the model the choice, of the tools that it may call at all. What weir itself has chosen
    /// is no loss of the client's.
    fn leave_tools_unforced(&mut self, by_call: bool, loss: &mut Loss) {
        let names = match self.tool_choice.take() {
            Some(ToolChoice::Required) => None,
            Some(ToolChoice::Function(name)) => Some(vec![name]),
            Some(ToolChoice::Among { names, required: true }) => Some(names),
            other => {
                self.tool_choice = other;
                return;
            }
        };
        if !by_call {
            loss.drop("tool_choice");
        }
        self.tool_choice = Some(ToolChoice::Auto);
        if let Some(names) = names {
            self.tool_choice = Some(ToolChoice::Among { names, required: false });
            self.narrow_tools();
        }
    }

    /// Signs the first call of every turn that has none. A signature of another provider's means
    /// nothing here.
    fn sign_calls(&mut self, loss: &mut Loss) {
        for message in self.messages.iter_mut().filter(|it| it.role == Role::Assistant) {
            let seals = || {
                message.blocks.iter().filter_map(|block| match &block.content {
                    Content::ToolCall(call) => Some(call.seal.as_ref()),
                    _ => None,
                })
            };
            if seals().flatten().any(|seal| seal.origin == Format::Gemini) {
                continue;
            }
            if seals().flatten().next().is_some() {
                loss.drop("messages[].thinking");
            }
            let first = message.blocks.iter_mut().find_map(|block| match &mut block.content {
                Content::ToolCall(call) => Some(call),
                _ => None,
            });
            if let Some(call) = first {
                let value = Text::Borrowed(CALL_OF_ANOTHER_MODEL);
                call.seal = Some(Seal { origin: Format::Gemini, id: None, value });
            }
        }
    }
}

impl Request<'_> {
    /// Has thoughts said in plain words, whoever had them. A turn that calls tools has to have one.
    fn say_thoughts(&mut self) {
        let plain = || {
            Some(Seal {
                origin: Format::Chat,
                id: Some(Text::Borrowed(Seal::PLAIN)),
                value: Text::Borrowed(""),
            })
        };
        for message in self.messages.iter_mut().filter(|it| it.role == Role::Assistant) {
            let (mut calls, mut thinks) = (false, false);
            for block in &mut message.blocks {
                match &mut block.content {
                    Content::ToolCall(_) => calls = true,
                    Content::Thought(thought) if !thought.text.is_empty() => {
                        thought.seal = plain();
                        thinks = true;
                    }
                    _ => {}
                }
            }
            if calls && !thinks {
                let thought = Thought { text: Text::Borrowed(""), seal: plain() };
                message.blocks.insert(0, Block::new(Content::Thought(thought)));
            }
        }
    }
}

/// Whether arguments of a call can follow it: they are an object.
fn is_of_objects(schema: &Schema<'_>) -> bool {
    let kind = json::lazy(schema.schema.as_bytes()).get("type");
    kind.is_some_and(|kind| kind.raw() == b"\"object\"")
}

#[cfg(test)]
mod tests;
