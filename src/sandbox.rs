//! The sandbox layer.
