//! Answers that come late, all of them or one in a hundred.

use std::time::Duration;

use tokio::time::sleep;
use towerkeep::Status;

use super::case::Case;
use crate::support::{FaultProxy, Mode, RedisServer};

/// The deadline of one operation, as it is without a setting.
const DEADLINE: Duration = Duration::from_millis(25);

async fn slowed(name: &'static str, mode: Mode, seconds: u64) -> super::figures::Figures {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.address()).await;
    let case = Case::start(name, &proxy.url()).await;
    case.run(seconds, async |case| {
        case.broken().await;
        proxy.set(mode);
        sleep(Duration::from_secs(seconds) - Duration::from_millis(1_500)).await;
        case.somebody_leaves(101).await;
        proxy.set(Mode::Pass);
        case.healed().await;
    })
    .await
}

/// Passes when answers that take half of the deadline are waited for: Redis is given up once at most, for a stall of this machine.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_answer_takes_half_of_the_deadline() {
    let figures = slowed("answers take half of the deadline", Mode::Delay(DEADLINE / 4), 3).await;
    assert!(figures.openings <= 1, "{figures:?}");
}

/// Passes when answers that take twice the deadline open the breaker once, and keep it open: a probe that is slower than any
/// operation may be proves nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_answer_takes_twice_the_deadline() {
    let figures = slowed("answers take twice the deadline", Mode::Delay(DEADLINE), 5).await;
    assert_eq!(figures.openings, 1, "{figures:?}");
    figures.recovered_within(2_000);
}

/// Passes when a hundredth of the packets, held for a moment each way, never opens the breaker; a stall of this machine may once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_packet_in_a_hundred_is_held_for_a_moment() {
    let mode = Mode::Lossy { one_in: 100, hold: DEADLINE * 2 / 5 };
    let figures = slowed("1 % of packets held for 10 ms", mode, 4).await;
    assert!(figures.openings <= 1, "{figures:?}");
}

/// Passes when a hundredth of the packets, held for so long that all behind them are late (a retransmission), opens the breaker less often
/// than it happens: each opening asks for a longer proof than the last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_packet_in_a_hundred_is_lost_and_repeated() {
    let mode = Mode::Lossy { one_in: 100, hold: Duration::from_millis(200) };
    let figures = slowed("1 % of packets held for 200 ms", mode, 6).await;
    assert!(figures.openings <= 5, "{figures:?}");
}

/// Passes when an instance that starts beside a Redis slower than its deadline serves everybody and leaves it alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_from_the_start() {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.address()).await;
    proxy.set(Mode::Delay(DEADLINE));
    let case = Case::without_redis("slow from the start", &proxy.url()).await;
    let figures = case
        .run(3, async |case| {
            sleep(Duration::from_secs(1)).await;
            assert_eq!(case.keep().status(), Status::Down);
            proxy.set(Mode::Pass);
            case.healed().await;
        })
        .await;
    assert_eq!(figures.openings, 0, "{figures:?}");
}
