//! Whether a value is what a schema says.

use serde_json::Value;

use super::document::{Document, types};

impl Document {
    /// What in `value` is not as documented, each with its place.
    pub(super) fn faults(&self, schema: &Value, value: &Value, place: &str) -> Vec<String> {
        let schema = self.resolve(schema);
        if let Some(choices) = schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array()) {
            let fits = |choice: &Value| self.faults(choice, value, place).is_empty();
            return if choices.iter().any(fits) {
                vec![]
            } else {
                vec![format!("{place}: {value} is none of {schema}")]
            };
        }
        let types = types(schema);
        if !types.is_empty() && !types.iter().any(|name| is_of(name, value)) {
            return vec![format!("{place}: {value} is not {types:?}")];
        }
        match value {
            Value::Object(fields) => self.faults_of_object(schema, fields, place),
            Value::Array(items) => {
                let item = |(n, item)| self.faults(&schema["items"], item, &format!("{place}[{n}]"));
                items.iter().enumerate().flat_map(item).collect()
            }
            value => faults_of_scalar(schema, value, place),
        }
    }

    fn faults_of_object(&self, schema: &Value, fields: &serde_json::Map<String, Value>, place: &str) -> Vec<String> {
        let known = self.properties(schema);
        let missing = self.required(schema).into_iter().filter(|name| !fields.contains_key(*name));
        let mut faults: Vec<_> = missing.map(|name| format!("{place}.{name} is missing")).collect();
        // A schema without properties is any object.
        for (name, value) in fields.iter().filter(|_| !known.is_empty()) {
            let place = format!("{place}.{name}");
            match known.iter().find(|(own, _)| own == name) {
                Some((_, schema)) => faults.extend(self.faults(schema, value, &place)),
                None => faults.push(format!("{place} is not documented")),
            }
        }
        faults
    }
}

fn is_of(name: &str, value: &Value) -> bool {
    match name {
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        other => panic!("{other} is no type"),
    }
}

fn faults_of_scalar(schema: &Value, value: &Value, place: &str) -> Vec<String> {
    if value.is_null() {
        return Vec::new();
    }
    let mut faults = Vec::new();
    if schema["enum"].as_array().is_some_and(|words| !words.contains(value)) {
        faults.push(format!("{place}: {value} is none of {}", schema["enum"]));
    }
    let is_time = |text: &str| text.len() >= 20 && text.as_bytes()[10] == b'T' && text.ends_with('Z');
    if schema["format"] == "date-time" && !value.as_str().is_some_and(is_time) {
        faults.push(format!("{place}: {value} is no time"));
    }
    if let (Some(number), Some(least)) = (value.as_f64(), schema["minimum"].as_f64()) {
        faults.extend((number < least).then(|| format!("{place}: {value} is below {least}")));
    }
    faults
}
