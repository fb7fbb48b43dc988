//! Edits of one value at a path: the old archive is read in place, and the new one is appended complete.
//!
//! What an edit does not touch is copied as bytes, so the digits of untouched numbers survive. An edit that replaces a part
//! which points nowhere (a number, a flag, text of at most eight bytes) by another such part copies the whole archive
//! and overwrites nine bytes of it.

use std::ops::{Bound, Range};

use hashbrown::HashMap;
use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};
use crate::value::archive::archived::{Archive, ArchivedEntry, SMALL_OBJECT, find_entry};
use crate::value::archive::elements::{Elements, Nodes};
use crate::value::archive::fault::Fault;
use crate::value::archive::number;
use crate::value::editing::patch::{overwrite, patch};
use crate::value::editing::sum::{Exact, Number, add, cell_of};
use crate::value::reading::node::{Node, Shape};
use crate::value::reading::path::{self, Containers, Found, Leaf, Step};
use crate::value::writing::array::Array;
use crate::value::writing::writer::{self, Begun, Cell, Writer};

/// What to do at the end of a path. Values come as archives: they are serialised before anything is locked.
pub(crate) enum Edit<'e> {
    /// Replaces the part, or adds it to the object (or array, for `-`) that has it not.
    Set(Archive<'e>),
    /// As `Set` where there is none.
    SetIfAbsent(Archive<'e>),
    /// Takes the part out. At the end of an empty path that is an error: remove the key instead.
    Remove,
    /// Adds to a number; an absent one counts as 0.
    Add(Number),
    /// Appends an element to an array; an absent one counts as empty.
    Push(Archive<'e>),
    /// Appends all elements of an array to an array; an absent one counts as empty.
    Extend(Archive<'e>),
    /// Inserts before the element of this index, which may be the length; negative ones count from the end.
    Insert(i64, Archive<'e>),
    /// Takes out the last element of an array, if there is one.
    Pop,
    /// Sets all entries of an object in an object.
    Merge(Archive<'e>),
    /// Replaces a range of an array by all elements of an array; negative bounds count from the end.
    Splice((Bound<i64>, Bound<i64>), Archive<'e>),
    /// Calls a closure once on the part, as a `serde_json::Value`. Its error is returned, and nothing is changed.
    Update(&'e mut dyn FnMut(&mut Value) -> Result<()>),
}

/// What an edit did.
#[derive(Default)]
pub(crate) struct Outcome<'a> {
    /// Whether the new archive was appended. If not, the value stays as it is.
    pub(crate) changed: bool,
    /// What was replaced or taken out, in the old archive.
    pub(crate) taken: Nodes<'a>,
    /// What `Add` made of the number.
    pub(crate) sum: Option<Number>,
}

/// Makes one edit at the end of `steps` and appends the new archive to `out`; on an error, or where nothing changes, `out`
/// stays as it is.
pub(crate) fn apply<'a>(archive: Archive<'a>, steps: &[Step], edit: Edit<'_>, out: &mut Vec<u8>) -> Result<Outcome<'a>> {
    if let Edit::Add(Number::Int(number)) = edit
        && let Some(sum) = count(archive, steps, number, out)
    {
        return Ok(Outcome { changed: true, taken: Nodes::default(), sum: Some(Number::Int(sum)) });
    }
    let Found { containers, leaf } = path::walk(archive.node(), steps)?;
    let place = Place { archive, containers, steps };
    match leaf {
        Leaf::Present(leaf) => place.edit(leaf, edit, out),
        Leaf::Absent => match edit {
            Edit::Remove => Ok(Outcome::default()),
            edit => {
                let (part, outcome) = create(steps, edit)?;
                place.add(part, out)?;
                Ok(outcome)
            }
        },
    }
}

/// Counters are what is edited most, so they have a way of their own: an integer plus an integer that is one as well.
/// `None`, and nothing done, for everything else.
#[inline]
fn count(archive: Archive<'_>, steps: &[Step], number: i64, out: &mut Vec<u8>) -> Option<i64> {
    let leaf = path::resolve(archive.node(), steps).ok()??;
    let sum = leaf.as_i64()?.checked_add(number)?;
    patch(archive, None, leaf, Cell::int(sum), out).then_some(sum)
}

/// What the edit makes where there is nothing yet.
fn create<'a, 'e>(steps: &[Step], edit: Edit<'e>) -> Result<(Part<'e>, Outcome<'a>)> {
    let mut outcome = Outcome { changed: true, ..Outcome::default() };
    let part = match edit {
        Edit::Set(value) | Edit::SetIfAbsent(value) => Part::Copy(value),
        Edit::Add(number) => {
            let sum = add(Exact::Whole(0), number.into()).map_err(|why| not_added(steps, why))?;
            outcome.sum = Some(sum);
            Part::Cell(cell_of(sum))
        }
        Edit::Push(value) => Part::Array(value),
        Edit::Extend(values) => {
            elements_of(values)?;
            Part::Copy(values)
        }
        Edit::Remove | Edit::Insert(..) | Edit::Pop | Edit::Merge(_) | Edit::Splice(..) | Edit::Update(_) => {
            let message = format!("there is nothing at {} to be changed; set makes it", path::place_of(steps));
            return Err(Error::new(ErrorKind::KeyNotFound, message));
        }
    };
    Ok((part, outcome))
}

/// What is written in place of a part, or between parts.
#[derive(Clone, Copy)]
enum Part<'e> {
    Cell(Cell),
    Copy(Archive<'e>),
    Value(&'e Value),
    /// An array of this one element.
    Array(Archive<'e>),
    /// All elements of this array.
    Spread(Archive<'e>),
    Nothing,
}

impl Part<'_> {
    /// Writes the part into the array, if it is one that has begun last.
    fn write(self, writer: &mut Writer<'_>, array: Option<&mut Array>) -> Result<(), Fault> {
        match (self, array) {
            (Part::Nothing, _) => Ok(()),
            (Part::Cell(cell), Some(array)) => writer.put_cell(array, cell),
            (Part::Cell(cell), None) => writer.push(cell),
            (Part::Copy(value), Some(array)) => writer.put_archive(array, value),
            (Part::Copy(value), None) => writer.copy_archive(value),
            (Part::Value(value), array) => {
                announce(writer, array)?;
                serde::Serialize::serialize(value, writer)
            }
            (Part::Array(value), array) => {
                announce(writer, array)?;
                let mut array = writer.begin_array()?;
                writer.put_archive(&mut array, value)?;
                writer.end_array(array)
            }
            (Part::Spread(values), array) => {
                writer.admit_parts(values)?;
                let (Some(array), Some(elements)) = (array, values.node().elements()) else { return Ok(()) };
                writer.copy_elements(array, values, elements)
            }
        }
    }

    /// The part as a node that can be written over another one.
    fn alone(self) -> Option<Cell> {
        let cell = match self {
            Part::Cell(cell) => cell,
            Part::Copy(value) => value.cell_of(value.root()),
            _ => return None,
        };
        cell.stands_alone().then_some(cell)
    }
}

/// Says to an array that something comes which is written as a cell.
fn announce(writer: &mut Writer<'_>, array: Option<&mut Array>) -> Result<(), Fault> {
    array.map_or(Ok(()), |array| writer.spill(array))
}

/// A container on the way that has begun.
enum Open {
    Array(Array),
    Object(Begun),
}

impl Open {
    fn as_array(&mut self) -> Option<&mut Array> {
        if let Open::Array(array) = self { Some(array) } else { None }
    }
}

/// The end of a path in an archive.
struct Place<'a, 's> {
    archive: Archive<'a>,
    containers: Containers<'a>,
    steps: &'s [Step],
}

impl<'a> Place<'a, '_> {
    /// Makes an edit of a part that is there.
    fn edit(&self, leaf: Node<'a>, edit: Edit<'_>, out: &mut Vec<u8>) -> Result<Outcome<'a>> {
        let leaf_only = || Nodes::One(Some(leaf));
        let changed = |taken| Ok(Outcome { changed: true, taken, sum: None });
        match edit {
            Edit::Set(value) => {
                self.replace(leaf, Part::Copy(value), out)?;
                changed(leaf_only())
            }
            Edit::SetIfAbsent(_) => Ok(Outcome::default()),
            Edit::Remove => {
                self.remove(out)?;
                changed(leaf_only())
            }
            Edit::Add(number) => {
                let sum = self.sum(leaf, number)?;
                self.replace(leaf, Part::Cell(cell_of(sum)), out)?;
                Ok(Outcome { changed: true, taken: Nodes::default(), sum: Some(sum) })
            }
            Edit::Push(value) => {
                let length = self.elements(leaf)?.len();
                changed(self.splice(leaf, length..length, Part::Copy(value), out)?)
            }
            Edit::Extend(values) => {
                let length = self.elements(leaf)?.len();
                if elements_of(values)?.is_empty() {
                    return Ok(Outcome::default());
                }
                changed(self.splice(leaf, length..length, Part::Spread(values), out)?)
            }
            Edit::Insert(index, value) => {
                let index = self.bound(index, self.elements(leaf)?.len())?;
                changed(self.splice(leaf, index..index, Part::Copy(value), out)?)
            }
            Edit::Pop => match self.elements(leaf)?.len() {
                0 => Ok(Outcome::default()),
                length => changed(self.splice(leaf, length - 1..length, Part::Nothing, out)?),
            },
            Edit::Splice(bounds, values) => {
                let range = self.range(bounds, self.elements(leaf)?.len())?;
                if elements_of(values)?.is_empty() && range.is_empty() {
                    return Ok(Outcome::default());
                }
                changed(self.splice(leaf, range, Part::Spread(values), out)?)
            }
            Edit::Merge(fields) => {
                let is_changed = self.merge(leaf, fields, out)?;
                Ok(Outcome { changed: is_changed, ..Outcome::default() })
            }
            Edit::Update(change) => {
                let mut value = leaf.to_value()?;
                change(&mut value)?;
                self.replace(leaf, Part::Value(&value), out)?;
                changed(leaf_only())
            }
        }
    }

    /// The elements of `leaf`, which must be an array.
    fn elements(&self, leaf: Node<'a>) -> Result<Elements<'a>> {
        leaf.elements().ok_or_else(|| path::mismatch(self.steps, "an array", leaf))
    }

    /// Writes the whole value with `part` in the place of `leaf`.
    fn replace(&self, leaf: Node<'a>, part: Part<'_>, out: &mut Vec<u8>) -> Result<()> {
        if let Some(cell) = part.alone()
            && patch(self.archive, self.containers.last().map(|(container, _)| *container), leaf, cell, out)
        {
            return Ok(());
        }
        self.add(part, out)
    }

    /// Writes the whole value with `part` at the end of the path, in the innermost container.
    fn add(&self, part: Part<'_>, out: &mut Vec<u8>) -> Result<()> {
        Ok(writer::write(out, |writer| self.rebuild(writer, true, |writer, array| part.write(writer, array)))?)
    }

    /// Writes the whole value without the part at the end of the path.
    fn remove(&self, out: &mut Vec<u8>) -> Result<()> {
        if self.containers.is_empty() {
            return Err(Error::new(ErrorKind::Other, "a value cannot be removed from itself; remove its key"));
        }
        Ok(writer::write(out, |writer| self.rebuild(writer, false, |_, _| Ok(())))?)
    }

    /// Writes the whole value, calling `body` for what stands at the end of the path, with the array that it is an element of. In an object its
    /// key is written as well if `with_key`.
    fn rebuild(
        &self,
        writer: &mut Writer<'_>,
        with_key: bool,
        body: impl FnOnce(&mut Writer<'_>, Option<&mut Array>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut open = smallvec::SmallVec::<[Open; 4]>::new();
        for (depth, (container, index)) in self.containers.iter().enumerate() {
            announce(writer, open.last_mut().and_then(Open::as_array))?;
            if let Some(elements) = container.elements() {
                let mut array = writer.begin_array()?;
                writer.copy_elements(&mut array, self.archive, elements.range(0..*index))?;
                open.push(Open::Array(array));
            } else if let Shape::Object(entries) = container.shape() {
                open.push(Open::Object(writer.begin()?));
                writer.copy_entries(self.archive, &entries[..*index])?;
                if with_key || depth + 1 < self.containers.len() {
                    writer.text(path::key_of(&self.steps[depth]))?;
                }
            }
        }
        body(writer, open.last_mut().and_then(Open::as_array))?;
        for ((container, index), open) in self.containers.iter().zip(open).rev() {
            let after = container.len().min(index + 1);
            match (open, container.shape()) {
                (Open::Array(mut array), Shape::Array(elements)) => {
                    writer.copy_elements(&mut array, self.archive, elements.range(after..elements.len()))?;
                    writer.end_array(array)?;
                }
                (Open::Object(begun), Shape::Object(entries)) => {
                    writer.copy_entries(self.archive, &entries[after..])?;
                    writer.end_object(begun)?;
                }
                _ => (),
            }
        }
        Ok(())
    }

    /// Writes the whole value with a range of the elements of `leaf` replaced; returns those.
    fn splice(&self, leaf: Node<'a>, range: Range<usize>, part: Part<'_>, out: &mut Vec<u8>) -> Result<Nodes<'a>> {
        let elements = self.elements(leaf)?;
        writer::write(out, |writer| {
            self.rebuild(writer, true, |writer, outer| {
                announce(writer, outer)?;
                let mut array = writer.begin_array()?;
                writer.copy_elements(&mut array, self.archive, elements.range(0..range.start))?;
                part.write(writer, Some(&mut array))?;
                writer.copy_elements(&mut array, self.archive, elements.range(range.end..elements.len()))?;
                writer.end_array(array)
            })
        })?;
        Ok(elements.range(range).iter())
    }

    /// The place between elements that `index` means: up to the length, negative ones from the end.
    fn bound(&self, index: i64, length: usize) -> Result<usize> {
        let from_start = if index < 0 { i128::from(index) + length as i128 } else { i128::from(index) };
        usize::try_from(from_start).ok().filter(|index| *index <= length).ok_or_else(|| {
            let (place, elements) = (path::place_of(self.steps), if length == 1 { "element" } else { "elements" });
            Error::new(ErrorKind::KeyNotFound, format!("{place} has {length} {elements}, and no place {index}"))
        })
    }

    fn range(&self, (start, end): (Bound<i64>, Bound<i64>), length: usize) -> Result<Range<usize>> {
        // After an element means before the next one, also for the last one counted from the end.
        let after = |index: i64| if index == -1 { Ok(length) } else { self.bound(index.saturating_add(1), length) };
        let start = match start {
            Bound::Unbounded => 0,
            Bound::Included(index) => self.bound(index, length)?,
            Bound::Excluded(index) => after(index)?,
        };
        let end = match end {
            Bound::Unbounded => length,
            Bound::Included(index) => after(index)?,
            Bound::Excluded(index) => self.bound(index, length)?,
        };
        Ok(start..end.max(start))
    }

    /// Writes the whole value with the entries of `fields` set in `leaf`; returns whether there were any.
    fn merge(&self, leaf: Node<'a>, fields: Archive<'_>, out: &mut Vec<u8>) -> Result<bool> {
        let Shape::Object(old) = leaf.shape() else {
            return Err(path::mismatch(self.steps, "an object", leaf));
        };
        let Shape::Object(new) = fields.node().shape() else {
            return Err(path::mismatch(&[], "an object", fields.node()));
        };
        if new.is_empty() || self.merge_in_place(old, fields, new, out) {
            return Ok(!new.is_empty());
        }
        let places = Places::of(old);
        let found: Vec<_> = new.iter().map(|field| places.find(field.key())).collect();
        // What replaces each of the old entries.
        let mut replacements = vec![None; old.len()];
        for (index, place) in found.iter().enumerate() {
            if let Some(place) = place {
                replacements[*place] = Some(index);
            }
        }
        writer::write(out, |writer| {
            self.rebuild(writer, true, |writer, outer| {
                announce(writer, outer)?;
                let begun = writer.begin()?;
                writer.admit_parts(fields)?;
                let mut copied = 0;
                for (place, replacement) in replacements.iter().enumerate() {
                    let Some(replacement) = *replacement else { continue };
                    writer.copy_entries(self.archive, &old[copied..place])?;
                    writer.copy_entries(fields, &new[replacement..=replacement])?;
                    copied = place + 1;
                }
                writer.copy_entries(self.archive, &old[copied..])?;
                for (field, place) in new.iter().zip(&found) {
                    if place.is_none() {
                        writer.copy_entries(fields, std::slice::from_ref(field))?;
                    }
                }
                writer.end_object(begun)
            })
        })?;
        Ok(true)
    }

    /// Copies the whole archive and overwrites the entries of `new` in it; undone, and false, where that cannot be.
    fn merge_in_place(&self, old: &'a [ArchivedEntry], fields: Archive<'_>, new: &[ArchivedEntry], out: &mut Vec<u8>) -> bool {
        if old.len().max(new.len()) > SMALL_OBJECT {
            return false;
        }
        // What most often cannot be is found out before anything is copied.
        if !new.iter().all(|field| fields.cell_of(&field.value).stands_alone()) {
            return false;
        }
        let base = out.len();
        out.extend_from_slice(self.archive.as_bytes());
        let is_patched = new.iter().all(|field| {
            let Some(place) = find_entry(old, field.key()) else { return false };
            let (node, cell) = (&old[place].value, fields.cell_of(&field.value));
            let is_possible = self.archive.cell_of(node).stands_alone();
            if is_possible {
                overwrite(&mut out[base..], self.archive, node, cell);
            }
            is_possible
        });
        if !is_patched {
            out.truncate(base);
        }
        is_patched
    }

    fn sum(&self, leaf: Node<'a>, number: Number) -> Result<Number> {
        let old = match leaf.shape() {
            Shape::Int(value) => Exact::Whole(value.into()),
            Shape::Uint(value) => Exact::Whole(value.into()),
            Shape::Float(value) => Exact::Float(value),
            Shape::Number(digits) => match (digits.parse(), number::exact_float(digits)) {
                (Ok(value), _) => Exact::Whole(value),
                (_, Some(value)) => Exact::Float(value),
                _ => return Err(not_added(self.steps, "its digits would be rounded")),
            },
            _ => return Err(path::mismatch(self.steps, "a number", leaf)),
        };
        add(old, number.into()).map_err(|why| not_added(self.steps, why))
    }
}

/// Where the keys of an object are; an index only where that pays.
struct Places<'a> {
    entries: &'a [ArchivedEntry],
    by_key: Option<HashMap<&'a str, usize>>,
}

impl<'a> Places<'a> {
    fn of(entries: &'a [ArchivedEntry]) -> Places<'a> {
        let by_key =
            (entries.len() > 4 * SMALL_OBJECT).then(|| entries.iter().enumerate().map(|(index, entry)| (entry.key(), index)).collect());
        Places { entries, by_key }
    }

    fn find(&self, key: &str) -> Option<usize> {
        match &self.by_key {
            Some(by_key) => by_key.get(key).copied(),
            None => find_entry(self.entries, key),
        }
    }
}

/// The elements of what an edit brings, which must be an array.
fn elements_of(values: Archive<'_>) -> Result<Elements<'_>> {
    values.node().elements().ok_or_else(|| path::mismatch(&[], "an array of the values to add", values.node()))
}

#[cold]
fn not_added(steps: &[Step], why: impl std::fmt::Display) -> Error {
    let place = path::place_of(steps);
    Error::new(ErrorKind::InvalidValue, format!("cannot add to {place}: {why}; nothing was changed"))
}
