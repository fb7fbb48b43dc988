//! The tracker: a pod of tasks, for programs that do many of them and go on where they were left off, alone or as pools of
//! workers.

mod claim;
mod convert;
mod progress;
mod seed;
mod todo;
mod transaction;
mod upkeep;
mod work;

pub use claim::{Claim, Retry};
pub use progress::Progress;
pub use todo::{TaskItems, TaskKeys, TaskValues, Todo};
pub use transaction::TrackerTxn;
pub use upkeep::{ClaimInfo, Failure};
pub use work::{Next, Work};

use crate::error::Result;
use crate::pod::{Options, Pod, nanoseconds};
use crate::segment::counters::Counters;
use crate::store::core::settings::{Settings, StoreKind, require_delays};
use crate::value::{Archive, Task};
use std::ops::Deref;
use std::path::Path;
use std::time::Duration;

/// A pod whose values are tasks: objects with `_tries`, `_done`, `_aborted`, and fields of your own. All calls of [`Pod`] work too. A value
/// that is not a task is refused, and the counters stay right, whichever handle writes.
///
/// | Field | Meaning | If it is missing |
/// |---|---|---|
/// | `_tries` | how often the task was tried | 0 |
/// | `_done`, `_aborted` | whether it is done, or aborted | `false` |
/// | `_priority` | a number; tasks with a higher one are claimed first | 0 |
/// | `_not_before` | seconds since 1970; the task is not claimed before | now |
/// | `_error` | why the task last went back | none |
///
/// ```
/// let dir = tempfile::tempdir()?;
/// use tastypod::Tracker;
/// let tracker = Tracker::open(dir.path().join("urls.tracker"))?;
/// tracker.add_if_absent("https://example.org/")?;
/// for url in tracker.try_keys() {              // counts a try; tasks that are added meanwhile come up too
///     let url = url?;
///     tracker.mark_done(&url)?;
/// }
/// assert_eq!(tracker.percent_done(1), "100.0 %");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// With several workers, in any number of processes, use [`work`](Tracker::work) or [`claim`](Tracker::claim). Each task is given to one of
/// them:
///
/// ```
/// let dir = tempfile::tempdir()?;
/// let tracker = tastypod::Tracker::open(dir.path().join("squares.tracker"))?;
/// tracker.add_many(1..=100)?;
/// for claim in tracker.work() {
///     let claim = claim?;
///     let number = claim.key().as_i64().unwrap();
///     claim.done_with(serde_json::json!({"square": number * number}))?;
/// }
/// assert_eq!(tracker.num_done(), 100);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Tracker {
    pod: Pod,
}

impl Deref for Tracker {
    type Target = Pod;

    fn deref(&self) -> &Pod {
        &self.pod
    }
}

impl Options {
    /// Opens the tracker at `path`. If there is none, it is made, with the directories above it. A pod becomes a tracker if it is empty or all
    /// its values have the flags already, unless it is opened read-only.
    ///
    /// # Errors
    /// `WrongKind` for a pod with other values, and the errors of [`Options::open`]: `NotFound`, `Conflict`, `InvalidValue`, `VersionMismatch`,
    /// `ForeignState`, `UnsupportedFilesystem`, `Integrity`, `LockTimeout`, `Full`, `Io`.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let tracker = tastypod::Options::new().max_tries(3).open_tracker(dir.path().join("a.tracker"))?;
    /// assert_eq!(tracker.max_tries(), 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open_tracker(mut self, path: impl AsRef<Path>) -> Result<Tracker> {
        // A handle that may not write makes nothing of a pod, whatever other handles of this process may.
        if !self.read_only {
            self.wanted.kind = Some(StoreKind::Tracker);
        }
        let pod = self.open(path)?;
        Tracker::of(pod)
    }
}

/// `34.70 %`, as tastypy formats it.
fn percent(fraction: f64, decimals: usize) -> String {
    format!("{:.decimals$} %", 100.0 * fraction)
}

impl Tracker {
    /// Opens the tracker at `path` with default options, or makes one there. See [`Options::open_tracker`].
    ///
    /// # Errors
    /// See [`Options::open_tracker`].
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
    /// tracker.add("task")?;
    /// assert_eq!(tracker.raw_json("task")?.unwrap(), r#"{"_tries":0,"_done":false,"_aborted":false}"#);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(path: impl AsRef<Path>) -> Result<Tracker> {
        Options::new().open_tracker(path)
    }

    fn of(pod: Pod) -> Result<Tracker> {
        pod.shared.enter()?;
        if pod.shared.is_tracker() { Ok(Tracker { pod }) } else { Err(pod.shared.no_tracker()) }
    }

    /// The same store as a pod.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
    /// tracker.add("task")?;
    /// assert_eq!(tracker.pod().len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pod(&self) -> &Pod {
        &self.pod
    }

    /// Gives up this handle, as [`Pod::close`] does, and reports errors.
    ///
    /// # Errors
    /// `StoreRemoved`, `ChangedOnDisk`, `Full`, `Io`, `LockTimeout`.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
    /// tracker.add("task")?;
    /// tracker.close()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn close(self) -> Result<()> {
        self.pod.close()
    }

    fn counters(&self) -> Counters {
        self.pod.shared.counters().unwrap_or_default()
    }

    /// The counts that this thread sees, those of its transaction in hand included.
    fn counters_in_hand(&self) -> Counters {
        let mut counters = self.counters();
        let mut count = |value: Option<Archive<'_>>, by: i64| {
            let Some(task) = value.map(|value| Task::of(value.node()).unwrap_or_default()) else { return };
            let Counters { length, done, tried, aborted, .. } = &mut counters;
            for (count, is_counted) in [(length, true), (done, task.done), (tried, task.tries > 0), (aborted, task.aborted)] {
                *count = count.wrapping_add_signed(if is_counted { by } else { 0 });
            }
        };
        self.pod.look_in_hand(|transaction| {
            transaction.changes().try_for_each(|change| {
                let (before, after) = change?;
                count(before.as_ref().map(Archive::of), -1);
                count(after, 1);
                Ok(())
            })
        });
        counters
    }

    fn fraction(&self, count: impl FnOnce(&Counters) -> u64) -> f64 {
        let counters = self.counters_in_hand();
        if counters.length == 0 { 0.0 } else { count(&counters) as f64 / counters.length as f64 }
    }

    /// How often a task may be tried. 0 means without limit.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
    /// assert_eq!(tracker.max_tries(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn max_tries(&self) -> u64 {
        self.pod.shared.control.tasks.max_tries.load(crate::sys::atomic::Ordering::Relaxed)
    }

    /// Changes how often a task may be tried, permanently and for all processes. It looks at every task.
    ///
    /// # Errors
    /// `LockTimeout`, `Full`, `ReadOnly`, `Reentrant`.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
    /// tracker.set_max_tries(1)?;
    /// tracker.add("task")?;
    /// assert!(tracker.should_try("task")?);
    /// assert!(!tracker.should_try("task")?);
    /// tracker.set_max_tries(2)?;
    /// assert!(tracker.should_try("task")?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_max_tries(&self, tries: u64) -> Result<()> {
        self.pod.require_writable()?;
        if let Some(origin) = self.pod.origin() {
            origin.store.set_max_tries(origin.writing, tries)?;
        }
        self.pod.shared.set_max_tries(self.pod.options.writing(), tries)
    }

    /// How long a claim lasts without a heartbeat. `None`: as long as its process lives.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
    /// assert_eq!(tracker.lease(), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn lease(&self) -> Option<Duration> {
        let nanoseconds = self.pod.shared.control.tasks.lease_nanoseconds.get();
        (nanoseconds > 0).then(|| Duration::from_nanos(nanoseconds))
    }

    /// Changes how long a claim lasts without a heartbeat, permanently and for all processes. `None`: as long as its process lives. Claims that
    /// are held now keep their lease until their next heartbeat.
    ///
    /// # Errors
    /// `LockTimeout`, `Full`, `ReadOnly`, `Reentrant`.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
    /// tracker.set_lease(Some(std::time::Duration::from_secs(60)))?;
    /// tracker.add("task")?;
    /// assert_eq!(tracker.lease(), Some(std::time::Duration::from_secs(60)));
    /// let claim = tracker.claim()?.unwrap();
    /// assert!(tracker.claims()?[0].lease_left.is_some());
    /// claim.done()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_lease(&self, lease: Option<Duration>) -> Result<()> {
        self.change_settings(|settings| Settings { lease_nanoseconds: lease.map(nanoseconds), ..settings })
    }

    /// Changes how long a task waits after its n-th failure, permanently and for all processes: `(first, factor, longest)` as in
    /// [`Options::backoff`]. `None`: it does not wait.
    ///
    /// # Errors
    /// `InvalidValue` for a factor that is negative or not finite; `LockTimeout`, `Full`, `ReadOnly`, `Reentrant`.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
    /// use std::time::Duration;
    /// tracker.set_backoff(Some((Duration::from_secs(60), 2.0, Duration::from_secs(600))))?;
    /// tracker.add("task")?;
    /// let retry = tracker.claim()?.unwrap().fail("later")?;
    /// assert_eq!(retry, tastypod::Retry::After(Duration::from_secs(60)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_backoff(&self, backoff: Option<(Duration, f64, Duration)>) -> Result<()> {
        let backoff = backoff.map(|(first, factor, longest)| (nanoseconds(first), factor, nanoseconds(longest)));
        require_delays(backoff)?;
        self.change_settings(|settings| Settings { backoff, ..settings })
    }

    fn change_settings(&self, change: impl FnOnce(Settings) -> Settings) -> Result<()> {
        self.pod.require_writable()?;
        self.pod.shared.enter()?;
        self.pod.shared.change_settings(self.pod.options.lock_timeout, |stored| change(stored.unwrap_or_default()))
    }
}

macro_rules! counted {
    ($($what:literal: $num:ident $fraction:ident $percent:ident $not:ident $field:ident $mark:ident;)*) => {
        impl Tracker {
            $(
                #[doc = concat!("How many tasks are ", $what, ".")]
                ///
                /// ```
                /// let dir = tempfile::tempdir()?;
                /// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
                /// tracker.add_many(["a", "b"])?;
                #[doc = concat!("tracker.", stringify!($mark), "(\"a\")?;")]
                #[doc = concat!("assert_eq!(tracker.", stringify!($num), "(), 1);")]
                /// # Ok::<(), Box<dyn std::error::Error>>(())
                /// ```
                pub fn $num(&self) -> usize {
                    self.counters_in_hand().$field as usize
                }

                #[doc = concat!("The fraction of tasks that are ", $what, ", from 0 to 1; 0 where there are none.")]
                ///
                /// ```
                /// let dir = tempfile::tempdir()?;
                /// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
                #[doc = concat!("assert_eq!(tracker.", stringify!($fraction), "(), 0.0);")]
                /// tracker.add_many(["a", "b"])?;
                #[doc = concat!("tracker.", stringify!($mark), "(\"a\")?;")]
                #[doc = concat!("assert_eq!(tracker.", stringify!($fraction), "(), 0.5);")]
                /// # Ok::<(), Box<dyn std::error::Error>>(())
                /// ```
                pub fn $fraction(&self) -> f64 {
                    self.fraction(|counters| counters.$field)
                }

                #[doc = concat!("The percentage of tasks that are ", $what, ", as text: `34.70 %` with 2 decimals.")]
                ///
                /// ```
                /// let dir = tempfile::tempdir()?;
                /// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
                /// tracker.add_many(["a", "b"])?;
                #[doc = concat!("tracker.", stringify!($mark), "(\"a\")?;")]
                #[doc = concat!("assert_eq!(tracker.", stringify!($percent), "(2), \"50.00 %\");")]
                /// # Ok::<(), Box<dyn std::error::Error>>(())
                /// ```
                pub fn $percent(&self, decimals: usize) -> String {
                    percent(self.$fraction(), decimals)
                }

                #[doc = concat!("The percentage of tasks that are not ", $what, ", as text.")]
                ///
                /// ```
                /// let dir = tempfile::tempdir()?;
                /// let tracker = tastypod::Tracker::open(dir.path().join("a.tracker"))?;
                /// tracker.add("a")?;
                #[doc = concat!("assert_eq!(tracker.", stringify!($not), "(0), \"100 %\");")]
                /// # Ok::<(), Box<dyn std::error::Error>>(())
                /// ```
                pub fn $not(&self, decimals: usize) -> String {
                    percent(1.0 - self.$fraction(), decimals)
                }
            )*
        }
    };
}

counted! {
    "done": num_done fraction_done percent_done percent_not_done done mark_done;
    "tried at least once": num_tried fraction_tried percent_tried percent_not_tried tried increment_tries;
    "aborted": num_aborted fraction_aborted percent_aborted percent_not_aborted aborted abort;
}
