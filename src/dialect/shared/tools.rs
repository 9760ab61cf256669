//! Tools as `OpenAI` writes them, which Cohere does as well.

use crate::dialect::ir::{self, ArrayWriter, Cache, Format, Loss, Opaque, Text, Tool};
use crate::error::Error;
use crate::wire::json::Value;

/// The tools of a request.
pub fn tools(value: Value<'_>) -> Result<Vec<Tool<'_>>, Error> {
    ir::items(value, "tools")?.enumerate().map(|(at, tool)| one_tool(at, tool)).collect()
}

fn one_tool(at: usize, tool: Value<'_>) -> Result<Tool<'_>, Error> {
    let kind = tool.get("type").and_then(|kind| kind.as_str()).unwrap_or_default();
    let Some(function) = tool.get("function").filter(|_| kind == "function") else {
        let value = Text::Borrowed(ir::raw(tool));
        return Ok(Tool::Opaque(Opaque { origin: Format::Chat, kind, value }));
    };
    let (mut name, mut description, mut parameters, mut strict) = (None, None, None, None);
    let field = format!("tools[{at}].function");
    for member in ir::members(function, &field)? {
        match member.key {
            b"name" => name = Some(ir::string(member.value, &field)?),
            b"description" => description = Some(ir::string(member.value, &field)?),
            b"parameters" => parameters = Some(Text::Borrowed(ir::raw(member.value))),
            b"strict" => strict = Some(ir::boolean(member.value, &field)?),
            _ => {}
        }
    }
    let name = name.ok_or_else(|| ir::refused_shape(&field, "a `name`"))?;
    Ok(Tool::Function { name, description, parameters, strict, cache: Cache::mark(tool) })
}

/// A tool as this format and Cohere's have it.
pub fn function_tool(at: usize, tool: &Tool<'_>, list: &mut ArrayWriter<'_>, loss: &mut Loss) {
    match tool {
        Tool::Function { name, description, parameters, strict, cache } => {
            if cache.is_some() {
                loss.drop("tools[].cache_control");
            }
            list.object(|tool| {
                tool.text("type", "function");
                tool.object("function", |function| {
                    function.text("name", name);
                    if let Some(description) = description {
                        function.text("description", description);
                    }
                    if let Some(parameters) = parameters {
                        function.raw("parameters", parameters);
                    }
                    if let Some(strict) = strict {
                        function.flag("strict", *strict);
                    }
                });
            });
        }
        Tool::Opaque(tool) if tool.origin == Format::Chat => list.raw(&tool.value),
        Tool::Opaque(tool) => loss.refuse(format!("tools[{at}] ({})", tool.kind)),
    }
}
