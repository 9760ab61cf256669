//! Assembles listeners, workers, signals and upgrade; owns the live plan.
