//! What the values of fields must look like.

use jiff::Timestamp;
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

/// A whole number of percent.
pub(crate) fn percent(value: Value) -> Checked<i64> {
    integer(0, 100)(value)
}

/// A whole number from `min` to `max`.
pub(crate) fn integer(min: i64, max: i64) -> impl FnOnce(Value) -> Checked<i64> {
    move |value| match value.as_i64() {
        Some(number) if (min..=max).contains(&number) => Ok(number),
        _ => Err(format!("must be a whole number from {min} to {max}").into()),
    }
}

/// A number of a query, where all values are text.
pub(crate) fn number(min: i64, max: i64) -> impl FnOnce(Value) -> Checked<i64> {
    move |value| {
        let number = string(value)?.parse().ok().filter(|n| (min..=max).contains(n));
        number.ok_or_else(|| format!("must be a number from {min} to {max}").into())
    }
}

/// A point in time of RFC 3339; digits beyond microseconds are cut off.
pub(crate) fn time(value: Value) -> Checked<Timestamp> {
    string(value)?.parse().map_err(|_| "must be a time like 2030-01-31T12:00:00Z (RFC 3339)".into())
}

/// A point in time since 1970.
pub(crate) fn time_since_1970(value: Value) -> Checked<Timestamp> {
    let time = time(value)?;
    if time >= Timestamp::UNIX_EPOCH { Ok(time) } else { Err("must be a time since 1970".into()) }
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
        // At once: a body holds ten thousand tags, and each is compared with those before it.
        if tags.len() > MAX_TAGS {
            return Err(format!("must have at most {MAX_TAGS} entries").into());
        }
    }
    Ok(tags)
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
        assert_eq!(tags(json!(many[1..])).map(|tags| tags.len()), Ok(MAX_TAGS));
        assert_eq!(tags(json!(vec!["rust"; 10 * MAX_TAGS])), Ok(vec!["rust".to_owned()]));
    }

    #[test]
    fn numbers_and_times_have_bounds() {
        assert_eq!((percent(json!(0)), percent(json!(100))), (Ok(0), Ok(100)));
        for refused in [json!(-1), json!(101), json!(50.5), json!("50"), json!(u64::MAX), json!(null)] {
            assert!(percent(refused.clone()).is_err(), "{refused}");
        }
        assert_eq!(number(1, 90)(json!("90")), Ok(90));
        for refused in ["0", "91", "", "1e1", "99999999999999999999"] {
            assert!(number(1, 90)(json!(refused)).is_err(), "{refused:?}");
        }
        assert!(time_since_1970(json!("1969-12-31T23:59:59Z")).is_err());
        assert!(time_since_1970(json!("1970-01-01T00:00:00Z")).is_ok());
        assert_eq!(time(json!("1970-01-01T01:00:00.5+01:00")).map(Timestamp::as_millisecond), Ok(500));
        for refused in
            ["", "tomorrow", "2030-01-31", "2030-02-30T00:00:00Z", "2030-01-31T12:00:00", "99999-01-01T00:00:00Z"]
        {
            assert!(time(json!(refused)).is_err(), "{refused:?}");
        }
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
