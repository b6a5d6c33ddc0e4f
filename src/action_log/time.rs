//! Times as text: RFC 3339, in UTC, to the microsecond.

use crate::clock::Timestamp;

/// The first moment of the year 10000, which four digits cannot write.
pub(super) const END: Timestamp = Timestamp::from_micros(253_402_300_800_000_000);

const DAY: u64 = 86_400;

/// As in `2026-11-22T17:05:25.000123Z`: always 27 characters, so that later times are greater texts.
pub(super) fn write(at: Timestamp) -> String {
    let (days, rest) = (at.as_secs() / DAY, at.as_secs() % DAY);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    let micros = at.as_micros() % 1_000_000;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

/// Reads any RFC 3339 time from 1970 on, cut to the microsecond.
pub(super) fn read(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let has = |at: usize, signs: &[u8]| bytes.get(at).is_some_and(|byte| signs.contains(byte));
    let is_shaped = has(4, b"-") && has(7, b"-") && has(10, b"Tt ") && has(13, b":") && has(16, b":");
    let (year, month, day) = (number(text, 0, 4)?, number(text, 5, 7)?, number(text, 8, 10)?);
    let (hour, minute, second) = (number(text, 11, 13)?, number(text, 14, 16)?, number(text, 17, 19)?);
    let days = days(year, month, day)?;
    if !is_shaped || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (micros, zone) = fraction(text.get(19..)?)?;
    let seconds = (days * DAY + hour * 3_600 + minute * 60 + second).checked_add_signed(-offset(zone)?)?;
    Some(Timestamp::from_micros(seconds * 1_000_000 + micros))
}

fn number(text: &str, from: usize, to: usize) -> Option<u64> {
    let digits = text.get(from..to).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok()
}

/// Microseconds, and what follows them.
fn fraction(text: &str) -> Option<(u64, &str)> {
    let Some(rest) = text.strip_prefix('.') else { return Some((0, text)) };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let micros = format!("{:0<6}", &rest[..digits.min(6)]).parse().ok()?;
    (digits > 0).then_some((micros, &rest[digits..]))
}

/// Seconds that local time is ahead of UTC.
fn offset(zone: &str) -> Option<i64> {
    let ahead = match zone.as_bytes().first()? {
        b'Z' | b'z' if zone.len() == 1 => return Some(0),
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = (number(zone, 1, 3)?, number(zone, 4, 6)?);
    let is_fit = zone.len() == 6 && zone.as_bytes()[3] == b':' && hours < 24 && minutes < 60;
    is_fit.then_some(ahead * i64::try_from(hours * 3_600 + minutes * 60).ok()?)
}

/// The date of a day after 1970-01-01, counted in eras of 400 years that begin in March
/// (<https://howardhinnant.github.io/date_algorithms.html>).
fn date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march = (5 * of_year + 2) / 153;
    let month = if march < 10 { march + 3 } else { march - 9 };
    (year + era * 400 + u64::from(month <= 2), month, of_year - (153 * march + 2) / 5 + 1)
}

/// The day of a date that exists.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let march = (month + 9) % 12;
    let of = year.checked_sub(u64::from(month <= 2))?;
    let of_era = of % 400 * 365 + of % 400 / 4 - of % 400 / 100 + (153 * march + 2) / 5 + day.checked_sub(1)?;
    let days = (of / 400 * 146_097 + of_era).checked_sub(719_468)?;
    (date(days) == (year, month, day)).then_some(days)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn writes_known_times() {
        let at = |seconds: u64, micros: u64| write(Timestamp::from_micros(seconds * 1_000_000 + micros));
        assert_eq!(at(0, 0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(at(951_782_400, 1), "2000-02-29T00:00:00.000001Z");
        assert_eq!(at(1_760_000_000, 123_456), "2025-10-09T08:53:20.123456Z");
        assert_eq!(at(4_107_542_399, 0), "2100-02-28T23:59:59.000000Z");
        assert_eq!(at(4_107_542_400, 0), "2100-03-01T00:00:00.000000Z");
        assert_eq!(write(END - std::time::Duration::from_micros(1)), "9999-12-31T23:59:59.999999Z");
    }

    #[test]
    fn reads_what_other_programs_write() {
        let seconds = |text| read(text).map(Timestamp::as_micros);
        assert_eq!(seconds("1970-01-01T00:00:01Z"), Some(1_000_000));
        assert_eq!(seconds("1970-01-01t00:00:01.5z"), Some(1_500_000));
        assert_eq!(seconds("1970-01-01 01:00:00.1234567+01:00"), Some(123_456));
        assert_eq!(seconds("1970-01-01T00:00:00-00:30"), Some(1_800_000_000));
        for wrong in [
            "",
            "now",
            "1970-01-01",
            "1970-02-30T00:00:00Z",
            "1970-13-01T00:00:00Z",
            "1970-00-01T00:00:00Z",
            "1970-01-00T00:00:00Z",
            "1970-01-01T24:00:00Z",
            "1970-01-01T00:00:00",
            "1970-01-01T00:00:00.Z",
            "1970-01-01T00:00:00+1:00",
            "1969-12-31T23:59:59Z",
            "+970-01-01T00:00:00Z",
            "1970-01-01T00:00:00\u{e9}",
            "0000-01-01T00:00:00Z",
        ] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn reads_what_it_wrote_and_keeps_the_order(a in 0..END.as_micros(), b in 0..END.as_micros()) {
            let (first, second) = (Timestamp::from_micros(a), Timestamp::from_micros(b));
            prop_assert_eq!(read(&write(first)), Some(first));
            prop_assert_eq!(first.cmp(&second), write(first).cmp(&write(second)));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}", shaped in "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{0,20}[Z+-]?[0-9:]{0,6}") {
            let _ = (read(&text), read(&shaped));
        }
    }
}
