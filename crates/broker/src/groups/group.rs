//! One group's membership: pure decisions, no I/O, the clock passed in.
//!
//! ```text
//!            a member joins             all have joined             the leader assigns
//!   Empty -----------------> Preparing -----------------> Completing -----------------> Stable
//!     ^                        ^   |                          |                           |
//!     +----- no one joined ----|---+                          |                           |
//!                              +------- a member joins, leaves or is silent --------------+
//! ```
//!
//! Joins and syncs are not answered at once: each brings a ticket, and a [`Reply`] for the ticket comes out when
//! the group is ready. Invariant: a ticket is answered once.

use std::collections::BTreeMap;

use bytes::Bytes;
use kafka_protocol::error::ResponseError;

/// The name of a waiting request.
pub(crate) type Ticket = u64;

/// A group.
#[derive(Debug)]
pub(crate) struct Group {
    phase: Phase,
    pub(crate) generation: i32,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    leader: Option<String>,
    pub(crate) members: BTreeMap<String, Member>,
    /// Ids that were given out and not yet used, and until when they may be.
    promised: BTreeMap<String, i64>,
    replies: Vec<Reply>,
    initial_delay_ms: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Empty,
    /// Waiting for members to join; `not_before` holds the first assignment back for others to come.
    Preparing {
        not_before: i64,
        deadline: i64,
    },
    Completing {
        deadline: i64,
    },
    Stable,
}

/// A member.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) instance: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    session_ms: i64,
    rebalance_ms: i64,
    protocols: Vec<(String, Bytes)>,
    pub(crate) assignment: Bytes,
    expires_at: i64,
    joining: Option<Ticket>,
    syncing: Option<Ticket>,
}

/// A request to join.
#[derive(Clone, Debug)]
pub(crate) struct Join {
    pub(crate) member_id: String,
    /// What to call a member that has no id yet.
    pub(crate) new_id: String,
    /// Whether such a member must come again with its id before it is let in.
    pub(crate) id_first: bool,
    pub(crate) instance: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) session_ms: i64,
    pub(crate) rebalance_ms: i64,
    pub(crate) protocol_type: String,
    pub(crate) protocols: Vec<(String, Bytes)>,
}

/// The answer to a join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Joined {
    pub(crate) generation: i32,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) leader: String,
    pub(crate) member_id: String,
    /// Everyone's id, instance and metadata, for the leader only.
    pub(crate) members: Vec<(String, Option<String>, Bytes)>,
}

/// An answer for a ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Joined(Ticket, Result<Joined, ResponseError>),
    Synced(Ticket, Result<Bytes, ResponseError>),
}

/// Why a join is refused; the member id that it should use is part of the answer.
pub(crate) type JoinRefused = (ResponseError, String);

impl Group {
    pub(crate) fn new(initial_delay_ms: i64) -> Group {
        Group {
            phase: Phase::Empty,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            promised: BTreeMap::new(),
            replies: Vec::new(),
            initial_delay_ms,
        }
    }

    /// The state's name, as Kafka tells it.
    pub(crate) fn state(&self) -> &'static str {
        match self.phase {
            Phase::Empty => "Empty",
            Phase::Preparing { .. } => "PreparingRebalance",
            Phase::Completing { .. } => "CompletingRebalance",
            Phase::Stable => "Stable",
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.promised.is_empty()
    }

    /// The answers that have become ready.
    pub(crate) fn take_replies(&mut self) -> Vec<Reply> {
        std::mem::take(&mut self.replies)
    }

    /// A member joins or joins again.
    pub(crate) fn join(
        &mut self,
        join: Join,
        ticket: Ticket,
        now_ms: i64,
    ) -> Result<(), JoinRefused> {
        let refused = |error| Err((error, join.member_id.clone()));
        if join.session_ms <= 0 {
            return refused(ResponseError::InvalidSessionTimeout);
        }
        if !self.accepts(&join) {
            return refused(ResponseError::InconsistentGroupProtocol);
        }
        if join.member_id.is_empty() {
            return self.join_new(join, ticket, now_ms);
        }
        if let Some(instance) = &join.instance {
            match self.member_of_instance(instance) {
                None => return refused(ResponseError::UnknownMemberId),
                Some(id) if id != join.member_id => {
                    return refused(ResponseError::FencedInstanceId);
                }
                Some(_) => {}
            }
        }
        if self.promised.remove(&join.member_id).is_some() {
            let id = join.member_id.clone();
            self.admit(id, join, ticket, now_ms);
            return Ok(());
        }
        if !self.members.contains_key(&join.member_id) {
            return refused(ResponseError::UnknownMemberId);
        }
        self.rejoin(join, ticket, now_ms);
        Ok(())
    }

    fn accepts(&self, join: &Join) -> bool {
        if join.protocols.is_empty() || join.protocol_type.is_empty() {
            return false;
        }
        let others: Vec<&Member> = self
            .members
            .iter()
            .filter(|(id, member)| {
                **id != join.member_id
                    && (join.instance.is_none() || member.instance != join.instance)
            })
            .map(|(_, member)| member)
            .collect();
        if others.is_empty() {
            return true;
        }
        let common = |(name, _): &(String, Bytes)| others.iter().all(|member| member.knows(name));
        self.protocol_type.as_deref() == Some(&join.protocol_type)
            && join.protocols.iter().any(common)
    }

    fn join_new(&mut self, join: Join, ticket: Ticket, now_ms: i64) -> Result<(), JoinRefused> {
        let id = join.new_id.clone();
        let before = join
            .instance
            .as_ref()
            .and_then(|instance| self.member_of_instance(instance));
        if let Some(before) = before {
            self.replace(&before, &id, join, ticket, now_ms);
        } else if join.id_first && join.instance.is_none() {
            self.promised.insert(id.clone(), now_ms + join.session_ms);
            return Err((ResponseError::MemberIdRequired, id));
        } else {
            self.admit(id, join, ticket, now_ms);
        }
        Ok(())
    }

    fn member_of_instance(&self, instance: &str) -> Option<String> {
        let of_instance = |member: &Member| member.instance.as_deref() == Some(instance);
        self.members
            .iter()
            .find(|(_, member)| of_instance(member))
            .map(|(id, _)| id.clone())
    }

    fn admit(&mut self, id: String, join: Join, ticket: Ticket, now_ms: i64) {
        self.protocol_type = Some(join.protocol_type.clone());
        self.members.insert(id, Member::new(join, ticket, now_ms));
        self.prepare(now_ms);
    }

    /// A static member came back under a new id: the old id is fenced, the assignment stays.
    fn replace(&mut self, before: &str, id: &str, join: Join, ticket: Ticket, now_ms: i64) {
        let Some(old) = self.members.remove(before) else {
            return;
        };
        for reply in [
            old.joining
                .map(|ticket| Reply::Joined(ticket, Err(ResponseError::FencedInstanceId))),
            old.syncing
                .map(|ticket| Reply::Synced(ticket, Err(ResponseError::FencedInstanceId))),
        ] {
            self.replies.extend(reply);
        }
        if self.leader.as_deref() == Some(before) {
            self.leader = Some(id.to_owned());
        }
        let same = old.protocols == join.protocols;
        let mut member = Member::new(join, ticket, now_ms);
        member.assignment = old.assignment;
        self.members.insert(id.to_owned(), member);
        if same && self.phase == Phase::Stable {
            self.answer_join(id, now_ms);
        } else {
            self.prepare(now_ms);
        }
    }

    fn rejoin(&mut self, join: Join, ticket: Ticket, now_ms: i64) {
        let id = join.member_id.clone();
        let is_leader = self.leader.as_ref() == Some(&id);
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        let same = member.protocols == join.protocols;
        if let Some(stale) = member.joining.replace(ticket) {
            self.replies.push(Reply::Joined(
                stale,
                Err(ResponseError::RebalanceInProgress),
            ));
        }
        member.protocols = join.protocols;
        member.session_ms = join.session_ms;
        member.rebalance_ms = join.rebalance_ms;
        member.expires_at = now_ms + member.session_ms;
        match self.phase {
            Phase::Completing { .. } if same => self.answer_join(&id, now_ms),
            Phase::Stable if same && !is_leader => self.answer_join(&id, now_ms),
            Phase::Empty | Phase::Preparing { .. } | Phase::Completing { .. } | Phase::Stable => {
                self.prepare(now_ms)
            }
        }
    }

    /// Begins a rebalance, or looks whether the one under way is complete.
    fn prepare(&mut self, now_ms: i64) {
        if !matches!(self.phase, Phase::Preparing { .. }) {
            let delay = if self.phase == Phase::Empty {
                self.initial_delay_ms
            } else {
                0
            };
            for member in self.members.values_mut() {
                member.assignment = Bytes::new();
                if let Some(ticket) = member.syncing.take() {
                    self.replies.push(Reply::Synced(
                        ticket,
                        Err(ResponseError::RebalanceInProgress),
                    ));
                }
            }
            let wait = self
                .members
                .values()
                .map(|member| member.rebalance_ms)
                .max()
                .unwrap_or(0);
            self.phase = Phase::Preparing {
                not_before: now_ms + delay,
                deadline: now_ms + wait.max(delay),
            };
        }
        self.complete_if_ready(now_ms);
    }

    fn complete_if_ready(&mut self, now_ms: i64) {
        let Phase::Preparing {
            not_before,
            deadline,
        } = self.phase
        else {
            return;
        };
        let all_here = self.promised.is_empty()
            && self.members.values().all(|member| member.joining.is_some());
        if now_ms >= deadline || (all_here && now_ms >= not_before) {
            self.complete(now_ms);
        }
    }

    fn complete(&mut self, now_ms: i64) {
        self.members
            .retain(|_, member| member.joining.is_some() || member.instance.is_some());
        self.generation += 1;
        if self.members.values().all(|member| member.joining.is_none()) {
            self.become_empty();
            return;
        }
        self.protocol = self.vote();
        let here = |id: &String| {
            self.members
                .get(id)
                .is_some_and(|member| member.joining.is_some())
        };
        if !self.leader.as_ref().is_some_and(here) {
            self.leader = self
                .members
                .iter()
                .find(|(_, member)| member.joining.is_some())
                .map(|(id, _)| id.clone());
        }
        let wait = self
            .members
            .values()
            .map(|member| member.rebalance_ms)
            .max()
            .unwrap_or(0);
        self.phase = Phase::Completing {
            deadline: now_ms + wait,
        };
        let ids: Vec<String> = self.members.keys().cloned().collect();
        ids.iter().for_each(|id| self.answer_join(id, now_ms));
    }

    fn become_empty(&mut self) {
        self.members.clear();
        self.phase = Phase::Empty;
        self.protocol = None;
        self.leader = None;
    }

    /// The protocol that all members know and most prefer; a tie goes to the first by name.
    fn vote(&self) -> Option<String> {
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            let known_to_all = |name: &str| self.members.values().all(|other| other.knows(name));
            if let Some((name, _)) = member.protocols.iter().find(|(name, _)| known_to_all(name)) {
                *votes.entry(name).or_default() += 1;
            }
        }
        let most = votes.values().max().copied()?;
        votes
            .iter()
            .find(|(_, count)| **count == most)
            .map(|(name, _)| (*name).to_owned())
    }

    fn answer_join(&mut self, id: &str, now_ms: i64) {
        let is_leader = self.leader.as_deref() == Some(id);
        let protocol = self.protocol.clone();
        let members = if is_leader {
            self.everyone(protocol.as_deref())
        } else {
            Vec::new()
        };
        let Some(member) = self.members.get_mut(id) else {
            return;
        };
        let Some(ticket) = member.joining.take() else {
            return;
        };
        member.expires_at = now_ms + member.session_ms;
        let joined = Joined {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol,
            leader: self.leader.clone().unwrap_or_default(),
            member_id: id.to_owned(),
            members,
        };
        self.replies.push(Reply::Joined(ticket, Ok(joined)));
    }

    fn everyone(&self, protocol: Option<&str>) -> Vec<(String, Option<String>, Bytes)> {
        let metadata = |member: &Member| member.metadata(protocol.unwrap_or_default());
        self.members
            .iter()
            .map(|(id, member)| (id.clone(), member.instance.clone(), metadata(member)))
            .collect()
    }

    /// A member asks for its assignment; the leader brings everyone's.
    pub(crate) fn sync(
        &mut self,
        member_id: &str,
        instance: Option<&str>,
        generation: i32,
        assignments: Vec<(String, Bytes)>,
        ticket: Ticket,
        now_ms: i64,
    ) -> Result<(), ResponseError> {
        self.check(member_id, instance, generation)?;
        let is_leader = self.leader.as_deref() == Some(member_id);
        let Some(member) = self.members.get_mut(member_id) else {
            return Err(ResponseError::UnknownMemberId);
        };
        member.expires_at = now_ms + member.session_ms;
        match self.phase {
            Phase::Empty => return Err(ResponseError::UnknownMemberId),
            Phase::Preparing { .. } => return Err(ResponseError::RebalanceInProgress),
            Phase::Stable => {
                let assignment = member.assignment.clone();
                self.replies.push(Reply::Synced(ticket, Ok(assignment)));
            }
            Phase::Completing { .. } => {
                if let Some(stale) = member.syncing.replace(ticket) {
                    self.replies.push(Reply::Synced(
                        stale,
                        Err(ResponseError::RebalanceInProgress),
                    ));
                }
                if is_leader {
                    self.assign(assignments, now_ms);
                }
            }
        }
        Ok(())
    }

    fn assign(&mut self, assignments: Vec<(String, Bytes)>, now_ms: i64) {
        for (id, assignment) in assignments {
            if let Some(member) = self.members.get_mut(&id) {
                member.assignment = assignment;
            }
        }
        self.phase = Phase::Stable;
        for member in self.members.values_mut() {
            if let Some(ticket) = member.syncing.take() {
                member.expires_at = now_ms + member.session_ms;
                self.replies
                    .push(Reply::Synced(ticket, Ok(member.assignment.clone())));
            }
        }
    }

    /// A member says that it lives; told otherwise when it must join again.
    pub(crate) fn heartbeat(
        &mut self,
        member_id: &str,
        instance: Option<&str>,
        generation: i32,
        now_ms: i64,
    ) -> Result<(), ResponseError> {
        self.check(member_id, instance, generation)?;
        if let Some(member) = self.members.get_mut(member_id) {
            member.expires_at = now_ms + member.session_ms;
        }
        match self.phase {
            Phase::Preparing { .. } => Err(ResponseError::RebalanceInProgress),
            Phase::Empty | Phase::Completing { .. } | Phase::Stable => Ok(()),
        }
    }

    /// Whether a commit of offsets may be made by whom it names. Generation -1 is a consumer outside of any group.
    pub(crate) fn may_commit(
        &mut self,
        member_id: &str,
        instance: Option<&str>,
        generation: i32,
        now_ms: i64,
    ) -> Result<(), ResponseError> {
        if generation < 0 && member_id.is_empty() && instance.is_none() {
            return if self.members.is_empty() {
                Ok(())
            } else {
                Err(ResponseError::UnknownMemberId)
            };
        }
        self.check(member_id, instance, generation)?;
        if let Some(member) = self.members.get_mut(member_id) {
            member.expires_at = now_ms + member.session_ms;
        }
        match self.phase {
            Phase::Completing { .. } => Err(ResponseError::RebalanceInProgress),
            Phase::Empty | Phase::Preparing { .. } | Phase::Stable => Ok(()),
        }
    }

    /// Whether a transactional commit may be made; clients of before Kafka 2.5 name no member at all.
    pub(crate) fn may_commit_in_transaction(
        &self,
        member_id: &str,
        instance: Option<&str>,
        generation: i32,
    ) -> Result<(), ResponseError> {
        if generation < 0 && member_id.is_empty() && instance.is_none() {
            return Ok(());
        }
        self.check(member_id, instance, generation)
    }

    fn check(
        &self,
        member_id: &str,
        instance: Option<&str>,
        generation: i32,
    ) -> Result<(), ResponseError> {
        if let Some(instance) = instance {
            match self.member_of_instance(instance) {
                None => return Err(ResponseError::UnknownMemberId),
                Some(id) if id != member_id => return Err(ResponseError::FencedInstanceId),
                Some(_) => {}
            }
        }
        if !self.members.contains_key(member_id) {
            Err(ResponseError::UnknownMemberId)
        } else if generation != self.generation {
            Err(ResponseError::IllegalGeneration)
        } else {
            Ok(())
        }
    }

    /// A member leaves; a static one may be named by its instance alone. Gives the id that it had.
    pub(crate) fn leave(
        &mut self,
        member_id: &str,
        instance: Option<&str>,
        now_ms: i64,
    ) -> Result<String, ResponseError> {
        let id = match instance {
            Some(instance) => match self.member_of_instance(instance) {
                None => return Err(ResponseError::UnknownMemberId),
                Some(id) if !member_id.is_empty() && id != member_id => {
                    return Err(ResponseError::FencedInstanceId);
                }
                Some(id) => id,
            },
            None => member_id.to_owned(),
        };
        if self.promised.remove(&id).is_some() {
            self.complete_if_ready(now_ms);
            return Ok(id);
        }
        if !self.members.contains_key(&id) {
            return Err(ResponseError::UnknownMemberId);
        }
        self.remove(&id, now_ms);
        Ok(id)
    }

    fn remove(&mut self, id: &str, now_ms: i64) {
        let Some(member) = self.members.remove(id) else {
            return;
        };
        let gone = ResponseError::UnknownMemberId;
        self.replies.extend(
            member
                .joining
                .map(|ticket| Reply::Joined(ticket, Err(gone))),
        );
        self.replies.extend(
            member
                .syncing
                .map(|ticket| Reply::Synced(ticket, Err(gone))),
        );
        if self.leader.as_deref() == Some(id) {
            self.leader = None;
        }
        self.prepare(now_ms);
    }

    /// Time has passed: drops members that are silent, completes rebalances that waited long enough.
    pub(crate) fn tick(&mut self, now_ms: i64) {
        self.promised.retain(|_, until| *until > now_ms);
        let silent = |member: &Member| member.joining.is_none() && member.expires_at <= now_ms;
        let expired: Vec<String> = self
            .members
            .iter()
            .filter(|(_, member)| silent(member))
            .map(|(id, _)| id.clone())
            .collect();
        expired.iter().for_each(|id| self.remove(id, now_ms));
        if let Phase::Completing { deadline } = self.phase
            && now_ms >= deadline
        {
            let late: Vec<String> = self
                .members
                .iter()
                .filter(|(_, member)| member.syncing.is_none() && member.instance.is_none())
                .map(|(id, _)| id.clone())
                .collect();
            late.iter().for_each(|id| self.remove(id, now_ms));
            self.prepare(now_ms);
        }
        self.complete_if_ready(now_ms);
    }
}

impl Member {
    fn new(join: Join, ticket: Ticket, now_ms: i64) -> Member {
        Member {
            instance: join.instance,
            client_id: join.client_id,
            client_host: join.client_host,
            session_ms: join.session_ms,
            rebalance_ms: join.rebalance_ms.max(1),
            protocols: join.protocols,
            assignment: Bytes::new(),
            expires_at: now_ms + join.session_ms,
            joining: Some(ticket),
            syncing: None,
        }
    }

    fn knows(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|(name, _)| name == protocol)
    }

    /// What the member said of itself for a protocol.
    pub(crate) fn metadata(&self, protocol: &str) -> Bytes {
        self.protocols
            .iter()
            .find(|(name, _)| name == protocol)
            .map(|(_, bytes)| bytes.clone())
            .unwrap_or_default()
    }
}

#[cfg(test)]
#[path = "group_tests.rs"]
mod tests;
