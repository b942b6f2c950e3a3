//! The membership state machine, driven by hand.

use super::*;

fn asks(member_id: &str, new_id: &str) -> Join {
    Join {
        member_id: member_id.into(),
        new_id: new_id.into(),
        id_first: false,
        instance: None,
        client_id: "c".into(),
        client_host: "h".into(),
        session_ms: 1000,
        rebalance_ms: 5000,
        protocol_type: "consumer".into(),
        protocols: vec![("range".into(), Bytes::from_static(b"meta"))],
    }
}

fn group() -> Group {
    Group::new(0)
}

fn joined(replies: &[Reply], ticket: Ticket) -> Joined {
    replies
        .iter()
        .find_map(|reply| match reply {
            Reply::Joined(of, Ok(joined)) if *of == ticket => Some(joined.clone()),
            _ => None,
        })
        .unwrap_or_else(|| panic!("ticket {ticket} has no answer in {replies:?}"))
}

fn assignment(id: &str, text: &'static str) -> (String, Bytes) {
    (id.into(), Bytes::from_static(text.as_bytes()))
}

/// A stable group of `a` (the leader) and `b`.
fn two() -> Group {
    let mut group = group();
    group.join(asks("", "a"), 1, 0).unwrap();
    group.join(asks("", "b"), 2, 0).unwrap();
    group.join(asks("a", ""), 3, 0).unwrap();
    group.take_replies();
    let assignments = vec![assignment("a", "0"), assignment("b", "1")];
    group.sync("b", None, 2, vec![], 4, 0).unwrap();
    group.sync("a", None, 2, assignments, 5, 0).unwrap();
    assert_eq!(
        group.take_replies(),
        [
            Reply::Synced(5, Ok(Bytes::from_static(b"0"))),
            Reply::Synced(4, Ok(Bytes::from_static(b"1")))
        ]
    );
    assert_eq!(group.state(), "Stable");
    group
}

#[test]
fn the_second_member_makes_the_first_join_again() {
    let mut group = group();
    group.join(asks("", "a"), 1, 0).unwrap();
    let first = joined(&group.take_replies(), 1);
    assert_eq!(
        (first.generation, first.leader.as_str(), first.members.len()),
        (1, "a", 1)
    );
    group.join(asks("", "b"), 2, 0).unwrap();
    assert_eq!(group.take_replies(), []);
    assert_eq!(
        group.heartbeat("a", None, 1, 0),
        Err(ResponseError::RebalanceInProgress)
    );
    group.join(asks("a", ""), 3, 0).unwrap();
    let replies = group.take_replies();
    assert_eq!(joined(&replies, 3).members.len(), 2);
    assert_eq!(joined(&replies, 2).members.len(), 0);
    assert_eq!(joined(&replies, 2).generation, 2);
}

#[test]
fn a_member_gets_its_id_first() {
    let mut group = group();
    let first = Join {
        id_first: true,
        ..asks("", "a")
    };
    assert_eq!(
        group.join(first, 1, 0),
        Err((ResponseError::MemberIdRequired, "a".into()))
    );
    assert!(!group.is_empty());
    group.join(asks("a", ""), 2, 0).unwrap();
    assert_eq!(joined(&group.take_replies(), 2).member_id, "a");
}

#[test]
fn the_initial_delay_gathers_members() {
    let mut group = Group::new(3000);
    group.join(asks("", "a"), 1, 0).unwrap();
    group.join(asks("", "b"), 2, 100).unwrap();
    group.tick(2999);
    assert_eq!(group.take_replies(), []);
    group.tick(3000);
    assert_eq!(joined(&group.take_replies(), 1).generation, 1);
}

#[test]
fn a_silent_member_is_dropped() {
    let mut group = two();
    group.heartbeat("a", None, 2, 900).unwrap();
    group.tick(1000);
    assert_eq!(group.state(), "PreparingRebalance");
    assert_eq!(
        group.heartbeat("b", None, 2, 1000),
        Err(ResponseError::UnknownMemberId)
    );
    group.join(asks("a", ""), 9, 1001).unwrap();
    assert_eq!(joined(&group.take_replies(), 9).members.len(), 1);
}

#[test]
fn whoever_does_not_join_in_time_is_out() {
    let mut group = two();
    group.join(asks("", "c"), 7, 10).unwrap();
    group.heartbeat("b", None, 2, 900).unwrap_err();
    group.join(asks("a", ""), 8, 20).unwrap();
    for now in (0..5000).step_by(500) {
        let _ = group.heartbeat("b", None, 2, now);
    }
    assert_eq!(group.take_replies(), []);
    group.tick(5010);
    assert_eq!(joined(&group.take_replies(), 8).members.len(), 2);
}

#[test]
fn leaving_rebalances_and_the_last_one_empties_the_group() {
    let mut group = two();
    assert_eq!(
        group.leave("x", None, 0),
        Err(ResponseError::UnknownMemberId)
    );
    group.leave("a", None, 0).unwrap();
    assert_eq!(group.state(), "PreparingRebalance");
    group.leave("b", None, 0).unwrap();
    assert_eq!((group.state(), group.generation), ("Empty", 3));
}

#[test]
fn a_static_member_comes_back_without_a_rebalance() {
    let of = |id: &str, new: &str| Join {
        instance: Some("i".into()),
        ..asks(id, new)
    };
    let mut group = group();
    group.join(of("", "a"), 1, 0).unwrap();
    group
        .sync("a", Some("i"), 1, vec![assignment("a", "0")], 2, 0)
        .unwrap();
    group.take_replies();
    group.join(of("", "b"), 3, 0).unwrap();
    let again = joined(&group.take_replies(), 3);
    assert_eq!((again.generation, again.member_id.as_str()), (1, "b"));
    group.sync("b", Some("i"), 1, vec![], 4, 0).unwrap();
    assert_eq!(
        group.take_replies(),
        [Reply::Synced(4, Ok(Bytes::from_static(b"0")))]
    );
    assert_eq!(
        group.heartbeat("a", Some("i"), 1, 0),
        Err(ResponseError::FencedInstanceId)
    );
}

#[test]
fn members_must_share_a_protocol() {
    let mut group = two();
    let other = Join {
        protocols: vec![("sticky".into(), Bytes::new())],
        ..asks("", "c")
    };
    assert_eq!(
        group.join(other, 9, 0).unwrap_err().0,
        ResponseError::InconsistentGroupProtocol
    );
}

#[test]
fn the_most_preferred_common_protocol_wins() {
    let prefer = |names: &[&str], new: &str| Join {
        protocols: names
            .iter()
            .map(|name| ((*name).to_owned(), Bytes::new()))
            .collect(),
        ..asks("", new)
    };
    let mut group = Group::new(10);
    group.join(prefer(&["range", "sticky"], "a"), 1, 0).unwrap();
    group.join(prefer(&["sticky", "range"], "b"), 2, 0).unwrap();
    group
        .join(prefer(&["odd", "sticky", "range"], "c"), 3, 0)
        .unwrap();
    group.tick(10);
    assert_eq!(
        joined(&group.take_replies(), 1).protocol.as_deref(),
        Some("sticky")
    );
}

#[test]
fn offsets_are_committed_by_members_of_the_generation_only() {
    let mut group = two();
    assert_eq!(group.may_commit("a", None, 2, 0), Ok(()));
    assert_eq!(
        group.may_commit("a", None, 1, 0),
        Err(ResponseError::IllegalGeneration)
    );
    assert_eq!(
        group.may_commit("x", None, 2, 0),
        Err(ResponseError::UnknownMemberId)
    );
    assert_eq!(
        group.may_commit("", None, -1, 0),
        Err(ResponseError::UnknownMemberId)
    );
    assert_eq!(Group::new(0).may_commit("", None, -1, 0), Ok(()));
}
