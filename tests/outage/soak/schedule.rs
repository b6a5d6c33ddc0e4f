//! Which faults come when: drawn from a number, and the same from the same number.

use std::{fmt, time::Duration};

use crate::support::Mode;

/// The deadline of one operation, as it is without a setting.
const DEADLINE: Duration = Duration::from_millis(25);

/// What happens to the server, or to the network of one or both instances.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fault {
    KilledAndEmpty,
    KilledWithData,
    Frozen,
    PauseAll,
    PauseWrite,
    OutOfMemory,
    Replica,
    FlushAll,
    ScriptFlush,
    /// `CLIENT KILL TYPE` of this type.
    Disconnect(&'static str),
    Network(Way, Towards),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Way {
    Is(Mode),
    /// The old connections lead nowhere.
    HoldOld,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Towards {
    First,
    Second,
    Both,
}

impl Fault {
    pub(super) fn loses_data(self) -> bool {
        matches!(self, Self::KilledAndEmpty | Self::FlushAll)
    }
}

const SERVER: [Fault; 11] = [
    Fault::KilledAndEmpty,
    Fault::KilledWithData,
    Fault::Frozen,
    Fault::PauseAll,
    Fault::PauseWrite,
    Fault::OutOfMemory,
    Fault::Replica,
    Fault::FlushAll,
    Fault::ScriptFlush,
    Fault::Disconnect("normal"),
    Fault::Disconnect("pubsub"),
];

const NETWORK: [Way; 8] = [
    Way::Is(Mode::Hold),
    Way::HoldOld,
    Way::Is(Mode::Reset),
    Way::Is(Mode::OneWay),
    // Each way.
    Way::Is(Mode::Delay(Duration::from_micros(6_250))),
    Way::Is(Mode::Delay(DEADLINE)),
    Way::Is(Mode::Lossy { one_in: 100, hold: Duration::from_millis(10) }),
    Way::Is(Mode::Lossy { one_in: 100, hold: Duration::from_millis(200) }),
];

/// One fault: after a pause, for a length.
#[derive(Clone, Copy)]
pub(super) struct Step {
    pub(super) pause: Duration,
    pub(super) fault: Fault,
    pub(super) length: Duration,
}

/// Faults of the server one after the other, and beside them, overlapping as they fall, faults of the network.
pub(super) struct Schedule {
    pub(super) server: Vec<Step>,
    pub(super) network: Vec<Step>,
}

impl Schedule {
    /// So many faults of each kind, each with a pause before it and a length up to these.
    pub(super) fn draw(seed: u64, each: usize, pause: Duration, length: Duration) -> Self {
        let mut dice = Dice(seed);
        let step = |dice: &mut Dice, fault| Step { pause: dice.time(pause), fault, length: dice.time(length) };
        let server = (0..each).map(|_| SERVER[dice.below(SERVER.len())]).collect::<Vec<_>>();
        let server = server.into_iter().map(|fault| step(&mut dice, fault)).collect();
        let mut network = Vec::new();
        for _ in 0..each {
            let towards = [Towards::First, Towards::Second, Towards::Both][dice.below(3)];
            let fault = Fault::Network(NETWORK[dice.below(NETWORK.len())], towards);
            network.push(step(&mut dice, fault));
        }
        Self { server, network }
    }

    /// How often the server loses all that it holds.
    pub(super) fn losses(&self) -> usize {
        self.server.iter().filter(|step| step.fault.loses_data()).count()
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, steps) in [("server", &self.server), ("network", &self.network)] {
            let mut at = Duration::ZERO;
            for step in steps {
                at += step.pause;
                writeln!(
                    f,
                    "  {name}: {:.2} s for {:.2} s: {:?}",
                    at.as_secs_f64(),
                    step.length.as_secs_f64(),
                    step.fault
                )?;
                at += step.length;
            }
        }
        Ok(())
    }
}

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).expect("below a usize")
    }

    /// From a tenth of `most` to all of it.
    fn time(&mut self, most: Duration) -> Duration {
        most / 10 + Duration::from_micros(self.next() % (most.as_micros() as u64 * 9 / 10))
    }
}

#[test]
fn the_same_number_draws_the_same_faults() {
    let draw = |seed| Schedule::draw(seed, 20, Duration::from_secs(1), Duration::from_secs(1)).to_string();
    assert_eq!(draw(7), draw(7));
    assert_ne!(draw(7), draw(8));
}
