//! `Function`: how one file of this crate becomes a DataFusion `ScalarUDF`.
//!
//! A function is a name, the shape of its arguments, the type of its result and a loop over rows. The loop reads its
//! arguments through [`Call`], which hides whether an argument is a literal or a column: a literal is a column of one
//! row that is read again and again. When all arguments are literals the loop runs over one row.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayAccessor, ArrayRef, BinaryViewArray, BooleanArray, Float64Array, Int64Array,
    StringViewArray, StringViewBuilder,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef};
use datafusion_common::ScalarValue;
use datafusion_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
    simplify::{ExprSimplifyResult, SimplifyContext},
};

use crate::cast::to_text;
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

    /// The type that an argument's values keep: unlike their layout, the type of a literal must not be converted, or
    /// it would no longer be seen as a literal.
    pub(crate) fn kept(given: &DataType, or: DataType) -> DataType {
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

/// One evaluation over a batch.
pub(crate) struct Call<'a> {
    /// The function's name.
    pub(crate) name: &'static str,
    args: &'a [ColumnarValue],
    fields: &'a [FieldRef],
    /// How many rows to compute.
    pub(crate) rows: usize,
    /// The type that was promised.
    pub(crate) returns: &'a DataType,
    /// The session's time zone.
    pub(crate) zone: Zone,
}

impl Call<'_> {
    /// How many arguments there are.
    pub(crate) fn len(&self) -> usize {
        self.args.len()
    }

    /// The argument as it is, with one row where it is a literal.
    pub(crate) fn arg(&self, idx: usize) -> Result<Arg<ArrayRef>> {
        match self.args.get(idx) {
            Some(ColumnarValue::Array(array)) => Ok(Arg {
                array: Arc::clone(array),
                step: 1,
            }),
            Some(ColumnarValue::Scalar(value)) => Ok(Arg {
                array: value.to_array_of_size(1)?,
                step: 0,
            }),
            None => {
                Err(Error::argument(self.name, format!("argument {} is missing", idx + 1)).into())
            }
        }
    }

    /// The argument with as many rows as the batch.
    pub(crate) fn column(&self, idx: usize) -> Result<ArrayRef> {
        match self.args.get(idx) {
            Some(value) => value.to_array(self.rows),
            None => {
                Err(Error::argument(self.name, format!("argument {} is missing", idx + 1)).into())
            }
        }
    }

    /// The argument's field.
    pub(crate) fn field(&self, idx: usize) -> Option<&FieldRef> {
        self.fields.get(idx)
    }

    /// The argument as text.
    pub(crate) fn text(&self, idx: usize) -> Result<Arg<StringViewArray>> {
        let Arg { array, step } = self.arg(idx)?;
        let array = match array.data_type() {
            DataType::Utf8View => array,
            text if is_text(text) || is_binary(text) || text.is_null() => {
                cast(&array, &DataType::Utf8View)?
            }
            _ => to_text::to_text(&array, self.field(idx), self.zone)?,
        };
        downcast(self.name, &array).map(|array: StringViewArray| Arg { array, step })
    }

    /// The argument as bytes, a text's in UTF-8.
    pub(crate) fn bytes(&self, idx: usize) -> Result<Arg<BinaryViewArray>> {
        let Arg { array, step } = self.arg(idx)?;
        downcast(self.name, &cast(&array, &DataType::BinaryView)?)
            .map(|array: BinaryViewArray| Arg { array, step })
    }

    /// The argument as BIGINT.
    pub(crate) fn long(&self, idx: usize) -> Result<Arg<Int64Array>> {
        let Arg { array, step } = self.arg(idx)?;
        downcast(self.name, &cast(&array, &DataType::Int64)?)
            .map(|array: Int64Array| Arg { array, step })
    }

    /// The argument as DOUBLE.
    pub(crate) fn double(&self, idx: usize) -> Result<Arg<Float64Array>> {
        let Arg { array, step } = self.arg(idx)?;
        downcast(self.name, &cast(&array, &DataType::Float64)?)
            .map(|array: Float64Array| Arg { array, step })
    }

    /// The argument as BOOLEAN.
    pub(crate) fn boolean(&self, idx: usize) -> Result<Arg<BooleanArray>> {
        let Arg { array, step } = self.arg(idx)?;
        downcast(self.name, &cast(&array, &DataType::Boolean)?)
            .map(|array: BooleanArray| Arg { array, step })
    }

    /// Builds a text column: the closure appends to the buffer and says whether there is a value.
    pub(crate) fn texts(
        &self,
        mut row: impl FnMut(usize, &mut String) -> Result<bool>,
    ) -> Result<ArrayRef> {
        let mut builder = StringViewBuilder::with_capacity(self.rows);
        let mut buffer = String::new();
        for idx in 0..self.rows {
            buffer.clear();
            if row(idx, &mut buffer)? {
                builder.append_value(&buffer);
            } else {
                builder.append_null();
            }
        }
        Ok(Arc::new(builder.finish()))
    }

    /// Builds a text column from slices of other texts.
    pub(crate) fn slices<'a>(&self, row: impl Fn(usize) -> Option<&'a str>) -> Result<ArrayRef> {
        let mut builder = StringViewBuilder::with_capacity(self.rows);
        for idx in 0..self.rows {
            builder.append_option(row(idx));
        }
        Ok(Arc::new(builder.finish()))
    }

    /// Builds a BIGINT or INT column, as the promised type says.
    pub(crate) fn longs(&self, row: impl Fn(usize) -> Option<i64>) -> Result<ArrayRef> {
        let longs: Int64Array = (0..self.rows).map(row).collect();
        if self.returns == &DataType::Int64 {
            return Ok(Arc::new(longs));
        }
        Ok(cast(&longs, self.returns)?)
    }

    /// Builds a BOOLEAN column.
    pub(crate) fn booleans(&self, row: impl Fn(usize) -> Option<bool>) -> Result<ArrayRef> {
        Ok(Arc::new((0..self.rows).map(row).collect::<BooleanArray>()))
    }

    /// Builds a DOUBLE column.
    pub(crate) fn doubles(&self, row: impl Fn(usize) -> Option<f64>) -> Result<ArrayRef> {
        Ok(Arc::new((0..self.rows).map(row).collect::<Float64Array>()))
    }
}

/// The array as the type that it is known to have.
pub(crate) fn downcast<A: Array + Clone + 'static>(name: &str, array: &dyn Array) -> Result<A> {
    array.as_any().downcast_ref::<A>().cloned().ok_or_else(|| {
        Error::argument(
            name,
            format!(
                "a value of type {} came unexpected",
                sql_name(array.data_type())
            ),
        )
        .into()
    })
}

/// An argument: a column, or a literal that every row reads.
pub(crate) struct Arg<A> {
    /// The values.
    pub(crate) array: A,
    step: usize,
}

impl<A> Arg<A> {
    /// An array of one row that every row reads.
    pub(crate) fn literal(array: A) -> Self {
        Self { array, step: 0 }
    }

    /// Where the row's value stands in the array.
    #[inline]
    pub(crate) fn at(&self, row: usize) -> usize {
        row * self.step
    }

    /// Whether it is a literal.
    pub(crate) fn is_literal(&self) -> bool {
        self.step == 0
    }

    /// The row's value.
    #[inline]
    pub(crate) fn get<'a>(&'a self, row: usize) -> Option<<&'a A as ArrayAccessor>::Item>
    where
        &'a A: ArrayAccessor,
    {
        let idx = self.at(row);
        let array = &self.array;
        (!array.is_null(idx)).then(|| array.value(idx))
    }
}

impl Arg<ArrayRef> {
    /// Whether the row's value is NULL.
    pub(crate) fn is_null(&self, row: usize) -> bool {
        self.array.data_type().is_null() || self.array.is_null(self.at(row))
    }

    /// The same argument with its values in another type.
    pub(crate) fn typed<A: Array + Clone + 'static>(&self, name: &str) -> Result<Arg<A>> {
        downcast(name, &self.array).map(|array| Arg {
            array,
            step: self.step,
        })
    }

    /// The same argument with another array of as many rows.
    pub(crate) fn with<A>(&self, array: A) -> Arg<A> {
        Arg {
            array,
            step: self.step,
        }
    }
}
