//! Logs that are worth one line per process, and counters named by outcomes.

/// Logs a warning the first time this line runs.
macro_rules! warn_once {
    ($($arg:tt)+) => {{
        static ONCE: std::sync::Once = std::sync::Once::new();
        ONCE.call_once(|| tracing::warn!($($arg)+));
    }};
}
pub(crate) use warn_once;

/// Counts one event: `count("towerkeep_session_load_total", [("outcome", "hit")])`. Labels are never keys or users.
#[cfg(feature = "metrics")]
pub(crate) fn count<const N: usize>(name: &'static str, labels: [(&'static str, &'static str); N]) {
    let labels = labels.map(|(key, value)| metrics::Label::from_static_parts(key, value));
    metrics::counter!(name, labels.iter()).increment(1);
}

/// Counts nothing: the feature `metrics` is off.
#[cfg(not(feature = "metrics"))]
pub(crate) fn count<const N: usize>(_: &'static str, _: [(&'static str, &'static str); N]) {}
