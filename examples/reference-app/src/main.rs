//! The reference app of towerkeep: one binary, from a laptop without any server to several instances on Redis and
//! PostgreSQL.

mod access;
mod advice;
mod app;
mod attachment;
mod boards;
mod choice;
mod config;
mod dashboard;
mod database;
mod form;
mod greeting;
mod health;
mod instance;
mod logging;
mod market;
mod openapi;
mod page;
mod password;
mod problem;
mod resources;
mod rules;
mod seed;
mod serve;
mod start;
mod state;
mod words;

use std::process::ExitCode;

use clap::Parser;

use crate::config::Config;

#[tokio::main]
async fn main() -> ExitCode {
    let config = Config::parse();
    logging::start(config.log_format);
    match start::run(&config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("reference-app: {}", one_line(&error));
            ExitCode::FAILURE
        }
    }
}

/// The error and its causes on one line, each said once.
fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(ToString::to_string) {
        let cause = cause.split_whitespace().collect::<Vec<_>>().join(" ");
        if !line.contains(&cause) {
            line = if line.is_empty() { cause } else { format!("{line}: {cause}") };
        }
    }
    line
}
