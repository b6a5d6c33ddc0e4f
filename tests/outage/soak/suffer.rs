//! Makes the faults of a schedule happen.

use tokio::{task::block_in_place, time::sleep};

use super::schedule::{Fault, Schedule, Step, Towards, Way};
use crate::{
    faults::paused::tell,
    support::{FaultProxy, Mode, RedisServer},
};

/// All faults of the schedule, to the end of the last.
pub(super) async fn suffer(server: &mut RedisServer, proxies: [&FaultProxy; 2], schedule: &Schedule) {
    let of_server = async {
        for step in &schedule.server {
            sleep(step.pause).await;
            break_server(server, step).await;
        }
    };
    let of_network = async {
        for Step { pause, fault, length } in &schedule.network {
            let Fault::Network(way, towards) = *fault else { unreachable!("drawn for the network") };
            sleep(*pause).await;
            let proxies = match towards {
                Towards::First => &proxies[..1],
                Towards::Second => &proxies[1..],
                Towards::Both => &proxies[..],
            };
            proxies.iter().for_each(|proxy| match way {
                Way::Is(mode) => proxy.set(mode),
                Way::HoldOld => proxy.hold_old(),
            });
            sleep(*length).await;
            proxies.iter().for_each(|proxy| proxy.set(Mode::Pass));
        }
    };
    tokio::join!(of_server, of_network);
}

/// One fault of the server, from its beginning to its end.
async fn break_server(server: &mut RedisServer, step: &Step) {
    let Step { fault, length, .. } = *step;
    let millis = length.as_millis().to_string();
    match fault {
        Fault::KilledAndEmpty | Fault::KilledWithData => {
            block_in_place(|| server.kill());
            if fault == Fault::KilledAndEmpty {
                server.forget();
            }
            sleep(length).await;
            block_in_place(|| server.launch());
        }
        Fault::Frozen => {
            server.freeze();
            sleep(length).await;
            server.thaw();
        }
        Fault::PauseAll | Fault::PauseWrite => {
            let of_what = if fault == Fault::PauseAll { "ALL" } else { "WRITE" };
            tell(server, &["CLIENT", "PAUSE", &millis, of_what]).await;
            sleep(length).await;
        }
        Fault::OutOfMemory => {
            tell(server, &["CONFIG", "SET", "maxmemory", "1"]).await;
            sleep(length).await;
            tell(server, &["CONFIG", "SET", "maxmemory", "0"]).await;
        }
        Fault::Replica => {
            tell(server, &["REPLICAOF", "127.0.0.1", "1"]).await;
            sleep(length).await;
            tell(server, &["REPLICAOF", "NO", "ONE"]).await;
        }
        Fault::FlushAll => server.flush().await,
        Fault::ScriptFlush => tell(server, &["SCRIPT", "FLUSH"]).await,
        Fault::Disconnect(of_type) => tell(server, &["CLIENT", "KILL", "TYPE", of_type]).await,
        Fault::Network(..) => unreachable!("drawn for the server"),
    }
}
