//! Checkpoints as a whole: round trips, damage, faults, and histories at random compared with a plain map.

mod amazon;
mod damage;
mod faults;
mod faulty;
mod history;
mod model;
mod round_trip;
