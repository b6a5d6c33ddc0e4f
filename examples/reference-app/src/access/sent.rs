//! The key in a request's headers.

use axum::http::{HeaderMap, HeaderValue, header};

use super::{ApiKey, key::MARK};

/// What a request has where a key belongs.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sent {
    Key(ApiKey),
    /// It begins like a key and cannot be one, or there are two headers to choose from.
    Malformed,
}

/// Nothing where the request has no key: what other schemes and tokens mean is not for us to say.
pub(super) fn sent_key(headers: &HeaderMap) -> Option<Sent> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let first = values.next()?;
    if let Some(second) = values.next() {
        let is_one_a_key = [first, second].into_iter().chain(values).any(|value| key_text(value).is_some());
        return is_one_a_key.then_some(Sent::Malformed);
    }
    Some(ApiKey::parse(key_text(first)?).map_or(Sent::Malformed, Sent::Key))
}

fn key_text(value: &HeaderValue) -> Option<&[u8]> {
    let (scheme, token) = value.as_bytes().split_at_checked("Bearer ".len())?;
    let token = token.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"Bearer ") && token.starts_with(MARK.as_bytes())).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(values: &[&'static str]) -> Option<Sent> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_static(value));
        }
        sent_key(&headers)
    }

    #[test]
    fn other_schemes_and_tokens_are_left_alone() {
        for other in
            ["", "Bearer", "Bearer ", "Bearer eyJ0.e30.x", "Basic dGtfOng=", "tk_0", "Token tk_0", "Bearer TK_0"]
        {
            assert_eq!(sent(&[other]), None, "{other:?}");
        }
        assert_eq!(sent(&[]), None);
    }

    #[test]
    fn what_begins_like_a_key_is_judged_as_one() {
        for malformed in ["Bearer tk_", "bearer tk_x", "BEARER   tk_0_0 "] {
            assert_eq!(sent(&[malformed]), Some(Sent::Malformed), "{malformed:?}");
        }
        let key = ApiKey::random().expect("random numbers");
        let mut headers = HeaderMap::new();
        let value = format!("bearer {}", key.clone().reveal()).parse().expect("a header");
        headers.insert(header::AUTHORIZATION, value);
        assert_eq!(sent_key(&headers), Some(Sent::Key(key)));
    }

    #[test]
    fn a_key_beside_another_header_is_refused() {
        assert_eq!(sent(&["Basic x", "Bearer tk_0"]), Some(Sent::Malformed));
        assert_eq!(sent(&["Basic x", "Basic y"]), None);
    }
}
