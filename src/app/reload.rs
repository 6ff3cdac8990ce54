//! What changes while the process runs: grants, certificates, and the few keys of the configuration that may.
//!
//! Files are watched by what is in them, not by events of the file system: Kubernetes swaps links, editors replace files. Whatever is
//! broken leaves the last good one in force, and is told of once for each content, not every time it is looked at.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;
use tracing::{error, info, warn};
use zeroize::Zeroizing;

use crate::config::{Config, FILE_BYTES_MAX, Source};
use crate::domain::ambient::Clock;
use crate::grpc::listener::Tls;
use crate::policy::SharedPolicy;
use crate::service::Services;
use crate::store::Store;
use crate::telemetry::Filter;

/// Between two looks at the files. A mounted file of Kubernetes is a minute late anyway; and a withdrawn grant should not live much longer
/// than it takes to write it.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);
/// As much of a file as tells whether it changed; each of them has a smaller limit of its own.
const CONTENT_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Keys of the configuration that take effect at once.
const AT_ONCE: [&str; 2] = ["budget.share", "log.filter"];

/// The content of one or more files, or that one cannot be read.
type Content = [u8; 32];

/// Brings into force what was changed.
pub(super) struct Reload {
    policy: Arc<SharedPolicy>,
    store: Arc<Store>,
    services: Services,
    /// One look at a time, so that an older reading never replaces a newer one.
    watched: Mutex<Watched>,
}

struct Watched {
    grants: Files,
    certificates: Vec<(Arc<Tls>, Files)>,
    config: Option<ConfigFile>,
}

/// Files that make sense together only.
struct Files {
    paths: Vec<PathBuf>,
    /// What was in them when they were last loaded, or found broken; nothing: to be loaded whatever is in them.
    seen: Option<Content>,
}

/// The configuration file of a running process.
pub struct ConfigFile {
    path: PathBuf,
    started_with: String,
    source: Box<dyn Source + Send + Sync>,
    filter: Filter,
    filter_in_force: String,
    share_in_force: u32,
    seen: Content,
}

impl ConfigFile {
    /// The file at this path, which held this text when `config` was loaded from it and the source; and the log whose filter it has.
    pub fn new(
        path: &Path,
        text: String,
        source: impl Source + Send + Sync + 'static,
        config: &Config,
        filter: Filter,
    ) -> Self {
        let seen = Sha256::digest(text.as_bytes()).into();
        Self {
            path: path.to_owned(),
            started_with: text,
            source: Box::new(source),
            filter,
            filter_in_force: config.log.filter.clone(),
            share_in_force: config.budget.share(),
            seen,
        }
    }

    /// Applies what may be applied and names the rest.
    fn look(&mut self, services: &Services) {
        let text = match read(&self.path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            // Gone for a moment, while somebody replaces it; if it stays so, the next start will say it.
            Err(_) => return,
        };
        let seen: Content = Sha256::digest(text.as_bytes()).into();
        if std::mem::replace(&mut self.seen, seen) == seen {
            return;
        }
        let config = match Config::load(&*self.source, Some(&text)) {
            Ok(config) => config,
            Err(faults) => return error!("configuration not reloaded, the last good one stays: {faults}"),
        };
        self.apply(&config, services);
        let changed = Config::changed_keys(&*self.source, &self.started_with, &text);
        let later: Vec<_> = changed.into_iter().filter(|key| !AT_ONCE.contains(key)).collect();
        if !later.is_empty() {
            warn!("configuration changed; takes effect at the next start: {}", later.join(", "));
        }
    }

    fn apply(&mut self, config: &Config, services: &Services) {
        let share = config.budget.share();
        if std::mem::replace(&mut self.share_in_force, share) != share {
            services.adjust_budget(share);
        }
        if config.log.filter != self.filter_in_force {
            match self.filter.set(&config.log.filter) {
                Ok(()) => {
                    info!("filter of the log reloaded");
                    self.filter_in_force.clone_from(&config.log.filter);
                }
                Err(fault) => error!("filter of the log not reloaded, the last good one stays: {fault}"),
            }
        }
    }
}

impl Files {
    /// To be made before the files are loaded, so that no change in between is overlooked.
    fn new<'p>(paths: impl IntoIterator<Item = &'p Path>) -> Self {
        let paths: Vec<PathBuf> = paths.into_iter().map(Path::to_owned).collect();
        let seen = Some(content(&paths));
        Self { paths, seen }
    }

    /// Whether there is something else in them than at the last look, which this one becomes.
    fn changed(&mut self) -> bool {
        let seen = Some(content(&self.paths));
        std::mem::replace(&mut self.seen, seen) != seen
    }
}

/// What is in the files of a configuration before anything was loaded from them.
pub(super) struct Before {
    grants: Files,
    grpc: Files,
    public: Files,
}

impl Before {
    /// Reads the disk.
    pub(super) fn look(config: &Config) -> Self {
        let (grpc, public) = (&config.grpc, &config.public);
        Self {
            grants: Files::new([&*config.policy_file]),
            grpc: Files::new([&*grpc.cert_file, &grpc.key_file, &grpc.client_ca_file]),
            public: Files::new([&*public.cert_file, &public.key_file]),
        }
    }
}

impl Reload {
    pub(super) fn new(
        before: Before,
        policy: Arc<SharedPolicy>,
        tls: [Arc<Tls>; 2],
        store: Arc<Store>,
        services: Services,
    ) -> Self {
        let [grpc, public] = tls;
        let certificates = vec![(grpc, before.grpc), (public, before.public)];
        Self {
            policy,
            store,
            services,
            watched: Mutex::new(Watched { grants: before.grants, certificates, config: None }),
        }
    }

    /// Watches this file as well.
    pub(super) async fn follow(&self, config: ConfigFile) {
        self.watched.lock().await.config = Some(config);
    }

    /// Loads everything again, changed or not: somebody asked for it.
    pub(super) async fn all(&self) {
        {
            let mut watched = self.watched.lock().await;
            watched.grants.seen = None;
            for (_, files) in &mut watched.certificates {
                files.seen = None;
            }
        }
        self.changed().await;
    }

    /// Loads what has changed since the last look. Reads the disk.
    pub(super) async fn changed(&self) {
        let mut watched = self.watched.lock().await;
        if watched.grants.changed() && !self.grants().await {
            // Tried again with the next look.
            watched.grants.seen = None;
        }
        for (tls, files) in &mut watched.certificates {
            if files.changed() {
                match tls.reload() {
                    Ok(generation) => info!(tls.generation = generation, "certificates reloaded"),
                    Err(fault) => error!("certificates not reloaded, the last good ones stay: {fault}"),
                }
            }
        }
        if let Some(config) = &mut watched.config {
            config.look(&self.services);
        }
    }

    /// Looks again and again.
    pub(super) async fn keep_looking(&self, clock: &dyn Clock) {
        loop {
            clock.sleep(LOOK_INTERVAL).await;
            self.changed().await;
        }
    }

    /// False when the grants are in force and the change trail could not be told.
    async fn grants(&self) -> bool {
        let hash = match self.policy.reload() {
            Ok(hash) => hash,
            Err(faults) => {
                error!("policy not reloaded, the last good one stays: {faults}");
                return true;
            }
        };
        match self.store.note_policy(hash).await {
            Ok(()) => {
                info!("policy reloaded");
                true
            }
            Err(unnoted) => {
                error!("policy reloaded, but the change trail does not know: {unnoted}");
                false
            }
        }
    }
}

fn content(paths: &[PathBuf]) -> Content {
    let mut all = Sha256::new();
    for path in paths {
        match read(path) {
            Ok(bytes) => {
                all.update([1]);
                all.update(Sha256::digest(&bytes));
            }
            Err(_) => all.update([0]),
        }
    }
    all.finalize().into()
}

/// A file with a private key may be among them.
fn read(path: &Path) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX));
    File::open(path)?.take(CONTENT_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_changed_once_for_each_content_also_when_one_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let (cert, key) = (dir.path().join("cert"), dir.path().join("key"));
        std::fs::write(&cert, "a").unwrap();
        let mut files = Files::new([&*cert, &*key]);
        assert!(!files.changed(), "there from the beginning");
        std::fs::write(&key, "b").unwrap();
        assert!(files.changed() && !files.changed());
        // The same bytes, divided otherwise.
        std::fs::write(&cert, "ab").unwrap();
        std::fs::write(&key, "").unwrap();
        assert!(files.changed() && !files.changed());
        std::fs::remove_file(&key).unwrap();
        assert!(files.changed() && !files.changed());
        // As Kubernetes does: another file at the same name, by way of a link.
        std::fs::write(dir.path().join("other"), "").unwrap();
        std::os::unix::fs::symlink(dir.path().join("other"), &key).unwrap();
        assert!(files.changed() && !files.changed());
        files.seen = None;
        assert!(files.changed(), "asked for");
    }
}
