//! tmp
mod authority;
mod dev_json;
mod files;
mod site;
pub use dev_json::{CallerJson, DevJson, GrpcJson, SandboxJson};
pub use site::{Site, SiteError, SiteOptions};
/// tmp
pub async fn tell(_site: &Site, _out: &mut dyn std::io::Write) -> Result<(), std::io::Error> { Ok(()) }
impl DevJson { /// ready
pub fn ready_line(&self) -> String { format!("ready grpc={}\n", self.grpc.address) } }
