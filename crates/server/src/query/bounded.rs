//! Functions whose one call can ask for any amount of memory, held to an amount that is no harm.
//!
//! DataFusion counts the memory of its operators, not that of its functions: `repeat('x', 2000000000)` would be taken from the whole
//! process. Each function here estimates its result from its arguments and refuses, or does what it always did.

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, FieldRef, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
    TimeUnit,
};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, resources_datafusion_err};
use datafusion::execution::FunctionRegistry;
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature,
};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Bytes that one call may make.
const RESULT_BYTES_MAX: i128 = 64 << 20;

/// How a function's result grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Grows {
    /// The first argument's bytes, as often as the second says.
    Repeats,
    /// To as many characters as the second argument says.
    Pads,
    /// As many items as the second argument says.
    Items,
    /// From the first argument to the second, by the third.
    Series,
}

const BOUNDED: [(&str, Grows); 7] = [
    ("repeat", Grows::Repeats),
    ("lpad", Grows::Pads),
    ("rpad", Grows::Pads),
    ("array_repeat", Grows::Items),
    ("array_resize", Grows::Items),
    ("generate_series", Grows::Series),
    ("range", Grows::Series),
];

/// Puts the bounded functions in place of the others.
pub(crate) fn register(context: &SessionContext) {
    for (name, grows) in BOUNDED {
        // A function that this build of DataFusion lacks needs no bound.
        if let Ok(inner) = context.udf(name) {
            context.register_udf(ScalarUDF::new_from_impl(Bounded { inner, grows }));
        }
    }
}

/// How many rows a batch of a plan may have: a constant stands in every row of a batch, so that long ones make batches short.
pub(crate) fn batch_rows(plan: &LogicalPlan) -> Result<usize> {
    const ROWS: usize = 8_192;
    let mut longest = 1;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Expr::Literal(value, _) = expr {
                    longest = longest.max(value.size());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    let bytes = usize::try_from(RESULT_BYTES_MAX).unwrap_or(usize::MAX);
    Ok((bytes / longest).clamp(1, ROWS))
}

#[derive(Debug)]
struct Bounded {
    inner: Arc<ScalarUDF>,
    grows: Grows,
}

impl PartialEq for Bounded {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner
    }
}

impl Eq for Bounded {}

impl Hash for Bounded {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arguments)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arguments)
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        self.inner.simplify(args, info)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let bytes = self.grows.bytes(&args)?;
        if bytes > RESULT_BYTES_MAX {
            return Err(resources_datafusion_err!(
                "{} would make {bytes} bytes at once, more than the limit of {RESULT_BYTES_MAX}",
                self.name()
            ));
        }
        self.inner.invoke_with_args(args)
    }
}

impl Grows {
    /// An estimate of the result's bytes, over all rows.
    fn bytes(self, args: &ScalarFunctionArgs) -> Result<i128> {
        // Constants are looked at once, and count for each row only where the result is a column.
        let constant = args
            .args
            .iter()
            .all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let arrays = args
            .args
            .iter()
            .map(|arg| arg.to_array(rows))
            .collect::<Result<Vec<_>>>()?;
        let whole = |idx: usize| arrays.get(idx).and_then(integers);
        let sum =
            |bytes: &dyn Fn(usize) -> i128| (0..rows).map(bytes).fold(0_i128, i128::saturating_add);
        if self == Self::Series {
            return Ok(series_bytes(&arrays, rows));
        }
        let Some(counts) = whole(1) else { return Ok(0) };
        let count = |row: usize| {
            if counts.is_null(row) {
                0
            } else {
                i128::from(counts.value(row)).max(0)
            }
        };
        Ok(match self {
            Self::Repeats => {
                let Ok(texts) = cast(&arrays[0], &DataType::LargeUtf8) else {
                    return Ok(0);
                };
                let texts = texts.as_string::<i64>();
                sum(&|row| i128::from(texts.value_length(row)) * count(row))
            }
            Self::Pads => sum(&|row| count(row) * 4),
            Self::Items => {
                let item =
                    arrays[0].get_array_memory_size() as i128 / i128::from(rows.max(1) as u64);
                sum(&|row| count(row) * item.clamp(1, 1 << 30))
            }
            Self::Series => 0,
        })
    }
}

/// The items of series, eight bytes each; a series of times counts in nanoseconds.
fn series_bytes(arrays: &[ArrayRef], rows: usize) -> i128 {
    let (start, stop) = if arrays.len() == 1 {
        (None, &arrays[0])
    } else {
        (arrays.first(), &arrays[1])
    };
    let (starts, Some(stops)) = (start.and_then(integers), integers(stop)) else {
        return 0;
    };
    let step = arrays.get(2).and_then(integers);
    let items = |row: usize| {
        let from = starts
            .as_ref()
            .map_or(0, |starts| i128::from(starts.value(row)));
        let step = step
            .as_ref()
            .map_or(1, |step| i128::from(step.value(row)))
            .abs()
            .max(1);
        (i128::from(stops.value(row)) - from).abs() / step
    };
    (0..rows)
        .map(items)
        .fold(0, i128::saturating_add)
        .saturating_mul(8)
}

/// An argument as whole numbers: times as nanoseconds, intervals as nanoseconds at least.
fn integers(array: &ArrayRef) -> Option<Int64Array> {
    let of = |array: &ArrayRef| {
        cast(array, &DataType::Int64)
            .ok()
            .map(|array| array.as_primitive::<Int64Type>().clone())
    };
    match array.data_type() {
        DataType::Interval(_) => {
            let intervals = cast(array, &DataType::Interval(IntervalUnit::MonthDayNano)).ok()?;
            let nanos = |value: IntervalMonthDayNano| {
                (i64::from(value.months) * 28 + i64::from(value.days))
                    .saturating_mul(86_400_000_000_000)
                    .saturating_add(value.nanoseconds)
            };
            Some(
                intervals
                    .as_primitive::<IntervalMonthDayNanoType>()
                    .unary(nanos),
            )
        }
        DataType::Date32 | DataType::Date64 | DataType::Timestamp(_, _) => {
            of(&cast(array, &DataType::Timestamp(TimeUnit::Nanosecond, None)).ok()?)
        }
        number if number.is_integer() => of(array),
        _ => None,
    }
}
