//! What goes wrong inside a value, while serde is at work: small to return, and it learns its path on the way up.

use std::fmt;

use crate::error::{Error, ErrorKind};

/// The error of the serialiser and the deserialiser. Boxed, so that results stay one word.
#[derive(Debug)]
pub(crate) struct Fault(Box<Inner>);

#[derive(Debug)]
struct Inner {
    what: What,
    /// The steps from the root to the place, innermost first.
    path: Vec<String>,
}

#[derive(Debug)]
enum What {
    Invalid(String),
    /// `expected` is what serde's visitor says it wants; `label` what the deserialiser was asked for.
    Mismatch {
        expected: String,
        label: Option<&'static str>,
        found: &'static str,
    },
}

impl Fault {
    #[cold]
    pub(in crate::value) fn invalid(message: impl Into<String>) -> Fault {
        Fault(Box::new(Inner { what: What::Invalid(message.into()), path: Vec::new() }))
    }

    #[cold]
    pub(in crate::value) fn mismatch(expected: impl Into<String>, found: &'static str) -> Fault {
        Fault(Box::new(Inner { what: What::Mismatch { expected: expected.into(), label: None, found }, path: Vec::new() }))
    }

    /// Names what was asked for, unless an inner place has done so.
    #[cold]
    pub(in crate::value) fn wanted(mut self, wanted: &'static str) -> Fault {
        if let What::Mismatch { label: label @ None, .. } = &mut self.0.what {
            *label = Some(wanted);
        }
        self
    }

    /// Says that the fault lies below `step`.
    #[cold]
    pub(in crate::value) fn below(mut self, step: impl fmt::Display) -> Fault {
        if let What::Mismatch { label: label @ None, .. } = &mut self.0.what {
            *label = Some("another type");
        }
        self.0.path.push(step.to_string());
        self
    }

    /// Says that it is the key of an entry which is not what was asked for.
    #[cold]
    pub(in crate::value) fn of_key(self, key: &str) -> Fault {
        match self.0.what {
            What::Mismatch { expected, .. } => Fault::invalid(format!("the key {key:?} of an object: expected {expected}")),
            What::Invalid(_) => self,
        }
    }

    fn pointer(&self) -> String {
        let mut pointer = String::new();
        for step in self.0.path.iter().rev() {
            push_step(&mut pointer, step);
        }
        pointer
    }
}

/// Appends a step to a JSON pointer.
pub(in crate::value) fn push_step(pointer: &mut String, step: &str) {
    pointer.push('/');
    pointer.push_str(&step.replace('~', "~0").replace('/', "~1"));
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.what {
            What::Invalid(message) => f.write_str(message)?,
            What::Mismatch { expected, found, .. } => write!(f, "expected {expected}, found {found}")?,
        }
        if self.0.path.is_empty() { Ok(()) } else { write!(f, ", at {} in the value", self.pointer()) }
    }
}

impl std::error::Error for Fault {}

impl From<Fault> for Error {
    #[cold]
    fn from(fault: Fault) -> Error {
        let message = fault.to_string();
        let kind = match &fault.0.what {
            What::Invalid(_) => ErrorKind::InvalidValue,
            What::Mismatch { label, found, .. } => {
                ErrorKind::TypeMismatch { path: fault.pointer(), expected: label.unwrap_or("another type"), found }
            }
        };
        Error::new(kind, message)
    }
}

impl serde::ser::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Fault {
        Fault::invalid(message.to_string())
    }
}

impl serde::de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Fault {
        Fault::invalid(message.to_string())
    }

    fn invalid_type(found: serde::de::Unexpected<'_>, expected: &dyn serde::de::Expected) -> Fault {
        use serde::de::Unexpected;
        let found = match found {
            Unexpected::Bool(_) => "a boolean",
            Unexpected::Unsigned(_) | Unexpected::Signed(_) => "an integer",
            Unexpected::Float(_) => "a float",
            Unexpected::Char(_) | Unexpected::Str(_) => "a string",
            Unexpected::Unit | Unexpected::Option => "null",
            Unexpected::Seq => "an array",
            Unexpected::Map => "an object",
            _ => "a value of another type",
        };
        Fault::mismatch(expected.to_string(), found)
    }
}
