//! Everything that needs more than one module: one binary, because each would link the whole stack again.

#![expect(clippy::unwrap_used, reason = "test support")]

mod flows;
mod pages;
mod proto;
