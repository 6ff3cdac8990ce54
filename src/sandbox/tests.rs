//! The sandbox as its users see it: over real HTTP, with a browser of a few lines.

mod accounts;
mod confirmation;
mod corpus;
mod faulty;
mod journey;
mod naughty;
mod registration;
mod restart;
mod support;
