//! The membership of consumer groups.

use kafka_protocol::{
    error::ResponseError,
    messages::{
        DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse,
        GroupId, HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse,
        LeaveGroupRequest, LeaveGroupResponse, ListGroupsRequest, ListGroupsResponse,
        SyncGroupRequest, SyncGroupResponse,
        delete_groups_response::DeletableGroupResult,
        describe_groups_response::{DescribedGroup, DescribedGroupMember},
        join_group_response::JoinGroupResponseMember,
        leave_group_request::MemberIdentity,
        leave_group_response::MemberResponse,
        list_groups_response::ListedGroup,
    },
    protocol::StrBytes,
};
use uuid::Uuid;

use super::{Call, code};
use crate::{
    broker::Shared,
    clock::now_ms,
    codec::wire,
    groups::{
        coordinator::{Seen, Sync},
        group::Join,
    },
    log::partition_log::Refused,
};

/// From here on a new member gets an id first and joins with it.
const ID_FIRST_VERSION: i16 = 4;

fn text(name: Option<&StrBytes>) -> Option<String> {
    name.map(|name| name.as_str().to_owned())
}

/// Joins a group.
pub(crate) async fn join(
    shared: &Shared,
    call: &Call,
    request: JoinGroupRequest,
) -> JoinGroupResponse {
    let told = JoinGroupResponse::default();
    let told = if call.version >= 7 {
        told.with_protocol_name(None)
    } else {
        told
    };
    if request.group_id.is_empty() {
        return told.with_error_code(ResponseError::InvalidGroupId.code());
    }
    let named = request
        .group_instance_id
        .as_ref()
        .map_or(call.client_id.as_str(), |instance| instance.as_str());
    let rebalance_ms = if call.version == 0 {
        request.session_timeout_ms
    } else {
        request.rebalance_timeout_ms
    };
    let join = Join {
        member_id: request.member_id.to_string(),
        new_id: format!("{named}-{}", Uuid::new_v4()),
        id_first: call.version >= ID_FIRST_VERSION,
        instance: text(request.group_instance_id.as_ref()),
        client_id: call.client_id.clone(),
        client_host: format!("/{}", call.peer.ip()),
        session_ms: i64::from(request.session_timeout_ms),
        rebalance_ms: i64::from(rebalance_ms),
        protocol_type: request.protocol_type.to_string(),
        protocols: request
            .protocols
            .into_iter()
            .map(|protocol| (protocol.name.to_string(), protocol.metadata))
            .collect(),
    };
    match shared.groups.join(&request.group_id, join, now_ms()).await {
        Err((error, member_id)) => told
            .with_error_code(error.code())
            .with_member_id(wire(&member_id)),
        Ok(joined) => {
            let members = joined.members.into_iter().map(|(id, instance, metadata)| {
                let member = JoinGroupResponseMember::default()
                    .with_member_id(wire(&id))
                    .with_metadata(metadata);
                if call.version >= 5 {
                    member.with_group_instance_id(instance.as_deref().map(wire))
                } else {
                    member
                }
            });
            let told = told
                .with_generation_id(joined.generation)
                .with_protocol_name(Some(wire(joined.protocol.as_deref().unwrap_or_default())))
                .with_leader(wire(&joined.leader))
                .with_member_id(wire(&joined.member_id))
                .with_members(members.collect());
            if call.version >= 7 {
                told.with_protocol_type(joined.protocol_type.as_deref().map(wire))
            } else {
                told
            }
        }
    }
}

/// Brings or fetches assignments.
pub(crate) async fn sync(
    shared: &Shared,
    call: &Call,
    request: SyncGroupRequest,
) -> SyncGroupResponse {
    let sync = Sync {
        member_id: &request.member_id,
        instance: request.group_instance_id.as_deref(),
        generation: request.generation_id,
        assignments: request
            .assignments
            .into_iter()
            .map(|assigned| (assigned.member_id.to_string(), assigned.assignment))
            .collect(),
    };
    let told = SyncGroupResponse::default();
    match shared.groups.sync(&request.group_id, sync, now_ms()).await {
        Err(error) => told.with_error_code(error.code()),
        Ok(assignment) => {
            let told = told.with_assignment(assignment);
            if call.version >= 5 {
                told.with_protocol_type(request.protocol_type)
                    .with_protocol_name(request.protocol_name)
            } else {
                told
            }
        }
    }
}

/// Hears that a member lives.
pub(crate) fn heartbeat(shared: &Shared, request: &HeartbeatRequest) -> HeartbeatResponse {
    let instance = request.group_instance_id.as_deref();
    let outcome = shared.groups.with(&request.group_id, |group| {
        group.heartbeat(
            &request.member_id,
            instance,
            request.generation_id,
            now_ms(),
        )
    });
    let error = outcome.unwrap_or(Err(ResponseError::UnknownMemberId)).err();
    HeartbeatResponse::default().with_error_code(error.map_or(0, |error| error.code()))
}

/// Lets members go.
pub(crate) fn leave(
    shared: &Shared,
    call: &Call,
    request: &LeaveGroupRequest,
) -> LeaveGroupResponse {
    let leave = |member_id: &str, instance: Option<&str>| {
        let outcome = shared.groups.with(&request.group_id, |group| {
            group.leave(member_id, instance, now_ms())
        });
        outcome.unwrap_or(Err(ResponseError::UnknownMemberId))
    };
    let told = LeaveGroupResponse::default();
    if call.version < 3 {
        let code = leave(&request.member_id, None)
            .err()
            .map_or(0, |error| error.code());
        return told.with_error_code(code);
    }
    let tell = |member: &MemberIdentity| {
        let outcome = leave(&member.member_id, member.group_instance_id.as_deref());
        MemberResponse::default()
            .with_member_id(
                outcome
                    .as_ref()
                    .map_or_else(|_| member.member_id.clone(), |id| wire(id)),
            )
            .with_group_instance_id(member.group_instance_id.clone())
            .with_error_code(outcome.err().map_or(0, |error| error.code()))
    };
    told.with_members(request.members.iter().map(tell).collect())
}

/// Lists groups: those with members, and those that only have offsets.
pub(crate) fn list(
    shared: &Shared,
    call: &Call,
    request: &ListGroupsRequest,
) -> ListGroupsResponse {
    let mut all: Vec<(String, String, &'static str)> = shared
        .groups
        .list()
        .into_iter()
        .map(|group| (group.id, group.protocol_type, group.state))
        .collect();
    for id in shared.offsets.groups() {
        if !all.iter().any(|(other, _, _)| *other == id) {
            all.push((id, String::new(), "Empty"));
        }
    }
    let state_wanted = |state: &str| {
        request.states_filter.is_empty()
            || request
                .states_filter
                .iter()
                .any(|wanted| wanted.eq_ignore_ascii_case(state))
    };
    let type_wanted = request.types_filter.is_empty()
        || request
            .types_filter
            .iter()
            .any(|wanted| wanted.eq_ignore_ascii_case("classic"));
    let groups = all
        .into_iter()
        .filter(|(_, _, state)| type_wanted && state_wanted(state))
        .map(|(id, kind, state)| {
            let told = ListedGroup::default()
                .with_group_id(GroupId(wire(&id)))
                .with_protocol_type(wire(&kind));
            let told = if call.version >= 4 {
                told.with_group_state(wire(state))
            } else {
                told
            };
            if call.version >= 5 {
                told.with_group_type(wire("classic"))
            } else {
                told
            }
        });
    ListGroupsResponse::default().with_groups(groups.collect())
}

/// Tells all about some groups.
pub(crate) fn describe(
    shared: &Shared,
    call: &Call,
    request: &DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    let groups = request.groups.iter().map(|id| {
        let told = DescribedGroup::default().with_group_id(id.clone());
        match shared.groups.describe(id) {
            Some(group) => tell(told, call.version, group),
            None if shared.offsets.has_group(id) => told.with_group_state(wire("Empty")),
            None => {
                let told = told.with_group_state(wire("Dead"));
                if call.version >= 6 {
                    let error = ResponseError::GroupIdNotFound;
                    told.with_error_code(error.code())
                        .with_error_message(Some(wire(&format!(
                            "Group {} not found.",
                            id.as_str()
                        ))))
                } else {
                    told
                }
            }
        }
    });
    DescribeGroupsResponse::default().with_groups(groups.collect())
}

fn tell(told: DescribedGroup, version: i16, group: Seen) -> DescribedGroup {
    let members = group.members.into_iter().map(|member| {
        let told = DescribedGroupMember::default()
            .with_member_id(wire(&member.id))
            .with_client_id(wire(&member.client_id))
            .with_client_host(wire(&member.client_host))
            .with_member_metadata(member.metadata)
            .with_member_assignment(member.assignment);
        if version >= 4 {
            told.with_group_instance_id(member.instance.as_deref().map(wire))
        } else {
            told
        }
    });
    told.with_group_state(wire(group.state))
        .with_protocol_type(wire(&group.protocol_type))
        .with_protocol_data(wire(&group.protocol))
        .with_members(members.collect())
}

/// Deletes groups without members, with their offsets.
pub(crate) fn delete(shared: &Shared, request: &DeleteGroupsRequest) -> DeleteGroupsResponse {
    let remove = |id: &str| -> Result<(), Refused> {
        let was_there = shared.groups.delete(id).map_err(Refused::Answer)?;
        if !was_there && !shared.offsets.has_group(id) {
            return Err(Refused::Answer(ResponseError::GroupIdNotFound));
        }
        Ok(shared.offsets.delete_group(id)?)
    };
    let results = request.groups_names.iter().map(|id| {
        DeletableGroupResult::default()
            .with_group_id(id.clone())
            .with_error_code(remove(id).err().map_or(0, code))
    });
    DeleteGroupsResponse::default().with_results(results.collect())
}
