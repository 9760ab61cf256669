//! Integration tests, one binary; each room's are a module.

mod budgets;
mod config;
mod corpus;
mod database_server;
mod identity;
mod ledger;
mod limits;
mod matrix;
mod metrics;
mod policies;
#[path = "../fuzz/src/lib.rs"]
mod properties;
mod providers;
mod requests;
mod shared;
mod stand;
mod streams;
mod tls;
