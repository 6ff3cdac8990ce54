//! The http layer.
