//! What every response says of itself (RFC 9211).

use super::steps::*;

const MAX_AGE: &str = "cache-control: max-age=60";
const TAG: &str = "etag: \"a\"";

/// `steps`, the last of which has to say `said`.
fn says(name: &'static str, mount: Mount, mut steps: Vec<Step>, said: &'static str) -> Row {
    let last = steps.pop().expect("a step");
    steps.push(last.shows(&[said]));
    row(name, mount, steps)
}

pub(super) fn rows() -> Vec<Row> {
    let stored = || get().says(&[MAX_AGE, TAG]);
    let stale = || get().after(61);
    vec![
        says("9211 2.3: a miss that is kept", rfc, vec![stored()], "cache-status: towerkeep; fwd=miss; stored"),
        says("9211 2.3: a miss that is not", safe, vec![get()], "cache-status: towerkeep; fwd=miss; detail=not-fresh"),
        says("9211 2.1: a hit", rfc, vec![stored(), get().after(18)], "cache-status: towerkeep; hit; ttl=42"),
        says(
            "9211 2.4: a stale one that is replaced",
            rfc,
            vec![stored(), stale().says(&[MAX_AGE])],
            "cache-status: towerkeep; fwd=stale; stored",
        ),
        says(
            "9211 2.3: one that still holds",
            rfc,
            vec![stored(), stale().status(304)],
            "cache-status: towerkeep; fwd=stale; fwd-status=304; stored",
        ),
        says(
            "9211 2.2: a request that wanted it younger",
            rfc,
            vec![stored(), get().asks(&["cache-control: no-cache"]).says(&[MAX_AGE])],
            "cache-status: towerkeep; fwd=request; stored",
        ),
        says(
            "9211 2.4: a negative ttl while it is refreshed",
            rfc,
            vec![get().says(&["cache-control: max-age=60, stale-while-revalidate=60"]), get().after(63)],
            "cache-status: towerkeep; hit; ttl=-3",
        ),
        says(
            "9211 2.4: and where the request puts up with it",
            rfc,
            vec![stored(), get().after(70).asks(&["cache-control: max-stale"])],
            "cache-status: towerkeep; hit; ttl=-10",
        ),
        says(
            "9211 2.8: a failing handler",
            rfc,
            vec![get().says(&["cache-control: max-age=60, stale-if-error=60"]), stale().status(503)],
            "cache-status: towerkeep; fwd=stale; detail=stale-if-error",
        ),
        says(
            "9211 2.8: a handler that is gone",
            rfc,
            vec![stored(), stale().gone()],
            "cache-status: towerkeep; fwd=stale; detail=disconnected",
        ),
        says("9211 2.2: a method", rfc, vec![method("POST")], "cache-status: towerkeep; fwd=method"),
        says(
            "9211 2.2: a precondition",
            rfc,
            vec![get().asks(&["if-match: \"a\""])],
            "cache-status: towerkeep; fwd=bypass; detail=conditional",
        ),
        says(
            "9211 2.8: why a response is not kept",
            rfc,
            vec![get().says(&["cache-control: private, max-age=60"])],
            "cache-status: towerkeep; fwd=miss; detail=private",
        ),
        says(
            "9211 2.2: no partition",
            partitioned,
            vec![get()],
            "cache-status: towerkeep; fwd=bypass; detail=no-partition",
        ),
        says(
            "9211 2: caches nearer to the handler have said theirs before",
            rfc,
            vec![get().says(&[MAX_AGE, "cache-status: origin; hit"])],
            "cache-status: origin; hit, towerkeep; fwd=miss; stored",
        ),
        says(
            "9211 2: what they said of one response is not said of the next",
            rfc,
            vec![get().says(&[MAX_AGE, "cache-status: origin; hit"]), get()],
            "cache-status: towerkeep; hit; ttl=60",
        ),
    ]
}
