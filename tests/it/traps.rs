//! Traps that vaults like this one have fallen into, one test each.

mod callers;
mod storage;
