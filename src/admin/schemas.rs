//! Schemas that the interface's table refers to.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::ledger::export::Form;
use crate::manage::{Access, PAGE_MAX};

/// A type's own.
pub(super) fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// A page of a list.
pub(super) fn page<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    let item = generator.subschema_for::<T>();
    json_schema!({
        "type": "object",
        "required": ["items"],
        "properties": {
            "items": { "type": "array", "items": item },
            "next": { "type": "string", "description": "`after` of the next page; not there on the last" },
        },
    })
}

pub(super) fn any(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object" })
}

pub(super) fn text(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string" })
}

/// Rows of the ledger: each has the columns that the question names.
pub(super) fn rows(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "required": ["items"],
        "properties": {
            "items": { "type": "array", "items": {
                "type": "object",
                "additionalProperties": { "type": ["string", "integer", "boolean", "null"] },
            } },
            "next": { "type": "string", "description": "`after` of the next page; not there on the last" },
        },
    })
}

pub(super) fn flag(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "boolean" })
}

pub(super) fn number(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "minimum": 0, "maximum": 65535 })
}

pub(super) fn percent(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "number", "minimum": 0, "maximum": 100 })
}

pub(super) fn form(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "enum": Form::ALL.map(Form::as_str) })
}

pub(super) fn page_limit(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "minimum": 1, "maximum": PAGE_MAX })
}

pub(super) fn access(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<Access>()
}
