//! `Function`: how one file of this crate becomes a DataFusion `ScalarUDF`.
//!
//! A function is a name, the shape of its arguments, the type of its result and a loop over rows. The loop reads its
//! arguments through [`Call`]. When all arguments are literals the loop runs over one row.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, FieldRef};
use datafusion_common::ScalarValue;
use datafusion_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
    simplify::{ExprSimplifyResult, SimplifyContext},
};

use crate::call::Call;
use crate::error::{Error, Result};
use crate::types::{is_binary, is_text, sql_name};
use crate::zone::Zone;

/// What the whole session shares.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Options {
    /// The session's time zone: an IANA name or a fixed offset.
    pub time_zone: String,
}

impl Options {
    /// Refuses a time zone that nobody knows.
    ///
    /// # Errors
    ///
    /// [`Error::TimeZone`] with its name.
    pub fn check(&self) -> Result<(), Error> {
        self.time_zone.parse::<Zone>().map(|_| ())
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            time_zone: "UTC".into(),
        }
    }
}

/// What an argument may be, and what it is converted to before the loop sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Text; anything else becomes text as in CAST.
    Text,
    /// Text or BYTES, left as they are.
    TextOrBytes,
    /// An integer, as BIGINT.
    Long,
    /// A number, as DOUBLE.
    Double,
    /// BOOLEAN.
    Boolean,
    /// Any value, left as it is but for the layout of texts.
    Any,
}

/// The arguments of a function.
#[derive(Clone, Copy)]
pub(crate) enum Arguments {
    /// Some that are needed, some that may be left out, and any number of more.
    Listed {
        needed: &'static [Kind],
        optional: &'static [Kind],
        more: Option<Kind>,
    },
    /// The function's own rule, from the types given to the types wanted.
    Own(fn(&[DataType]) -> Result<Vec<DataType>>),
}

/// All of these are needed.
pub(crate) const fn takes(needed: &'static [Kind]) -> Arguments {
    Arguments::Listed {
        needed,
        optional: &[],
        more: None,
    }
}

/// The second list may be left out from its end.
pub(crate) const fn takes_optional(
    needed: &'static [Kind],
    optional: &'static [Kind],
) -> Arguments {
    Arguments::Listed {
        needed,
        optional,
        more: None,
    }
}

/// Any number of the last kind follow.
pub(crate) const fn takes_more(needed: &'static [Kind], more: Kind) -> Arguments {
    Arguments::Listed {
        needed,
        optional: &[],
        more: Some(more),
    }
}

/// What is known of the arguments when planning.
pub(crate) struct Given<'a> {
    /// The function's name.
    pub(crate) name: &'static str,
    /// The converted arguments' types.
    pub(crate) types: &'a [DataType],
    literals: &'a [Option<&'a ScalarValue>],
    pub(crate) options: &'a Options,
}

impl Given<'_> {
    /// The argument's type, NULL where it is left out.
    pub(crate) fn data_type(&self, idx: usize) -> &DataType {
        self.types.get(idx).unwrap_or(&DataType::Null)
    }

    /// The argument's value where it is a literal integer.
    pub(crate) fn literal_long(&self, idx: usize) -> Option<i64> {
        let value = self
            .literals
            .get(idx)
            .copied()
            .flatten()?
            .cast_to(&DataType::Int64)
            .ok()?;
        if let ScalarValue::Int64(value) = value {
            value
        } else {
            None
        }
    }

    /// Texts and integers as they are, or else another type: a literal that is converted is no literal any more, and
    /// the result's type may depend on its value.
    pub(crate) fn literal_type(given: &DataType, or: DataType) -> DataType {
        if is_text(given) || given.is_integer() {
            given.clone()
        } else {
            or
        }
    }

    /// The argument's value where it is a literal text.
    pub(crate) fn literal_text(&self, idx: usize) -> Option<&str> {
        self.literals
            .get(idx)
            .copied()
            .flatten()?
            .try_as_str()
            .flatten()
    }
}

type Returns = fn(&Given<'_>) -> Result<DataType>;
type Eval = fn(&Call<'_>) -> Result<ArrayRef>;
type Rewrite = fn(Vec<Expr>) -> Expr;

/// One scalar function.
#[derive(Clone)]
pub(crate) struct Function {
    name: &'static str,
    aliases: Vec<String>,
    arguments: Arguments,
    returns: Returns,
    eval: Eval,
    rewrite: Option<Rewrite>,
    signature: Signature,
    options: Arc<Options>,
    zone: Zone,
}

impl Function {
    /// A function whose result has always the same type is made with `|_| Ok(type)`.
    pub(crate) fn new(
        name: &'static str,
        arguments: Arguments,
        returns: Returns,
        eval: Eval,
    ) -> Self {
        Self {
            name,
            aliases: Vec::new(),
            arguments,
            returns,
            eval,
            rewrite: None,
            signature: Signature::user_defined(Volatility::Immutable),
            options: Arc::default(),
            zone: Zone::UTC,
        }
    }

    /// Adds other names.
    pub(crate) fn aliases(mut self, aliases: &[&str]) -> Self {
        self.aliases = aliases.iter().map(ToString::to_string).collect();
        self
    }

    /// The optimizer replaces the call by this expression, as for functions that must not evaluate every argument.
    pub(crate) fn rewritten(mut self, rewrite: Rewrite) -> Self {
        self.rewrite = Some(rewrite);
        self
    }

    /// Sets the session's options.
    pub(crate) fn with_options(mut self, options: &Arc<Options>, zone: Zone) -> Self {
        self.options = Arc::clone(options);
        self.zone = zone;
        self
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Function")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.options == other.options
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        match self.arguments {
            Arguments::Listed {
                needed,
                optional,
                more,
            } => listed(self.name, needed, optional, more, given),
            Arguments::Own(rule) => rule(given),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        (self.returns)(&Given {
            name: self.name,
            types,
            literals: &[],
            options: &self.options,
        })
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let types: Vec<_> = args
            .arg_fields
            .iter()
            .map(|f| f.data_type().clone())
            .collect();
        let given = Given {
            name: self.name,
            types: &types,
            literals: args.scalar_arguments,
            options: &self.options,
        };
        let data_type = (self.returns)(&given)?;
        Ok(Arc::new(arrow::datatypes::Field::new(
            self.name, data_type, true,
        )))
    }

    fn simplify(&self, args: Vec<Expr>, _: &SimplifyContext) -> Result<ExprSimplifyResult> {
        Ok(match self.rewrite {
            Some(rewrite) if !args.is_empty() => ExprSimplifyResult::Simplified(rewrite(args)),
            _ => ExprSimplifyResult::Original(args),
        })
    }

    fn short_circuits(&self) -> bool {
        self.rewrite.is_some()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let literal = args
            .args
            .iter()
            .all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let call = Call {
            name: self.name,
            args: &args.args,
            fields: &args.arg_fields,
            rows: if literal { 1 } else { args.number_rows },
            returns: args.return_field.data_type(),
            zone: self.zone,
        };
        let array = (self.eval)(&call)?;
        if literal {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
                &array, 0,
            )?));
        }
        Ok(ColumnarValue::Array(array))
    }
}

fn listed(
    name: &str,
    needed: &[Kind],
    optional: &[Kind],
    more: Option<Kind>,
    given: &[DataType],
) -> Result<Vec<DataType>> {
    let most = if more.is_some() {
        usize::MAX
    } else {
        needed.len() + optional.len()
    };
    if given.len() < needed.len() || given.len() > most {
        let expected = match (needed.len(), most) {
            (least, usize::MAX) => format!("{least} or more arguments"),
            (least, most) if least == most => format!("{most} arguments"),
            (least, most) => format!("{least} to {most} arguments"),
        };
        return Err(Error::Arity {
            function: name.to_uppercase(),
            expected,
            given: given.len(),
        }
        .into());
    }
    let kinds = needed
        .iter()
        .chain(optional)
        .copied()
        .chain(more.into_iter().cycle());
    given
        .iter()
        .zip(kinds)
        .enumerate()
        .map(|(idx, (given, kind))| convert(name, idx, kind, given))
        .collect()
}

fn convert(name: &str, idx: usize, kind: Kind, given: &DataType) -> Result<DataType> {
    let wrong = |expected| {
        let (function, given) = (name.to_uppercase(), sql_name(given));
        Err(Error::ArgumentType {
            function,
            position: idx + 1,
            given,
            expected,
        }
        .into())
    };
    match kind {
        Kind::Text if given.is_null() => Ok(DataType::Utf8View),
        // What the call can read stays as it is: a conversion would hide a literal, and with it the result's type.
        Kind::Text | Kind::TextOrBytes if is_text(given) => Ok(given.clone()),
        Kind::Long if given.is_integer() => Ok(given.clone()),
        Kind::Text | Kind::Any => Ok(crate::types::canonical(given)),
        Kind::TextOrBytes if is_binary(given) => Ok(DataType::BinaryView),
        Kind::TextOrBytes if given.is_null() => Ok(DataType::Utf8View),
        Kind::TextOrBytes => wrong("a STRING or BYTES"),
        Kind::Long if given.is_numeric() || is_text(given) || given.is_null() => {
            Ok(DataType::Int64)
        }
        Kind::Long => wrong("an integer"),
        Kind::Double if given.is_numeric() || is_text(given) || given.is_null() => {
            Ok(DataType::Float64)
        }
        Kind::Double => wrong("a number"),
        Kind::Boolean if given == &DataType::Boolean || given.is_null() => Ok(DataType::Boolean),
        Kind::Boolean => wrong("a BOOLEAN"),
    }
}

/// Refuses a wrong number of arguments, for the functions with a rule of their own.
pub(crate) fn arity(name: &str, given: &[DataType], least: usize, most: usize) -> Result<()> {
    if (least..=most).contains(&given.len()) {
        return Ok(());
    }
    let expected = match most {
        usize::MAX => format!("{least} or more arguments"),
        most if most == least => format!("{most} arguments"),
        most => format!("{least} to {most} arguments"),
    };
    Err(Error::Arity {
        function: name.to_uppercase(),
        expected,
        given: given.len(),
    }
    .into())
}

/// An argument of a wrong type, for the functions with a rule of their own.
pub(crate) fn wrong_type(
    name: &str,
    idx: usize,
    given: &DataType,
    expected: &'static str,
) -> Error {
    Error::ArgumentType {
        function: name.to_uppercase(),
        position: idx + 1,
        given: sql_name(given),
        expected,
    }
}

/// The least restrictive type of all, for the functions with a rule of their own.
pub(crate) fn common_of(name: &str, types: &[DataType]) -> Result<DataType> {
    let mut common = DataType::Null;
    for data_type in types {
        common =
            crate::types::common_type(&common, data_type).ok_or_else(|| Error::NoCommonType {
                function: name.to_uppercase(),
                left: sql_name(&common),
                right: sql_name(data_type),
            })?;
    }
    Ok(common)
}
