//! What more than one file of tests drives the product with.

pub(crate) mod app;
pub(crate) mod database;
pub(crate) mod dev;
pub(crate) mod installation;
pub(crate) mod postgres;
pub(crate) mod prepared;
pub(crate) mod process;
pub(crate) mod proxy;
mod proxy_tests;
pub(crate) mod replica;
pub(crate) mod replicas;
