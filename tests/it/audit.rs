//! What an auditor can ask: who held which token when, what was about to bring one, what was sent to the provider.

mod attempts;
mod calls;
mod events;
mod writer;
