//! Integration tests, one binary; each room's are a module.

mod config;
mod corpus;
mod metrics;
mod requests;
mod stand;
