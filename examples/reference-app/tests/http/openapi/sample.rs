//! Values made from schemas: fit ones, and such of the wrong type.

use serde_json::{Map, Value, json};

use super::document::{Document, types};

impl Document {
    /// A value that the schema describes: its example, its default, its first word, or any of its type.
    pub(super) fn sample(&self, schema: &Value) -> Value {
        let schema = self.resolve(schema);
        let examples = schema.get("example").or_else(|| schema["examples"].get(0));
        if let Some(given) = examples.or_else(|| schema.get("default")).or_else(|| schema["enum"].get(0)) {
            return given.clone();
        }
        if let Some(choices) = schema["oneOf"].as_array() {
            let choice = choices.iter().find(|choice| choice["type"] != "null").expect("a choice other than null");
            return self.sample(choice);
        }
        match types(schema).first().copied() {
            Some("object") => {
                self.properties(schema).into_iter().map(|(name, own)| (name.to_owned(), self.sample(own))).collect()
            }
            Some("array") => json!([self.sample(&schema["items"])]),
            Some("string") if schema["format"] == "date-time" => json!("2031-05-01T12:00:00Z"),
            Some("string") => json!("text"),
            Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or(json!(1)),
            Some("boolean") => json!(true),
            _ => Value::Null,
        }
    }

    /// A value of a type that the schema does not allow; none where it allows any.
    pub(super) fn misfit(&self, schema: &Value) -> Option<Value> {
        let types = self.types_of(schema);
        let candidates = [("object", json!({ "a": 1 })), ("string", json!("text")), ("integer", json!(7))];
        let takes = |name: &str| types.contains(&name) || (name == "integer" && types.contains(&"number"));
        candidates.into_iter().find(|(name, _)| !types.is_empty() && !takes(name)).map(|(_, value)| value)
    }

    /// Values of a parameter that are of the wrong kind or out of bounds.
    pub(super) fn strange_words(&self, schema: &Value) -> Vec<String> {
        let mut strange: Vec<String> = Vec::new();
        let types = self.types_of(schema);
        if types.contains(&"integer") {
            strange.extend(["x", "", "1.5", "99999999999999999999"].map(str::to_owned));
        }
        let beyond = [(&schema["minimum"], -1), (&schema["maximum"], 1)];
        strange.extend(beyond.into_iter().filter_map(|(bound, step)| Some((bound.as_i64()? + step).to_string())));
        strange.extend((types.contains(&"integer") && schema["minimum"].is_i64()).then(|| "-1".to_owned()));
        strange.extend(self.words(schema).is_some().then(|| "unheard_of".to_owned()));
        strange
    }

    /// The words that a value must be one of.
    fn words<'a>(&'a self, schema: &'a Value) -> Option<&'a Value> {
        let schema = self.resolve(schema);
        let mut choices = schema["oneOf"].as_array().into_iter().flatten();
        schema.get("enum").or_else(|| choices.find_map(|choice| self.words(choice)))
    }

    /// All types that a value may have.
    pub(super) fn types_of<'a>(&'a self, schema: &'a Value) -> Vec<&'a str> {
        let schema = self.resolve(schema);
        let choices = schema["oneOf"].as_array().into_iter().flatten();
        types(schema).into_iter().chain(choices.flat_map(|choice| self.types_of(choice))).collect()
    }

    /// Every way to get one field of `body` wrong: the name that an error must have, and the whole body. Fields of the
    /// objects in a list are among them.
    pub(super) fn wrong_bodies(&self, schema: &Value, body: &Value) -> Vec<(String, Value)> {
        let mut wrong = Vec::new();
        for (name, own) in self.properties(schema) {
            if let Some(misfit) = self.misfit(own) {
                wrong.push((name.to_owned(), with(body, name, misfit)));
            }
            if !self.types_of(own).contains(&"null") {
                wrong.push((name.to_owned(), with(body, name, Value::Null)));
            }
            let item = &self.resolve(own)["items"];
            for (inner, value) in self.wrong_bodies(item, &body[name][0]) {
                wrong.push((format!("{name}[0].{inner}"), with(body, name, json!([value]))));
            }
        }
        wrong
    }
}

/// A copy of `body` with another value of one field.
pub(super) fn with(body: &Value, name: &str, value: Value) -> Value {
    let mut fields: Map<String, Value> = body.as_object().cloned().unwrap_or_default();
    fields.insert(name.to_owned(), value);
    fields.into()
}
