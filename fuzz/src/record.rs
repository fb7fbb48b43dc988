//! Logs: any bytes are walked, and opened as a store, to an error or an end. Once as they are and once with all checksums
//! made right, so that what they protect is looked at too.

use super::bytes::Bytes;
use super::live_files::read_everything;
use super::operations::key;
use std::path::Path;
use tastypod::{ErrorKind, Options, fuzzing};

pub fn run(directory: &Path, data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let mode = bytes.byte();
    let mut log = vec![0; 4224];
    if mode & 1 == 0 {
        log.extend_from_slice(bytes.take(usize::MAX));
    } else {
        // Transactions of sound records, with what a commit gives them made up.
        while !bytes.is_empty() && log.len() < 1 << 16 {
            let encoded = match bytes.byte() {
                byte @ 0..=199 => encoded_key(byte),
                byte @ 200..=229 => bytes.take(usize::from(byte % 16)).to_vec(),
                _ => Vec::new(),
            };
            let value = match bytes.byte() % 4 {
                0 => None,
                1 => Some(bytes.take(16).to_vec()),
                _ => fuzzing::encode_json(&bytes.byte().to_string()).ok(),
            };
            let small = |bytes: &mut Bytes<'_>| match bytes.byte() {
                255 => bytes.word(),
                byte => u64::from(byte % 32),
            };
            // Positions are of units of 8 bytes, the first record's is 528.
            let given = [small(&mut bytes), 528u64.wrapping_add(small(&mut bytes)), small(&mut bytes)];
            fuzzing::append_record(&mut log, &encoded, value.as_deref(), given);
        }
    }
    if mode & 2 == 0 {
        fuzzing::mend_log(&mut log);
    } else {
        log.drain(..4224);
    }
    fuzzing::scan_log(&log).expect("memory files can be made");
    let live = directory.join("a.pod/.live");
    std::fs::create_dir_all(&live).expect("the directory is writable");
    for name in ["index", "order", "segments"] {
        let _ = std::fs::remove_file(live.join(name));
    }
    // A control page stays mapped until the process ends, so a new one for each input would fill the memory.
    let control = live.join("control");
    if let Ok(file) = std::fs::File::options().write(true).open(&control) {
        let size = file.metadata().expect("the file is ours").len() as usize;
        std::os::unix::fs::FileExt::write_all_at(&file, &vec![0; size], 0).expect("the file is ours");
    }
    std::fs::write(live.join("log"), &log).expect("the directory is writable");
    for read_only in [true, false] {
        super::keep_only_log(&directory.join("a.pod"));
        match Options::new().read_only(read_only).open(directory.join("a.pod")) {
            Ok(pod) => {
                let _ = read_everything(&pod);
                if !read_only && pod.set("written", 1).is_ok() {
                    let _ = read_everything(&pod);
                }
            }
            Err(error) => {
                let kind = error.kind();
                // The last two come from a settings record of another shape.
                let expected = matches!(
                    kind,
                    ErrorKind::Integrity { .. }
                        | ErrorKind::VersionMismatch
                        | ErrorKind::Full
                        | ErrorKind::TypeMismatch { .. }
                        | ErrorKind::InvalidValue
                );
                assert!(expected, "{kind:?}: {error}");
            }
        }
        for name in ["index", "order", "segments"] {
            let size = std::fs::metadata(live.join(name)).map_or(0, |metadata| metadata.len());
            assert!(size < 1 << 24, "a small log asks for {size} bytes of {name}");
        }
    }
}

fn encoded_key(index: u8) -> Vec<u8> {
    // Two of the simple keys in the store's own encoding: type, then the bytes.
    let text = key(index).as_str().unwrap_or("b").to_owned();
    [&[1], text.as_bytes()].concat()
}
