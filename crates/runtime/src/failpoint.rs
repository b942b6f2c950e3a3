//! Points at which a test ends or stops the process, so that whatever recovery must repair can be made on purpose.
//!
//! ```text
//! MILLSTREAM_FAILPOINTS="step.recorded=kill@3;checkpoint.segment=stop"
//!                        point         action@nth passing (1 if left out)
//! ```
//!
//! | action | |
//! |---|---|
//! | `kill` | SIGKILL, sent by the thread that passes: it goes no further, nothing is flushed or dropped |
//! | `stop` | SIGSTOP: the process is as good as dead until someone continues it |
//!
//! Each strikes once. Invariant: without the variable a point costs one load and no branch is ever taken.

use rustix::process::{Signal, getpid, kill_process};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The variable that arms points.
const VARIABLE: &str = "MILLSTREAM_FAILPOINTS";

static ARMED: OnceLock<Option<Armed>> = OnceLock::new();

/// Passes a point: what was armed for it happens at its nth passing.
pub(crate) fn pass(point: &'static str) {
    if let Some(armed) = ARMED.get_or_init(from_environment) {
        armed.pass(point);
    }
}

#[cold]
fn from_environment() -> Option<Armed> {
    let text = std::env::var(VARIABLE).ok()?;
    let armed = Armed::parse(&text);
    if let Err(reason) = &armed {
        tracing::error!("{VARIABLE} is without effect: {reason}");
    }
    armed.ok()
}

/// The points that strike.
#[derive(Debug)]
struct Armed(Vec<Failpoint>);

#[derive(Debug)]
struct Failpoint {
    point: String,
    action: Action,
    /// The passing that strikes.
    nth: u64,
    passed: AtomicU64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Kill,
    Stop,
}

impl Armed {
    /// `point=action@nth;...`
    fn parse(text: &str) -> Result<Self, String> {
        let entries = text.split(';').map(str::trim);
        let all = entries.filter(|entry| !entry.is_empty()).map(|entry| {
            Failpoint::parse(entry).ok_or_else(|| {
                format!("`{entry}` must be a point, its action and which passing: step.begin=kill@3 (actions: kill, stop)")
            })
        });
        all.collect::<Result<_, _>>().map(Self)
    }

    fn pass(&self, point: &str) {
        for failpoint in self.0.iter().filter(|each| each.point == point) {
            if let Some(action) = failpoint.strike() {
                tracing::warn!(point, ?action, nth = failpoint.nth, "failpoint");
                // The only signals are to this very process, which always may.
                let _ = kill_process(getpid(), action.signal());
            }
        }
    }
}

impl Failpoint {
    fn parse(entry: &str) -> Option<Self> {
        let (point, rest) = entry.split_once('=')?;
        let (action, nth) = match rest.split_once('@') {
            None => (rest, 1),
            Some((action, nth)) => (action, nth.trim().parse().ok()?),
        };
        let action = match action.trim() {
            "kill" => Action::Kill,
            "stop" => Action::Stop,
            _ => return None,
        };
        (nth > 0).then(|| Self {
            point: point.trim().to_owned(),
            action,
            nth,
            passed: AtomicU64::new(0),
        })
    }

    /// Counts a passing; what happens at it.
    fn strike(&self) -> Option<Action> {
        let passed = self.passed.fetch_add(1, Ordering::Relaxed) + 1;
        (passed == self.nth).then_some(self.action)
    }
}

impl Action {
    fn signal(self) -> Signal {
        match self {
            Self::Kill => Signal::KILL,
            Self::Stop => Signal::STOP,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    #[test]
    fn the_nth_passing_strikes_once() {
        let armed = Armed::parse("a.b=kill@3; c = stop").unwrap();
        let [first, second] = &armed.0[..] else {
            panic!("{armed:?}")
        };
        let struck: Vec<_> = (0..5).map(|_| first.strike()).collect();
        assert_eq!(struck, [None, None, Some(Action::Kill), None, None]);
        assert_eq!(
            (second.point.as_str(), second.strike()),
            ("c", Some(Action::Stop))
        );
        // A point that nobody armed.
        armed.pass("a");
    }

    #[test]
    fn what_is_no_failpoint_is_told() {
        assert!(Armed::parse("").unwrap().0.is_empty());
        for wrong in ["a", "a=", "a=burn", "a=kill@0", "a=kill@x", "a=kill;b"] {
            let error = Armed::parse(wrong).unwrap_err();
            assert!(error.contains("must be a point"), "{wrong}: {error}");
        }
    }

    /// Runs this test in a process of its own, armed, in which it must not get to its end.
    #[test]
    fn kill_ends_the_process_where_it_stands() {
        const CHILD: &str = "MILLSTREAM_FAILPOINT_CHILD";
        if std::env::var_os(CHILD).is_some() {
            pass("other");
            pass("here");
            pass("here");
            return;
        }
        let run = |points: &str| {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["failpoint::tests::kill_ends", "--test-threads=1"]);
            let output = command.env(CHILD, "1").env(VARIABLE, points).output();
            output.unwrap().status
        };
        assert_eq!(run("here=kill@2").signal(), Some(9));
        assert!(run("here=kill@3").success());
        assert!(run("here=burn").success());
    }
}
