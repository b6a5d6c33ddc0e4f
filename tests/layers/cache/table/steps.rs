//! What a row is made of: requests in order, what the handler would say, what has to come of it.

use towerkeep::{
    Key,
    cache::{CacheLayer, CachePolicy, ResponseCache},
    clock::minutes,
};

/// One rule: its section, the layer, and what happens.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) mount: Mount,
    pub(super) steps: Vec<Step>,
}

/// Who answered, told by whether the handler was called and by `Cache-Status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// From the store; the handler was not called.
    Stored,
    /// From the store, and the handler was called behind its back.
    StoredAndAsked,
    /// From the handler, and it is kept.
    Kept,
    /// From the handler, and it is not kept.
    Passed,
    /// From the handler, kept or not.
    Asked,
    /// From the store, because the handler said that it still holds.
    Validated,
    /// From the store, because the handler failed.
    Rescued,
    /// Nobody's error: an empty 504.
    Nothing,
    /// The handler's own failure.
    Error,
}

/// A request, what the handler says if it is asked, and what is expected. Lines are `name: value`; dates are written
/// `{date+60}`, `{rfc850-60}`, `{asctime+0}`, in seconds from the step's time, and `{host}` is the row's own host.
#[derive(Clone)]
pub(super) struct Step {
    pub(super) after: u64,
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) asks: Vec<&'static str>,
    pub(super) status: u16,
    pub(super) says: Vec<&'static str>,
    pub(super) content: Option<&'static str>,
    pub(super) is_gone: bool,
    pub(super) came: Option<Came>,
    pub(super) is: Option<u16>,
    pub(super) body: Option<&'static str>,
    /// `name: value`, or `!name` for a field that must not be there; of the response.
    pub(super) shows: Vec<&'static str>,
    /// The same, of the request that the handler saw.
    pub(super) told: Vec<&'static str>,
    /// The step waits until `HEAD`, which changes nothing, is answered with this `Cache-Status`.
    pub(super) until: Option<&'static str>,
}

pub(super) type Mount = fn(&ResponseCache) -> CacheLayer;

pub(super) fn row(name: &'static str, mount: Mount, steps: impl Into<Vec<Step>>) -> Row {
    Row { name, mount, steps: steps.into() }
}

/// A response of these lines is kept, serves until just before `seconds`, and not then.
pub(super) fn fresh(name: &'static str, mount: Mount, lines: &[&'static str], seconds: u64) -> Row {
    row(name, mount, [get().says(lines).came(Kept), get().after(seconds - 1).came(Stored), get().after(1).came(Asked)])
}

/// A response of these lines is not kept.
pub(super) fn unkept(name: &'static str, mount: Mount, lines: &[&'static str]) -> Row {
    row(name, mount, [get().says(lines).came(Passed), get().came(Asked)])
}

pub(super) use Came::{Asked, Error, Kept, Nothing, Passed, Rescued, Stored, StoredAndAsked, Validated};

/// All that RFC 9111 permits.
pub(super) fn rfc(cache: &ResponseCache) -> CacheLayer {
    cache.public("rfc").policy(CachePolicy::rfc())
}

/// The safe default.
pub(super) fn safe(cache: &ResponseCache) -> CacheLayer {
    cache.public("safe")
}

/// The safe default, with a minute for what says nothing.
pub(super) fn minute(cache: &ResponseCache) -> CacheLayer {
    cache.public("minute").ttl(minutes(1))
}

/// A partition for each `x-key`.
pub(super) fn partitioned(cache: &ResponseCache) -> CacheLayer {
    cache.per("partitioned", Key::header(http::HeaderName::from_static("x-key")))
}

pub(super) fn get() -> Step {
    method("GET")
}

pub(super) fn head() -> Step {
    method("HEAD")
}

pub(super) fn method(method: &'static str) -> Step {
    Step {
        after: 0,
        method,
        path: "/",
        asks: Vec::new(),
        status: 200,
        says: Vec::new(),
        content: None,
        is_gone: false,
        came: None,
        is: None,
        body: None,
        shows: Vec::new(),
        told: Vec::new(),
        until: None,
    }
}

impl Step {
    /// So many seconds after the step before.
    pub(super) fn after(mut self, seconds: u64) -> Self {
        self.after = seconds;
        self
    }

    pub(super) fn at(mut self, path: &'static str) -> Self {
        self.path = path;
        self
    }

    pub(super) fn asks(mut self, lines: &[&'static str]) -> Self {
        self.asks.extend(lines);
        self
    }

    pub(super) fn says(mut self, lines: &[&'static str]) -> Self {
        self.says.extend(lines);
        self
    }

    pub(super) fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// The handler's body; `call 1`, `call 2` without.
    pub(super) fn content(mut self, content: &'static str) -> Self {
        self.content = Some(content);
        self
    }

    /// The handler answers with an error in place of a response.
    pub(super) fn gone(mut self) -> Self {
        self.is_gone = true;
        self
    }

    pub(super) fn came(mut self, came: Came) -> Self {
        self.came = Some(came);
        self
    }

    pub(super) fn is(mut self, status: u16) -> Self {
        self.is = Some(status);
        self
    }

    pub(super) fn body(mut self, body: &'static str) -> Self {
        self.body = Some(body);
        self
    }

    pub(super) fn shows(mut self, lines: &[&'static str]) -> Self {
        self.shows.extend(lines);
        self
    }

    pub(super) fn told(mut self, lines: &[&'static str]) -> Self {
        self.told.extend(lines);
        self
    }

    pub(super) fn until(mut self, said: &'static str) -> Self {
        self.until = Some(said);
        self
    }
}
