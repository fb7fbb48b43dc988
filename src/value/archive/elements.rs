//! What an archive consists of, in place: nodes, and the elements of arrays in whichever form they stand.

use rkyv::rend::unaligned::{f64_ule, i64_ule};

use std::ops::Range;

use crate::value::archive::archived::ArchivedNode;

/// One value inside an archive, or the whole of it; as cheap to copy as a reference.
///
/// Equality is that of JSON values, see [`eq_node`](Node::eq_node).
#[derive(Clone, Copy)]
pub(crate) enum Node<'a> {
    Whole(&'a ArchivedNode),
    /// The elements of packed arrays.
    Byte(&'a u8),
    Int(&'a i64_ule),
    Float(&'a f64_ule),
}

/// Neighbouring elements of an array, as they stand in the archive.
#[derive(Clone, Copy)]
pub(in crate::value) enum Elements<'a> {
    Nodes(&'a [ArchivedNode]),
    Bytes(&'a [u8]),
    Ints(&'a [i64_ule]),
    Floats(&'a [f64_ule]),
}

impl<'a> Elements<'a> {
    /// The elements of a node; `None` if it is no array.
    #[inline]
    pub(in crate::value) fn of(node: &'a ArchivedNode) -> Option<Elements<'a>> {
        match node {
            ArchivedNode::Array(elements) => Some(Elements::Nodes(elements.as_slice())),
            ArchivedNode::Bytes(elements) => Some(Elements::Bytes(elements.as_slice())),
            ArchivedNode::Ints(elements) => Some(Elements::Ints(elements.as_slice())),
            ArchivedNode::Floats(elements) => Some(Elements::Floats(elements.as_slice())),
            _ => None,
        }
    }

    #[inline]
    pub(in crate::value) fn len(self) -> usize {
        match self {
            Elements::Nodes(elements) => elements.len(),
            Elements::Bytes(elements) => elements.len(),
            Elements::Ints(elements) => elements.len(),
            Elements::Floats(elements) => elements.len(),
        }
    }

    pub(in crate::value) fn is_empty(self) -> bool {
        self.len() == 0
    }

    #[inline]
    pub(in crate::value) fn get(self, index: usize) -> Option<Node<'a>> {
        match self {
            Elements::Nodes(elements) => elements.get(index).map(Node::Whole),
            Elements::Bytes(elements) => elements.get(index).map(Node::Byte),
            Elements::Ints(elements) => elements.get(index).map(Node::Int),
            Elements::Floats(elements) => elements.get(index).map(Node::Float),
        }
    }

    /// The elements of a range, which lies inside.
    pub(in crate::value) fn range(self, range: Range<usize>) -> Elements<'a> {
        match self {
            Elements::Nodes(elements) => Elements::Nodes(&elements[range]),
            Elements::Bytes(elements) => Elements::Bytes(&elements[range]),
            Elements::Ints(elements) => Elements::Ints(&elements[range]),
            Elements::Floats(elements) => Elements::Floats(&elements[range]),
        }
    }

    pub(in crate::value) fn iter(self) -> Nodes<'a> {
        match self {
            Elements::Nodes(elements) => Nodes::Whole(elements.iter()),
            Elements::Bytes(elements) => Nodes::Bytes(elements.iter()),
            Elements::Ints(elements) => Nodes::Ints(elements.iter()),
            Elements::Floats(elements) => Nodes::Floats(elements.iter()),
        }
    }
}

/// Neighbouring elements of an array, one after the other.
#[derive(Clone)]
pub(crate) enum Nodes<'a> {
    Whole(std::slice::Iter<'a, ArchivedNode>),
    Bytes(std::slice::Iter<'a, u8>),
    Ints(std::slice::Iter<'a, i64_ule>),
    Floats(std::slice::Iter<'a, f64_ule>),
    /// A single node, which may itself be an element of a packed array.
    One(Option<Node<'a>>),
}

impl Default for Nodes<'_> {
    fn default() -> Self {
        Nodes::One(None)
    }
}

impl<'a> Iterator for Nodes<'a> {
    type Item = Node<'a>;

    #[inline]
    fn next(&mut self) -> Option<Node<'a>> {
        match self {
            Nodes::Whole(elements) => elements.next().map(Node::Whole),
            Nodes::Bytes(elements) => elements.next().map(Node::Byte),
            Nodes::Ints(elements) => elements.next().map(Node::Int),
            Nodes::Floats(elements) => elements.next().map(Node::Float),
            Nodes::One(node) => node.take(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self {
            Nodes::Whole(elements) => elements.size_hint(),
            Nodes::Bytes(elements) => elements.size_hint(),
            Nodes::Ints(elements) => elements.size_hint(),
            Nodes::Floats(elements) => elements.size_hint(),
            Nodes::One(node) => (usize::from(node.is_some()), Some(usize::from(node.is_some()))),
        }
    }
}

impl DoubleEndedIterator for Nodes<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        match self {
            Nodes::Whole(elements) => elements.next_back().map(Node::Whole),
            Nodes::Bytes(elements) => elements.next_back().map(Node::Byte),
            Nodes::Ints(elements) => elements.next_back().map(Node::Int),
            Nodes::Floats(elements) => elements.next_back().map(Node::Float),
            Nodes::One(node) => node.take(),
        }
    }
}

impl ExactSizeIterator for Nodes<'_> {}
