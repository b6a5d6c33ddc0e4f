//! Small helpers that every layer's service shares.

use std::mem;

/// Takes the service that `poll_ready` was asked on and leaves a clone in its place.
///
/// A clone need not be ready (`tower::Service`, "be careful when cloning inner services"), so the original
/// must be the one that is called.
pub(crate) fn take_ready<S: Clone>(service: &mut S) -> S {
    let clone = service.clone();
    mem::replace(service, clone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_original_is_taken_and_a_clone_stays() {
        #[derive(Debug, PartialEq)]
        struct Ready(bool);
        impl Clone for Ready {
            fn clone(&self) -> Self {
                Ready(false)
            }
        }
        let mut service = Ready(true);
        assert_eq!(take_ready(&mut service), Ready(true));
        assert_eq!(service, Ready(false));
    }
}
