//! Simulated LLM upstreams, an open-loop load generator and fault scenarios.

pub mod mock;
