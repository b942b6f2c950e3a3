//! Postgres's functions about the session and its catalogs that tools call, as far as DataFusion and the catalogs do not have them.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use pgwire::api::Type;
use std::sync::LazyLock;

use super::variables::Variables;
use crate::pgwire::settings::SERVER_VERSION;

/// Registers them.
pub(crate) fn register(context: &SessionContext) {
    let text = |text: &str| ScalarValue::Utf8(Some(text.to_owned()));
    let no_text = || ScalarValue::Utf8(None);
    let yes = || ScalarValue::Boolean(Some(true));
    let constants = [
        ("version", text(&version())),
        ("current_database", text("millstream")),
        ("current_catalog", text("millstream")),
        ("pg_is_in_recovery", ScalarValue::Boolean(Some(false))),
        ("pg_is_other_temp_schema", ScalarValue::Boolean(Some(false))),
        ("pg_my_temp_schema", ScalarValue::Int32(Some(0))),
        ("inet_server_addr", no_text()),
        ("inet_client_addr", no_text()),
        ("obj_description", no_text()),
        ("col_description", no_text()),
        ("shobj_description", no_text()),
        ("pg_get_viewdef", no_text()),
        ("pg_get_indexdef", no_text()),
        ("pg_get_triggerdef", no_text()),
        ("pg_get_ruledef", no_text()),
        ("pg_get_functiondef", no_text()),
        ("pg_get_function_arguments", no_text()),
        ("pg_get_function_identity_arguments", no_text()),
        ("pg_get_function_result", no_text()),
        ("pg_get_serial_sequence", no_text()),
        ("pg_tablespace_location", no_text()),
        ("pg_encoding_max_length", ScalarValue::Int32(Some(4))),
        ("pg_function_is_visible", yes()),
        ("pg_type_is_visible", yes()),
        ("pg_opclass_is_visible", yes()),
        ("pg_collation_is_visible", yes()),
        ("has_function_privilege", yes()),
        ("has_column_privilege", yes()),
        ("has_sequence_privilege", yes()),
        ("pg_has_role", yes()),
        ("row_security_active", ScalarValue::Boolean(Some(false))),
    ];
    for (name, value) in constants {
        context.register_udf(ScalarUDF::new_from_impl(Constant {
            name,
            value,
            signature: any(),
        }));
    }
    for (name, reads) in [
        ("current_user", Reads::User),
        ("session_user", Reads::User),
        ("user", Reads::User),
        ("current_role", Reads::User),
        ("current_schema", Reads::Schema),
        ("pg_backend_pid", Reads::Pid),
        ("current_setting", Reads::Setting),
        ("to_regtype", Reads::Type),
    ] {
        context.register_udf(ScalarUDF::new_from_impl(OfSession {
            name,
            reads,
            signature: any(),
        }));
    }
}

/// What `version()` says. It begins as drivers expect it.
fn version() -> String {
    format!(
        "PostgreSQL {SERVER_VERSION} (Millstream {})",
        env!("CARGO_PKG_VERSION")
    )
}

fn any() -> Signature {
    Signature::one_of(
        vec![
            datafusion::logical_expr::TypeSignature::Nullary,
            datafusion::logical_expr::TypeSignature::VariadicAny,
        ],
        Volatility::Stable,
    )
}

/// Gives one value whatever its arguments are.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Constant {
    name: &'static str,
    value: ScalarValue,
    signature: Signature,
}

impl ScalarUDFImpl for Constant {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(self.value.data_type())
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Scalar(self.value.clone()))
    }
}

/// What a function tells of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Reads {
    User,
    Schema,
    Pid,
    Setting,
    /// The number of a type's name, which no session changes.
    Type,
}

/// Tells of the session that asks.
#[derive(Debug, PartialEq, Eq, Hash)]
struct OfSession {
    name: &'static str,
    reads: Reads,
    signature: Signature,
}

static NOBODY: LazyLock<Variables> = LazyLock::new(Variables::default);

impl ScalarUDFImpl for OfSession {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(match self.reads {
            Reads::Pid | Reads::Type => DataType::Int32,
            Reads::User | Reads::Schema | Reads::Setting => DataType::Utf8,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let session = args
            .config_options
            .extensions
            .get::<Variables>()
            .unwrap_or(&NOBODY);
        let value = match self.reads {
            Reads::User => ScalarValue::Utf8(Some(session.user.clone())),
            Reads::Schema => ScalarValue::Utf8(Some("public".to_owned())),
            Reads::Pid => ScalarValue::Int32(Some(session.pid)),
            Reads::Setting => setting(session, &args.args)?,
            Reads::Type => type_number(&args.args)?,
        };
        Ok(ColumnarValue::Scalar(value))
    }
}

/// `to_regtype(name)`: NULL for a type that is not there.
fn type_number(args: &[ColumnarValue]) -> Result<ScalarValue> {
    const TYPES: [Type; 22] = [
        Type::BOOL,
        Type::BYTEA,
        Type::CHAR,
        Type::NAME,
        Type::INT8,
        Type::INT2,
        Type::INT4,
        Type::TEXT,
        Type::OID,
        Type::JSON,
        Type::FLOAT4,
        Type::FLOAT8,
        Type::BPCHAR,
        Type::VARCHAR,
        Type::DATE,
        Type::TIME,
        Type::TIMESTAMP,
        Type::TIMESTAMPTZ,
        Type::INTERVAL,
        Type::NUMERIC,
        Type::UUID,
        Type::JSONB,
    ];
    let [ColumnarValue::Scalar(name)] = args else {
        return exec_err!("to_regtype takes the name of a type, as a constant");
    };
    let Some(Some(name)) = name.try_as_str() else {
        return Ok(ScalarValue::Int32(None));
    };
    let name = match name.trim_start_matches("pg_catalog.") {
        "boolean" => "bool",
        "bigint" => "int8",
        "smallint" => "int2",
        "integer" | "int" => "int4",
        "real" => "float4",
        "double precision" => "float8",
        "character varying" => "varchar",
        "decimal" => "numeric",
        "timestamp with time zone" => "timestamptz",
        "timestamp without time zone" => "timestamp",
        name => name,
    };
    Ok(ScalarValue::Int32(
        TYPES
            .iter()
            .find(|of| of.name() == name)
            .map(|of| of.oid().cast_signed()),
    ))
}

/// `current_setting(name [, missing_ok])`
fn setting(session: &Variables, args: &[ColumnarValue]) -> Result<ScalarValue> {
    let (name, missing_ok) = match args {
        [ColumnarValue::Scalar(name)] => (name, false),
        [
            ColumnarValue::Scalar(name),
            ColumnarValue::Scalar(missing_ok),
        ] => (name, *missing_ok == ScalarValue::Boolean(Some(true))),
        _ => return exec_err!("current_setting takes the name of a setting, as a constant"),
    };
    let Some(Some(name)) = name.try_as_str() else {
        return Ok(ScalarValue::Utf8(None));
    };
    match session.settings.get(name) {
        None if !missing_ok => exec_err!("unrecognized configuration parameter \"{name}\""),
        found => Ok(ScalarValue::Utf8(found)),
    }
}
