//! The sandbox as its users see it: over real HTTP, with a browser of a few lines.

mod faulty;
mod journey;
mod restart;
mod support;
