//! Edits that overwrite bytes in a copy of an archive: a part that points nowhere becomes another such part.

use crate::value::archive::archived::{Archive, ArchivedNode, tag};
use crate::value::archive::elements::Node;
use crate::value::writing::writer::Cell;

/// Copies a whole archive with one node overwritten. Where that would not be the archive that the writer makes, does nothing and
/// returns false. `container` is what the node is a part of.
#[inline]
pub(in crate::value) fn patch(archive: Archive<'_>, container: Option<Node<'_>>, node: Node<'_>, cell: Cell, out: &mut Vec<u8>) -> bool {
    let (tag, payload) = cell.parts();
    let is_byte = |value: i64| u8::try_from(value).is_ok();
    let (is_possible, position) = match node {
        Node::Whole(node) => {
            let (old, position) = (archive.cell_of(node), position(archive, node));
            // An array of nodes holds numbers of several kinds, or something else. It does so for certain if what comes is as what goes.
            let is_element = container.is_some_and(|container| matches!(container, Node::Whole(ArchivedNode::Array(_))));
            (old.stands_alone() && cell.stands_alone() && (!is_element || class(old) == class(cell)), position)
        }
        Node::Byte(byte) => (tag == tag::INT && is_byte(payload as i64), archive.position_of(std::slice::from_ref(byte))),
        // One of the others is no byte, or this one.
        Node::Int(old) => {
            let is_possible = tag == tag::INT && (is_byte(old.to_native()) || !is_byte(payload as i64));
            (is_possible, archive.position_of(std::slice::from_ref(old)))
        }
        Node::Float(old) => (tag == tag::FLOAT, archive.position_of(std::slice::from_ref(old))),
    };
    if is_possible {
        let base = out.len();
        out.extend_from_slice(archive.as_bytes());
        let place = &mut out[base + position..];
        match node {
            Node::Whole(_) => write(place, &cell.node_at(position)),
            Node::Byte(_) => write(place, &[payload as u8]),
            Node::Int(_) | Node::Float(_) => write(place, &payload.to_le_bytes()),
        }
    }
    is_possible
}

/// Overwrites a node in a copy of its archive.
#[inline]
pub(in crate::value) fn overwrite(copy: &mut [u8], archive: Archive<'_>, node: &ArchivedNode, cell: Cell) {
    let position = position(archive, node);
    write(&mut copy[position..], &cell.node_at(position));
}

fn position(archive: Archive<'_>, node: &ArchivedNode) -> usize {
    archive.position_of(std::slice::from_ref(node))
}

#[inline]
fn write(place: &mut [u8], bytes: &[u8]) {
    place[..bytes.len()].copy_from_slice(bytes);
}

/// What the form of an array asks of an element: arrays of one of the first two are packed.
fn class(cell: Cell) -> u8 {
    match cell.parts().0 {
        tag::INT => 0,
        tag::FLOAT => 1,
        _ => 2,
    }
}
