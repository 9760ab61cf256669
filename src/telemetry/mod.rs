//! What operators see of the process: metrics with bounded labels, and the process log.
