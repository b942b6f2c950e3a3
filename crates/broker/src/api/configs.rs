//! DescribeConfigs, AlterConfigs, IncrementalAlterConfigs: a topic's settings, and a few of the broker's to read.

use std::collections::BTreeMap;

use kafka_protocol::{
    error::ResponseError,
    messages::{
        AlterConfigsRequest, AlterConfigsResponse, DescribeConfigsRequest, DescribeConfigsResponse,
        IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, alter_configs_response,
        describe_configs_request::DescribeConfigsResource,
        describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult},
        incremental_alter_configs_request::AlterableConfig,
        incremental_alter_configs_response,
    },
    protocol::StrBytes,
};

use super::Call;
use crate::{
    broker::{NODE_ID, Shared},
    codec::wire,
    config::{Kind, SETTINGS, value_of},
    topics::Denied,
};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

const SOURCE_TOPIC: i8 = 1;
const SOURCE_BROKER: i8 = 4;
const SOURCE_DEFAULT: i8 = 5;

/// Who set a setting.
pub(crate) fn source_of(
    name: &str,
    own: &BTreeMap<String, String>,
    defaults: &BTreeMap<String, String>,
) -> i8 {
    if own.contains_key(name) {
        SOURCE_TOPIC
    } else if defaults.contains_key(name) {
        SOURCE_BROKER
    } else {
        SOURCE_DEFAULT
    }
}

/// Tells settings.
pub(crate) fn describe(
    shared: &Shared,
    call: &Call,
    request: &DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let results = request.resources.iter().map(|resource| {
        let told = DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        match settings_of(shared, call, resource) {
            Ok(configs) => told.with_configs(configs),
            Err(denied) => told
                .with_error_code(denied.error.code())
                .with_error_message(Some(wire(&denied.message))),
        }
    });
    DescribeConfigsResponse::default().with_results(results.collect())
}

fn settings_of(
    shared: &Shared,
    call: &Call,
    resource: &DescribeConfigsResource,
) -> Result<Vec<DescribeConfigsResourceResult>, Denied> {
    let tell = |name: &str, value: &str, source: i8, kind: Kind| {
        let told = DescribeConfigsResourceResult::default()
            .with_name(wire(name))
            .with_value(Some(wire(value)))
            .with_read_only(source == SOURCE_BROKER)
            .with_config_source(source);
        if call.version >= 3 {
            told.with_config_type(kind as i8)
        } else {
            told
        }
    };
    let mut all = match resource.resource_type {
        TOPIC => {
            let own = shared
                .topics
                .get(&resource.resource_name)
                .ok_or_else(unknown_topic)?
                .settings();
            let defaults = shared.topics.defaults();
            let of = |name| {
                (
                    value_of(name, &own, defaults),
                    source_of(name, &own, defaults),
                )
            };
            SETTINGS
                .iter()
                .map(|setting| {
                    let (value, source) = of(setting.name);
                    tell(setting.name, value, source, setting.kind).with_read_only(false)
                })
                .collect()
        }
        BROKER if matches!(resource.resource_name.as_str(), "" | "1") => vec![
            tell(
                "auto.create.topics.enable",
                &shared.auto_create_topics.to_string(),
                SOURCE_BROKER,
                Kind::Boolean,
            ),
            tell("broker.id", &NODE_ID.to_string(), SOURCE_BROKER, Kind::Int),
            tell(
                "log.dirs",
                &shared.dir.to_string_lossy(),
                SOURCE_BROKER,
                Kind::Text,
            ),
            tell(
                "num.partitions",
                &shared.default_partitions.to_string(),
                SOURCE_BROKER,
                Kind::Int,
            ),
        ],
        _ => {
            let message = format!("Unexpected resource {}", resource.resource_name);
            return Err(Denied::new(ResponseError::InvalidRequest, message));
        }
    };
    if let Some(keys) = resource
        .configuration_keys
        .as_ref()
        .filter(|keys| !keys.is_empty())
    {
        all.retain(|config: &DescribeConfigsResourceResult| keys.contains(&config.name));
    }
    Ok(all)
}

fn unknown_topic() -> Denied {
    Denied::new(
        ResponseError::UnknownTopicOrPartition,
        "This server does not host this topic-partition.",
    )
}

/// Replaces all of a topic's settings.
pub(crate) fn alter(shared: &Shared, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let only_check = request.validate_only;
    let responses = request.resources.into_iter().map(|resource| {
        let settings = resource
            .configs
            .iter()
            .filter_map(|config| {
                Some((config.name.to_string(), config.value.as_ref()?.to_string()))
            })
            .collect();
        let outcome = configure(
            shared,
            resource.resource_type,
            &resource.resource_name,
            |_| Ok(settings),
            only_check,
        );
        let told = alter_configs_response::AlterConfigsResourceResponse::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name);
        match outcome {
            Ok(()) => told,
            Err(denied) => told
                .with_error_code(denied.error.code())
                .with_error_message(Some(wire(&denied.message))),
        }
    });
    AlterConfigsResponse::default().with_responses(responses.collect())
}

/// Changes some of a topic's settings.
pub(crate) fn alter_incrementally(
    shared: &Shared,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let only_check = request.validate_only;
    let responses = request.resources.into_iter().map(|resource| {
        let change = |settings| apply(settings, &resource.configs, shared.topics.defaults());
        let outcome = configure(
            shared,
            resource.resource_type,
            &resource.resource_name,
            change,
            only_check,
        );
        let told = incremental_alter_configs_response::AlterConfigsResourceResponse::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name);
        match outcome {
            Ok(()) => told,
            Err(denied) => told
                .with_error_code(denied.error.code())
                .with_error_message(Some(wire(&denied.message))),
        }
    });
    IncrementalAlterConfigsResponse::default().with_responses(responses.collect())
}

type Settings = BTreeMap<String, String>;

fn configure(
    shared: &Shared,
    kind: i8,
    name: &StrBytes,
    change: impl FnOnce(Settings) -> Result<Settings, Denied>,
    only_check: bool,
) -> Result<(), Denied> {
    if kind != TOPIC {
        let message =
            "The broker's own settings are given at its start; only a topic's can be altered.";
        return Err(Denied::new(ResponseError::InvalidRequest, message));
    }
    let topic = shared.topics.get(name).ok_or_else(unknown_topic)?;
    shared
        .topics
        .configure(&topic, change(topic.settings())?, only_check)
}

fn apply(
    mut settings: Settings,
    configs: &[AlterableConfig],
    defaults: &Settings,
) -> Result<Settings, Denied> {
    for config in configs {
        let name = config.name.to_string();
        let value = config.value.as_ref().map(ToString::to_string);
        let listed = || {
            value_of(&name, &settings, defaults)
                .split(',')
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        match (config.config_operation, value) {
            (0, Some(value)) => drop(settings.insert(name, value)),
            (1, _) => drop(settings.remove(&name)),
            (2, Some(value)) => {
                let mut list = listed();
                list.extend(
                    value
                        .split(',')
                        .filter(|part| !list.iter().any(|one| one == part))
                        .map(str::to_owned)
                        .collect::<Vec<_>>(),
                );
                settings.insert(name, list.join(","));
            }
            (3, Some(value)) => {
                let mut list = listed();
                list.retain(|one| !value.split(',').any(|part| part == one));
                settings.insert(name, list.join(","));
            }
            (operation, value) => {
                let message = format!(
                    "Operation {operation} with value {value:?} on {name} is not possible."
                );
                return Err(Denied::new(ResponseError::InvalidRequest, message));
            }
        }
    }
    Ok(settings)
}
