//! Handing listening sockets to a new process over a Unix socket.
//!
//! The new process waits at a path, the old one connects to it when it is told to (SIGQUIT) and
//! sends its descriptors (`SCM_RIGHTS`, unix(7)) with the address of each. Both processes then
//! hold the same kernel sockets, so no connection is refused and none that waits is lost. The path
//! lies in a directory that only its owner can write to, and both sides check the peer's user.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, getsockopt, recvmsg, sendmsg, sockopt,
};

use crate::clock::{Duration, Instant};

/// Descriptors per message; the kernel takes at most 253.
const BATCH: usize = 64;
/// Most sockets one process may hand over.
const SOCKETS_MAX: usize = 4096;
/// What the new process answers when it has taken everything.
const TAKEN: u8 = b'!';

/// Where the two processes meet, by default: a private directory named after the first address.
pub fn default_path(first: SocketAddr) -> PathBuf {
    let uid = nix::unistd::getuid();
    let base = std::env::var_os("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .filter(|dir| dir.is_dir())
        .unwrap_or_else(std::env::temp_dir);
    base.join(format!("weir-{uid}")).join(format!("upgrade-{}.sock", first.port()))
}

/// Waits for an old process and takes its listening sockets.
pub fn receive(path: &Path, wait: Duration) -> io::Result<Vec<(SocketAddr, TcpListener)>> {
    private_directory(path)?;
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    let deadline = Instant::now() + wait;
    let stream = loop {
        match listener.accept() {
            Ok((stream, _)) if same_user(&stream) => break stream,
            Ok(_) => log::warn!("a process of another user tried to hand over sockets: refused"),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if Instant::now() > deadline {
                    drop(std::fs::remove_file(path));
                    return Err(io::Error::new(
                        io::ErrorKind::TimedOut,
                        "no running weir handed its sockets over: send it SIGQUIT while this one waits",
                    ));
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(error) => return Err(error),
        }
    };
    drop(std::fs::remove_file(path));
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    take(stream)
}

/// Sends the listening sockets to the process that waits at `path`, and waits until it has them.
pub fn send(path: &Path, sockets: &[(SocketAddr, RawFd)]) -> io::Result<()> {
    let mut stream = UnixStream::connect(path)?;
    if !same_user(&stream) {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "the process that waits there belongs to another user",
        ));
    }
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.set_write_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(&u32::try_from(sockets.len()).map_err(io::Error::other)?.to_be_bytes())?;
    for batch in sockets.chunks(BATCH) {
        let names: Vec<String> = batch.iter().map(|(address, _)| address.to_string()).collect();
        let descriptors: Vec<RawFd> = batch.iter().map(|(_, descriptor)| *descriptor).collect();
        let names = names.join("\n");
        stream.write_all(&u32::try_from(names.len()).map_err(io::Error::other)?.to_be_bytes())?;
        let sent = sendmsg::<()>(
            stream.as_raw_fd(),
            &[IoSlice::new(names.as_bytes())],
            &[ControlMessage::ScmRights(&descriptors)],
            MsgFlags::empty(),
            None,
        )?;
        stream.write_all(&names.as_bytes()[sent..])?;
    }
    let mut answer = [0];
    stream.read_exact(&mut answer)?;
    if answer[0] == TAKEN { Ok(()) } else { Err(io::Error::other("the new process refused")) }
}

fn take(mut stream: UnixStream) -> io::Result<Vec<(SocketAddr, TcpListener)>> {
    let count = read_u32(&mut stream)? as usize;
    if count > SOCKETS_MAX {
        return Err(io::Error::other(format!("{count} sockets offered, at most {SOCKETS_MAX}")));
    }
    let mut sockets = Vec::with_capacity(count);
    while sockets.len() < count {
        let names_bytes = read_u32(&mut stream)? as usize;
        if names_bytes > BATCH * 64 {
            return Err(io::Error::other("malformed handover message"));
        }
        let mut names = vec![0; names_bytes];
        let (read, descriptors) = receive_descriptors(&stream, &mut names)?;
        stream.read_exact(&mut names[read..])?;
        let names = String::from_utf8(names).map_err(io::Error::other)?;
        let names: Vec<&str> = names.lines().collect();
        if names.len() != descriptors.len() || names.is_empty() {
            return Err(io::Error::other("names and descriptors do not match"));
        }
        for (name, descriptor) in names.into_iter().zip(descriptors) {
            let address = name.parse().map_err(io::Error::other)?;
            let listener = TcpListener::from(descriptor);
            listener.set_nonblocking(true)?;
            sockets.push((address, listener));
        }
    }
    stream.write_all(&[TAKEN])?;
    Ok(sockets)
}

fn receive_descriptors(stream: &UnixStream, names: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = nix::cmsg_space!([RawFd; BATCH]);
    let mut slices = [IoSliceMut::new(names)];
    let message = recvmsg::<()>(
        stream.as_raw_fd(),
        &mut slices,
        Some(&mut space),
        MsgFlags::MSG_CMSG_CLOEXEC,
    )?;
    let mut descriptors = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(received) = control {
            #[expect(unsafe_code, reason = "the only way to own a received descriptor")]
            for descriptor in received {
                // SAFETY: the kernel has just installed this descriptor in our table for this
                // message, and nothing else knows its number.
                descriptors.push(unsafe { OwnedFd::from_raw_fd(descriptor) });
            }
        }
    }
    Ok((message.bytes, descriptors))
}

fn read_u32(stream: &mut UnixStream) -> io::Result<u32> {
    let mut bytes = [0; 4];
    stream.read_exact(&mut bytes)?;
    Ok(u32::from_be_bytes(bytes))
}

fn private_directory(path: &Path) -> io::Result<()> {
    let Some(directory) = path.parent() else {
        return Err(io::Error::other("the upgrade socket needs a directory"));
    };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let metadata = std::fs::metadata(directory)?;
    let uid = nix::unistd::getuid().as_raw();
    if metadata.uid() != uid || metadata.mode() & 0o022 != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!(
                "{} must belong to this user and be writable by nobody else",
                directory.display()
            ),
        ));
    }
    Ok(())
}

#[cfg(target_os = "linux")]
fn same_user(stream: &UnixStream) -> bool {
    getsockopt(stream, sockopt::PeerCredentials)
        .is_ok_and(|peer| peer.uid() == nix::unistd::getuid().as_raw())
}

#[cfg(not(target_os = "linux"))]
fn same_user(stream: &UnixStream) -> bool {
    getsockopt(stream, sockopt::LocalPeerCred)
        .is_ok_and(|peer| peer.uid() == nix::unistd::getuid().as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::listen;

    #[test]
    fn sockets_change_hands_and_keep_what_waits_in_them() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("private").join("upgrade.sock");
        let sockets: Vec<TcpListener> = (0..70)
            .map(|_| listen::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("bind"))
            .collect();
        let address = sockets[69].local_addr().expect("address");
        let waiting = std::net::TcpStream::connect(address).expect("connect");
        let receiver = {
            let path = path.clone();
            std::thread::spawn(move || receive(&path, Duration::from_secs(5)))
        };
        while !path.exists() {
            std::thread::yield_now();
        }
        let offered: Vec<_> = sockets
            .iter()
            .map(|socket| (socket.local_addr().expect("address"), socket.as_raw_fd()))
            .collect();
        send(&path, &offered).expect("send");
        drop(sockets);
        let received = receiver.join().expect("join").expect("receive");
        assert_eq!(received.len(), 70);
        let (_, last) = received.iter().find(|(at, _)| *at == address).expect("it is there");
        let (accepted, _) = last.accept().expect("the waiting connection");
        assert_eq!(accepted.peer_addr().expect("peer"), waiting.local_addr().expect("local"));
    }

    #[test]
    fn nobody_waits() {
        let directory = tempfile::tempdir().expect("directory");
        let error = send(&directory.path().join("none.sock"), &[]).expect_err("no listener");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_directory_others_can_write_to_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().expect("directory");
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o777))
            .expect("chmod");
        let error = receive(&directory.path().join("u.sock"), Duration::ZERO).expect_err("refused");
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }
}
