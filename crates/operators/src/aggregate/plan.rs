//! Calls to accumulators: what is computed once for several calls, and where each call finds its result.

use super::accumulator::{Accumulator, Finish};
use super::arrived::Arrived;
use super::bag::Bag;
use super::count::Count;
use super::distinct::Distinct;
use super::extreme::{Extreme, ExtremeText};
use super::function::Function;
use super::logic::Logic;
use super::moments::{ExactMoments, FloatMoments};
use super::percentile::Percentile;
use super::saved::Layout;
use super::sequence::Sequence;
use super::sum::{ExactSum, FloatSum};
use arrow::datatypes::{DataType, Field, SchemaRef};
use millstream_dataflow::Result;
use millstream_state::{Codec, Form};
use std::fmt;

/// A call of an aggregate function.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The function.
    pub function: Function,
    /// Its arguments: columns of the input.
    pub args: Vec<usize>,
    /// FILTER: a boolean column of the input; rows where it is not true do not count.
    pub filter: Option<usize>,
    /// DISTINCT: equal arguments count once.
    pub distinct: bool,
    /// Name and type of the result; [`Function::return_type`] gives the type that is Flink's.
    pub output: Field,
}

/// How some calls over the rows of each group are computed.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The key columns, of the input.
    pub(crate) keys: Vec<usize>,
    pub(crate) key_types: Vec<DataType>,
    /// The columns that calls use, of the input, with their types.
    pub(crate) lanes: Vec<(usize, DataType)>,
    /// The filter columns, of the input.
    pub(crate) filters: Vec<usize>,
    pub(crate) accumulators: Vec<AccumulatorPlan>,
    pub(crate) outputs: Vec<OutputPlan>,
    /// Whether no row is ever retracted.
    pub(crate) append_only: bool,
    /// Whether the rows of each group are counted: to know when it is gone, or because COUNT(*) is asked for.
    pub(crate) count_rows: bool,
    /// How groups are saved.
    pub(crate) saved: Layout,
}

/// An accumulator that some calls share.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum AccumulatorPlan {
    /// Over all rows, or those of a filter.
    Plain {
        kind: Kind,
        args: Vec<usize>,
        filter: Option<usize>,
    },
    /// Over the distinct arguments, once for each filter.
    Distinct {
        args: Vec<usize>,
        branches: Vec<Branch>,
    },
}

/// What is computed over the distinct arguments of the rows of a filter.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Branch {
    pub(crate) filter: Option<usize>,
    pub(crate) kind: Kind,
}

/// The kinds of accumulators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Count,
    ExactSum,
    FloatSum,
    Extreme { greatest: bool, form: Form },
    Bag { form: Form },
    Arrived { last: bool, form: Form },
    Sequence { forms: Vec<Form>, keeps_nulls: bool },
    Logic,
    ExactMoments,
    FloatMoments,
    Percentile { value: DataType, fraction: DataType },
}

/// Where a call finds its result.
#[derive(Clone, Debug)]
pub(crate) struct OutputPlan {
    /// The accumulator; `None`: the number of rows.
    pub(crate) accumulator: Option<usize>,
    pub(crate) finish: Finish,
    pub(crate) field: Field,
}

impl Plan {
    /// # Errors
    /// `User` for a call that cannot be computed.
    pub(crate) fn new(
        input: &SchemaRef,
        keys: Vec<usize>,
        calls: &[Call],
        append_only: bool,
    ) -> Result<Self> {
        let key_types = keys
            .iter()
            .map(|key| input.field(*key).data_type().clone())
            .collect();
        let mut plan = Self {
            keys,
            key_types,
            lanes: Vec::new(),
            filters: Vec::new(),
            accumulators: Vec::new(),
            outputs: Vec::new(),
            append_only,
            count_rows: !append_only,
            saved: Layout::default(),
        };
        for call in calls {
            plan.add(input, call)
                .map_err(|error| error.context(ShowCall { call, input }))?;
        }
        plan.saved = Layout::new(&plan.accumulators()?);
        Ok(plan)
    }

    fn add(&mut self, input: &SchemaRef, call: &Call) -> Result<()> {
        let types: Vec<DataType> = call
            .args
            .iter()
            .map(|arg| input.field(*arg).data_type().clone())
            .collect();
        call.function.return_type(&types)?;
        let finish = Finish {
            function: call.function,
            output: call.output.data_type().clone(),
            scale: match types.first() {
                Some(DataType::Decimal128(_, scale)) => *scale,
                _ => 0,
            },
            branch: 0,
        };
        let output = OutputPlan {
            accumulator: None,
            finish,
            field: call.output.clone(),
        };
        let distinct = is_distinct(call);
        if call.function == Function::Count && call.args.is_empty() && call.filter.is_none() {
            self.count_rows = true;
            self.outputs.push(output);
            return Ok(());
        }
        let kind = self.kind(call.function, &types)?;
        let args: Vec<usize> = call
            .args
            .iter()
            .zip(types)
            .map(|(arg, data_type)| position(&mut self.lanes, (*arg, data_type)))
            .collect();
        let filter = call
            .filter
            .map(|filter| position(&mut self.filters, filter));
        let (accumulator, branch) = if distinct {
            self.distinct(args, Branch { filter, kind })
        } else {
            let plain = AccumulatorPlan::Plain { kind, args, filter };
            (position(&mut self.accumulators, plain), 0)
        };
        self.outputs.push(OutputPlan {
            accumulator: Some(accumulator),
            finish: Finish {
                branch,
                ..output.finish
            },
            field: output.field,
        });
        Ok(())
    }

    /// The accumulator and branch for distinct arguments: one set serves all calls over them.
    fn distinct(&mut self, args: Vec<usize>, branch: Branch) -> (usize, usize) {
        for (at, accumulator) in self.accumulators.iter_mut().enumerate() {
            if let AccumulatorPlan::Distinct {
                args: held,
                branches,
            } = accumulator
                && *held == args
            {
                return (at, position(branches, branch));
            }
        }
        self.accumulators.push(AccumulatorPlan::Distinct {
            args,
            branches: vec![branch],
        });
        (self.accumulators.len() - 1, 0)
    }

    fn kind(&self, function: Function, types: &[DataType]) -> Result<Kind> {
        let form = || -> Result<Form> { Ok(Codec::new(&types[0])?.form().clone()) };
        Ok(match function {
            Function::Count | Function::ApproxCountDistinct => Kind::Count,
            Function::Sum | Function::Sum0 | Function::Avg => match types[0] {
                DataType::Float32 | DataType::Float64 => Kind::FloatSum,
                _ => Kind::ExactSum,
            },
            Function::Min | Function::Max if self.append_only => Kind::Extreme {
                greatest: function == Function::Max,
                form: form()?,
            },
            Function::Min | Function::Max | Function::Collect => Kind::Bag { form: form()? },
            Function::FirstValue | Function::LastValue if self.append_only => Kind::Arrived {
                last: function == Function::LastValue,
                form: form()?,
            },
            Function::FirstValue
            | Function::LastValue
            | Function::ListAgg
            | Function::ArrayAgg
            | Function::SingleValue => Kind::Sequence {
                forms: types
                    .iter()
                    .map(|data_type| Ok(Codec::new(data_type)?.form().clone()))
                    .collect::<Result<_>>()?,
                keeps_nulls: matches!(function, Function::ArrayAgg | Function::SingleValue),
            },
            Function::BoolAnd | Function::BoolOr => Kind::Logic,
            Function::StddevPop | Function::StddevSamp | Function::VarPop | Function::VarSamp => {
                match types[0] {
                    DataType::Float32 | DataType::Float64 => Kind::FloatMoments,
                    _ => Kind::ExactMoments,
                }
            }
            Function::Percentile => Kind::Percentile {
                value: types[0].clone(),
                fraction: types[1].clone(),
            },
        })
    }

    /// The accumulators, empty.
    pub(crate) fn accumulators(&self) -> Result<Vec<Box<dyn Accumulator>>> {
        self.accumulators
            .iter()
            .map(|plan| match plan {
                AccumulatorPlan::Plain { kind, .. } => Ok(kind.build()),
                AccumulatorPlan::Distinct { args, branches } => {
                    let types: Vec<DataType> =
                        args.iter().map(|arg| self.lanes[*arg].1.clone()).collect();
                    Ok(Box::new(Distinct::new(&types, branches, self.append_only)?) as Box<_>)
                }
            })
            .collect()
    }

    /// Whether a group is all that there is to know of it.
    pub(crate) fn is_keys_only(&self) -> bool {
        !self.count_rows && self.accumulators.is_empty()
    }

    /// Whether taking back a row restores what was before it, to the last bit.
    pub(crate) fn is_exact(&self) -> bool {
        let exact = |kind: &Kind| !matches!(kind, Kind::FloatSum | Kind::FloatMoments);
        self.accumulators.iter().all(|plan| match plan {
            AccumulatorPlan::Plain { kind, .. } => exact(kind),
            AccumulatorPlan::Distinct { branches, .. } => {
                branches.iter().all(|branch| exact(&branch.kind))
            }
        })
    }

    /// Codecs for the results.
    pub(crate) fn result_codecs(&self) -> Result<Vec<Codec>> {
        self.outputs
            .iter()
            .map(|output| {
                let data_type = output.field.data_type();
                match output.finish.function {
                    Function::ArrayAgg | Function::Collect => Codec::for_results(data_type),
                    _ => Codec::new(data_type),
                }
            })
            .collect()
    }
}

impl Kind {
    /// Whether the state depends on the order in which rows come.
    pub(crate) fn is_in_order(&self) -> bool {
        match self {
            Self::FloatSum
            | Self::FloatMoments
            | Self::Arrived { .. }
            | Self::Sequence { .. }
            | Self::Percentile { .. } => true,
            Self::Count
            | Self::ExactSum
            | Self::Extreme { .. }
            | Self::Bag { .. }
            | Self::Logic
            | Self::ExactMoments => false,
        }
    }

    /// The accumulator, empty.
    pub(crate) fn build(&self) -> Box<dyn Accumulator> {
        match self {
            Self::Count => Box::new(Count::default()),
            Self::ExactSum => Box::new(ExactSum::default()),
            Self::FloatSum => Box::new(FloatSum::default()),
            Self::Extreme { greatest, form } => match form {
                Form::Long => Box::new(Extreme::<i64>::new(*greatest)),
                Form::Wide => Box::new(Extreme::<i128>::new(*greatest)),
                Form::Bytes | Form::Lists(_) => Box::new(ExtremeText::new(*greatest)),
            },
            Self::Bag { form } => match form {
                Form::Long => Box::new(Bag::<i64>::new()),
                Form::Wide => Box::new(Bag::<i128>::new()),
                Form::Bytes | Form::Lists(_) => Box::new(Bag::<Vec<u8>>::new()),
            },
            Self::Arrived { last, form } => Box::new(Arrived::new(form, *last)),
            Self::Sequence { forms, keeps_nulls } => {
                Box::new(Sequence::new(forms.clone(), *keeps_nulls))
            }
            Self::Logic => Box::new(Logic::default()),
            Self::ExactMoments => Box::new(ExactMoments::default()),
            Self::FloatMoments => Box::new(FloatMoments::default()),
            Self::Percentile { value, fraction } => Box::new(Percentile::new(value, fraction)),
        }
    }
}

/// Whether a call's arguments must be made distinct: for some functions it makes no difference.
fn is_distinct(call: &Call) -> bool {
    match call.function {
        Function::ApproxCountDistinct => true,
        Function::Min | Function::Max | Function::BoolAnd | Function::BoolOr => false,
        _ => call.distinct && !call.args.is_empty(),
    }
}

fn position<T: PartialEq>(list: &mut Vec<T>, item: T) -> usize {
    list.iter()
        .position(|held| *held == item)
        .unwrap_or_else(|| {
            list.push(item);
            list.len() - 1
        })
}

/// A call as EXPLAIN shows it, with the names of the input's columns.
pub(crate) struct ShowCall<'a> {
    pub(crate) call: &'a Call,
    pub(crate) input: &'a SchemaRef,
}

impl fmt::Display for ShowCall<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { call, input } = self;
        let args: Vec<&str> = call
            .args
            .iter()
            .map(|arg| input.field(*arg).name().as_str())
            .collect();
        let distinct = if call.distinct { "DISTINCT " } else { "" };
        let args = if args.is_empty() {
            "*".to_owned()
        } else {
            args.join(", ")
        };
        write!(f, "{}({distinct}{args})", call.function)?;
        if let Some(filter) = call.filter {
            write!(f, " FILTER {}", input.field(filter).name())?;
        }
        Ok(())
    }
}

/// `keys=[a, b] [SUM(x), COUNT(*)]`: what the lines of all kinds of aggregation have in common.
pub(crate) fn show(
    f: &mut fmt::Formatter<'_>,
    input: &SchemaRef,
    keys: &[usize],
    calls: &[Call],
) -> fmt::Result {
    let keys: Vec<&str> = keys
        .iter()
        .map(|key| input.field(*key).name().as_str())
        .collect();
    let calls: Vec<String> = calls
        .iter()
        .map(|call| ShowCall { call, input }.to_string())
        .collect();
    write!(f, "keys=[{}] [{}]", keys.join(", "), calls.join(", "))
}
