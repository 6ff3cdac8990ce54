//! The sandbox as its users see it: over real HTTP, with a browser of a few lines.

mod accounts;
mod apps;
mod batch;
mod calls;
mod confirmation;
mod corpus;
mod faulty;
mod journey;
mod parsing;
mod registration;
mod restart;
mod support;
