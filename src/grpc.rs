//! The grpc layer.
