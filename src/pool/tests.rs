//! Tests of a pool as a whole.
