//! What a reader with the public key can check.
