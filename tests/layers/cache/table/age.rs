//! How old a response is (RFC 9111, 4.2.3 and 5.1).

use super::steps::*;

const MAX_AGE: &str = "cache-control: max-age=60";

pub(super) fn rows() -> Vec<Row> {
    vec![
        fresh("9111 4.2.3: Age shortens the freshness", rfc, &[MAX_AGE, "age: 20"], 40),
        unkept("9111 4.2.3: an Age as long as the freshness ends it", rfc, &[MAX_AGE, "age: 60"]),
        unkept("9111 4.2.3: so does a longer one", rfc, &[MAX_AGE, "age: 7200"]),
        unkept("9111 1.2.2: so does one that is too large", rfc, &[MAX_AGE, "age: 99999999999999999999"]),
        fresh("9111 4.2.3: a Date in the past is age", rfc, &[MAX_AGE, "date: {date-20}"], 40),
        fresh("9111 4.2.3: the larger of both counts, Age", rfc, &[MAX_AGE, "date: {date-20}", "age: 30"], 30),
        fresh("9111 4.2.3: the larger of both counts, Date", rfc, &[MAX_AGE, "date: {date-30}", "age: 20"], 30),
        fresh("9111 4.2.3: a Date in the future is no age", rfc, &[MAX_AGE, "date: {date+600}"], 60),
        fresh("9111 4.2.3: an unreadable Date is none", rfc, &[MAX_AGE, "date: today"], 60),
        unkept("9111 5.1: an Age that is no number can be any", rfc, &[MAX_AGE, "age: old"]),
        unkept("9111 5.1: so can a negative one", rfc, &[MAX_AGE, "age: -20"]),
        unkept("9111 5.1: so can a fraction", rfc, &[MAX_AGE, "age: 20.5"]),
        unkept("9111 5.1: so can one with a parameter", rfc, &[MAX_AGE, "age: 20;a=1"]),
        unkept("9111 5.1: so can an empty one", rfc, &[MAX_AGE, "age:"]),
        unkept("9111 5.1: so can a list", rfc, &[MAX_AGE, "age: 20, 40"]),
        unkept("9111 5.1: so can several lines", rfc, &[MAX_AGE, "age: 0", "age: 0"]),
        row(
            "9111 5.1: a stored response says its age",
            rfc,
            [
                get().says(&[MAX_AGE]).came(Kept).shows(&["!age"]),
                get().came(Stored).shows(&["age: 0"]),
                get().after(30).came(Stored).shows(&["age: 30"]),
            ],
        ),
        row(
            "9111 4.2.3: to which that of its arrival is added",
            rfc,
            [get().says(&[MAX_AGE, "age: 20"]).came(Kept), get().after(30).came(Stored).shows(&["age: 50"])],
        ),
        row(
            "9111 4.2.3: also where Date told it",
            rfc,
            [get().says(&[MAX_AGE, "date: {date-20}"]).came(Kept), get().after(10).came(Stored).shows(&["age: 30"])],
        ),
        row(
            "9110 6.6.1: Date stays that of the handler",
            rfc,
            [
                get().says(&[MAX_AGE, "date: {date-20}"]).came(Kept),
                get().after(10).came(Stored).shows(&["date: {date-30}"]),
            ],
        ),
        row(
            "9110 6.6.1: without one it is that of the arrival",
            rfc,
            [get().says(&[MAX_AGE]).came(Kept), get().after(10).came(Stored).shows(&["date: {date-10}"])],
        ),
    ]
}
