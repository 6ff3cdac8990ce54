//! The sandbox as its users see it: over real HTTP.
