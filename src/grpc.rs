//! The internal gRPC API: who calls, what is asked, what is answered. Converts and delegates; decides nothing.

pub mod auth;
pub mod listener;
