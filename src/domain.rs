//! Values and decisions. No I/O, no clock, no randomness: whatever varies is an argument.
//!
//! | word | type |
//! |---|---|
//! | app | [`app::App`]: our registration at a provider |
//! | merchant | [`merchant::Merchant`] |
//! | connection | [`merchant::Connection`]: a provider user who granted our app access; tokens belong to it |
//! | link | [`merchant::Link`]: merchant → connection |
//! | token version, head, liveness | [`token`] |
//! | attempt | [`attempt`]: the durable intent of something that can bring or kill tokens |
//! | account | [`account`]: a payment account at the provider, owned by a connection |
//! | notice | [`notice::Notice`]: what the provider sends when something of it changed |
//! | statement name | [`statement::judge`]: whether a card holder will know an account by its name |
//! | permit, lane, pace | [`budget`]: the leave to call the provider, once, in turn |
//! | provider call | [`provider_call::ProviderCall`]: one line of the call log |
//! | finding | [`finding::Finding`]: what a check of an installation found |
//! | event, record, trail | [`trail`] |

pub mod account;
pub mod ambient;
pub mod app;
pub mod attempt;
pub mod budget;
pub mod finding;
pub mod id;
pub mod mac;
pub mod merchant;
pub mod name;
pub mod notice;
pub mod provider_call;
pub mod secret;
pub mod statement;
pub mod timing;
pub mod token;
pub mod trail;
