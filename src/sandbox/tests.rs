//! The sandbox as its users see it: over real HTTP, with a browser of a few lines.

mod accounts;
mod accounts_by_call;
mod accounts_shapes;
mod confirmation;
mod faulty;
mod journey;
mod lifecycle;
mod registration;
mod restart;
mod support;
