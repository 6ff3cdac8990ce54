//! Deterministic CBOR of records.
