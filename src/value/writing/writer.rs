//! Builds an archive bottom-up: finished nodes wait on a stack as cells until their container ends.

use crate::limits::{VALUE_BYTES_MAX, VALUE_DEPTH_MAX};
use crate::value::archive::archived::{
    Archive, ArchivedEntry, ArchivedNode, ENTRY_BYTES, NODE_BYTES, PAYLOAD_BYTES, depth, short_word, tag,
};
use crate::value::archive::fault::Fault;

/// A finished node whose place is not known yet. Where its payload points elsewhere, it holds the absolute position in
/// the output instead of the relative one.
#[derive(Clone, Copy, PartialEq)]
pub(in crate::value) struct Cell {
    pub(super) payload: u64,
    pub(super) tag: u8,
    target: Target,
}

/// Which half of the payload is a position.
#[derive(Clone, Copy, PartialEq)]
enum Target {
    None,
    /// A container: position, then count.
    Low,
    /// Long text: length, then position.
    High,
}

impl Cell {
    const fn plain(tag: u8, payload: u64) -> Cell {
        Cell { payload, tag, target: Target::None }
    }

    pub(in crate::value) const fn int(value: i64) -> Cell {
        Cell::plain(tag::INT, value as u64)
    }

    pub(in crate::value) const fn uint(value: u64) -> Cell {
        if value <= i64::MAX as u64 { Cell::int(value as i64) } else { Cell::plain(tag::UINT, value) }
    }

    pub(in crate::value) const fn float(value: f64) -> Cell {
        Cell::plain(tag::FLOAT, value.to_bits())
    }

    pub(super) fn container(tag: u8, position: usize, count: usize) -> Cell {
        Cell { payload: position as u64 | (count as u64) << 32, tag, target: Target::Low }
    }

    fn long_text(tag: u8, position: usize, length: usize) -> Cell {
        // As rkyv does: the two highest bits of the first byte are 10, which no UTF-8 text begins with.
        let marked = length & 0x3f | 0x80 | (length & !0x3f) << 2;
        Cell { payload: marked as u64 | (position as u64) << 32, tag, target: Target::High }
    }

    /// The cell of the node in `bytes`, which stand at `position`.
    fn read(bytes: &[u8; NODE_BYTES], position: usize) -> Cell {
        let [tag, payload @ ..] = *bytes;
        Cell::of_payload(tag, u64::from_le_bytes(payload), position + 1)
    }

    fn of_payload(tag: u8, payload: u64, position: usize) -> Cell {
        let target = match tag {
            tag::ARRAY | tag::OBJECT | tag::BYTES | tag::INTS | tag::FLOATS => Target::Low,
            tag::TEXT | tag::NUMBER if payload & 0xc0 == 0x80 => Target::High,
            _ => Target::None,
        };
        Cell { payload, tag, target }.moved(position as u32)
    }

    /// The same with `distance` added to the position; distances wrap, so that one may be negative.
    fn moved(mut self, distance: u32) -> Cell {
        match self.target {
            Target::None => (),
            Target::Low => self.payload = self.payload & !0xffff_ffff | u64::from((self.payload as u32).wrapping_add(distance)),
            Target::High => self.payload = self.payload.wrapping_add(u64::from(distance) << 32),
        }
        self
    }

    /// The payload as it is written at `position`.
    fn payload_at(self, position: usize) -> [u8; PAYLOAD_BYTES] {
        self.moved((position as u32).wrapping_neg()).payload.to_le_bytes()
    }

    /// The bytes of the node as it is written at `position`.
    pub(in crate::value) fn node_at(self, position: usize) -> [u8; NODE_BYTES] {
        let mut bytes = [self.tag; NODE_BYTES];
        bytes[1..].copy_from_slice(&self.payload_at(position + 1));
        bytes
    }

    pub(in crate::value) fn parts(self) -> (u8, u64) {
        (self.tag, self.payload)
    }

    /// Whether the node is complete by itself, so that it can be written over another such node.
    pub(in crate::value) fn stands_alone(self) -> bool {
        self.target == Target::None
    }

    /// The range of the output that the payload points to.
    fn pointee(self) -> Option<(usize, usize)> {
        let (low, high) = (self.payload as u32 as usize, (self.payload >> 32) as usize);
        match (self.target, self.tag) {
            (Target::None, _) => None,
            (Target::High, _) => Some((high, high + (low & 0x3f | (low & !0xff) >> 2))),
            (Target::Low, tag::ARRAY) => Some((low, low + high * NODE_BYTES)),
            (Target::Low, tag::BYTES) => Some((low, low + high)),
            (Target::Low, tag::INTS | tag::FLOATS) => Some((low, low + high * WORD_BYTES)),
            (Target::Low, _) => Some((low, low + high * ENTRY_BYTES)),
        }
    }
}

/// The memory that a writer works in, kept by each thread for the next one.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) cells: Vec<Cell>,
    text: String,
}

thread_local! {
    static SCRATCH: std::cell::Cell<Option<Box<Scratch>>> = const { std::cell::Cell::new(None) };
}

/// Bytes of an element of a packed array of integers or floats.
pub(super) const WORD_BYTES: usize = 8;
/// More than this is given back instead of kept.
const SCRATCH_BYTES_MAX: usize = 1 << 20;
pub(super) const CELLS_MAX: usize = VALUE_BYTES_MAX / NODE_BYTES;

/// Appends to `out` the archive of the one node that `body` writes. On an error `out` is as before; a panic of `body`
/// leaves bytes behind.
#[inline]
pub(in crate::value) fn write(out: &mut Vec<u8>, body: impl FnOnce(&mut Writer<'_>) -> Result<(), Fault>) -> Result<(), Fault> {
    // Taken, not borrowed: a user's `Serialize` may itself store a value. None while the thread ends.
    let mut scratch = SCRATCH.try_with(std::cell::Cell::take).ok().flatten().unwrap_or_default();
    let base = out.len();
    let mut writer = Writer { out, base, scratch: &mut scratch, depth_left: VALUE_DEPTH_MAX };
    let result = body(&mut writer).and_then(|()| writer.finish());
    if result.is_err() {
        out.truncate(base);
    }
    if scratch.cells.capacity() * size_of::<Cell>() + scratch.text.capacity() <= SCRATCH_BYTES_MAX {
        scratch.cells.clear();
        let _ = SCRATCH.try_with(|kept| kept.set(Some(scratch)));
    }
    result
}

/// Takes nodes in the order of their text: the pieces of a container first, then its end.
///
/// Whatever the order of calls, every cell on the stack is a valid node whose payload lies in the output already; so the
/// result is always a valid archive, also when a user's `Serialize` swallows errors half-way.
pub(in crate::value) struct Writer<'o> {
    pub(super) out: &'o mut Vec<u8>,
    /// Where in `out` the archive begins; positions count from here.
    pub(super) base: usize,
    pub(super) scratch: &'o mut Scratch,
    pub(super) depth_left: usize,
}

/// A container that has begun: how many cells were on the stack, and where the output was.
#[must_use]
#[derive(Clone, Copy)]
pub(in crate::value) struct Begun {
    pub(super) cells: usize,
    position: usize,
}

impl Writer<'_> {
    #[inline]
    pub(super) fn position(&self) -> usize {
        self.out.len() - self.base
    }

    #[inline]
    pub(in crate::value) fn push(&mut self, cell: Cell) -> Result<(), Fault> {
        if self.scratch.cells.len() >= CELLS_MAX {
            return Err(too_large());
        }
        self.scratch.cells.push(cell);
        Ok(())
    }

    pub(in crate::value) fn null(&mut self) -> Result<(), Fault> {
        self.push(Cell::plain(tag::NULL, 0))
    }

    #[inline]
    pub(in crate::value) fn bool(&mut self, value: bool) -> Result<(), Fault> {
        self.push(Cell::plain(if value { tag::TRUE } else { tag::FALSE }, 0))
    }

    #[inline]
    pub(in crate::value) fn text(&mut self, text: &str) -> Result<(), Fault> {
        self.tagged_text(tag::TEXT, text)
    }

    /// The digits of a number that `number::classify` calls verbatim.
    pub(in crate::value) fn number(&mut self, digits: &str) -> Result<(), Fault> {
        self.tagged_text(tag::NUMBER, digits)
    }

    #[inline]
    fn tagged_text(&mut self, tag: u8, text: &str) -> Result<(), Fault> {
        if text.len() <= PAYLOAD_BYTES {
            return self.push(Cell::plain(tag, short_word(text.as_bytes())));
        }
        self.room_for(text.len())?;
        let position = self.position();
        self.out.extend_from_slice(text.as_bytes());
        self.push(Cell::long_text(tag, position, text.len()))
    }

    #[inline]
    pub(super) fn room_for(&self, bytes: usize) -> Result<(), Fault> {
        if bytes > VALUE_BYTES_MAX - NODE_BYTES || self.position() > VALUE_BYTES_MAX - NODE_BYTES - bytes {
            Err(too_large())
        } else {
            Ok(())
        }
    }

    #[inline]
    pub(in crate::value) fn begin(&mut self) -> Result<Begun, Fault> {
        self.depth_left = self.depth_left.checked_sub(1).ok_or_else(too_deep)?;
        Ok(Begun { cells: self.scratch.cells.len(), position: self.position() })
    }

    /// Ends an object, whose cells are keys and values in turn. Of entries with the same key the last value counts, in
    /// the place of the first.
    pub(in crate::value) fn end_object(&mut self, begun: Begun) -> Result<(), Fault> {
        let (pairs, odd) = self.scratch.cells[begun.cells..].as_chunks();
        if !odd.is_empty() || pairs.iter().any(|[key, _]| key.tag != tag::TEXT) {
            return Err(Fault::invalid("an object was serialised with its keys and values out of step"));
        }
        if self.has_duplicate_keys(pairs) {
            self.drop_duplicates(begun);
        }
        let pairs = self.scratch.cells[begun.cells..].as_chunks().0;
        let (count, position) = (pairs.len(), self.position());
        self.room_for(count * ENTRY_BYTES)?;
        let start = self.out.len();
        self.out.resize(start + count * ENTRY_BYTES, 0);
        let entries = self.out[start..].as_chunks_mut::<ENTRY_BYTES>().0;
        for (index, (entry, [key, value])) in entries.iter_mut().zip(pairs).enumerate() {
            let at = position + index * ENTRY_BYTES;
            entry[..PAYLOAD_BYTES].copy_from_slice(&key.payload_at(at));
            entry[PAYLOAD_BYTES..].copy_from_slice(&value.node_at(at + PAYLOAD_BYTES));
        }
        self.scratch.cells.truncate(begun.cells);
        self.depth_left += 1;
        self.push(Cell::container(tag::OBJECT, position, count))
    }

    /// The text that `cell`, a key, stands for, to be compared with others: short text by its word.
    fn key_bytes(&self, cell: Cell) -> (u64, &[u8]) {
        match cell.pointee() {
            None => (cell.payload, &[]),
            Some((start, end)) => (0, &self.out[self.base + start..self.base + end]),
        }
    }

    fn has_duplicate_keys(&self, pairs: &[[Cell; 2]]) -> bool {
        if pairs.len() <= crate::value::archive::archived::SMALL_OBJECT {
            return pairs
                .iter()
                .enumerate()
                .any(|(index, [key, _])| pairs[..index].iter().any(|[other, _]| self.is_same_key(*key, *other)));
        }
        let mut seen = hashbrown::HashSet::with_capacity(pairs.len());
        !pairs.iter().all(|[key, _]| seen.insert(self.key_bytes(*key)))
    }

    #[inline]
    fn is_same_key(&self, a: Cell, b: Cell) -> bool {
        // The first half tells most apart: of short text its first bytes, of long text its length.
        a.payload as u32 == b.payload as u32
            && match (a.target, b.target) {
                (Target::None, Target::None) => a.payload == b.payload,
                (Target::High, Target::High) => self.key_bytes(a) == self.key_bytes(b),
                _ => false,
            }
    }

    /// Rewrites the entries of the object since `begun` so that each key comes once. The payloads are moved as well:
    /// they must stand in the order of the entries.
    #[cold]
    fn drop_duplicates(&mut self, begun: Begun) {
        let old = self.out[self.base + begun.position..].to_vec();
        let cells = self.scratch.cells.split_off(begun.cells);
        // Each cell with the range of `old` that holds its payload: from the end of the one before to its own end.
        let mut end = begun.position;
        let mut pieces = cells.iter().map(|cell| {
            let start = end;
            end = cell.pointee().map_or(end, |(_, end)| end);
            (*cell, start, end)
        });
        let mut places = hashbrown::HashMap::new();
        let mut entries: Vec<[_; 2]> = Vec::new();
        while let (Some(key), Some(value)) = (pieces.next(), pieces.next()) {
            let name = match key.0.pointee() {
                None => (key.0.payload, &[][..]),
                Some((start, end)) => (0, &old[start - begun.position..end - begun.position]),
            };
            let place = *places.entry(name).or_insert(entries.len());
            match entries.get_mut(place) {
                Some([_, earlier]) => *earlier = value,
                None => entries.push([key, value]),
            }
        }
        self.out.truncate(self.base + begun.position);
        for (cell, start, end) in entries.into_iter().flatten() {
            let distance = (self.position() as u32).wrapping_sub(start as u32);
            self.out.extend_from_slice(&old[start - begun.position..end - begun.position]);
            self.scratch.cells.push(cell.moved(distance));
        }
    }

    fn finish(&mut self) -> Result<(), Fault> {
        let [root] = self.scratch.cells[..] else {
            return Err(Fault::invalid("a value was serialised half-way"));
        };
        self.room_for(0)?;
        let bytes = root.node_at(self.position());
        self.out.extend_from_slice(&bytes);
        Ok(())
    }

    /// Takes the text that was written last back off the stack.
    pub(in crate::value) fn take_text(&mut self) -> Result<String, Fault> {
        let text = match self.scratch.cells.pop() {
            Some(cell) if cell.tag == tag::TEXT || cell.tag == tag::NUMBER => match cell.pointee() {
                None => {
                    let word = cell.payload.to_le_bytes();
                    word[..word.iter().position(|byte| *byte == 0xff).unwrap_or(word.len())].to_vec()
                }
                Some((start, _)) => self.out.split_off(self.base + start),
            },
            _ => return Err(Fault::invalid("expected text")),
        };
        String::from_utf8(text).map_err(|error| Fault::invalid(error.to_string()))
    }

    pub(in crate::value) fn pop(&mut self) {
        self.scratch.cells.pop();
    }

    pub(in crate::value) fn last(&self) -> Option<Cell> {
        self.scratch.cells.last().copied()
    }
}

impl Writer<'_> {
    /// A copy of a whole archive as one node.
    pub(in crate::value) fn copy_archive(&mut self, archive: Archive<'_>) -> Result<(), Fault> {
        admit_depth(archive, self.depth_left)?;
        self.copy_nodes(archive, std::slice::from_ref(archive.root()))
    }

    /// Checks that the parts of an archive, a container, may be copied into the container that has begun last.
    pub(in crate::value) fn admit_parts(&self, archive: Archive<'_>) -> Result<(), Fault> {
        admit_depth(archive, self.depth_left + 1)
    }

    /// Copies of neighbouring elements of one array of `archive`; the caller sees to the depth.
    pub(in crate::value) fn copy_nodes(&mut self, archive: Archive<'_>, nodes: &[ArchivedNode]) -> Result<(), Fault> {
        let distance = self.copy_payloads(archive, nodes.iter().find_map(first_byte), nodes.iter().rev().find_map(last_byte))?;
        let start = archive.position_of(nodes);
        let bytes = &archive.as_bytes()[start..start + nodes.len() * NODE_BYTES];
        self.scratch.cells.reserve(nodes.len());
        for (index, node) in bytes.as_chunks().0.iter().enumerate() {
            self.push(Cell::read(node, start + index * NODE_BYTES).moved(distance))?;
        }
        Ok(())
    }

    /// Copies of neighbouring entries of one object of `archive`; the caller sees to the depth.
    pub(in crate::value) fn copy_entries(&mut self, archive: Archive<'_>, entries: &[ArchivedEntry]) -> Result<(), Fault> {
        let first = entries.iter().find_map(|entry| first_byte_of_text(entry.key()).or_else(|| first_byte(&entry.value)));
        let last = entries.iter().rev().find_map(|entry| last_byte(&entry.value).or_else(|| last_byte_of_text(entry.key())));
        let distance = self.copy_payloads(archive, first, last)?;
        let start = archive.position_of(entries);
        let bytes = &archive.as_bytes()[start..start + entries.len() * ENTRY_BYTES];
        self.scratch.cells.reserve(2 * entries.len());
        for (index, entry) in bytes.as_chunks::<ENTRY_BYTES>().0.iter().enumerate() {
            let at = start + index * ENTRY_BYTES;
            let (Some(key), Some(value)) = (entry.first_chunk(), entry.last_chunk()) else { continue };
            self.push(Cell::of_payload(tag::TEXT, u64::from_le_bytes(*key), at).moved(distance))?;
            self.push(Cell::read(value, at + PAYLOAD_BYTES).moved(distance))?;
        }
        Ok(())
    }

    /// Copies what neighbouring nodes point to, which stands in one piece; returns how far it moved.
    fn copy_payloads(&mut self, archive: Archive<'_>, first: Option<usize>, last: Option<usize>) -> Result<u32, Fault> {
        let (Some(first), Some(last)) = (first, last) else { return Ok(0) };
        let origin = archive.as_bytes().as_ptr() as usize;
        let (start, end) = (first - origin, last - origin);
        self.room_for(end - start)?;
        let distance = (self.position() as u32).wrapping_sub(start as u32);
        self.out.extend_from_slice(&archive.as_bytes()[start..end]);
        Ok(distance)
    }
}

fn admit_depth(archive: Archive<'_>, depth_max: usize) -> Result<(), Fault> {
    // It cannot be deeper than it has room for nodes, which spares most the walk.
    if archive.as_bytes().len() / NODE_BYTES > depth_max && depth(archive.root()) > depth_max { Err(too_deep()) } else { Ok(()) }
}

impl Archive<'_> {
    /// The cell of a node of this archive, as if it began where the archive does.
    pub(in crate::value) fn cell_of(self, node: &ArchivedNode) -> Cell {
        let position = self.position_of(std::slice::from_ref(node));
        let bytes = self.as_bytes()[position..].first_chunk();
        bytes.map_or(Cell::plain(tag::NULL, 0), |bytes| Cell::read(bytes, position))
    }
}

/// The address of the first byte that `node` points to, directly or not. What is below a node stands before it in the
/// order of its parts, so the first part that points anywhere decides.
fn first_byte(node: &ArchivedNode) -> Option<usize> {
    match node {
        ArchivedNode::Number(text) | ArchivedNode::Text(text) => first_byte_of_text(text),
        ArchivedNode::Array(elements) => {
            let elements = elements.as_slice();
            Some(elements.iter().find_map(first_byte).unwrap_or(elements.as_ptr() as usize))
        }
        ArchivedNode::Bytes(elements) => Some(elements.as_ptr() as usize),
        ArchivedNode::Ints(elements) => Some(elements.as_ptr() as usize),
        ArchivedNode::Floats(elements) => Some(elements.as_ptr() as usize),
        ArchivedNode::Object(entries) => {
            let entries = entries.as_slice();
            let below = entries.iter().find_map(|entry| first_byte_of_text(entry.key()).or_else(|| first_byte(&entry.value)));
            Some(below.unwrap_or(entries.as_ptr() as usize))
        }
        _ => None,
    }
}

/// The address after the last byte that `node` points to.
fn last_byte(node: &ArchivedNode) -> Option<usize> {
    match node {
        ArchivedNode::Number(text) | ArchivedNode::Text(text) => last_byte_of_text(text),
        ArchivedNode::Array(elements) => Some(elements.as_slice().as_ptr_range().end as usize),
        ArchivedNode::Bytes(elements) => Some(elements.as_slice().as_ptr_range().end as usize),
        ArchivedNode::Ints(elements) => Some(elements.as_slice().as_ptr_range().end as usize),
        ArchivedNode::Floats(elements) => Some(elements.as_slice().as_ptr_range().end as usize),
        ArchivedNode::Object(entries) => Some(entries.as_slice().as_ptr_range().end as usize),
        _ => None,
    }
}

fn first_byte_of_text(text: &str) -> Option<usize> {
    (text.len() > PAYLOAD_BYTES).then_some(text.as_ptr() as usize)
}

fn last_byte_of_text(text: &str) -> Option<usize> {
    (text.len() > PAYLOAD_BYTES).then_some(text.as_bytes().as_ptr_range().end as usize)
}

#[cold]
pub(super) fn too_large() -> Fault {
    Fault::invalid(format!("the value needs more than the {VALUE_BYTES_MAX} bytes that one may have; split it over several keys"))
}

#[cold]
fn too_deep() -> Fault {
    Fault::invalid(format!("the value nests arrays and objects more than {VALUE_DEPTH_MAX} deep"))
}
