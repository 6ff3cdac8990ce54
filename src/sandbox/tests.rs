//! The sandbox as its users see it: over real HTTP, with a browser of a few lines.
#![expect(clippy::unwrap_used, reason = "test support")]

mod faulty;
mod journey;
mod restart;
mod support;
