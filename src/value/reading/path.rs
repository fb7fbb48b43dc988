//! A path into one value: steps through objects and arrays, and JSON pointers (RFC 6901).

use compact_str::CompactString;
use smallvec::SmallVec;

use crate::error::{Error, ErrorKind, Result};
use crate::value::archive::archived::find_entry;
use crate::value::archive::fault::push_step;
use crate::value::reading::node::{Node, Shape, array_index};

/// One step from a value into a part of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    /// The value of a key of an object.
    Key(CompactString),
    /// An element of an array; a negative index counts from the end.
    Index(i64),
    /// A step of a JSON pointer: a key when it meets an object, an index when it meets an array, where `-` means the place
    /// after the last element.
    Token(CompactString),
}

/// Takes apart a JSON pointer: empty for the whole value, else steps that begin with `/`, in which `~1` stands for `/`
/// and `~0` for `~`.
pub(crate) fn parse_pointer(pointer: &str) -> Result<Vec<Step>> {
    let malformed = |what: &str| {
        Error::new(
            ErrorKind::InvalidValue,
            format!("{pointer:?} is not a JSON pointer: {what}; write \"\" for the whole value or \"/a/0\""),
        )
    };
    if pointer.is_empty() {
        return Ok(Vec::new());
    }
    let Some(steps) = pointer.strip_prefix('/') else {
        return Err(malformed("it does not begin with /"));
    };
    let parse = |step: &str| {
        if step.replace("~0", "").replace("~1", "").contains('~') {
            return Err(malformed("~ is followed by neither 0 nor 1"));
        }
        Ok(Step::Token(step.replace("~1", "/").replace("~0", "~").into()))
    };
    steps.split('/').map(parse).collect()
}

/// The JSON pointer of a path, for messages.
pub(crate) fn pointer_of(steps: &[Step]) -> String {
    let mut pointer = String::new();
    for step in steps {
        match step {
            Step::Key(key) => push_step(&mut pointer, key),
            Step::Index(index) => push_step(&mut pointer, &index.to_string()),
            Step::Token(token) => push_step(&mut pointer, token),
        }
    }
    pointer
}

/// Where a path leads, for messages: a path of no steps is the value itself.
pub(crate) fn place_of(steps: &[Step]) -> String {
    if steps.is_empty() { "the value".to_owned() } else { format!("{} in the value", pointer_of(steps)) }
}

/// The part of `root` that the steps lead to, or `None` where a key or an index is absent. A step into what has no parts,
/// or parts of another sort, is a `TypeMismatch`.
pub(crate) fn resolve<'a>(root: Node<'a>, steps: &[Step]) -> Result<Option<Node<'a>>> {
    let mut node = root;
    for (depth, step) in steps.iter().enumerate() {
        match take_step(node, step).ok_or_else(|| impassable(node, steps, depth))? {
            Taken::Part(_, part) => node = part,
            Taken::Absent | Taken::End => return Ok(None),
        }
    }
    Ok(Some(node))
}

/// A walk that ended at a part.
pub(in crate::value) struct Found<'a> {
    pub(in crate::value) containers: Containers<'a>,
    pub(in crate::value) leaf: Leaf<'a>,
}

/// The arrays and objects on the way, and which of their parts the way goes through.
pub(in crate::value) type Containers<'a> = SmallVec<[(Node<'a>, usize); 8]>;

pub(in crate::value) enum Leaf<'a> {
    Present(Node<'a>),
    /// The last of the containers has no such part, but could get it there: a key of an object, or the place after the last
    /// element of an array.
    Absent,
}

/// Like [`resolve`], remembering the way. An absent container is `KeyNotFound`; so is an index outside of its array.
pub(in crate::value) fn walk<'a>(root: Node<'a>, steps: &[Step]) -> Result<Found<'a>> {
    let mut containers = Containers::new();
    let mut node = root;
    for (depth, step) in steps.iter().enumerate() {
        let is_leaf = depth + 1 == steps.len();
        match take_step(node, step).ok_or_else(|| impassable(node, steps, depth))? {
            Taken::Part(index, part) => {
                containers.push((node, index));
                node = part;
            }
            Taken::End if is_leaf => {
                containers.push((node, node.len()));
                return Ok(Found { containers, leaf: Leaf::Absent });
            }
            Taken::Absent => return Err(outside(steps, depth, node.len())),
            Taken::End => return Err(absent(steps, depth)),
        }
    }
    Ok(Found { containers, leaf: Leaf::Present(node) })
}

/// Where a step leads.
enum Taken<'a> {
    Part(usize, Node<'a>),
    /// Nowhere, but a part could be added there at the end.
    End,
    Absent,
}

/// `None` if `node` has no parts, or not of this sort.
#[inline]
fn take_step<'a>(node: Node<'a>, step: &Step) -> Option<Taken<'a>> {
    match (node.shape(), step) {
        (Shape::Object(entries), Step::Key(_) | Step::Token(_)) => {
            let found = find_entry(entries, key_of(step));
            Some(found.map_or(Taken::End, |index| Taken::Part(index, Node::Whole(&entries[index].value))))
        }
        (Shape::Array(elements), Step::Index(_) | Step::Token(_)) => {
            let index = match step {
                Step::Index(index) => *index,
                Step::Token(token) if **token == *"-" => return Some(Taken::End),
                step => index_token(key_of(step))?,
            };
            let part = array_index(index, elements.len()).and_then(|index| Some(Taken::Part(index, elements.get(index)?)));
            Some(part.unwrap_or(Taken::Absent))
        }
        _ => None,
    }
}

/// The key that a step names in an object.
pub(in crate::value) fn key_of(step: &Step) -> &str {
    match step {
        Step::Key(key) => key,
        Step::Token(token) => token,
        Step::Index(_) => "",
    }
}

/// The index that a step of a pointer spells: digits without leading zeros.
fn index_token(token: &str) -> Option<i64> {
    let is_index = token == "0" || (!token.starts_with('0') && !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_digit()));
    // An index beyond 64 bits is absent from every array.
    is_index.then(|| token.parse().unwrap_or(i64::MAX))
}

#[cold]
fn impassable(node: Node<'_>, steps: &[Step], depth: usize) -> Error {
    let expected = match &steps[depth] {
        Step::Key(_) => "an object",
        Step::Index(_) => "an array",
        Step::Token(_) if node.is_array() => "an object",
        Step::Token(_) => "an array or object",
    };
    mismatch(&steps[..depth], expected, node)
}

/// The error for a part that has another type than the call needs.
#[cold]
pub(in crate::value) fn mismatch(steps: &[Step], expected: &'static str, node: Node<'_>) -> Error {
    let found = node.kind_name();
    let message = format!("{} is {found}, but the call needs {expected}", place_of(steps));
    Error::new(ErrorKind::TypeMismatch { path: pointer_of(steps), expected, found }, message)
}

/// The error for an index outside of its array.
#[cold]
fn outside(steps: &[Step], depth: usize, length: usize) -> Error {
    let (place, elements) = (place_of(&steps[..depth]), if length == 1 { "element" } else { "elements" });
    let index = pointer_of(&steps[depth..=depth]);
    let message = format!("{place} has {length} {elements}, and none at index {}; push and insert add to it", &index[1..]);
    Error::new(ErrorKind::KeyNotFound, message)
}

/// The error for a step on the way that leads nowhere.
#[cold]
fn absent(steps: &[Step], depth: usize) -> Error {
    let path = pointer_of(&steps[..=depth]);
    Error::new(
        ErrorKind::KeyNotFound,
        format!("the value has nothing at {path}, and a path makes only its last step; set {path} to an object or array first"),
    )
}
