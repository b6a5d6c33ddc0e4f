//! What users see while Redis is killed, frozen, cut off and started again, under load and without.

#[path = "../support/mod.rs"]
mod support;

mod app;
mod churn;
mod connects;
mod elsewhere;
mod eviction;
mod faults;
mod health;
mod instances;
mod limits;
mod logs;
mod migration;
mod outcomes;
mod rotation;
mod sessions;
mod soak;
mod told;
mod turns;
