//! The coordinator of all groups: finds a request's group, keeps the requests that wait for an answer.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::group::{Group, Join, JoinRefused, Joined, Reply, Ticket};

/// The groups that have or had members.
#[derive(Debug)]
pub(crate) struct Groups {
    inner: Mutex<Inner>,
    initial_delay_ms: i64,
}

#[derive(Debug, Default)]
struct Inner {
    all: BTreeMap<String, Group>,
    next_ticket: Ticket,
    joining: HashMap<Ticket, oneshot::Sender<Result<Joined, ResponseError>>>,
    syncing: HashMap<Ticket, oneshot::Sender<Result<Bytes, ResponseError>>>,
}

/// A request to sync.
#[derive(Debug)]
pub(crate) struct Sync<'a> {
    pub(crate) member_id: &'a str,
    pub(crate) instance: Option<&'a str>,
    pub(crate) generation: i32,
    pub(crate) assignments: Vec<(String, Bytes)>,
}

/// A member as others may see it.
#[derive(Debug)]
pub(crate) struct SeenMember {
    pub(crate) id: String,
    pub(crate) instance: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) metadata: Bytes,
    pub(crate) assignment: Bytes,
}

/// A group as others may see it.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) id: String,
    pub(crate) state: &'static str,
    pub(crate) protocol_type: String,
    pub(crate) protocol: String,
    pub(crate) members: Vec<SeenMember>,
}

impl Groups {
    pub(crate) fn new(initial_delay_ms: i64) -> Groups {
        Groups {
            inner: Mutex::default(),
            initial_delay_ms,
        }
    }

    /// Joins; the answer comes when the group is ready. The error is the answer when there is nothing to wait for.
    pub(crate) async fn join(
        &self,
        group: &str,
        join: Join,
        now_ms: i64,
    ) -> Result<Joined, JoinRefused> {
        let id = join.member_id.clone();
        let (sender, receiver) = oneshot::channel();
        {
            let mut inner = self.inner.lock();
            let ticket = inner.next_ticket();
            inner.joining.insert(ticket, sender);
            let delay = self.initial_delay_ms;
            let of = inner
                .all
                .entry(group.to_owned())
                .or_insert_with(|| Group::new(delay));
            let outcome = of.join(join, ticket, now_ms);
            inner.answer(group);
            if let Err(refused) = outcome {
                inner.joining.remove(&ticket);
                return Err(refused);
            }
        }
        match receiver.await {
            Ok(answer) => answer.map_err(|error| (error, id)),
            Err(_) => Err((ResponseError::CoordinatorNotAvailable, id)),
        }
    }

    /// Asks for the assignment; the answer comes when the leader has brought it.
    pub(crate) async fn sync(
        &self,
        group: &str,
        sync: Sync<'_>,
        now_ms: i64,
    ) -> Result<Bytes, ResponseError> {
        let (sender, receiver) = oneshot::channel();
        {
            let mut inner = self.inner.lock();
            let ticket = inner.next_ticket();
            inner.syncing.insert(ticket, sender);
            let Sync {
                member_id,
                instance,
                generation,
                assignments,
            } = sync;
            let outcome = match inner.all.get_mut(group) {
                Some(of) => of.sync(member_id, instance, generation, assignments, ticket, now_ms),
                None => Err(ResponseError::UnknownMemberId),
            };
            inner.answer(group);
            if let Err(error) = outcome {
                inner.syncing.remove(&ticket);
                return Err(error);
            }
        }
        receiver
            .await
            .unwrap_or(Err(ResponseError::CoordinatorNotAvailable))
    }

    /// Does something to a group that is there, and sends the answers that this makes ready.
    pub(crate) fn with<T>(&self, group: &str, change: impl FnOnce(&mut Group) -> T) -> Option<T> {
        let mut inner = self.inner.lock();
        let outcome = inner.all.get_mut(group).map(change);
        inner.answer(group);
        outcome
    }

    /// Time has passed.
    pub(crate) fn tick(&self, now_ms: i64) {
        let mut inner = self.inner.lock();
        let ids: Vec<String> = inner.all.keys().cloned().collect();
        for id in ids {
            if let Some(group) = inner.all.get_mut(&id) {
                group.tick(now_ms);
            }
            inner.answer(&id);
        }
    }

    /// All groups, as others may see them.
    pub(crate) fn list(&self) -> Vec<Seen> {
        self.inner
            .lock()
            .all
            .iter()
            .map(|(id, group)| see(id, group))
            .collect()
    }

    /// One group, as others may see it.
    pub(crate) fn describe(&self, group: &str) -> Option<Seen> {
        self.inner.lock().all.get(group).map(|of| see(group, of))
    }

    /// Forgets a group without members. Gives whether it was there.
    pub(crate) fn delete(&self, group: &str) -> Result<bool, ResponseError> {
        let mut inner = self.inner.lock();
        match inner.all.get(group) {
            None => Ok(false),
            Some(of) if of.is_empty() => {
                inner.all.remove(group);
                Ok(true)
            }
            Some(_) => Err(ResponseError::NonEmptyGroup),
        }
    }
}

impl Inner {
    fn next_ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        self.next_ticket
    }

    /// Sends what a group has to say; whoever hung up is not our concern, its session will expire.
    fn answer(&mut self, group: &str) {
        let replies = self
            .all
            .get_mut(group)
            .map(Group::take_replies)
            .unwrap_or_default();
        for reply in replies {
            match reply {
                Reply::Joined(ticket, answer) => {
                    self.joining
                        .remove(&ticket)
                        .map(|sender| sender.send(answer).ok());
                }
                Reply::Synced(ticket, answer) => {
                    self.syncing
                        .remove(&ticket)
                        .map(|sender| sender.send(answer).ok());
                }
            }
        }
    }
}

fn see(id: &str, group: &Group) -> Seen {
    let protocol = group.protocol.clone().unwrap_or_default();
    let members = group
        .members
        .iter()
        .map(|(id, member)| SeenMember {
            id: id.clone(),
            instance: member.instance.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            metadata: member.metadata(&protocol),
            assignment: member.assignment.clone(),
        })
        .collect();
    Seen {
        id: id.to_owned(),
        state: group.state(),
        protocol_type: group.protocol_type.clone().unwrap_or_default(),
        protocol,
        members,
    }
}
