//! The mint protocol on the real service: answers that are lost, clicks that come twice, tokens nobody can tell about, restarts.
//!
//! Each test looks at the end state where it counts: at the provider (which token is live there, how often it was asked), in the API
//! and in the trail, which every test verifies at its end.

#![expect(clippy::indexing_slicing, clippy::panic, reason = "test support")]

mod doubled;
mod doubt;
mod ends;
mod lapse;
mod links;
mod liveness;
mod owner;
mod stage;
