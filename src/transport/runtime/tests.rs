use super::*;

/// Has the kernel refuse `io_uring_setup` to this thread and to those that it starts, the way a
/// container's default profile does.
fn forbid_rings() {
    // The offset of the call's number in `seccomp_data`, and what is done with it.
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let answer = libc::BPF_RET | libc::BPF_K;
    let refuse = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    let step = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut steps = [
        step(load, 0, 0, 0),
        step(equal, 0, 1, libc::SYS_io_uring_setup as u32),
        step(answer, 0, 0, refuse),
        step(answer, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    // SAFETY: the first call has no pointers; the second reads `program` and `steps`, which outlive it.
    let set = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
    };
    assert!(set, "no filter: {}", io::Error::last_os_error());
}

#[test]
fn where_rings_are_forbidden_epoll_serves_and_says_why() {
    std::thread::spawn(|| {
        forbid_rings();
        let choice = choose(Io::Auto).expect("epoll will do");
        assert_eq!(choice.drive, Drive::Epoll);
        let reason = choice.refused.expect("a reason");
        assert!(reason.contains("not allowed here"), "{reason}");
        assert_eq!(choose(Io::IoUring), Err(reason));
        assert!(Runtime::new(Drive::Ring).is_err());
    })
    .join()
    .expect("no panic");
}

#[test]
fn epoll_asks_for_no_ring() {
    assert_eq!(choose(Io::Epoll), Ok(Choice { drive: Drive::Epoll, refused: None }));
}
