//! How often an instance connects: at most ten times in any second, whatever fails and however often.
//!
//! Seven of the ten are the supervisor's, see [`Pace`]. One each is the listener's, the pool's and the health check's, see
//! [`Turn`].

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

/// The second of the bound, and what a connect may arrive later than it was begun.
const WINDOW: Duration = Duration::from_millis(1_050);
/// The waits before the first tries, of which each window has so many: a connection that dropped is soon there again.
const HURRIED: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(60)];
/// The wait before every other: five of the shortest fill a window.
const SHORTEST: Duration = Duration::from_millis(210);
const LONGEST: Duration = Duration::from_millis(250);

/// When the supervisor may connect.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    next: Instant,
    /// Connects since the last that led to one in use.
    tried: usize,
    /// When each of the hurried waits was last given. A success gives none of them anew: a server that comes and goes would be
    /// hurried all the time.
    hurried: [Option<Instant>; HURRIED.len()],
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self { next: now, tried: 0, hurried: [None; HURRIED.len()] }
    }

    /// How long to wait before the next connect.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        self.next.saturating_duration_since(now)
    }

    /// Takes note of a connect that begins now. `random`, from 0 to 1, spreads the instances of a service.
    pub(super) fn connects(&mut self, now: Instant, random: f64) {
        let wait = match self.hurried.get_mut(self.tried) {
            Some(given) if given.is_none_or(|given| now.duration_since(given) >= WINDOW) => {
                *given = Some(now);
                HURRIED[self.tried].mul_f64(0.5 + random / 2.0)
            }
            _ => SHORTEST + (LONGEST - SHORTEST).mul_f64(random),
        };
        self.tried += 1;
        self.next = now + wait;
    }

    /// Takes note that the last connect led to a connection in use.
    pub(super) fn succeeded(&mut self) {
        self.tried = 0;
    }
}

/// One connect a second, for somebody who has others to wait for as well.
#[derive(Debug, Default)]
pub(super) struct Turn(Mutex<Option<Instant>>);

impl Turn {
    /// Waits until a connect may begin, and takes note of it. Who goes away meanwhile has taken nothing.
    pub(super) async fn come(&self) {
        while let Err(free) = self.take(Instant::now()) {
            sleep_until(free).await;
        }
    }

    /// Waits until a connect could begin, without taking the turn.
    pub(super) async fn free(&self) {
        while let Some(free) = self.taken_until(Instant::now()) {
            sleep_until(free).await;
        }
    }

    /// Takes the turn, or tells when it is free.
    fn take(&self, now: Instant) -> Result<(), Instant> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match until(*last, now) {
            Some(free) => Err(free),
            None => {
                *last = Some(now);
                Ok(())
            }
        }
    }

    fn taken_until(&self, now: Instant) -> Option<Instant> {
        until(*self.0.lock().unwrap_or_else(PoisonError::into_inner), now)
    }
}

/// When the turn that was taken at `last` is over, if it is not.
fn until(last: Option<Instant>, now: Instant) -> Option<Instant> {
    last.map(|last| last + WINDOW).filter(|free| *free > now)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// The most of these moments in any second.
    fn most(moments: &[Instant]) -> usize {
        let within = |from: &Instant| moments.iter().filter(|at| **at >= *from && **at < *from + SECOND).count();
        moments.iter().map(within).max().unwrap_or_default()
    }

    #[test]
    fn a_connection_that_dropped_is_soon_tried_again() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        assert_eq!(pace.wait(now), Duration::ZERO);
        for wait in [20, 60, 250, 250] {
            pace.connects(now, 1.0);
            assert_eq!(pace.wait(now), Duration::from_millis(wait));
        }
        pace.succeeded();
        pace.connects(now, 1.0);
        assert_eq!(pace.wait(now), Duration::from_millis(250), "it comes and goes");
        let later = now + WINDOW;
        pace.succeeded();
        pace.connects(later, 1.0);
        assert_eq!(pace.wait(later), Duration::from_millis(20));
    }

    proptest! {
        /// A connection lasts, or a try takes, as long as it likes; each ends with somebody who wants another.
        #[test]
        fn no_second_has_more_than_seven(
            lasted in prop::collection::vec((0u64..400, 0.0f64..=1.0, any::<bool>()), 1..60),
            is_quick in any::<bool>(),
        ) {
            let mut now = Instant::now();
            let (mut pace, mut moments) = (Pace::new(now), Vec::new());
            for (millis, random, is_good) in lasted {
                let millis = if is_quick { millis / 100 } else { millis };
                now += Duration::from_millis(millis);
                prop_assert!(pace.wait(now) <= LONGEST);
                now += pace.wait(now);
                pace.connects(now, random);
                moments.push(now);
                if is_good {
                    pace.succeeded();
                }
            }
            prop_assert!(most(&moments) <= 7, "{}", most(&moments));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_comes_once_a_second() {
        let (turn, mut moments) = (Turn::default(), Vec::new());
        for _ in 0..5 {
            turn.come().await;
            moments.push(Instant::now());
        }
        assert_eq!(most(&moments), 1);
        assert!(tokio::time::timeout(SECOND / 2, turn.come()).await.is_err());
        tokio::time::timeout(SECOND, turn.come()).await.expect("who went away took no turn");
    }
}
