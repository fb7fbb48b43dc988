//! What the fuzz targets need of the inside, as functions of bytes. No part of the public interface.

use crate::checkpoint::line;
use crate::checkpoint::manifest::{Hex, Manifest, Saved};
use crate::key::Key;
use crate::log::header::{LOG_HEADER_BYTES, LogHeader, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::log::record::{self, FRAME_BYTES, Kind};
use crate::log::scan::{self, Scan};
use crate::segment::control::{self, CONTROL_BYTES};
use crate::segment::heap::{Heap, Position, Segment};
use crate::store::core::files::{CONTROL, INDEX, LOG, ORDER, SEGMENTS};
use crate::store::core::settings::{KeyDialect, Settings};
use crate::store::recover::lasting;
use crate::sys::map::FileMap;
use crate::sys::{clock, file};
use crate::value::{self, Archive, Edit, Encoded};
use hashbrown::HashMap;
use serde_json::Value;
use std::path::Path;
use xxhash_rust::xxh3::xxh3_64;

/// Walks bytes as a log and decodes whatever its transactions hold. Returns how many there are and how many records.
pub fn scan_log(bytes: &[u8]) -> std::io::Result<(u64, u64)> {
    let (salt, seed) = LogHeader::decode(bytes).map_or((0, 0), |header| (header.salt, header.seed));
    let file = file::in_memory("log")?;
    file::write_at(&file, bytes, 0)?;
    let heap = Heap::new(FileMap::new(&file, (bytes.len() as u64).max(1), 1, false)?);
    let ready = bytes.len() as u64 / 8 * 8;
    let mut scan = Scan::new(&heap, ready, salt, |_| true);
    let (mut transactions, mut records) = (0, 0);
    while let Ok(transaction) = scan.next() {
        if let (Some(end), Some((start, _))) = (&transaction.end, transaction.records.first()) {
            let again = scan::records_of(&heap, ready, *start, end.at).unwrap_or_default();
            assert!(again.iter().map(|(at, _)| at).eq(transaction.records.iter().map(|(at, _)| at)), "walked twice alike");
        }
        transactions += 1;
        records += transaction.records.len() as u64;
        for (_, record) in &transaction.records {
            let _ = Key::decode(record.key()).map(|key| key.to_json());
            let _ = walk_value(record.value());
        }
    }
    let _ = scan.later(seed);
    Ok((transactions, records))
}

/// Puts right every head, checksum and sum of the log that `bytes` would be, as far as its frames can be followed, so that
/// a fuzzer gets beyond them: what is left to be wrong is what these do not tell.
pub fn mend_log(bytes: &mut [u8]) {
    if bytes.len() < Segment(0).first().bytes() as usize {
        return;
    }
    let header = LogHeader { store: [1, 2], seed: 3, salt: 4, created_nanoseconds: 5, loaded: [0, 0] };
    bytes[..LOG_HEADER_BYTES as usize].copy_from_slice(&header.encode());
    let (mut segment, mut head) = (Segment(0), SegmentHeader::first(header.salt));
    let head_at = segment.head().bytes() as usize;
    bytes[head_at..head_at + SEGMENT_HEADER_BYTES].copy_from_slice(&head.encode(header.salt));
    let mut at = segment.first().bytes() as usize;
    let mut start = Position::from_bytes(at as u64);
    let (mut counters, mut fingerprint, mut records) = (head.counters, 0, 0);
    let mut versions: HashMap<Vec<u8>, (u64, u64)> = HashMap::new();
    while let Some((size, kind)) = bytes.get(at..).and_then(record::frame) {
        let end = at + size as usize;
        if end as u64 > segment.end(head.span).bytes() || end > bytes.len() && kind != Kind::Jump {
            return;
        }
        if kind == Kind::Jump {
            let target = record::jump_target(&bytes[at..at + FRAME_BYTES]).segment();
            let target_at = target.head().bytes() as usize;
            let Some(place) = bytes.get_mut(target_at..target_at.saturating_add(SEGMENT_HEADER_BYTES)) else { return };
            if target.0 <= segment.0 {
                return;
            }
            head = SegmentHeader {
                span: u64::from(place[8] % 4) + 1,
                order: head.order + 1,
                counters,
                fingerprint,
                records,
                start,
                durable: 0,
            };
            place.copy_from_slice(&head.encode(header.salt));
            bytes[at..at + FRAME_BYTES].copy_from_slice(&record::jump(size, target.start()));
            segment = target;
            at = target.first().bytes() as usize;
            continue;
        }
        let Some(found) = record::Record::of(&bytes[at..end]) else { return };
        let version = counters.sequence + 1;
        let (hash, ordinal, previous, is_last, is_new) = (found.hash(), found.ordinal(), found.previous(), found.is_last(), found.is_new());
        let is_renumbered = found.is_renumbered();
        let replaced = match kind {
            Kind::Set => versions.insert(found.key().to_vec(), (hash, version)),
            Kind::Remove => versions.remove(found.key()),
            _ => None,
        };
        if let Some((hash, version)) = replaced {
            fingerprint = u64::wrapping_sub(fingerprint, record::fingerprint(hash, version));
        }
        if kind == Kind::Set {
            fingerprint = fingerprint.wrapping_add(record::fingerprint(hash, version));
        }
        // Large ones are left to be wrong.
        let ordinal = if is_new && ordinal < 32 { counters.next_ordinal } else { ordinal };
        let record = &mut bytes[at..end];
        let sum = xxh3_64(&record[record::HEADER_BYTES..]) as u32;
        record[16..20].copy_from_slice(&sum.to_le_bytes());
        record::complete(
            record,
            record::Given {
                version,
                previous,
                ordinal,
                is_last,
                is_new,
                is_moved: false,
                is_placed: false,
                is_renumbered,
                fingerprint,
                tally: record::Tally::default(),
                lag: 0,
            },
            counters.chain,
        );
        record::Record::of(record).expect("it was one").count(&mut counters);
        records += 1;
        at = end;
        if is_last {
            (records, start) = (0, Position::from_bytes(at as u64));
        }
    }
}

/// Appends a record to a log that [`mend_log`] will mend. `given` is what a commit gives a record: flags, position of the
/// one before, ordinal. A key without bytes makes settings.
pub fn append_record(log: &mut Vec<u8>, key: &[u8], value: Option<&[u8]>, given: [u64; 3]) {
    let kind = match value {
        Some(_) if key.is_empty() => Kind::Settings,
        Some(_) => Kind::Set,
        None => Kind::Remove,
    };
    let start = log.len();
    let _ = record::append(log, kind, record::hash_of(key, 3), &key[..key.len().min(1000)], |out| {
        out.extend_from_slice(value.unwrap_or_default());
        Ok::<(), ()>(())
    });
    let given = record::Given {
        version: 0,
        previous: Position(given[1]),
        ordinal: given[2],
        is_last: given[0] & 1 != 0,
        is_new: given[0] & 2 != 0,
        is_placed: false,
        is_moved: given[0] & 4 != 0,
        is_renumbered: given[0] & 8 != 0,
        fingerprint: 0,
        tally: record::Tally::default(),
        lag: 0,
    };
    record::complete(&mut log[start..], given, 0);
}

/// Notes in a closed store that all is in order, whatever its files hold: the next open trusts index and order unread.
pub fn note_closed_in_order(live: &Path) -> std::io::Result<()> {
    let control_file = file::open(&live.join(CONTROL), true)?;
    if file::stamp(&control_file)?.size < CONTROL_BYTES {
        return Ok(());
    }
    let control = control::map(&control_file, true)?;
    let words: Vec<u8> = lasting::lasting_words(control).into_iter().flat_map(|word| word.get().to_le_bytes()).collect();
    let mut files = Vec::new();
    for name in [LOG, INDEX, ORDER, SEGMENTS] {
        let stamp = file::stamp_at(&live.join(name))?;
        for word in [stamp.device, stamp.inode, stamp.size, stamp.modified_nanoseconds, stamp.changed_nanoseconds] {
            files.extend_from_slice(&word.to_le_bytes());
        }
    }
    control.closed.words.set(xxh3_64(&words));
    control.closed.files.set(xxh3_64(&files));
    control.closed.commit.set(control.commit.newest().wrapping_add(1));
    Ok(())
}

/// Where the next transaction will be written, in bytes from the start of the log.
pub fn log_end(pod: &crate::Pod) -> u64 {
    pod.shared.tail().map_or(0, |tail| tail.cursor.at.bytes())
}

/// Nanoseconds since 1970, to wait for a tick of a file's time.
pub fn now_nanoseconds() -> u64 {
    clock::unix_nanoseconds()
}

/// The archive of a JSON text.
pub fn encode_json(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    value::encode_json(text, &mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// Whether bytes are an archive.
pub fn validate(bytes: &[u8]) -> Result<(), String> {
    value::validate(bytes)
}

/// Walks an archive in every way there is: its JSON text, and the value where no number is rounded in it.
pub fn walk_value(bytes: &[u8]) -> Result<(String, Option<Value>), String> {
    let archive = Archive::checked(bytes)?;
    let node = archive.node();
    let mut text = String::new();
    node.write_json(&mut text);
    assert!(node.eq_node(node));
    assert!(node.depth() <= crate::limits::VALUE_DEPTH_MAX);
    let value = node.to_value().ok();
    if let Some(value) = &value {
        assert!(node.eq_value(value));
    }
    assert_eq!(node.iter().count(), if node.is_array() { node.len() } else { 0 });
    for (index, part) in node.iter().enumerate() {
        assert!(node.index(index as i64).is_some_and(|found| found.eq_node(part)), "element {index} is found by its index");
    }
    let _ = (node.read::<Vec<u8>>(), node.read::<Vec<i64>>(), node.read::<Vec<f64>>(), node.read::<&[u8]>());
    for (index, (key, part)) in node.entries().enumerate() {
        assert!(node.get(key).is_some_and(|found| found.eq_node(part)), "entry {index} is found by its key");
    }
    let _ = (node.as_str(), node.as_bool(), node.as_i64(), node.as_f64(), node.is_null());
    Ok((text, value))
}

/// Makes the edit of this number at a JSON pointer; returns the new archive, or nothing where nothing changed.
pub fn edit_value(bytes: &[u8], pointer: &str, edit: u8, index: i64, new: &str) -> Result<Option<Vec<u8>>, crate::Error> {
    let archive = Archive::checked(bytes).map_err(crate::Error::other)?;
    let steps = value::parse_pointer(pointer)?;
    let new = Encoded::from_json(new)?;
    let mut replace = |value: &mut Value| {
        *value = Value::from([value.take()].to_vec());
        Ok(())
    };
    let edit = match edit % 11 {
        0 => Edit::Set(new.archive()),
        1 => Edit::SetIfAbsent(new.archive()),
        2 => Edit::Remove,
        3 => Edit::Add(value::Number::Int(index)),
        4 => Edit::Push(new.archive()),
        5 => Edit::Extend(new.archive()),
        6 => Edit::Insert(index, new.archive()),
        7 => Edit::Pop,
        8 => Edit::Merge(new.archive()),
        9 => Edit::Splice((std::ops::Bound::Included(index), std::ops::Bound::Unbounded), new.archive()),
        _ => Edit::Update(&mut replace),
    };
    let mut out = b"before".to_vec();
    match value::apply(archive, &steps, edit, &mut out) {
        Ok(outcome) if outcome.changed => Ok(Some(out.split_off(6))),
        outcome => {
            assert_eq!(out, b"before", "an edit that changes nothing appends nothing");
            outcome.map(|_| None)
        }
    }
}

/// The line of a shard for a key and the JSON text of its value.
pub fn write_line(key: &Key, json: &str, dialect: KeyDialect) -> crate::Result<String> {
    let value = Encoded::from_json(json)?;
    let mut line = String::new();
    let key = crate::key::encode_key(key)?;
    line::write(&key, value.archive(), dialect, &mut line).map_err(crate::Error::other)?;
    Ok(line)
}

/// A manifest as it is written.
pub fn some_manifest() -> Vec<u8> {
    let shards = vec![Saved(2, 20, 20, Hex(3), "0001000200030004".to_owned()), Saved::default()];
    Manifest::new(Settings::default(), Some([1, 2]), 3, shards, 4).encode().into_bytes()
}

/// Reads a manifest and writes it again; nothing if it is refused.
pub fn recode_manifest(bytes: &[u8]) -> Option<String> {
    Manifest::decode(bytes, Path::new("pod.json")).ok().map(|manifest| manifest.encode())
}
