//! The call log: its writer, its pruning, and looking through it.
//!
//! Calls come through a channel, because nothing may wait for the log: a call that carries a token must be settled first. What the
//! database cannot take yet is kept, up to a limit; beyond it the oldest go, are counted, and the operators are warned.

mod list;
mod writer;

pub use list::{CallFilter, CallPage};
pub use writer::{CALL_QUEUE_MAX, CallLog, keep_pruning};
