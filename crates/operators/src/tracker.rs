//! Which ids of a table changed since it was saved. Who never saves has no tracker.
//!
//! ```text
//!            came          went
//! (nothing) -----> Came --------> CameAndWent        no one else knows of it: the id may be given again at once
//!     |    changed          went
//!     +-----------> Changed ----> Went               the row is still saved: the id is not given again before the next save
//! ```

/// What happened to an id since the last save.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Since {
    #[default]
    Nothing,
    Changed,
    Came,
    CameAndWent,
    Went,
}

/// What happened to the ids of a table since the last save.
#[derive(Debug, Default)]
pub(crate) struct Tracker {
    since: Vec<Since>,
    /// The ids to which something happened, once each.
    touched: Vec<u32>,
    gone: Vec<u32>,
}

/// The ids of what is to be saved.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Ids that were saved and are gone. They are free from now on.
    pub(crate) gone: Vec<u32>,
    /// Ids that are new or have changed.
    pub(crate) here: Vec<u32>,
}

impl Tracker {
    /// Whether there is nothing to save.
    pub(crate) fn is_clean(&self) -> bool {
        self.touched.is_empty()
    }

    /// These ids are new.
    pub(crate) fn came(&mut self, ids: &[u32]) {
        for id in ids {
            let before = std::mem::replace(self.since(*id), Since::Came);
            if before == Since::Nothing {
                self.touched.push(*id);
            }
        }
    }

    /// What these ids stand for has changed.
    pub(crate) fn changed(&mut self, ids: impl IntoIterator<Item = u32>) {
        for id in ids {
            let since = self.since(id);
            if *since == Since::Nothing {
                *since = Since::Changed;
                self.touched.push(id);
            }
        }
    }

    /// An id is gone; whether it must not be given again before the next save.
    pub(crate) fn went(&mut self, id: u32) -> bool {
        let since = self.since(id);
        let before = *since;
        let known = before != Since::Came;
        *since = if known {
            Since::Went
        } else {
            Since::CameAndWent
        };
        if before == Since::Nothing {
            self.touched.push(id);
        }
        if known {
            self.gone.push(id);
        }
        known
    }

    /// Whether an id was there at the last save, and is still.
    pub(crate) fn is_saved(&self, id: u32) -> bool {
        match self.since.get(id as usize) {
            Some(Since::Came | Since::CameAndWent | Since::Went) => false,
            Some(Since::Nothing | Since::Changed) | None => true,
        }
    }

    /// Whether an id came and went, so that no save has or will have it.
    pub(crate) fn is_void(&self, id: u32) -> bool {
        self.since.get(id as usize) == Some(&Since::CameAndWent)
    }

    /// What is to be saved; from here on it is.
    pub(crate) fn take(&mut self) -> Changes {
        let mut here = std::mem::take(&mut self.touched);
        here.retain(|id| {
            let since = std::mem::take(&mut self.since[*id as usize]);
            matches!(since, Since::Came | Since::Changed)
        });
        Changes {
            gone: std::mem::take(&mut self.gone),
            here,
        }
    }

    #[inline]
    fn since(&mut self, id: u32) -> &mut Since {
        let at = id as usize;
        if at >= self.since.len() {
            self.since.resize(at + 1, Since::Nothing);
        }
        &mut self.since[at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_and_went_is_nothing_to_save() {
        let mut tracker = Tracker::default();
        tracker.came(&[3, 5]);
        tracker.changed([5, 1, 1]);
        assert!(!tracker.is_saved(3) && tracker.is_saved(1) && tracker.is_saved(9));
        assert!(!tracker.went(3) && tracker.is_void(3));
        assert!(tracker.went(1) && tracker.went(2));
        // The id is given again.
        tracker.came(&[3]);
        assert!(!tracker.is_void(3));
        let Changes { gone, here } = tracker.take();
        assert_eq!((gone, here), (vec![1, 2], vec![3, 5]));
        assert!(tracker.is_clean() && tracker.is_saved(3));
        assert!(tracker.went(3));
        assert_eq!(tracker.take().gone, [3]);
        assert!(tracker.is_clean());
    }
}
