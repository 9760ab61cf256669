//! The configuration's JSON Schema: for editors, and for weir's own check of a file.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::File;

/// The schema of [`File`].
pub fn schema() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
        let mut schema = schemars::schema_for!(File).to_value();
        without_null(&mut schema);
        if let Value::Object(root) = &mut schema {
            root.insert("title".into(), json!("weir configuration"));
            // What the file itself refers to (YAML anchors); weir does not look inside.
            root.insert("patternProperties".into(), json!({ "^x-": true }));
        }
        schema
    });
    &SCHEMA
}

/// Optional settings are left out, not set to nothing: `tls:` with nothing behind it is an
/// unfinished line, and to take it for cleartext would be a surprise.
fn without_null(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            drop_null_type(map);
            drop_null_alternative(map);
            if map.get("default") == Some(&Value::Null) {
                map.remove("default");
            }
            map.values_mut().for_each(without_null);
        }
        Value::Array(items) => items.iter_mut().for_each(without_null),
        _ => {}
    }
}

/// `type: [string, null]` becomes `type: string`.
fn drop_null_type(map: &mut Map<String, Value>) {
    let Some(Value::Array(types)) = map.get_mut("type") else { return };
    types.retain(|kind| kind != "null");
    if let [one] = types.as_slice() {
        let one = one.clone();
        map.insert("type".into(), one);
    }
}

/// `anyOf: [X, {type: null}]` becomes `X`.
fn drop_null_alternative(map: &mut Map<String, Value>) {
    let Some(Value::Array(alternatives)) = map.get_mut("anyOf") else { return };
    let before = alternatives.len();
    alternatives.retain(|alternative| alternative.get("type") != Some(&json!("null")));
    if alternatives.len() == before {
        return;
    }
    if let [Value::Object(one)] = alternatives.as_mut_slice() {
        let one = std::mem::take(one);
        map.remove("anyOf");
        for (key, value) in one {
            map.entry(key).or_insert(value);
        }
    }
}
