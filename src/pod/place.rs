//! What a path can lead into, and what can be changed there: the compiler knows.

use crate::error::Result;
use crate::pod::target::{Hashed, Target};
use crate::pod::{Pod, Snapshot, Txn};
use crate::value::Archive;

/// What a path can lead into: [`Pod`], [`Txn`] and [`Snapshot`]. No other type can implement it.
///
/// ```
/// fn visits(place: tastypod::At<'_, impl tastypod::Readable>) -> tastypod::Result<u64> {
///     Ok(place.key("visits").get_as()?.unwrap_or(0))
/// }
/// let dir = tempfile::tempdir()?;
/// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
/// pod.set("k", tastypod::json!({"visits": 3}))?;
/// assert_eq!(visits(pod.at("k"))? + visits(pod.snapshot()?.at("k"))?, 6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Readable: sealed::Read {}

/// What can be changed at a path: [`Pod`] and [`Txn`]. No other type can implement it.
///
/// ```
/// fn visit(place: tastypod::At<'_, impl tastypod::Writable>) -> tastypod::Result<i64> {
///     place.or_insert(tastypod::json!({})).key("visits").add_i64(1)
/// }
/// let dir = tempfile::tempdir()?;
/// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
/// visit(pod.at("k"))?;
/// assert_eq!(pod.transaction(|txn| visit(txn.at("k")))?, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Writable: Readable + sealed::Write {}

pub(super) mod sealed {
    use super::{Archive, Hashed, Result, Snapshot, Target};

    /// Where reading goes.
    pub struct Reads<'a>(pub(super) Ground<'a>);

    pub(super) enum Ground<'a> {
        Target(Target<'a>),
        Snapshot(&'a Snapshot),
    }

    /// Where a change goes.
    pub struct Writes<'a>(pub(in crate::pod) Target<'a>);

    pub trait Read {
        fn seed(&self) -> u64;
        fn reads(&self) -> Result<Reads<'_>>;
    }

    pub trait Write {
        fn writes(&self) -> Result<Writes<'_>>;
    }

    impl Reads<'_> {
        #[inline]
        pub(in crate::pod) fn read<R>(&self, key: &Hashed, look: impl FnOnce(Option<Archive<'_>>) -> Result<R>) -> Result<R> {
            match &self.0 {
                Ground::Target(target) => target.read(key, look),
                Ground::Snapshot(snapshot) => snapshot.read_hashed(key, look),
            }
        }
    }
}

macro_rules! places {
    ($($type:ty)*) => {$(
        impl sealed::Read for $type {
            #[inline]
            fn seed(&self) -> u64 {
                self.seed()
            }

            #[inline]
            fn reads(&self) -> Result<sealed::Reads<'_>> {
                self.target().map(|target| sealed::Reads(sealed::Ground::Target(target)))
            }
        }

        impl sealed::Write for $type {
            #[inline]
            fn writes(&self) -> Result<sealed::Writes<'_>> {
                self.target().map(sealed::Writes)
            }
        }

        impl Readable for $type {}
        impl Writable for $type {}
    )*};
}
places!(Pod Txn);

impl sealed::Read for Snapshot {
    fn seed(&self) -> u64 {
        // Where it is closed, reading says so.
        self.instant.shared().map_or(0, |shared| shared.header.seed)
    }

    fn reads(&self) -> Result<sealed::Reads<'_>> {
        Ok(sealed::Reads(sealed::Ground::Snapshot(self)))
    }
}

impl Readable for Snapshot {}
