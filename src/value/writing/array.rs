//! Arrays on their way into an archive: packed while that can be, as nodes from the first element on that is no such number.

use std::mem::replace;

use crate::value::archive::archived::{Archive, ArchivedNode, NODE_BYTES, tag};
use crate::value::archive::elements::{Elements, Node};
use crate::value::archive::fault::Fault;
use crate::value::writing::writer::{Begun, CELLS_MAX, Cell, WORD_BYTES, Writer, too_large};

/// An array that has begun.
#[must_use]
pub(in crate::value) struct Array {
    begun: Begun,
    form: Form,
    /// Where its elements begin while they are packed.
    start: usize,
}

/// How the elements stand that an array has so far.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// There are none.
    Empty,
    /// Packed at the end of the output. Nothing else is written before they become cells.
    Bytes,
    Ints,
    Floats,
    /// As cells on the stack.
    Cells,
}

/// An element that is to be put into an array, or was written as a cell.
#[derive(Clone, Copy, Default)]
pub(in crate::value) enum Element {
    Int(i64),
    Float(f64),
    #[default]
    Written,
}

/// How a block of packed elements ended.
enum Filled {
    /// There may be more of its form.
    Whole,
    /// With an element that is of another form, or was written.
    Odd(Element),
    Ended,
}

impl Element {
    /// The byte that the element can be packed as.
    #[inline]
    fn as_byte(self) -> Option<u8> {
        if let Element::Int(value) = self { u8::try_from(value).ok() } else { None }
    }

    /// A number that can be packed.
    fn of(node: Node<'_>) -> Option<Element> {
        match node {
            Node::Byte(value) => Some(Element::Int(i64::from(*value))),
            Node::Int(value) | Node::Whole(ArchivedNode::Int(value)) => Some(Element::Int(value.to_native())),
            Node::Float(value) | Node::Whole(ArchivedNode::Float(value)) => Some(Element::Float(value.to_native())),
            Node::Whole(_) => None,
        }
    }
}

impl Writer<'_> {
    #[inline]
    pub(in crate::value) fn begin_array(&mut self) -> Result<Array, Fault> {
        Ok(Array { begun: self.begin()?, form: Form::Empty, start: 0 })
    }

    /// An array of bytes that are all at hand.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let mut array = self.begin_array()?;
        if !bytes.is_empty() {
            (array.form, array.start) = (Form::Bytes, self.position());
            self.append(bytes)?;
        }
        self.end_array(array)
    }

    /// Adds an element. One that was written as a cell must have been announced by `spill`.
    #[inline]
    pub(in crate::value) fn put(&mut self, array: &mut Array, element: Element) -> Result<(), Fault> {
        match (array.form, element) {
            (_, Element::Written) => Ok(()),
            (Form::Cells, Element::Int(value)) => self.push(Cell::int(value)),
            (Form::Cells, Element::Float(value)) => self.push(Cell::float(value)),
            (Form::Ints, Element::Int(value)) => self.append(&value.to_le_bytes()),
            (Form::Floats, Element::Float(value)) => self.append(&value.to_le_bytes()),
            (form, element) => match element.as_byte() {
                Some(byte) if form == Form::Bytes => self.append(&[byte]),
                _ => self.put_odd(array, element),
            },
        }
    }

    /// Adds an element that decides the form: the first one, or one that the form so far does not hold.
    fn put_odd(&mut self, array: &mut Array, element: Element) -> Result<(), Fault> {
        match (array.form, element) {
            (Form::Empty, element) => {
                array.start = self.position();
                array.form = match element {
                    Element::Float(_) => Form::Floats,
                    element if element.as_byte().is_some() => Form::Bytes,
                    _ => Form::Ints,
                };
            }
            (Form::Bytes, Element::Int(_)) => self.widen(array)?,
            _ => self.spill(array)?,
        }
        self.put(array, element)
    }

    /// Appends to the packed elements of the array that is being written.
    #[inline]
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.room_for(bytes.len())?;
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    /// Adds all elements that `next` gives. It gets the last packed ones, not put into the array yet, which have to be before it
    /// writes a cell.
    #[inline]
    pub(super) fn put_all(
        &mut self,
        array: &mut Array,
        mut expected: usize,
        mut next: impl FnMut(&mut Self, &mut Array, &[u8]) -> Result<Option<Element>, Fault>,
    ) -> Result<(), Fault> {
        loop {
            let next = &mut next;
            let filled = match array.form {
                Form::Bytes => self.fill(array, [[0; 1]; 256], next, |element| element.as_byte().map(|byte| [byte]))?,
                Form::Ints => self.fill(array, [[0; WORD_BYTES]; 32], next, |element| match element {
                    Element::Int(value) => Some(value.to_le_bytes()),
                    _ => None,
                })?,
                Form::Floats => self.fill(array, [[0; WORD_BYTES]; 32], next, |element| match element {
                    Element::Float(value) => Some(value.to_le_bytes()),
                    _ => None,
                })?,
                Form::Empty | Form::Cells => next(self, array, &[])?.map_or(Filled::Ended, Filled::Odd),
            };
            match filled {
                Filled::Whole | Filled::Odd(Element::Written) => (),
                Filled::Odd(element) => self.put(array, element)?,
                Filled::Ended => return Ok(()),
            }
            if expected > 0 {
                self.expect(array, replace(&mut expected, 0));
            }
        }
    }

    /// Puts elements of one form into an array block by block, so that none is looked after by itself.
    #[inline(always)]
    fn fill<const WIDTH: usize, const COUNT: usize>(
        &mut self,
        array: &mut Array,
        mut block: [[u8; WIDTH]; COUNT],
        next: &mut impl FnMut(&mut Self, &mut Array, &[u8]) -> Result<Option<Element>, Fault>,
        pack: impl Fn(Element) -> Option<[u8; WIDTH]>,
    ) -> Result<Filled, Fault> {
        let mut count = 0;
        let filled = loop {
            if count == COUNT {
                break Filled::Whole;
            }
            match next(self, array, block[..count].as_flattened())? {
                // Those before it were spilled.
                Some(Element::Written) => return Ok(Filled::Whole),
                Some(element) => match pack(element) {
                    Some(packed) => {
                        block[count] = packed;
                        count += 1;
                    }
                    None => break Filled::Odd(element),
                },
                None => break Filled::Ended,
            }
        };
        self.append(block[..count].as_flattened())?;
        Ok(filled)
    }

    /// Makes room for so many more elements, or for some of them: it is only what somebody expects.
    fn expect(&mut self, array: &Array, elements: usize) {
        const EXPECTED_MAX: usize = 1 << 20;
        match array.form {
            Form::Empty | Form::Cells => (),
            form => self.out.reserve(elements.min(EXPECTED_MAX / form.width()) * form.width()),
        }
    }

    /// Turns bytes into integers, in place.
    fn widen(&mut self, array: &mut Array) -> Result<(), Fault> {
        let start = self.base + array.start;
        let count = self.out.len() - start;
        self.room_for(count * (WORD_BYTES - 1))?;
        self.out.resize(start + count * WORD_BYTES, 0);
        let run = &mut self.out[start..];
        // From the end: no byte is overwritten before it has moved.
        for index in (0..count).rev() {
            let word = i64::from(run[index]).to_le_bytes();
            run[index * WORD_BYTES..][..WORD_BYTES].copy_from_slice(&word);
        }
        array.form = Form::Ints;
        Ok(())
    }

    /// Turns packed elements into cells: something comes that cannot be packed with them.
    #[inline]
    pub(in crate::value) fn spill(&mut self, array: &mut Array) -> Result<(), Fault> {
        match replace(&mut array.form, Form::Cells) {
            Form::Empty | Form::Cells => Ok(()),
            form => self.spill_packed(form, array.start),
        }
    }

    fn spill_packed(&mut self, form: Form, start: usize) -> Result<(), Fault> {
        let packed = self.out.split_off(self.base + start);
        if packed.len() / form.width() > CELLS_MAX.saturating_sub(self.scratch.cells.len()) {
            return Err(too_large());
        }
        let words = packed.as_chunks::<WORD_BYTES>().0.iter().map(|word| u64::from_le_bytes(*word));
        let cells = &mut self.scratch.cells;
        match form {
            Form::Bytes => cells.extend(packed.iter().map(|byte| Cell::int(i64::from(*byte)))),
            Form::Floats => cells.extend(words.map(|word| Cell::float(f64::from_bits(word)))),
            _ => cells.extend(words.map(|word| Cell::int(word as i64))),
        }
        Ok(())
    }

    pub(in crate::value) fn end_array(&mut self, array: Array) -> Result<(), Fault> {
        let Array { begun, mut form, start } = array;
        match form {
            Form::Empty => return self.end_nodes(begun),
            Form::Cells => match self.common_form(begun) {
                Form::Cells => return self.end_nodes(begun),
                common => return self.end_cells_packed(begun, common),
            },
            Form::Ints => form = self.narrow(start),
            Form::Bytes | Form::Floats => (),
        }
        self.end_packed(begun, form, start)
    }

    fn end_packed(&mut self, begun: Begun, form: Form, start: usize) -> Result<(), Fault> {
        let count = (self.position() - start) / form.width();
        let tag = match form {
            Form::Bytes => tag::BYTES,
            Form::Floats => tag::FLOATS,
            _ => tag::INTS,
        };
        self.scratch.cells.truncate(begun.cells);
        self.depth_left += 1;
        self.push(Cell::container(tag, start, count))
    }

    /// Turns integers that are all bytes, as parts of a longer array may be, into bytes.
    fn narrow(&mut self, start: usize) -> Form {
        let start = self.base + start;
        let words = self.out[start..].as_chunks::<WORD_BYTES>().0;
        if words.iter().any(|word| u64::from_le_bytes(*word) > u64::from(u8::MAX)) {
            return Form::Ints;
        }
        let bytes: Vec<u8> = words.iter().map(|word| word[0]).collect();
        self.out.truncate(start);
        self.out.extend_from_slice(&bytes);
        Form::Bytes
    }

    /// The form in which all cells of an array can be packed.
    fn common_form(&self, begun: Begun) -> Form {
        let cells = &self.scratch.cells[begun.cells..];
        let all = |tag: u8| cells.iter().all(|cell| cell.tag == tag);
        match cells.first().map(|cell| cell.tag) {
            Some(tag::FLOAT) if all(tag::FLOAT) => Form::Floats,
            Some(tag::INT) if all(tag::INT) && cells.iter().all(|cell| cell.payload <= u64::from(u8::MAX)) => Form::Bytes,
            Some(tag::INT) if all(tag::INT) => Form::Ints,
            _ => Form::Cells,
        }
    }

    fn end_cells_packed(&mut self, begun: Begun, form: Form) -> Result<(), Fault> {
        let start = self.position();
        let cells = &self.scratch.cells[begun.cells..];
        self.room_for(cells.len() * form.width())?;
        match form {
            Form::Bytes => self.out.extend(cells.iter().map(|cell| cell.payload as u8)),
            _ => cells.iter().for_each(|cell| self.out.extend_from_slice(&cell.payload.to_le_bytes())),
        }
        self.end_packed(begun, form, start)
    }

    fn end_nodes(&mut self, begun: Begun) -> Result<(), Fault> {
        let cells = &self.scratch.cells[begun.cells..];
        let (count, position) = (cells.len(), self.position());
        self.room_for(count * NODE_BYTES)?;
        let start = self.out.len();
        self.out.resize(start + count * NODE_BYTES, 0);
        let nodes = self.out[start..].as_chunks_mut::<NODE_BYTES>().0;
        for (index, (node, cell)) in nodes.iter_mut().zip(cells).enumerate() {
            *node = cell.node_at(position + index * NODE_BYTES);
        }
        self.scratch.cells.truncate(begun.cells);
        self.depth_left += 1;
        self.push(Cell::container(tag::ARRAY, position, count))
    }
}

impl Form {
    /// Bytes of a packed element.
    fn width(self) -> usize {
        if self == Form::Bytes { 1 } else { WORD_BYTES }
    }
}

impl Writer<'_> {
    /// A copy of a whole archive as the next element.
    pub(in crate::value) fn put_archive(&mut self, array: &mut Array, archive: Archive<'_>) -> Result<(), Fault> {
        if let Some(number) = Element::of(Node::Whole(archive.root())) {
            return self.put(array, number);
        }
        self.spill(array)?;
        self.copy_archive(archive)
    }

    /// A number as the next element.
    pub(in crate::value) fn put_cell(&mut self, array: &mut Array, cell: Cell) -> Result<(), Fault> {
        match cell.tag {
            tag::INT => self.put(array, Element::Int(cell.payload as i64)),
            tag::FLOAT => self.put(array, Element::Float(f64::from_bits(cell.payload))),
            _ => {
                self.spill(array)?;
                self.push(cell)
            }
        }
    }

    /// Copies of neighbouring elements of one array of `archive`; the caller sees to the depth.
    pub(in crate::value) fn copy_elements(&mut self, array: &mut Array, archive: Archive<'_>, elements: Elements<'_>) -> Result<(), Fault> {
        let form = match elements {
            Elements::Nodes(nodes) => {
                if array.form == Form::Cells || elements.iter().any(|node| Element::of(node).is_none()) {
                    self.spill(array)?;
                    return self.copy_nodes(archive, nodes);
                }
                Form::Cells
            }
            Elements::Bytes(_) => Form::Bytes,
            Elements::Ints(_) => Form::Ints,
            Elements::Floats(_) => Form::Floats,
        };
        if elements.is_empty() {
            return Ok(());
        }
        match array.form {
            Form::Empty if form != Form::Cells => (array.form, array.start) = (form, self.position()),
            Form::Bytes if form == Form::Ints => self.widen(array)?,
            _ => (),
        }
        if array.form == form && form != Form::Cells {
            let start = archive.position_of_elements(elements);
            return self.append(&archive.as_bytes()[start..start + elements.len() * form.width()]);
        }
        elements.iter().filter_map(Element::of).try_for_each(|element| self.put(array, element))
    }
}

impl Archive<'_> {
    fn position_of_elements(self, elements: Elements<'_>) -> usize {
        match elements {
            Elements::Nodes(elements) => self.position_of(elements),
            Elements::Bytes(elements) => self.position_of(elements),
            Elements::Ints(elements) => self.position_of(elements),
            Elements::Floats(elements) => self.position_of(elements),
        }
    }
}
