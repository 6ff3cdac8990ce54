//! Everything that needs more than one module: one binary, because each would link the whole stack again.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "test support")]

mod accounts;
mod audit;
mod authz;
mod budget;
mod chaos;
mod clients;
mod demo;
mod doctor;
mod encrypted;
mod flows;
mod health;
mod kill;
mod leaks;
mod names;
mod pages;
mod proto;
mod python;
mod readme;
mod registration;
mod replicas;
mod rolling;
mod serve;
mod service_config;
mod support;
mod traps;
