//! `strongroom demo`: the main job, told step by step by an outside user, and the parts that `strongroom dev` shares with it.
//!
//! The story uses nothing but what any user has: the gRPC API with certificates from `dev.json`, the public pages with a
//! browser, and the sandbox's own pages and call log. It reads no state of the product's; what it proves, others can repeat.

mod authority;
pub mod browser;
mod dev_json;
mod files;
pub mod search;
mod site;
mod story;

pub use dev_json::{CallerJson, DevJson, GrpcJson, SandboxJson};
pub use site::{Site, SiteError, SiteOptions};
pub use story::{Failure, tell};
