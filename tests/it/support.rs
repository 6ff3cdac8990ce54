//! What more than one file of tests drives the product with.

pub(crate) mod app;
pub(crate) mod dev;
pub(crate) mod prepared;
pub(crate) mod process;
