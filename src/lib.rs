//! weir: an edge proxy for LLM traffic.
//!
//! The rooms below are listed from the ground up; imports point only towards the ground.

pub mod admin;
mod boxed;
pub mod cli;
pub mod clock;
pub mod config;
pub mod database;
pub mod dialect;
pub mod error;
pub mod exchange;
pub mod expression;
pub mod hash;
pub mod ledger;
pub mod limit;
pub mod manage;
pub mod meter;
pub mod plan;
pub mod pool;
pub mod provider;
pub mod route;
mod same;
pub mod server;
pub mod store;
pub mod telemetry;
pub mod tenant;
pub mod transport;
pub mod wire;
