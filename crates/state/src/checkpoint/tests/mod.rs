//! Checkpoints as a whole.
