//! Which policies a handle has handed out, so that two of one name are noticed.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use super::{Policies, Policy};
use crate::{Error, Result};

/// The first policy of each name, and what came after it under the same name with other figures.
#[derive(Debug, Default)]
pub(super) struct Registry {
    known: RwLock<Known>,
    has_clash: AtomicBool,
    was_told: AtomicBool,
}

#[derive(Debug, Default)]
struct Known {
    first: HashMap<&'static str, Policy>,
    clashes: Vec<(Policy, Policy)>,
}

/// Clashes that are told; figures made up for each request would be new ones without end.
const MOST_CLASHES: usize = 16;

impl Registry {
    /// The policies as they hold: where a name is taken, the first one's figures, and each name once.
    pub(super) fn resolve(&self, policies: Policies) -> Policies {
        let agrees = {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            policies.iter().all(|policy| known.first.get(policy.name()) == Some(policy))
        };
        if agrees && are_distinct(&policies) { policies } else { self.register(&policies) }
    }

    fn register(&self, policies: &Policies) -> Policies {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let known = &mut *known;
        let resolve = |policy: &Policy| {
            let first = *known.first.entry(policy.name()).or_insert(*policy);
            let is_told = known.clashes.len() >= MOST_CLASHES || known.clashes.contains(&(first, *policy));
            if first != *policy && !is_told {
                known.clashes.push((first, *policy));
                self.has_clash.store(true, Relaxed);
            }
            first
        };
        let mut resolved: Vec<_> = policies.iter().map(resolve).collect();
        let mut names = HashSet::new();
        resolved.retain(|policy| names.insert(policy.name()));
        resolved.into_iter().collect()
    }

    /// Says the clashes, once for all.
    pub(super) fn verify(&self) -> Result<()> {
        self.was_told.store(true, Relaxed);
        match self.clashes() {
            Some(text) => Err(Error::invalid(text)),
            None => Ok(()),
        }
    }

    /// Logs the clashes once, if nobody asked.
    pub(super) fn tell(&self) {
        if self.has_clash.load(Relaxed) && !self.was_told.swap(true, Relaxed) {
            let clashes = self.clashes().unwrap_or_default();
            tracing::error!("{clashes}; the first one's figures hold");
        }
    }

    fn clashes(&self) -> Option<String> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let lines: Vec<_> = known.clashes.iter().map(|(first, other)| format!("[{first:?}] and [{other:?}]")).collect();
        (!lines.is_empty()).then(|| format!("different policies share a name: {}", lines.join(", ")))
    }
}

fn are_distinct(policies: &[Policy]) -> bool {
    policies.iter().enumerate().all(|(n, policy)| policies[..n].iter().all(|other| other.name() != policy.name()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{minutes, seconds};

    const GENERAL: Policy = Policy::sliding_window("general", 100, minutes(1));

    #[test]
    fn the_same_policy_twice_is_fine() {
        let registry = Registry::default();
        registry.resolve(GENERAL.into());
        registry.resolve([GENERAL, Policy::token_bucket("ai", 5, seconds(1))].into());
        assert!(registry.verify().is_ok());
    }

    #[test]
    fn a_policy_listed_twice_holds_once() {
        let registry = Registry::default();
        assert_eq!(&*registry.resolve([GENERAL, GENERAL].into()), &[GENERAL]);
        assert_eq!(&*registry.resolve([GENERAL, GENERAL].into()), &[GENERAL], "known by now");
        assert!(registry.verify().is_ok());
        registry.resolve([GENERAL, GENERAL.with_limit(5, minutes(1)).expect("possible")].into());
        assert!(registry.verify().is_err());
    }

    #[test]
    fn figures_that_change_with_each_request_take_no_memory() {
        let registry = Registry::default();
        for limit in 1..1_000 {
            registry.resolve(GENERAL.with_limit(limit, minutes(1)).expect("possible").into());
        }
        assert!(registry.verify().is_err());
        assert!(registry.known.read().expect("whole").clashes.len() <= MOST_CLASHES);
    }

    #[test]
    fn two_policies_of_one_name_are_told_and_the_first_holds() {
        let registry = Registry::default();
        registry.resolve(GENERAL.into());
        let other = GENERAL.with_limit(5, minutes(1)).expect("possible");
        assert_eq!(&*registry.resolve(other.into()), &[GENERAL]);
        let error = registry.verify().expect_err("a clash");
        assert!(error.is_invalid() && error.to_string().contains("general"), "{error}");
    }
}
