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
        cell::RefCell,
        collections::HashMap,
        sync::{LazyLock, PoisonError, RwLock},
    };

    use metrics::{Key, Label};

    type Labels = [(&'static str, &'static str)];
    type Known = HashMap<&'static str, Vec<(Box<Labels>, &'static Key)>>;

    static KNOWN: LazyLock<RwLock<Known>> = LazyLock::new(RwLock::default);

    /// The series that a thread counted lately, by where their texts lie: the usual count needs no lock and no hash.
    const RECENT: usize = 32;

    thread_local! {
        static LATELY: RefCell<[Option<(Place, &'static Key)>; RECENT]> = const { RefCell::new([None; RECENT]) };
    }

    /// Where name and label values lie. The same place is the same text, because all live as long as the process; the
    /// same text elsewhere is only looked up.
    type Place = (*const str, [Option<*const str>; 2]);

    fn place<const N: usize>(name: &'static str, labels: &[(&'static str, &'static str); N]) -> Place {
        const { assert!(N <= 2, "a place has room for two labels") };
        (name, std::array::from_fn(|n| labels.get(n).map(|(_, value)| std::ptr::from_ref(*value))))
    }

    pub(super) fn key<const N: usize>(name: &'static str, labels: &[(&'static str, &'static str); N]) -> &'static Key {
        let place = place(name, labels);
        let sum = place.1.iter().flatten().fold(place.0.addr(), |sum, text| sum.wrapping_mul(31) ^ text.addr());
        LATELY.with_borrow_mut(|lately| {
            let slot = &mut lately[(sum ^ (sum >> 5)) % RECENT];
            match slot {
                Some((known, key)) if *known == place => key,
                _ => slot.insert((place, look_up(name, labels))).1,
            }
        })
    }

    fn look_up(name: &'static str, labels: &Labels) -> &'static Key {
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
