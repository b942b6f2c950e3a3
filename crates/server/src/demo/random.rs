//! Draws from the distributions of a shop.

use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

/// Ranks by popularity: the first is drawn most, as Zipf's law has it.
#[derive(Debug)]
pub(crate) struct Zipf {
    cumulative: Vec<f64>,
}

impl Zipf {
    /// `count` ranks; the rank `n` weighs `1 / n^exponent`.
    pub(crate) fn new(count: usize, exponent: f64) -> Self {
        let mut sum = 0.0;
        let weights = (1..=count).map(|rank| {
            sum += (rank as f64).powf(-exponent);
            sum
        });
        Self {
            cumulative: weights.collect(),
        }
    }

    /// A rank, from 0.
    pub(crate) fn draw(&self, random: &mut ChaCha8Rng) -> usize {
        let total = self.cumulative.last().copied().unwrap_or(1.0);
        let at = random.random::<f64>() * total;
        self.cumulative
            .partition_point(|sum| *sum < at)
            .min(self.cumulative.len().saturating_sub(1))
    }
}

/// True so often.
pub(crate) fn chance(random: &mut ChaCha8Rng, probability: f64) -> bool {
    random.random::<f64>() < probability
}

/// A time in milliseconds between events that happen on average once in `mean_ms`.
pub(crate) fn pause_ms(random: &mut ChaCha8Rng, mean_ms: f64) -> f64 {
    -mean_ms * (1.0 - random.random::<f64>()).ln()
}

/// One of them.
pub(crate) fn one_of<'a>(random: &mut ChaCha8Rng, texts: &[&'a str]) -> &'a str {
    texts.choose(random).copied().unwrap_or_default()
}
