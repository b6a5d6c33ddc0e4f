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
///
/// Allocates only the first time that a name and its labels come.
#[cfg(feature = "metrics")]
pub(crate) fn count<const N: usize>(name: &'static str, labels: [(&'static str, &'static str); N]) {
    static METADATA: metrics::Metadata<'static> =
        metrics::Metadata::new(module_path!(), metrics::Level::INFO, Some(module_path!()));
    let key = series::key(name, &labels);
    metrics::with_recorder(|recorder| recorder.register_counter(key, &METADATA).increment(1));
}

/// Counts nothing: the feature `metrics` is off.
#[cfg(not(feature = "metrics"))]
pub(crate) fn count<const N: usize>(_: &'static str, _: [(&'static str, &'static str); N]) {}

/// The keys of all series so far. There are as many as outcomes and policies, so they are kept for good.
#[cfg(feature = "metrics")]
mod series {
    use std::{
        collections::HashMap,
        sync::{LazyLock, PoisonError, RwLock},
    };

    use metrics::{Key, Label};

    type Labels = [(&'static str, &'static str)];
    type Known = HashMap<&'static str, Vec<(Box<Labels>, &'static Key)>>;

    static KNOWN: LazyLock<RwLock<Known>> = LazyLock::new(RwLock::default);

    pub(super) fn key(name: &'static str, labels: &Labels) -> &'static Key {
        let known = KNOWN.read().unwrap_or_else(PoisonError::into_inner);
        let found = known.get(name).and_then(|series| series.iter().find(|(own, _)| **own == *labels));
        if let Some((_, key)) = found {
            return key;
        }
        drop(known);
        add(name, labels)
    }

    fn add(name: &'static str, labels: &Labels) -> &'static Key {
        let values = labels.iter().map(|(key, value)| Label::from_static_parts(key, value)).collect::<Vec<_>>();
        let key: &'static Key = Box::leak(Box::new(Key::from_parts(name, values)));
        let mut known = KNOWN.write().unwrap_or_else(PoisonError::into_inner);
        known.entry(name).or_default().push((labels.into(), key));
        key
    }

    #[cfg(test)]
    #[test]
    fn a_series_has_one_key() {
        let first = key("test_total", &[("outcome", "hit")]);
        assert!(std::ptr::eq(first, key("test_total", &[("outcome", "hit")])));
        assert_ne!(first, key("test_total", &[("outcome", "miss")]));
    }
}
