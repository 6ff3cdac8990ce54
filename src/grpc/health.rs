//! `grpc.health.v1`: every service is as ready as the process.

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::server::NamedService as _;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::{accounts, admin, audit, onboarding, tokens};
use crate::service::Standing;
use crate::v1::account_service_server::AccountServiceServer;
use crate::v1::admin_service_server::AdminServiceServer;
use crate::v1::audit_service_server::AuditServiceServer;
use crate::v1::onboarding_service_server::OnboardingServiceServer;
use crate::v1::token_service_server::TokenServiceServer;

/// The whole server, and each of its services.
const NAMES: [&str; 6] = [
    "",
    AccountServiceServer::<accounts::Accounts>::NAME,
    AdminServiceServer::<admin::Admin>::NAME,
    AuditServiceServer::<audit::Audit>::NAME,
    OnboardingServiceServer::<onboarding::Onboarding>::NAME,
    TokenServiceServer::<tokens::Tokens>::NAME,
];

/// Tells clients what is found, until `stop`; then ends their watches, which would keep their connections open for ever. Resolves when the
/// process's health has nobody left to tell it.
pub(super) async fn follow(
    mut reporter: HealthReporter,
    mut health: watch::Receiver<Standing>,
    stop: CancellationToken,
) {
    loop {
        let ready = health.borrow_and_update().is_ready();
        let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
        for name in NAMES {
            reporter.set_service_status(name, status).await;
        }
        tokio::select! {
            changed = health.changed() => if changed.is_err() { return },
            () = stop.cancelled() => break,
        }
    }
    for name in NAMES {
        reporter.clear_service_status(name).await;
    }
}
