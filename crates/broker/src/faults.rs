//! Faults on demand: what a test wants to go wrong, and when.
//!
//! A [`Fault`] names requests (by API, client, topic or any condition), which of them (`nth`, `times`) and what
//! happens. Faults are looked at in the order they were injected; the first that matches decides.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use kafka_protocol::{
    error::ResponseError,
    messages::{ApiKey, RequestKind},
};
use parking_lot::Mutex;

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// The request is not done; it is answered with this error wherever the answer can hold one.
    Error(ResponseError),
    /// The request is done and answered, but only after this long.
    Delay(Duration),
    /// The request is done, and the connection is closed instead of an answer.
    DropAnswer,
    /// The request is done and never answered; the connection stays open, and what follows is answered.
    Silence,
    /// The connection is closed before the request is done.
    Close,
}

/// A request, as a condition sees it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Seen<'a> {
    /// Which API.
    pub api: ApiKey,
    /// In which version.
    pub version: i16,
    /// What the client calls itself.
    pub client_id: &'a str,
    /// The names of the topics that the request is about, for the APIs that name any.
    pub topics: &'a [String],
    /// The request itself.
    pub request: &'a RequestKind,
}

type Condition = Arc<dyn Fn(&Seen<'_>) -> bool + Send + Sync>;

/// A fault to inject. See [`Fault::on`].
#[derive(Clone)]
pub struct Fault {
    api: ApiKey,
    conditions: Vec<Condition>,
    skip: u64,
    times: u64,
    action: Action,
}

impl Fault {
    /// A fault that strikes the next request to an API, once: `Fault::on(ApiKey::Produce, Action::Close)`.
    pub fn on(api: ApiKey, action: Action) -> Fault {
        Fault {
            api,
            conditions: Vec::new(),
            skip: 0,
            times: 1,
            action,
        }
    }

    /// Strikes the `nth` matching request first; 1 is the next one.
    pub fn nth(mut self, nth: u64) -> Fault {
        self.skip = nth.saturating_sub(1);
        self
    }

    /// Strikes so many matching requests in a row.
    pub fn times(mut self, times: u64) -> Fault {
        self.times = times;
        self
    }

    /// Strikes every matching request until it is removed.
    pub fn always(self) -> Fault {
        self.times(u64::MAX)
    }

    /// Only requests of the client with this `client.id`.
    pub fn client(self, client_id: impl Into<String>) -> Fault {
        let client_id = client_id.into();
        self.matching(move |seen| seen.client_id == client_id)
    }

    /// Only requests about this topic.
    pub fn topic(self, topic: impl Into<String>) -> Fault {
        let topic = topic.into();
        self.matching(move |seen| seen.topics.contains(&topic))
    }

    /// Only requests that fulfil a condition.
    pub fn matching(
        mut self,
        condition: impl Fn(&Seen<'_>) -> bool + Send + Sync + 'static,
    ) -> Fault {
        self.conditions.push(Arc::new(condition));
        self
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fault")
            .field("api", &self.api)
            .field("conditions", &self.conditions.len())
            .field("skip", &self.skip)
            .field("times", &self.times)
            .field("action", &self.action)
            .finish()
    }
}

/// The faults of one broker. Clones are the same faults.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    active: Arc<Mutex<Vec<Active>>>,
    /// How many are active, so that a broker without faults pays one load per request.
    count: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Active {
    fault: Fault,
    seen: u64,
    hits: Arc<AtomicU64>,
}

/// A fault that was injected.
#[derive(Clone, Debug)]
pub struct Injected {
    faults: Faults,
    hits: Arc<AtomicU64>,
}

impl Injected {
    /// How many requests it has struck.
    pub fn hits(&self) -> u64 {
        self.hits.load(Ordering::Acquire)
    }

    /// Takes it out.
    pub fn remove(&self) {
        self.faults
            .retain(|active| !Arc::ptr_eq(&active.hits, &self.hits));
    }
}

impl Faults {
    /// Injects a fault; it goes by itself when it has struck as often as it should.
    pub fn inject(&self, fault: Fault) -> Injected {
        let hits = Arc::new(AtomicU64::new(0));
        let mut active = self.active.lock();
        active.push(Active {
            fault,
            seen: 0,
            hits: Arc::clone(&hits),
        });
        self.count.store(active.len() as u64, Ordering::Release);
        Injected {
            faults: self.clone(),
            hits,
        }
    }

    /// Takes all faults out.
    pub fn clear(&self) {
        self.retain(|_| false);
    }

    pub(crate) fn any(&self) -> bool {
        self.count.load(Ordering::Acquire) > 0
    }

    /// What should happen to a request, if anything.
    pub(crate) fn strike(&self, seen: &Seen<'_>) -> Option<Action> {
        let mut found = None;
        for active in self.active.lock().iter_mut() {
            let fault = &active.fault;
            if fault.api != seen.api || !fault.conditions.iter().all(|condition| condition(seen)) {
                continue;
            }
            active.seen += 1;
            if active.seen > fault.skip && active.hits.load(Ordering::Acquire) < fault.times {
                active.hits.fetch_add(1, Ordering::AcqRel);
                found = Some(fault.action);
                break;
            }
        }
        if found.is_some() {
            self.retain(|active| active.hits.load(Ordering::Acquire) < active.fault.times);
        }
        found
    }

    fn retain(&self, keep: impl Fn(&Active) -> bool) {
        let mut active = self.active.lock();
        active.retain(keep);
        self.count.store(active.len() as u64, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::HeartbeatRequest;

    use super::*;

    fn strike(faults: &Faults, api: ApiKey, client_id: &str, topics: &[String]) -> Option<Action> {
        let request = RequestKind::Heartbeat(HeartbeatRequest::default());
        faults.strike(&Seen {
            api,
            version: 0,
            client_id,
            topics,
            request: &request,
        })
    }

    #[test]
    fn strikes_the_nth_so_many_times() {
        let faults = Faults::default();
        let injected = faults.inject(Fault::on(ApiKey::Fetch, Action::Close).nth(2).times(2));
        let struck: Vec<bool> = (0..5)
            .map(|_| strike(&faults, ApiKey::Fetch, "", &[]).is_some())
            .collect();
        assert_eq!(struck, [false, true, true, false, false]);
        assert_eq!(injected.hits(), 2);
        assert!(!faults.any());
    }

    #[test]
    fn only_what_matches() {
        let faults = Faults::default();
        let injected = faults.inject(
            Fault::on(ApiKey::Fetch, Action::Silence)
                .client("a")
                .topic("t")
                .always(),
        );
        let topics = ["t".to_owned()];
        assert_eq!(strike(&faults, ApiKey::Produce, "a", &topics), None);
        assert_eq!(strike(&faults, ApiKey::Fetch, "b", &topics), None);
        assert_eq!(strike(&faults, ApiKey::Fetch, "a", &[]), None);
        assert_eq!(
            strike(&faults, ApiKey::Fetch, "a", &topics),
            Some(Action::Silence)
        );
        injected.remove();
        assert_eq!(strike(&faults, ApiKey::Fetch, "a", &topics), None);
    }
}
