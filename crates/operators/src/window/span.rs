//! The kinds of windows, and which windows a time belongs to. All times are local milliseconds.

use millstream_dataflow::{Error, Result};
use std::fmt;

/// A kind of window. Windows begin at multiples of their size (or slide) after `offset_ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// TUMBLE: every time is in one window.
    Tumble {
        /// The length of a window.
        size_ms: i64,
        /// Moves all windows.
        offset_ms: i64,
    },
    /// HOP: windows of one length that begin every `slide_ms`.
    Hop {
        /// From one window's begin to the next.
        slide_ms: i64,
        /// The length of a window.
        size_ms: i64,
        /// Moves all windows.
        offset_ms: i64,
    },
    /// CUMULATE: windows that begin together, every `max_ms`, and end a step apart.
    Cumulate {
        /// From one window's end to the next.
        step_ms: i64,
        /// The length of the longest window.
        max_ms: i64,
        /// Moves all windows.
        offset_ms: i64,
    },
    /// SESSION: the rows of a key with no gap as long as this between them; a row exactly at the gap still belongs.
    Session {
        /// A session ends so long after its last row.
        gap_ms: i64,
    },
}

impl Window {
    /// # Errors
    /// `User` for lengths that make no windows.
    pub(crate) fn check(self) -> Result<()> {
        let positive = |name: &str, ms: i64| {
            (ms > 0).then_some(()).ok_or_else(|| {
                Error::user(format!(
                    "the {name} of a window is {ms} ms: it must be positive"
                ))
            })
        };
        match self {
            Self::Tumble { size_ms, .. } => positive("size", size_ms),
            Self::Hop {
                slide_ms, size_ms, ..
            } => {
                positive("slide", slide_ms)?;
                positive("size", size_ms)
            }
            Self::Cumulate {
                step_ms, max_ms, ..
            } => {
                positive("step", step_ms)?;
                positive("maximum size", max_ms)?;
                if max_ms % step_ms != 0 {
                    return Err(Error::user(format!(
                        "the maximum size of a CUMULATE window, {max_ms} ms, is no multiple of its step, {step_ms} ms"
                    )));
                }
                Ok(())
            }
            Self::Session { gap_ms } => positive("gap", gap_ms),
        }
    }

    /// The end of the slice that a time belongs to: no window begins or ends within a slice.
    #[inline]
    pub(crate) fn slice_end(self, ms: i64) -> i64 {
        match self {
            Self::Tumble { size_ms, offset_ms } => next(ms, size_ms, offset_ms),
            Self::Hop {
                slide_ms,
                size_ms,
                offset_ms,
            } => next(ms, gcd(slide_ms, size_ms), offset_ms),
            Self::Cumulate {
                step_ms, offset_ms, ..
            } => next(ms, step_ms, offset_ms),
            Self::Session { gap_ms } => ms.saturating_add(gap_ms),
        }
    }

    /// The length of a slice.
    pub(crate) fn slice_ms(self) -> i64 {
        match self {
            Self::Tumble { size_ms, .. } => size_ms,
            Self::Hop {
                slide_ms, size_ms, ..
            } => gcd(slide_ms, size_ms),
            Self::Cumulate { step_ms, .. } => step_ms,
            Self::Session { gap_ms } => gap_ms,
        }
    }

    /// The number of the slice that ends here. Slices are numbered in order, without holes.
    pub(crate) fn slice_number(self, slice_end: i64) -> i64 {
        slice_end
            .saturating_sub(self.offset_ms())
            .div_euclid(self.slice_ms())
    }

    /// The end of the slice of a number.
    pub(crate) fn slice_at(self, number: i64) -> i64 {
        number
            .saturating_mul(self.slice_ms())
            .saturating_add(self.offset_ms())
    }

    fn offset_ms(self) -> i64 {
        match self {
            // Slices lie where windows begin, at multiples of their own length.
            Self::Tumble { offset_ms, .. }
            | Self::Hop { offset_ms, .. }
            | Self::Cumulate { offset_ms, .. } => offset_ms.rem_euclid(self.slice_ms()),
            Self::Session { .. } => 0,
        }
    }

    /// The first window, by end, that holds a slice and ends after `after`: begin and end.
    pub(crate) fn window_after(self, slice_end: i64, after: i64) -> Option<(i64, i64)> {
        if after == i64::MAX {
            return None;
        }
        match self {
            Self::Tumble { size_ms, .. } => {
                (slice_end > after).then_some((slice_end - size_ms, slice_end))
            }
            Self::Hop {
                slide_ms,
                size_ms,
                offset_ms,
            } => {
                let slice_ms = gcd(slide_ms, size_ms);
                let least = slice_end.max(after.saturating_add(1));
                // Ends are at offset + size + a multiple of the slide.
                let end = next(
                    least - 1,
                    slide_ms,
                    (offset_ms + size_ms).rem_euclid(slide_ms),
                );
                (end - size_ms <= slice_end - slice_ms).then_some((end - size_ms, end))
            }
            Self::Cumulate {
                step_ms,
                max_ms,
                offset_ms,
            } => {
                let begin = next(slice_end - 1, max_ms, offset_ms) - max_ms;
                let end = if slice_end > after {
                    slice_end
                } else {
                    next(after, step_ms, offset_ms)
                };
                (end <= begin + max_ms).then_some((begin, end))
            }
            Self::Session { .. } => None,
        }
    }

    /// Calls `each` with begin and end of every window that a time belongs to, ascending. Sessions have none alone.
    pub(crate) fn each_window(self, ms: i64, mut each: impl FnMut(i64, i64)) {
        let slice_end = self.slice_end(ms);
        let mut after = i64::MIN;
        while let Some((begin, end)) = self.window_after(slice_end, after) {
            each(begin, end);
            after = end;
        }
    }
}

/// The first multiple of `size` after `offset` that is greater than `ms`.
#[inline]
fn next(ms: i64, size: i64, offset: i64) -> i64 {
    let past = ms.saturating_sub(offset).rem_euclid(size);
    ms.saturating_sub(past).saturating_add(size)
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let offset = match *self {
            Self::Tumble { size_ms, offset_ms } => {
                write!(f, "TUMBLE size={size_ms}ms")?;
                offset_ms
            }
            Self::Hop {
                slide_ms,
                size_ms,
                offset_ms,
            } => {
                write!(f, "HOP slide={slide_ms}ms size={size_ms}ms")?;
                offset_ms
            }
            Self::Cumulate {
                step_ms,
                max_ms,
                offset_ms,
            } => {
                write!(f, "CUMULATE step={step_ms}ms max={max_ms}ms")?;
                offset_ms
            }
            Self::Session { gap_ms } => {
                write!(f, "SESSION gap={gap_ms}ms")?;
                0
            }
        };
        if offset != 0 {
            write!(f, " offset={offset}ms")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(window: Window, ms: i64) -> Vec<(i64, i64)> {
        let mut all = Vec::new();
        window.each_window(ms, |begin, end| all.push((begin, end)));
        all
    }

    #[test]
    fn a_time_is_in_these_windows() {
        let tumble = Window::Tumble {
            size_ms: 10,
            offset_ms: 3,
        };
        assert_eq!(windows(tumble, 2), [(-7, 3)]);
        assert_eq!(windows(tumble, 3), [(3, 13)]);
        let hop = Window::Hop {
            slide_ms: 5,
            size_ms: 15,
            offset_ms: 0,
        };
        assert_eq!(windows(hop, 12), [(0, 15), (5, 20), (10, 25)]);
        assert_eq!(windows(hop, -1), [(-15, 0), (-10, 5), (-5, 10)]);
        let uneven = Window::Hop {
            slide_ms: 4,
            size_ms: 6,
            offset_ms: 1,
        };
        assert_eq!(windows(uneven, 5), [(1, 7), (5, 11)]);
        assert_eq!(windows(uneven, 7), [(5, 11)]);
        let sparse = Window::Hop {
            slide_ms: 10,
            size_ms: 5,
            offset_ms: 0,
        };
        assert_eq!(
            (windows(sparse, 4), windows(sparse, 5)),
            (vec![(0, 5)], vec![])
        );
        let cumulate = Window::Cumulate {
            step_ms: 5,
            max_ms: 15,
            offset_ms: 0,
        };
        assert_eq!(windows(cumulate, 7), [(0, 10), (0, 15)]);
        assert_eq!(windows(cumulate, 14), [(0, 15)]);
    }

    #[test]
    fn slices_have_numbers() {
        let uneven = Window::Hop {
            slide_ms: 4,
            size_ms: 6,
            offset_ms: 5,
        };
        for ms in -20..20 {
            let end = uneven.slice_end(ms);
            assert_eq!(uneven.slice_at(uneven.slice_number(end)), end);
            assert_eq!(
                uneven.slice_number(end + uneven.slice_ms()),
                uneven.slice_number(end) + 1
            );
        }
    }

    #[test]
    fn lengths_must_make_sense() {
        assert!(
            Window::Tumble {
                size_ms: 0,
                offset_ms: 0
            }
            .check()
            .is_err()
        );
        assert!(
            Window::Cumulate {
                step_ms: 4,
                max_ms: 10,
                offset_ms: 0
            }
            .check()
            .is_err()
        );
    }
}
