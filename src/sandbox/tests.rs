//! The sandbox as its users see it: over real HTTP, with a browser of a few lines.

mod accounts;
mod confirmation;
mod faulty;
mod journey;
mod registration;
mod restart;
mod server;
mod support;
mod throttle;
mod tls;
