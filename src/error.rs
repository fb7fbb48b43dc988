//! The one public error: a kind to match on, and a message that says what, where, and what to do next.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// The result of every call that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong. Match on [`Error::kind`]; the text of an error is for people and may change.
///
/// ```
/// let dir = tempfile::tempdir()?;
/// use tastypod::{ErrorKind, Pod};
/// let pod = Pod::open(dir.path().join("a.pod"))?;
/// let error = pod.update("absent", |_value| ()).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::KeyNotFound);
/// assert!(error.to_string().contains("absent"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    /// It ends in the text of the cause.
    message: String,
    cause: Option<Cause>,
}

/// An error of another library or of the caller.
type Cause = Box<dyn std::error::Error + Send + Sync>;

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.message)
    }
}

/// What `main` prints when it returns an error.
impl std::fmt::Debug for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Error");
        shown.field("kind", &self.0.kind).field("message", &self.0.message);
        if let Some(cause) = &self.0.cause {
            shown.field("cause", cause);
        }
        shown.finish()
    }
}

impl std::error::Error for Error {
    /// What caused the error that [`get_ref`](Error::get_ref) gives, whose own text is part of this one's: whoever prints a chain of errors prints
    /// each text once. `std::io::Error` does the same.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.cause.as_ref().and_then(|cause| cause.source())
    }
}

/// The kinds of [`Error`].
///
/// ```
/// use tastypod::{Error, ErrorKind};
/// assert_eq!(Error::other("my own reason").kind(), ErrorKind::Other);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The key to be added exists already.
    DuplicateKey,
    /// The key does not exist, or a step of a path into its value does not.
    KeyNotFound,
    /// There is no store at the path, and with [`create(false)`](crate::Options::create) or [`read_only`](crate::Options::read_only) none is made.
    NotFound,
    /// The key cannot be stored: a float, bool or null, or too long.
    InvalidKey,
    /// The value cannot be stored, or the wanted type cannot hold it without loss, or a sum overflows.
    InvalidValue,
    /// The value at a path does not have the type that the call needs.
    TypeMismatch {
        /// Where in the value, as a JSON pointer; empty for the whole value.
        path: String,
        /// What the call needs.
        expected: &'static str,
        /// What stands there.
        found: &'static str,
    },
    /// Stored bytes contradict themselves. Nothing was changed.
    Integrity {
        /// The damaged file.
        path: PathBuf,
        /// The line in a text file (from 1), or the byte offset in a binary one.
        line: u64,
        /// What is wrong there.
        what: String,
    },
    /// The request contradicts what is stored, or what somebody else changed meanwhile.
    Conflict,
    /// The store holds another kind of data than the call needs, or the path leads to a file or to a directory of something else.
    WrongKind,
    /// Somebody held a lock for longer than [`Options::lock_timeout`](crate::Options::lock_timeout).
    LockTimeout {
        /// Who holds it.
        owner: Owner,
        /// How long the owner had held it when the call gave up.
        since: Duration,
    },
    /// A call on a store inside a transaction or closure that holds the lock of the same store. Use the closure's argument instead.
    Reentrant,
    /// The disk, the quota, the address space or a size limit is exhausted. Nothing was changed.
    Full,
    /// The store was opened read-only, or its files may not be written.
    ReadOnly,
    /// The store was written in a format that this version does not know.
    VersionMismatch,
    /// The store is in use by processes of another libc, machine or pid namespace.
    ForeignState,
    /// The directory was removed, moved or replaced while it was open. [`sync`](crate::Pod::sync), [`close`](crate::Pod::close),
    /// [`verify`](crate::Pod::verify) and [`snapshot`](crate::Pod::snapshot) notice a removal at once, a write within a few MiB of writes;
    /// until then calls work on what the processes still share. A directory that was only moved is noticed by `sync` and `close`.
    StoreRemoved,
    /// A file was edited while the store was open.
    ChangedOnDisk {
        /// The edited file.
        path: PathBuf,
    },
    /// A claim's lease ran out and somebody else took the task.
    LeaseLost,
    /// The file system does not keep memory mappings coherent between processes, or cannot lock.
    UnsupportedFilesystem,
    /// The handle, guard, transaction or snapshot is no longer usable, for instance in a child made by fork.
    Closed,
    /// An operation of the operating system failed.
    Io,
    /// Anything else, and your own errors made with [`Error::other`].
    Other,
}

/// A process named in a message: who holds a lock, and since when it runs.
///
/// ```
/// use tastypod::Owner;
/// let owner = Owner { pid: 42, started: None, program: "worker".to_owned() };
/// assert_eq!(owner.to_string(), "process 42 (worker)");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Owner {
    /// Its process id.
    pub pid: u32,
    /// When it was started, where that is known.
    pub started: Option<SystemTime>,
    /// The name of its program, or `unknown`.
    pub program: String,
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {} ({})", self.pid, self.program)
    }
}

/// For functions that return `std::io::Result`. The kind is that of the failed system call, if there was one, else the nearest kind.
///
/// ```
/// let dir = tempfile::tempdir()?;
/// fn save(path: &std::path::Path) -> std::io::Result<()> {
///     tastypod::Pod::open(path)?.sync()?;
///     Ok(())
/// }
/// save(&dir.path().join("a.pod"))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl From<Error> for std::io::Error {
    fn from(error: Error) -> std::io::Error {
        use std::io::ErrorKind as Io;
        let of_system = error.get_ref().and_then(|cause| cause.downcast_ref::<std::io::Error>()).map(std::io::Error::kind);
        let kind = of_system.unwrap_or(match error.0.kind {
            ErrorKind::KeyNotFound | ErrorKind::NotFound | ErrorKind::StoreRemoved => Io::NotFound,
            ErrorKind::DuplicateKey => Io::AlreadyExists,
            ErrorKind::InvalidKey | ErrorKind::InvalidValue | ErrorKind::TypeMismatch { .. } => Io::InvalidInput,
            ErrorKind::Integrity { .. } | ErrorKind::VersionMismatch => Io::InvalidData,
            ErrorKind::LockTimeout { .. } => Io::TimedOut,
            ErrorKind::Full => Io::StorageFull,
            ErrorKind::ReadOnly => Io::ReadOnlyFilesystem,
            ErrorKind::UnsupportedFilesystem => Io::Unsupported,
            _ => Io::Other,
        });
        std::io::Error::new(kind, error)
    }
}

macro_rules! foreign {
    ($($type:ty)*) => {$(
        /// Becomes an [`Error::other`], so that `?` works on it in the closure of a transaction.
        impl From<$type> for Error {
            fn from(error: $type) -> Error {
                Error::other(error)
            }
        }
    )*};
}
foreign!(std::num::ParseIntError std::num::ParseFloatError std::str::ParseBoolError std::num::TryFromIntError std::str::Utf8Error);
foreign!(std::string::FromUtf8Error std::fmt::Error std::time::SystemTimeError serde_json::Error);

/// Becomes an [`Error::other`], so that `?` works on it in the closure of a transaction. Needs the feature `anyhow`.
///
/// `anyhow::bail!` and `anyhow::ensure!` return anyhow's error as it is: use them in [`Pod::try_transaction`](crate::Pod::try_transaction), and in
/// `transaction` write `Err(anyhow::anyhow!(…))?`.
#[cfg(feature = "anyhow")]
impl From<anyhow::Error> for Error {
    fn from(error: anyhow::Error) -> Error {
        if error.chain().next().is_some_and(|outermost| outermost.is::<Error>()) {
            return error.downcast::<Error>().unwrap_or_else(Error::other);
        }
        // With context around it, it has that for its text.
        let within = error.downcast_ref::<Error>().map(Error::kind);
        // `into` would hide its type.
        let mut made = Error::from(error.reallocate_into_boxed_dyn_error_without_backtrace());
        if let Some(kind) = within {
            made.0.kind = kind;
        }
        made
    }
}

/// Becomes an [`Error::other`], so that `?` works on it in the closure of a transaction. An error that was made of an `Error` becomes that one again.
impl From<Box<dyn std::error::Error + Send + Sync>> for Error {
    fn from(error: Box<dyn std::error::Error + Send + Sync>) -> Error {
        let of_system = |error: Cause| error.downcast::<std::io::Error>().map_or_else(Error::other, |error| Error::from(*error));
        error.downcast::<Error>().map_or_else(of_system, |error| *error)
    }
}

/// Becomes an [`Error::other`], so that `?` works on it in the closure of a transaction. An error that was made of an `Error` becomes that one again.
///
/// ```
/// let dir = tempfile::tempdir()?;
/// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
/// std::fs::write(dir.path().join("count"), "7")?;
/// let sum = pod.transaction(|txn| {
///     let count: u64 = std::fs::read_to_string(dir.path().join("count"))?.trim().parse()?;
///     txn.set("count", count)?;
///     Ok(count + 1)
/// })?;
/// assert_eq!(sum, 8);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Error {
        error.downcast::<Error>().unwrap_or_else(Error::other)
    }
}

impl Error {
    /// What went wrong, to match on.
    ///
    /// ```
    /// use tastypod::{Error, ErrorKind};
    /// assert_eq!(Error::other("stop").kind(), ErrorKind::Other);
    /// ```
    pub fn kind(&self) -> ErrorKind {
        self.0.kind.clone()
    }

    /// An error of your own. Return it from the closure of a transaction to roll the transaction back.
    ///
    /// ```
    /// use tastypod::Error;
    /// let error = Error::other("not enough money");
    /// assert_eq!(error.to_string(), "not enough money");
    /// ```
    pub fn other(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        let cause: Cause = reason.into();
        Error(Box::new(Inner { kind: ErrorKind::Other, message: cause.to_string(), cause: Some(cause) }))
    }

    /// The error that this one was made of: of the operating system, of another library, or your own.
    ///
    /// ```
    /// use std::num::ParseIntError;
    /// use tastypod::Error;
    /// let error = Error::from("x".parse::<i64>().unwrap_err());
    /// assert!(error.get_ref().is_some_and(|cause| cause.is::<ParseIntError>()));
    /// ```
    pub fn get_ref(&self) -> Option<&(dyn std::error::Error + Send + Sync + 'static)> {
        self.0.cause.as_deref()
    }

    /// The same, by value. Nothing if the error was not made of another.
    ///
    /// ```
    /// use tastypod::Error;
    /// #[derive(Debug, PartialEq)]
    /// struct TooFew(u32);
    /// impl std::fmt::Display for TooFew {
    ///     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
    ///         write!(f, "only {} are left", self.0)
    ///     }
    /// }
    /// impl std::error::Error for TooFew {}
    /// let error = Error::other(TooFew(3));
    /// assert_eq!(*error.into_inner().unwrap().downcast::<TooFew>().unwrap(), TooFew(3));
    /// ```
    pub fn into_inner(self) -> Option<Box<dyn std::error::Error + Send + Sync>> {
        self.0.cause
    }

    /// An error of `kind` with a message for people.
    #[cold]
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error(Box::new(Inner { kind, message: message.into(), cause: None }))
    }

    /// The same error, about something that is named.
    #[cold]
    pub(crate) fn about(mut self, what: impl std::fmt::Display) -> Error {
        self.0.message = format!("{what}: {}", self.0.message);
        self
    }

    /// An error of `kind` with a cause, whose text is appended to the message.
    #[cold]
    pub(crate) fn caused(kind: ErrorKind, message: impl Into<String>, cause: impl Into<Cause>) -> Error {
        let cause: Cause = cause.into();
        Error(Box::new(Inner { kind, message: format!("{}: {cause}", message.into()), cause: Some(cause) }))
    }

    /// The same error under the name that a directory has for people.
    pub(crate) fn renamed(mut self, from: &std::path::Path, to: &std::path::Path) -> Error {
        let inner = &mut *self.0;
        inner.message = inner.message.replace(&*from.to_string_lossy(), &to.to_string_lossy());
        if let ErrorKind::Integrity { path, .. } | ErrorKind::ChangedOnDisk { path } = &mut inner.kind
            && let Ok(rest) = path.strip_prefix(from)
        {
            *path = to.join(rest);
        }
        self
    }

    /// A failed system call on `path`. Exhausted space and memory and read-only file systems get their own kinds.
    #[cold]
    pub(crate) fn io(doing: &str, path: &std::path::Path, source: std::io::Error) -> Error {
        let at = path.display();
        use std::io::ErrorKind as Reason;
        let kind = match source.kind() {
            Reason::StorageFull | Reason::QuotaExceeded => {
                return Error::caused(
                    ErrorKind::Full,
                    format!("{doing} {at}: no space left; free some space and repeat the call, nothing was changed"),
                    source,
                );
            }
            Reason::FileTooLarge => {
                return Error::caused(
                    ErrorKind::Full,
                    format!(
                        "{doing} {at}: the file may not grow so far; raise this process's limit of file sizes (ulimit -f), nothing was changed"
                    ),
                    source,
                );
            }
            Reason::OutOfMemory => {
                return Error::caused(
                    ErrorKind::Full,
                    format!("{doing} {at}: no memory left; free some, or raise the limit of this process's address space (ulimit -v)"),
                    source,
                );
            }
            Reason::ReadOnlyFilesystem => {
                return Error::caused(
                    ErrorKind::ReadOnly,
                    format!("{doing} {at}: the file system is read-only; open with read_only(true) to read"),
                    source,
                );
            }
            _ => ErrorKind::Io,
        };
        Error::caused(kind, format!("{doing} {at}"), source)
    }
}
