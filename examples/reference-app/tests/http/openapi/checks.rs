//! What an operation must refuse, and how: made from the document, as what it must take is.

use serde_json::{Value, json};

use super::{
    document::Operation,
    sample::with,
    world::{Caller, World},
};
use crate::support::Answer;

/// What the operation says to bodies that lack what is required, have too much, or are of the wrong type.
pub(super) async fn bodies(world: &World, caller: &mut Caller, operation: &Operation) -> Vec<String> {
    let Some(schema) = operation.body() else { return Vec::new() };
    let path = world.path(caller, operation).await;
    let body = world.json_body(caller, operation).expect("a JSON body");
    let required = world.document.required(schema);
    let mut wrong = vec![("unheard_of".to_owned(), with(&body, "unheard_of", json!(1)))];
    wrong.extend(world.document.wrong_bodies(schema, &body));
    let mut faults = Vec::new();
    for (field, body) in wrong {
        let answer = patiently(world, caller, operation, &path, Some(&body)).await;
        faults.extend(refusal(operation, &body, &[field.as_str()], &answer));
    }
    if !required.is_empty() {
        let answer = world.send(caller, &operation.method, &path, Some(&json!({}))).await;
        faults.extend(refusal(operation, &json!({}), &required, &answer));
    }
    faults
}

/// What the operation says to parameters that are out of bounds, none of the words, missing, or unheard of.
pub(super) async fn queries(world: &World, caller: &mut Caller, operation: &Operation) -> Vec<String> {
    let path = world.path(caller, operation).await;
    let (bare, fit) = path.split_once('?').unwrap_or((&path, ""));
    let mut wrong = Vec::new();
    for (name, schema) in operation.parameters("query") {
        let schema = world.document.resolve(schema);
        let values = world.document.strange_words(schema).into_iter().chain(strange_cursors(name));
        wrong.extend(values.map(|value| (name, format!("{fit}&{name}={value}"))));
        wrong.extend(fit.contains(&format!("{name}=")).then(|| (name, String::new())));
    }
    if !wrong.is_empty() {
        wrong.push(("unheard_of", format!("{fit}&unheard_of=1")));
    }
    let mut faults = Vec::new();
    for (name, query) in wrong {
        let path = format!("{bare}?{}", query.trim_start_matches('&'));
        let answer = patiently(world, caller, operation, &path, None).await;
        faults.extend(refusal(operation, &json!(query), &[name], &answer));
    }
    faults
}

fn strange_cursors(name: &str) -> Vec<String> {
    let strange: &[&str] = if name == "cursor" { &["%00", "-1", "nonsense", ""] } else { &[] };
    strange.iter().map(|word| (*word).to_owned()).collect()
}

/// Ids that nothing has are not found, however strange they are.
pub(super) async fn ids(world: &World, caller: &mut Caller, operation: &Operation) -> Vec<String> {
    let is_number = operation.parameters("path").any(|(_, schema)| world.document.types_of(schema) == ["integer"]);
    let body = world.json_body(caller, operation);
    let mut faults = Vec::new();
    for id in ["0", "-1", "9223372036854775807", "99999999999999999999", "x", "%00", "1%27"] {
        if is_number {
            let (before, after) = operation.path.split_once('{').expect("a parameter");
            let path = format!("{before}{id}{}", after.split_once('}').expect("its end").1);
            let answer = world.send(caller, &operation.method, &path, body.as_ref()).await;
            faults.extend(expect(operation, &format!("of {id}"), 404, &answer));
        }
    }
    faults
}

/// Nobody gets through without credentials where the document asks for some.
pub(super) async fn credentials(world: &World, owner: &mut Caller, operation: &Operation) -> Option<String> {
    if !operation.needs_user() {
        return None;
    }
    let path = world.path(owner, operation).await;
    let body = world.json_body(owner, operation);
    let answer = world.send(&mut Caller::nobody(world), &operation.method, &path, body.as_ref()).await;
    expect(operation, "without credentials", 401, &answer)
}

/// Sends a request, if need be as somebody else: limits by user are not what is tested here.
async fn patiently(
    world: &World,
    caller: &mut Caller,
    operation: &Operation,
    path: &str,
    body: Option<&Value>,
) -> Answer {
    let answer = world.send(caller, &operation.method, path, body).await;
    if answer.status != 429 {
        return answer;
    }
    *caller = world.caller().await;
    world.send(caller, &operation.method, path, body).await
}

/// A fault unless the answer is a 422 that names exactly these fields.
fn refusal(operation: &Operation, sent: &Value, fields: &[&str], answer: &Answer) -> Option<String> {
    let is_right = answer.status == 422 && answer.body["errors"].is_array() && answer.refused() == fields;
    let told = format!("{} with {sent}: {} {}, not 422 for {fields:?}", operation.id, answer.status, answer.body);
    (!is_right).then_some(told)
}

fn expect(operation: &Operation, how: &str, status: u16, answer: &Answer) -> Option<String> {
    let told = format!("{} {how}: {} {}, not {status}", operation.id, answer.status, answer.body);
    (answer.status != status).then_some(told)
}
