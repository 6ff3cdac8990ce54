//! The sandbox as its users see it: over real HTTP, with a browser of a few lines.

mod accounts;
mod confirmation;
mod control;
mod corpus;
mod faithfulness;
mod faulty;
mod journey;
mod notices;
mod pages;
mod rbits;
mod receiver;
mod registration;
mod restart;
mod snapshots;
mod support;
