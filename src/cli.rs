//! tmp
/// g
#[derive(clap::Args)]
pub struct Global {}
/// c
#[derive(clap::Subcommand)]
pub enum Command { /// x
 X }
/// r
pub async fn run(_c: Command, _g: &Global) -> std::process::ExitCode { std::process::ExitCode::SUCCESS }
