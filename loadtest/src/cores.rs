//! Threads that stay on a core.

/// Keeps the calling thread on one core. Without effect where the system has no such call.
pub fn pin_thread(core: usize) {
    #[cfg(target_os = "linux")]
    {
        let mut set = rustix::thread::CpuSet::new();
        set.set(core);
        if let Err(error) = rustix::thread::sched_setaffinity(None, &set) {
            eprintln!("weir-loadtest: cannot stay on core {core}: {error}");
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = core;
}
