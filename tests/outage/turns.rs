//! Who runs beside whom: a load that needs the whole machine would be a fault of its own to another one.

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

static MACHINE: RwLock<()> = RwLock::const_new(());

/// A load's place on the machine, until it is dropped.
pub(crate) enum Turn {
    Beside { _others: RwLockReadGuard<'static, ()> },
    Alone { _nobody: RwLockWriteGuard<'static, ()> },
}

/// Waits for a place beside other loads.
pub(crate) async fn beside() -> Turn {
    Turn::Beside { _others: MACHINE.read().await }
}

/// Waits until no other load runs.
pub(crate) async fn alone() -> Turn {
    Turn::Alone { _nobody: MACHINE.write().await }
}
