//! The operators' listener: health, metrics, live state.
