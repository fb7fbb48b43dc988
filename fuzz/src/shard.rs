//! A shard file, compressed or not, in both dialects: whatever is read is written and read again as the same; what is not is an
//! error that names a line.

use std::io::Write;
use std::path::Path;
use tastypod::{ErrorKind, Key, KeyDialect, fuzzing, shard};

fn read(path: &Path, dialect: KeyDialect) -> Result<Vec<(Key, String)>, tastypod::Error> {
    shard::read_in(path, dialect)?.raw().collect()
}

pub fn run(directory: &Path, data: &[u8]) {
    let Some((mode, bytes)) = data.split_first() else { return };
    let dialect = if mode & 1 == 0 { KeyDialect::Json } else { KeyDialect::Tastypy };
    let path = directory.join(if mode & 2 == 0 { "0.json" } else { "0.json.gz" });
    let packed;
    // Compressed bytes as the fuzzer gives them, or what it gives, compressed.
    let bytes = if mode & 6 == 2 {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("memory is written");
        packed = encoder.finish().expect("memory is written");
        &packed
    } else {
        bytes
    };
    std::fs::write(&path, bytes).expect("the directory is writable");
    match read(&path, dialect) {
        Ok(entries) => {
            let text: String =
                entries.iter().map(|(key, json)| fuzzing::write_line(key, json, dialect).expect("what was read is written")).collect();
            let again = directory.join("1.json");
            std::fs::write(&again, &text).expect("the directory is writable");
            let read_again = read(&again, dialect).expect("what is written is read");
            assert_eq!(read_again.len(), entries.len());
            let text_again: String =
                read_again.iter().map(|(key, json)| fuzzing::write_line(key, json, dialect).expect("what was read is written")).collect();
            assert_eq!(text_again, text);
            assert!(read_again.iter().zip(&entries).all(|((one, _), (other, _))| one == other));
        }
        Err(error) => {
            assert!(matches!(error.kind(), ErrorKind::Integrity { .. }), "{error}");
            assert!(error.to_string().contains("line "), "{error}");
        }
    }
}
