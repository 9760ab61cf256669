//! The `OpenAPI` document (version 3.1), made of the table of operations.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::{OPERATIONS, Operation};

/// The document.
pub fn document() -> &'static Value {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(make);
    &DOCUMENT
}

fn make() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    let mut schemas = settings.into_generator();
    let mut paths: Map<String, Value> = Map::new();
    for operation in &OPERATIONS {
        let described = describe(operation, &mut schemas);
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method.to_ascii_lowercase()] = described;
    }
    let mut components = schemas.take_definitions(true);
    components.insert("Error".into(), error());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "weir admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What the commands of `weir` that ask a running one do.",
        },
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    })
}

fn error() -> Value {
    json!({
        "type": "object",
        "required": ["error"],
        "properties": { "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": { "code": { "type": "string" }, "message": { "type": "string" } },
        } },
    })
}

fn describe(operation: &Operation, schemas: &mut SchemaGenerator) -> Value {
    let mut parameters: Vec<Value> = Vec::new();
    if operation.path.contains("{id}") {
        parameters.push(json!({
            "name": "id", "in": "path", "required": true, "schema": { "type": "string" },
        }));
    }
    for parameter in operation.parameters() {
        parameters.push(json!({
            "name": parameter.name,
            "in": "query",
            "description": parameter.description,
            "schema": (parameter.schema)(schemas),
        }));
    }
    let roles: Vec<&str> = operation.roles.iter().map(|role| role.as_str()).collect();
    let mut described = json!({
        "operationId": operation.name,
        "summary": operation.summary,
        "description": format!("For the roles {}.", roles.join(", ")),
        "parameters": parameters,
        "responses": responses(operation, schemas),
    });
    if let Some(body) = operation.body {
        let content = content(operation.takes, &body(schemas));
        described["requestBody"] = json!({ "required": true, "content": content });
    }
    described
}

/// The same in each of these media types.
fn content(types: &[&str], schema: &Schema) -> Value {
    let described = types.iter().map(|of| ((*of).to_owned(), json!({ "schema": schema })));
    Value::Object(described.collect())
}

fn responses(operation: &Operation, schemas: &mut SchemaGenerator) -> Value {
    let refused = |why: &str| {
        json!({
            "description": why,
            "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } },
        })
    };
    let mut responses = json!({
        "400": refused("The request makes no sense"),
        "401": refused("No token, or one that is not known"),
        "403": refused("Not for this role"),
        "404": refused("There is no such thing"),
        "409": refused("It does not fit what there is"),
        "413": refused("The body is too long"),
        "422": refused("What is asked for is not valid"),
        "503": refused("The database cannot do it now"),
    });
    responses[operation.status.to_string()] = json!({
        "description": "Done",
        "content": content(operation.gives, &(operation.answer)(schemas)),
    });
    responses
}
