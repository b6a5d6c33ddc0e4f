//! `CDN-Cache-Control`: directives for the shared caches on the way, and not for the client's (RFC 9213).

use std::{convert::Infallible, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue};
use sfv::{
    BareItemFromInput as Value, KeyRef, Parser,
    visitor::{DictionaryVisitor, EntryVisitor, Ignored, InnerListVisitor, ItemVisitor},
};

use super::directives::{Directives, MAX_SECONDS};

/// A dictionary of RFC 9651, not a list like `Cache-Control`.
pub(crate) const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

/// What the field says; nothing where it is missing, empty or no dictionary: then `Cache-Control` holds (RFC 9213, 2.2).
pub(super) fn read(headers: &HeaderMap) -> Option<Directives> {
    headers.get(CDN_CACHE_CONTROL)?;
    let lines: Vec<&[u8]> = headers.get_all(CDN_CACHE_CONTROL).iter().map(HeaderValue::as_bytes).collect();
    // Several lines are parsed as one value (RFC 9651, 4.2).
    Parser::new(&lines.join(&b", "[..])).parse_dictionary_with_visitor(Members::default()).ok().flatten()
}

/// The members so far: of several with one key the last counts (RFC 9651, 4.2.2).
#[derive(Default)]
struct Members(Option<Directives>);

impl<'de> DictionaryVisitor<'de> for Members {
    type Out = Option<Directives>;
    type Error = Infallible;

    fn entry(&mut self, key: &'de KeyRef) -> Result<impl EntryVisitor<'de>, Infallible> {
        let directives = self.0.get_or_insert_with(|| Directives { targeted: true, ..Directives::default() });
        Ok(Member { directives, name: key.as_str().as_bytes() })
    }

    fn finish(self) -> Result<Self::Out, Infallible> {
        Ok(self.0)
    }
}

struct Member<'d, 'de> {
    directives: &'d mut Directives,
    name: &'de [u8],
}

impl Member<'_, '_> {
    /// Takes a value over. One of a type that the directive does not have makes the member none (RFC 9213, 2.1).
    fn set(self, value: Option<&Value<'_>>) {
        if let Some(slot) = self.directives.number(self.name) {
            *slot = value.and_then(seconds);
        } else if let Some(flag) = self.directives.flag(self.name) {
            let takes_names = matches!(self.name, b"no-cache" | b"private");
            *flag = match value {
                Some(Value::Boolean(on)) => *on,
                Some(Value::String(_)) => takes_names,
                _ => false,
            };
        }
    }
}

/// An integer. One below zero is zero, as stale is the safe side; one too large is the largest (RFC 9111, 1.2.2).
fn seconds(value: &Value<'_>) -> Option<Duration> {
    let Value::Integer(seconds) = value else { return None };
    let seconds = u64::try_from(i64::from(*seconds)).unwrap_or(0);
    Some(Duration::from_secs(seconds.min(MAX_SECONDS)))
}

impl<'de> EntryVisitor<'de> for Member<'_, 'de> {
    type Error = Infallible;

    fn item(self) -> Result<impl ItemVisitor<'de>, Infallible> {
        Ok(|value: Value<'de>| {
            self.set(Some(&value));
            // Parameters mean nothing (RFC 9213, 2.1).
            Ok::<_, Infallible>(Ignored)
        })
    }

    fn inner_list(self) -> Result<impl InnerListVisitor<'de>, Infallible> {
        self.set(None);
        Ok(Ignored)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(lines: &[&str]) -> Option<Directives> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(CDN_CACHE_CONTROL, line.parse().expect("a value"));
        }
        read(&headers)
    }

    fn max_age(line: &str) -> Option<u64> {
        of(&[line]).expect("a dictionary").max_age.map(|age| age.as_secs())
    }

    /// RFC 9213, 2.2: present, valid and not empty, or as if it were not there.
    #[test]
    fn what_is_empty_or_no_dictionary_is_ignored() {
        for line in [
            "",
            "  ",
            "max-age=60, &&&",
            "Max-Age=60",
            "max-age =60",
            "max-age= 60",
            "max-age=60,",
            "max-age=60; no-store, ;",
            "no-store max-age=60",
            "\"max-age=60\"",
            "max-age=\"6",
            "max-age=99999999999999999999",
        ] {
            assert_eq!(of(&[line]), None, "{line}");
        }
        assert_eq!(of(&[]), None);
        assert!(of(&["x"]).is_some_and(|said| said.targeted && !said.no_store), "an unknown directive fills it");
    }

    /// RFC 9213, 2.1: the number of seconds is an integer, and nothing else.
    #[test]
    fn a_value_of_another_type_makes_the_directive_none() {
        for line in
            ["max-age=\"60\"", "max-age=60.0", "max-age", "max-age=?1", "max-age=x", "max-age=(60)", "max-age=@60"]
        {
            assert_eq!(max_age(line), None, "{line}");
        }
        for (line, seconds) in [
            ("max-age=60", 60),
            ("max-age=-1", 0),
            ("max-age=0", 0),
            ("max-age=99999999999", MAX_SECONDS),
            ("max-age=60;x=1;no-store", 60),
        ] {
            assert_eq!(max_age(line), Some(seconds), "{line}");
        }
    }

    #[test]
    fn flags_are_true_or_names_where_they_take_some() {
        let said = of(&["no-store=?0, no-cache, private=?1;x, public=1, must-revalidate=\"a\""]).expect("a dictionary");
        assert!(!said.no_store && said.no_cache && said.private && !said.public && !said.must_revalidate);
        let named = of(&["no-cache=\"set-cookie\", private=\"x, y\""]).expect("a dictionary");
        assert!(named.no_cache && named.private);
    }

    /// RFC 9651, 4.2.2: the last of several members with one key; all lines are one dictionary.
    #[test]
    fn the_last_of_several_counts() {
        assert_eq!(max_age("max-age=1, max-age=60"), Some(60));
        assert_eq!(max_age("max-age=60, max-age=\"1\""), None);
        let said = of(&["no-store, max-age=1", "max-age=60, no-store=?0"]).expect("a dictionary");
        assert_eq!((said.no_store, said.max_age), (false, Some(Duration::from_secs(60))));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..4)) {
            let mut headers = HeaderMap::new();
            for line in lines {
                if let Ok(value) = HeaderValue::from_bytes(&line) {
                    headers.append(CDN_CACHE_CONTROL, value);
                }
            }
            let _ = read(&headers);
        }

        /// Of what is a dictionary the numbers are those that were written.
        #[test]
        fn integers_are_read_as_written(age in 0u32..2_000_000, shared in 0u32..2_000_000, parameter in "[a-z]{1,8}") {
            let said = of(&[&format!("s-maxage={shared};{parameter}, max-age={age}")]).expect("a dictionary");
            let seconds = |seconds: u32| Some(Duration::from_secs(seconds.into()));
            prop_assert_eq!((said.max_age, said.s_maxage), (seconds(age), seconds(shared)));
        }
    }
}
