//! What can go wrong in a scalar function: every variant names the function, the value or the type.

use datafusion_common::DataFusionError;

/// The result of planning or evaluating a function.
pub type Result<T, E = DataFusionError> = std::result::Result<T, E>;

/// An error of a scalar function. It travels inside `DataFusionError::External`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A text that does not spell a value of the type.
    #[error("cannot cast '{value}' to {target}; use TRY_CAST to get NULL instead")]
    Cast {
        /// The text or the value.
        value: String,
        /// The type in SQL's words.
        target: String,
    },
    /// There is no cast between the two types.
    #[error("cannot cast {from} to {to}")]
    NoCast {
        /// The type of the value.
        from: String,
        /// The type that was asked for.
        to: String,
    },
    /// A wrong number of arguments.
    #[error("{function} takes {expected}, not {given}")]
    Arity {
        /// The function's name in upper case.
        function: String,
        /// How many it takes.
        expected: String,
        /// How many it was given.
        given: usize,
    },
    /// An argument of a type that the function does not take.
    #[error("argument {position} of {function} cannot be {given}: {expected} is needed")]
    ArgumentType {
        /// The function's name in upper case.
        function: String,
        /// Which argument, counted from 1.
        position: usize,
        /// Its type.
        given: String,
        /// What the function takes there.
        expected: &'static str,
    },
    /// Arguments that must have one type, and have none in common.
    #[error("{function} needs arguments of one type, not {left} and {right}")]
    NoCommonType {
        /// The function's name in upper case.
        function: String,
        /// One type.
        left: String,
        /// Another type.
        right: String,
    },
    /// An argument's value that the function does not take.
    #[error("{function}: {message}")]
    Argument {
        /// The function's name in upper case.
        function: String,
        /// What is wrong with it.
        message: String,
    },
    /// A division or remainder by zero of exact numbers.
    #[error("division by zero; NULLIF(divisor, 0) gives NULL instead")]
    DivisionByZero,
    /// A time zone that nobody knows.
    #[error("unknown time zone '{0}'; use a name as in Europe/Berlin or an offset as in +02:00")]
    TimeZone(String),
}

impl Error {
    /// An argument's value that the function does not take.
    pub(crate) fn argument(function: &str, message: impl Into<String>) -> Self {
        Self::Argument {
            function: function.to_uppercase(),
            message: message.into(),
        }
    }
}

impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        DataFusionError::External(Box::new(error))
    }
}
