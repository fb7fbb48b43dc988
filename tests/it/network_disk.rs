//! File systems that several machines share. Goal: such a directory is refused before anything is made in it, unless
//! somebody vouches for it.
//!
//! The file system is FUSE, served by a thread of the process that asks: it knows an empty directory, and takes down what
//! else it is asked for. Checked: the error's kind and text, and that no call that changes something came.

use crate::support::{Child, Role, command, directory, say, text};
use nix::mount::{MsFlags, mount};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::sync::{Arc, Mutex};
use tastypod::{ErrorKind, Options, Pod};

pub const CHILDREN: &[Role] = &[("network-disk", network_disk)];

const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const MKDIR: u32 = 9;
const STATFS: u32 = 17;
const INIT: u32 = 26;
const BATCH_FORGET: u32 = 42;

/// Answers what the kernel asks about an empty directory; notes the rest, which it does not know.
fn serve(mut device: File, asked: &Mutex<Vec<u32>>) {
    let mut request = vec![0; 1 << 20];
    while let Ok(length) = device.read(&mut request) {
        let word = |at: usize| u32::from_ne_bytes(request[at..at + 4].try_into().unwrap());
        assert!(length >= 40 && word(0) as usize == length);
        let (mut error, mut body) = (0_i32, Vec::new());
        match word(4) {
            INIT => {
                // Version 7.31, one page a write, nothing else.
                for (index, value) in [7, 31, 0, 0, 0, 4096].into_iter().chain([0; 10]).enumerate() {
                    body.extend_from_slice(&u32::to_ne_bytes(if index == 5 { 4096 } else { value }));
                }
            }
            GETATTR => {
                body.resize(104, 0);
                body[16] = 1;
                body[16 + 60..16 + 64].copy_from_slice(&0o040_755_u32.to_ne_bytes());
                body[16 + 64] = 2;
            }
            STATFS => body.resize(80, 0),
            FORGET | BATCH_FORGET => continue,
            LOOKUP => error = -nix::libc::ENOENT,
            other => {
                asked.lock().unwrap().push(other);
                error = -nix::libc::ENOSYS;
            }
        }
        let mut answer = Vec::from(u32::to_ne_bytes(16 + body.len() as u32));
        answer.extend_from_slice(&error.to_ne_bytes());
        answer.extend_from_slice(&request[8..16]);
        answer.extend_from_slice(&body);
        device.write_all(&answer).expect("the kernel asked");
    }
}

fn network_disk(arguments: &[String]) {
    let path = &arguments[0];
    let device = File::options().read(true).write(true).open("/dev/fuse");
    let Ok(device) = device else { return say("skipped") };
    let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
    if mount(Some("test"), path.as_str(), Some("fuse"), MsFlags::empty(), Some(options.as_str())).is_err() {
        return say("skipped");
    }
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&asked);
    std::thread::spawn(move || serve(device, &heard));
    for read_only in [false, true] {
        let error = Options::new().read_only(read_only).open(path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnsupportedFilesystem, "{error}");
        for word in [path, "FUSE", "local disk", "allow_network_filesystem(true)"] {
            assert!(error.to_string().contains(word), "{error}");
        }
    }
    let error = Pod::open(format!("{path}/deep/below")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnsupportedFilesystem, "{error}");
    assert!(!asked.lock().unwrap().contains(&MKDIR), "nothing was made: {:?}", asked.lock().unwrap());
    // Who vouches gets as far as this file system goes.
    let error = Options::new().allow_network_filesystem(true).open(path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    assert!(asked.lock().unwrap().contains(&MKDIR));
    say("refused");
}

#[test]
fn a_file_system_that_machines_share_is_refused_unless_somebody_vouches() {
    let dir = directory();
    let role = command("network-disk", &[text(dir.path())]);
    let mut command = Command::new("unshare");
    command.arg("-m").arg(role.get_program()).args(role.get_args());
    command.envs(role.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut child = Child::of(command);
    let said = child.lines();
    let status = child.wait();
    // `unshare`'s own failure.
    if said == ["skipped"] || status.code() == Some(1) && said.is_empty() {
        println!("skipped: FUSE cannot be mounted here");
        return;
    }
    assert!(status.success() && said == ["refused"], "{said:?} {status}");
}
