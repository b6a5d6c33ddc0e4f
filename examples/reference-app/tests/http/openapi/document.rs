//! The OpenAPI document of a running app, as this suite reads it.

use http::Method;
use serde_json::Value;

use crate::support::App;

/// The document.
pub(super) struct Document(Value);

/// One method of one path.
#[derive(Clone)]
pub(super) struct Operation {
    pub(super) id: String,
    pub(super) method: Method,
    /// With its parameters in braces.
    pub(super) path: String,
    pub(super) spec: Value,
}

impl Document {
    pub(super) async fn of(app: &App) -> Self {
        let answer = app.visitor().get("/openapi.json").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        Self(answer.body)
    }

    pub(super) fn operations(&self) -> Vec<Operation> {
        let mut operations = Vec::new();
        for (path, item) in self.0["paths"].as_object().expect("paths") {
            for (method, spec) in item.as_object().expect("operations by method") {
                let method: Method = method.to_uppercase().parse().expect("a method");
                let id = spec["operationId"].as_str().unwrap_or_else(|| panic!("{method} {path} has no id"));
                operations.push(Operation { id: id.to_owned(), method, path: path.clone(), spec: spec.clone() });
            }
        }
        operations
    }

    pub(super) fn operation(&self, method: &Method, path: &str) -> Option<Operation> {
        self.operations().into_iter().find(|operation| operation.method == *method && operation.path == path)
    }

    /// Follows references to the schema they name.
    pub(super) fn resolve<'a>(&'a self, mut schema: &'a Value) -> &'a Value {
        while let Some(name) = schema["$ref"].as_str() {
            schema = self.0.pointer(name.trim_start_matches('#')).unwrap_or_else(|| panic!("{name} is not there"));
        }
        schema
    }

    /// The properties of an object's schema with their schemas.
    pub(super) fn properties<'a>(&'a self, schema: &'a Value) -> Vec<(&'a str, &'a Value)> {
        let properties = self.parts(schema).into_iter().filter_map(|part| part["properties"].as_object());
        properties.flatten().map(|(name, schema)| (name.as_str(), schema)).collect()
    }

    /// The properties that must be there, sorted.
    pub(super) fn required<'a>(&'a self, schema: &'a Value) -> Vec<&'a str> {
        let mut names: Vec<_> = self.parts(schema).into_iter().flat_map(|part| texts(&part["required"])).collect();
        names.sort_unstable();
        names
    }

    /// A schema, and those that it is made of.
    fn parts<'a>(&'a self, schema: &'a Value) -> Vec<&'a Value> {
        let schema = self.resolve(schema);
        let others = schema["allOf"].as_array().into_iter().flatten();
        std::iter::once(schema).chain(others.flat_map(|part| self.parts(part))).collect()
    }
}

impl Operation {
    /// The schema of its JSON body.
    pub(super) fn body(&self) -> Option<&Value> {
        self.spec["requestBody"]["content"]["application/json"].get("schema")
    }

    /// The media type of its body, if it takes one.
    pub(super) fn body_kind(&self) -> Option<&str> {
        self.spec["requestBody"]["content"].as_object()?.keys().next().map(String::as_str)
    }

    /// Its parameters in `path` or `query`, each with a name and a schema.
    pub(super) fn parameters<'a>(&'a self, place: &'a str) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let all = self.spec["parameters"].as_array().into_iter().flatten();
        all.filter(move |parameter| parameter["in"] == place)
            .map(|parameter| (parameter["name"].as_str().expect("a name"), &parameter["schema"]))
    }

    /// The answers that are a success, with the schema of their JSON body.
    pub(super) fn successes(&self) -> Vec<(u16, Option<&Value>)> {
        let responses = self.spec["responses"].as_object().expect("responses");
        let numbered = responses.iter().filter_map(|(status, response)| {
            let schema = response["content"]["application/json"].get("schema");
            Some((status.parse::<u16>().ok()?, schema))
        });
        numbered.filter(|(status, _)| *status < 300).collect()
    }

    /// Whether nobody may call it without credentials.
    pub(super) fn needs_user(&self) -> bool {
        let security = self.spec["security"].as_array().map(Vec::as_slice).unwrap_or_default();
        !security.is_empty() && security.iter().all(|one| one.as_object().is_some_and(|one| !one.is_empty()))
    }
}

/// The types that a schema allows.
pub(super) fn types(schema: &Value) -> Vec<&str> {
    match &schema["type"] {
        Value::String(one) => vec![one],
        several => texts(several).collect(),
    }
}

fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}
