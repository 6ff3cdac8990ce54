//! The sandbox as its users see it: over real HTTP, with a browser of a few lines.

mod accounts;
mod accounts_by_call;
mod accounts_shapes;
mod apps;
mod batch;
mod calls;
mod confirmation;
mod control;
mod corpus;
mod faithfulness;
mod faulty;
mod journey;
mod lifecycle;
mod naughty;
mod notices;
mod pages;
mod parsing;
mod rbits;
mod receiver;
mod registration;
mod restart;
mod server;
mod snapshots;
mod support;
mod throttle;
mod tls;
