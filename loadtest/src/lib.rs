//! Simulated LLM upstreams, an open-loop load generator and fault scenarios.

#[cfg(feature = "cli")]
pub mod cores;
pub mod mock;
