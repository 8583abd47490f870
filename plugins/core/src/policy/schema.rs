//! JSON Schemas of the policies, for editors and for gateways that check a configuration before they load it.
//!
//! They come from the types that read the policies, so they cannot promise what the filters do not keep. What takes
//! more than one field to see (a name that occurs twice, a cost above the burst) only the filters check.

use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use schemars::{JsonSchema, Schema};
use serde_json::Value;

/// The schema of [`rate_limit`](super::rate_limit)'s policy, as it is checked in.
#[must_use]
pub fn rate_limit() -> String {
    render::<super::rate_limit::json::PolicyJson>()
}

/// The schema of [`coalesce`](super::coalesce)'s policy, as it is checked in.
#[must_use]
pub fn coalesce() -> String {
    render::<super::coalesce::json::PolicyJson>()
}

/// The schema of [`idempotency`](super::idempotency)'s policy, as it is checked in.
#[must_use]
pub fn idempotency() -> String {
    render::<super::idempotency::json::PolicyJson>()
}

/// The schema of [`shard_route`](super::shard_route)'s policy, as it is checked in.
#[must_use]
pub fn shard_route() -> String {
    render::<super::shard_route::json::PolicyJson>()
}

fn render<T: JsonSchema>() -> String {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<T>();
    RecursiveTransform(leave_out_null).transform(&mut schema);
    RecursiveTransform(one_line_descriptions).transform(&mut schema);
    format!("{:#}\n", schema.to_value())
}

/// An optional field may be `null` for serde. Nobody needs to write that, and every editor would offer it.
fn leave_out_null(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else {
        return;
    };
    if object.get("default") == Some(&Value::Null) {
        object.remove("default");
    }
    if let Some(Value::Object(default)) = object.get_mut("default") {
        default.retain(|_, value| !value.is_null());
    }
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(values)) = object.get_mut("enum") {
        values.retain(|value| !value.is_null());
        if let [only] = values.as_slice() {
            let only = only.clone();
            object.remove("enum");
            object.insert("const".to_owned(), only);
        }
    }
    if let Some(Value::Array(choices)) = object.get_mut("anyOf") {
        choices.retain(|choice| choice.get("type").is_none_or(|kind| kind != "null"));
        if let [Value::Object(only)] = choices.as_slice() {
            let only = only.clone();
            object.remove("anyOf");
            for (name, value) in only {
                object.entry(name).or_insert(value);
            }
        }
    }
}

/// Doc comments are broken where the source's lines end.
fn one_line_descriptions(schema: &mut Schema) {
    let Some(Value::String(description)) = schema.get_mut("description") else {
        return;
    };
    *description = description.replace('\n', " ");
}

#[cfg(test)]
#[path = "schema_tests.rs"]
mod tests;
