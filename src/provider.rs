//! The provider layer.
