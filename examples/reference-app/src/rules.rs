//! What the values of fields must look like.

use serde_json::Value;
use url::Url;

use crate::form::Checked;

const MAX_URL: usize = 2_048;
const MAX_TAGS: usize = 20;
const MAX_TAG: usize = 32;

/// A text on one line of `min` to `max` characters, without blanks around it.
pub(crate) fn line(min: usize, max: usize) -> impl FnOnce(Value) -> Checked<String> {
    move |value| {
        let text = string(value)?.trim().to_owned();
        if text.chars().any(char::is_control) {
            return Err("must not contain control characters".into());
        }
        sized(text, min, max)
    }
}

/// A text of up to `max` characters that may have several lines.
pub(crate) fn text(max: usize) -> impl FnOnce(Value) -> Checked<String> {
    move |value| {
        let text = string(value)?;
        if text.chars().any(|c| c.is_control() && !"\n\r\t".contains(c)) {
            return Err("must not contain control characters other than line breaks and tabs".into());
        }
        sized(text, 0, max)
    }
}

/// Any text at all, as it was sent: what was typed into a login form.
pub(crate) fn string(value: Value) -> Checked<String> {
    match value {
        Value::String(text) => Ok(text),
        _ => Err("must be a string".into()),
    }
}

#[allow(clippy::needless_pass_by_value, reason = "all rules take the value")]
pub(crate) fn boolean(value: Value) -> Checked<bool> {
    value.as_bool().ok_or_else(|| "must be true or false".into())
}

/// A web address, kept as it was written.
pub(crate) fn web_url(value: Value) -> Checked<String> {
    const MESSAGE: &str = "must be an http or https address";
    let text = string(value)?.trim().to_owned();
    if text.len() > MAX_URL {
        return Err(format!("must have at most {MAX_URL} bytes").into());
    }
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(MESSAGE.into());
    }
    match Url::parse(&text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(text),
        _ => Err(MESSAGE.into()),
    }
}

/// A list of short labels; a label given twice counts once.
pub(crate) fn tags(value: Value) -> Checked<Vec<String>> {
    let Value::Array(values) = value else { return Err("must be a list of strings".into()) };
    let mut tags = Vec::new();
    for value in values {
        let tag = line(1, MAX_TAG)(value).map_err(|why| format!("each tag {why}"))?;
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    if tags.len() > MAX_TAGS { Err(format!("must have at most {MAX_TAGS} entries").into()) } else { Ok(tags) }
}

/// A name to log in with: 3 to 32 letters, digits, `-`, `_` or `.`; upper and lower case are the same.
pub(crate) fn username(value: Value) -> Checked<String> {
    let name = string(value)?.to_ascii_lowercase();
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if (3..=32).contains(&name.len()) && name.bytes().all(is_fit) {
        return Ok(name);
    }
    Err("must have 3 to 32 characters: letters, digits, '-', '_' or '.'".into())
}

/// A password to register with.
pub(crate) fn new_password(value: Value) -> Checked<String> {
    let password = string(value)?;
    if (8..=256).contains(&password.len()) { Ok(password) } else { Err("must have 8 to 256 bytes".into()) }
}

fn sized(text: String, min: usize, max: usize) -> Checked<String> {
    match text.chars().count() {
        length if length < min => Err("must not be empty".into()),
        length if length > max => Err(format!("must have at most {max} characters").into()),
        _ => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn takes_web_addresses_only() {
        assert_eq!(web_url(json!(" https://example.com/a?b#c ")).as_deref(), Ok("https://example.com/a?b#c"));
        for refused in [
            "",
            "example.com",
            "ftp://example.com",
            "javascript:alert(1)",
            "http://",
            "https://a b.example",
            "https://a\n.example",
        ] {
            assert!(web_url(json!(refused)).is_err(), "{refused:?}");
        }
        assert!(web_url(json!(format!("https://example.com/{}", "a".repeat(MAX_URL)))).is_err());
    }

    #[test]
    fn counts_characters_not_bytes() {
        assert!(line(1, 3)(json!("äöü")).is_ok());
        assert!(line(1, 3)(json!("   ")).is_err());
        assert!(line(1, 3)(json!("abcd")).is_err());
    }

    #[test]
    fn refuses_what_postgresql_cannot_store() {
        assert!(line(1, 9)(json!("a\u{0}b")).is_err());
        assert!(text(9)(json!("a\u{0}b")).is_err());
        assert!(text(9)(json!("a\nb")).is_ok());
    }

    #[test]
    fn tags_count_once_and_are_bounded() {
        assert_eq!(tags(json!(["rust", " rust ", "web"])), Ok(vec!["rust".to_owned(), "web".to_owned()]));
        assert!(tags(json!([""])).is_err() && tags(json!([1])).is_err() && tags(json!("rust")).is_err());
        let many: Vec<_> = (0..=MAX_TAGS).map(|n| n.to_string()).collect();
        assert!(tags(json!(many)).is_err());
    }

    #[test]
    fn usernames_have_one_spelling() {
        assert_eq!(username(json!("Alice_1")).as_deref(), Ok("alice_1"));
        for refused in ["ab", "a b c", "ünal", &"x".repeat(33)] {
            assert!(username(json!(refused)).is_err(), "{refused:?}");
        }
    }

    #[test]
    fn passwords_are_measured_in_bytes() {
        assert!(new_password(json!("1234567")).is_err());
        assert!(new_password(json!("12345678")).is_ok());
        assert!(new_password(json!("x".repeat(257))).is_err());
    }
}
