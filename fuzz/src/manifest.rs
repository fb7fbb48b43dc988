//! A manifest: what is accepted is written again as what means the same.

use tastypod::fuzzing;

pub fn run(data: &[u8]) {
    // Mostly damage to what is right: an offset, and what stands there instead.
    let mut bytes = fuzzing::some_manifest();
    let (damage, rest) = data.split_at(data.len().min(data.len() / 4 * 3));
    for piece in damage.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([piece[0], piece[1]])) % bytes.len();
        bytes[at] = piece[2];
    }
    if data.first().is_some_and(|first| first & 1 == 1) {
        bytes = rest.to_vec();
    }
    if let Some(text) = fuzzing::recode_manifest(&bytes) {
        assert_eq!(fuzzing::recode_manifest(text.as_bytes()).as_deref(), Some(&*text));
    }
}
