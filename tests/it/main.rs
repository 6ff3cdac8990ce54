//! Everything that needs more than one module: one binary, because each would link the whole stack again.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "test support")]

mod kill;
mod pages;
mod proto;

mod serve;

mod support;

