//! How many rows the next step takes: as many as fit the time that a step should last.

use std::time::Duration;

const ROWS_MIN: usize = 256;
const ROWS_FIRST: usize = 8_192;
const ROWS_MAX: usize = 131_072;

#[derive(Debug)]
pub(crate) struct Pace {
    rows: usize,
}

impl Pace {
    pub(crate) fn new() -> Self {
        Self { rows: ROWS_FIRST }
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// A step of `rows` rows took this long and should take `wanted`.
    pub(crate) fn took(&mut self, rows: usize, took: Duration, wanted: Duration) {
        let full = rows * 2 >= self.rows;
        if took > wanted && full {
            self.rows = (self.rows / 2).max(ROWS_MIN);
        } else if took * 2 < wanted && full {
            self.rows = (self.rows * 2).min(ROWS_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_shrink_when_they_are_slow_and_grow_when_they_are_full_and_fast() {
        let ms = Duration::from_millis;
        let mut pace = Pace::new();
        pace.took(8_192, ms(50), ms(20));
        assert_eq!(pace.rows(), 4_096);
        pace.took(4_096, ms(1), ms(20));
        assert_eq!(pace.rows(), 8_192);
        pace.took(10, ms(1), ms(20));
        assert_eq!(
            pace.rows(),
            8_192,
            "a small step says nothing of a full one"
        );
        (0..20).for_each(|_| pace.took(131_072, ms(1), ms(20)));
        assert_eq!(pace.rows(), ROWS_MAX);
    }
}
