//! Dates in fields, in their three forms (RFC 9110, 5.6.7).

use http::{HeaderMap, HeaderName};

use crate::clock::{Timestamp, days};

/// The date in a field's first line.
pub(super) fn date(headers: &HeaderMap, name: &HeaderName, now: Timestamp) -> Option<Timestamp> {
    parse(headers.get(name)?.to_str().ok()?, now)
}

/// As [`date`], nothing when lines contradict each other.
pub(super) fn date_once(headers: &HeaderMap, name: &HeaderName, now: Timestamp) -> Option<Timestamp> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next()?;
    if lines.any(|line| line != first) {
        return None;
    }
    date(headers, name, now)
}

fn parse(text: &str, now: Timestamp) -> Option<Timestamp> {
    spelled(text, now).or_else(|| spelled(&in_usual_letters(text), now))
}

/// Letters count in dates, but not for caches (RFC 9111, 4.2).
fn in_usual_letters(text: &str) -> String {
    let mut is_inside = false;
    let spell = |letter: char| {
        let is_first = !std::mem::replace(&mut is_inside, letter.is_ascii_alphabetic());
        if is_first { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() }
    };
    text.chars().map(spell).collect::<String>().replace(" Gmt", " GMT")
}

fn spelled(text: &str, now: Timestamp) -> Option<Timestamp> {
    let read = |text: &str| httpdate::parse_http_date(text).ok().map(Timestamp::from);
    let Some(years) = two_digit_years(text, now) else { return read(text) };
    // More than 50 years ahead, it is the last year with these digits; the day of the week tells them apart too.
    let is_near = |date: &Timestamp| date.since(now) <= days(50 * 365 + 12);
    years.iter().find_map(|text| read(text).filter(is_near))
}

/// `Sunday, 06-Nov-94 08:49:37 GMT` in the first form, in the century of `now` and in that before; nothing for the other
/// forms.
fn two_digit_years(text: &str, now: Timestamp) -> Option<[String; 2]> {
    let (weekday, rest) = text.split_once(", ")?;
    let (day, rest) = rest.split_once('-')?;
    let (month, rest) = rest.split_once('-')?;
    let (year, time) = rest.split_once(' ')?;
    let is_long = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"].contains(&weekday);
    if !is_long || year.len() != 2 {
        return None;
    }
    let today = httpdate::fmt_http_date(now.to_system_time());
    let century: u8 = today.get(12..14)?.parse().ok()?;
    Some([century, century - 1].map(|century| format!("{}, {day} {month} {century}{year} {time}", &weekday[..3])))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Thu, 01 Jan 2026 00:00:00 GMT.
    const NOW: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

    fn read(text: &str) -> Option<u64> {
        parse(text, NOW).map(Timestamp::as_secs)
    }

    #[test]
    fn three_forms_are_one_moment() {
        for text in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            assert_eq!(read(text), Some(784_111_777), "{text}");
        }
        for text in ["SUN, 06 NOV 1994 08:49:37 gmt", "sunday, 06-nov-94 08:49:37 GMT", "sUN nOV  6 08:49:37 1994"] {
            assert_eq!(read(text), Some(784_111_777), "{text}");
        }
        for text in ["", "0", "Sun, 06 Nov 1994 08:49:37 CET", "Sunday, 06-Nov-194 08:49:37 GMT", "Sunday, 06-Nov-9 x"]
        {
            assert_eq!(read(text), None, "{text}");
        }
    }

    /// RFC 9110, 5.6.7: more than 50 years ahead is the past.
    #[test]
    fn two_digits_are_the_nearest_year_that_is_not_too_far_ahead() {
        for (text, full) in [
            ("Friday, 06-Nov-26 08:49:37 GMT", "Fri, 06 Nov 2026 08:49:37 GMT"),
            ("Wednesday, 06-Nov-75 08:49:37 GMT", "Wed, 06 Nov 2075 08:49:37 GMT"),
            ("Sunday, 06-Nov-77 08:49:37 GMT", "Sun, 06 Nov 1977 08:49:37 GMT"),
            ("Saturday, 06-Nov-99 08:49:37 GMT", "Sat, 06 Nov 1999 08:49:37 GMT"),
            ("Monday, 06-Nov-00 08:49:37 GMT", "Mon, 06 Nov 2000 08:49:37 GMT"),
        ] {
            assert!(read(full).is_some(), "{full}");
            assert_eq!(read(text), read(full), "{text}");
        }
        assert_eq!(read("Saturday, 06-Nov-77 08:49:37 GMT"), None, "2077, and no other day's");
    }

    proptest! {
        #[test]
        fn any_text_is_no_panic(text in "\\PC{0,40}", day in "[A-Za-z]{0,9}, [0-9a-z]{0,3}-[A-Za-z]{0,4}-[0-9]{2} \\PC{0,13}") {
            let _ = (parse(&text, NOW), parse(&day, NOW), parse(&day, Timestamp::default()));
        }
    }
}
