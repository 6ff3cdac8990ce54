//! The telemetry layer.
