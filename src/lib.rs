//! Strongroom: merchant onboarding and OAuth2 token vault.

pub mod app;
pub mod cli;
pub mod config;
#[cfg(feature = "sandbox")]
pub mod demo;
pub mod domain;
pub mod grpc;
pub mod http;
pub mod policy;
pub mod provider;
#[cfg(feature = "sandbox")]
pub mod sandbox;
pub mod service;
pub mod store;
pub mod telemetry;
pub mod v1;
pub mod vault;
