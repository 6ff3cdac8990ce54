use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;

const NO_SOURCE: &[(&str, &str)] = &[];

/// The example with its files in a directory of the test.
struct Place {
    dir: tempfile::TempDir,
    text: String,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "client_secret",
            "keyring",
            "grpc.key",
            "public.key",
            "app_owner_token",
            "database_password",
            "database.key",
        ] {
            write(&dir.path().join(name), 0o600);
        }
        for name in ["policy.toml", "grpc.crt", "callers.crt", "public.crt", "database_ca.crt", "database.crt"] {
            write(&dir.path().join(name), 0o644);
        }
        let text = Config::example().replace("/etc/strongroom", dir.path().to_str().unwrap());
        Self { dir, text }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The example with one part replaced.
    fn with(&self, part: &str, by: &str) -> String {
        assert!(self.text.contains(part), "{part}");
        self.text.replacen(part, by, 1)
    }
}

fn write(path: &Path, mode: u32) {
    std::fs::write(path, "x").unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Each fault as `key: rule`, without place and remedy.
fn faults(source: &[(&str, &str)], text: &str) -> Vec<String> {
    let errors = Config::load(&source, Some(text)).unwrap_err();
    assert!(errors.faults().iter().all(|fault| !fault.mend.is_empty()));
    errors.faults().iter().map(|fault| format!("{}: {}", fault.key, fault.rule)).collect()
}

#[test]
fn the_example_is_a_valid_configuration_and_names_every_key() {
    let place = Place::new();
    let config = Config::load(&NO_SOURCE, Some(&place.text)).unwrap();
    assert_eq!(config.environment, Environment::Stage);
    assert_eq!(config.client_id, "100001");
    assert_eq!(config.client_secret_file, place.path("client_secret"));
    assert_eq!(config.trust_domains, ["prod.example"]);
    assert_eq!(config.database, Database::Sqlite("/var/lib/strongroom/strongroom.db".into()));
    assert_eq!(config.grpc.listen, "0.0.0.0:7443".parse().unwrap());
    assert_eq!(config.public.base_url, "https://connect.example");
    assert_eq!(config.public.return_urls, ["https://shop.example/", "https://admin.example/onboarding/"]);
    assert_eq!((config.provider, config.time_scale), (None, 1));
    assert_eq!(config.timing, Timing::default());
    assert_eq!((config.log.format, config.log.filter.as_str()), (LogFormat::Json, "info"));

    // Also with everything in it that is commented out.
    let is_setting = |line: &str| line.starts_with("# [") || line.starts_with("# ") && line.contains(" = ");
    let uncommented = |line: &str| match line.strip_prefix("# ") {
        Some(setting) if is_setting(line) => setting.to_owned(),
        _ => line.to_owned(),
    };
    let scale = "# time_scale = 1\n";
    let text = place.text.replace(scale, "").replace("[database]", "time_scale = 1\n[database]");
    // The one key of which there is a second value to choose.
    let text = text.replace("url = \"sqlite:///var/lib/strongroom/strongroom.db\"\n", "");
    let text: String = text.lines().map(|line| uncommented(line) + "\n").collect();
    let full = Config::load(&NO_SOURCE, Some(&text)).unwrap();
    assert_eq!(full.timing, Timing::default());
    assert_eq!(full.retention, Retention::default());
    assert_eq!(full.budget, Pace::default());
    let account_id = Some("3800000002".to_owned());
    let token_file = place.path("app_owner_token");
    assert_eq!((config.app_owner, full.app_owner), (None, Some(AppOwnerConfig { token_file, account_id })));
    let postgres = PostgresConfig {
        url: "postgres://strongroom@db.example:5432/strongroom".to_owned(),
        password_file: Some(place.path("database_password")),
        ca_file: Some(place.path("database_ca.crt")),
        cert_file: Some(place.path("database.crt")),
        key_file: Some(place.path("database.key")),
        schema: "public".to_owned(),
        connections: 10,
    };
    assert_eq!(full.database, Database::Postgres(Box::new(postgres)));
    assert_eq!((config.announce, full.announce), (Duration::ZERO, Duration::ZERO));
    assert_eq!(full.provider.unwrap().api, "http://127.0.0.1:9000/v2");
    for key in KEYS {
        let name = key.rsplit('.').next().unwrap();
        assert!(text.lines().any(|line| line.starts_with(&format!("{name} = "))), "{key}");
    }
}

#[test]
fn the_source_wins_over_the_file_and_can_replace_it() {
    let place = Place::new();
    let source: &[(&str, &str)] = &[
        ("STRONGROOM_GRPC_LISTEN", "127.0.0.1:1"),
        ("STRONGROOM_TRUST_DOMAINS", "a.example, b.example"),
        ("STRONGROOM_LINKS_CONFIRMATION", "email_match"),
        ("STRONGROOM_TIMING_PROBE_DEADLINE", "20s"),
        ("STRONGROOM_RETENTION_PROVIDER_CALLS", "7d"),
        ("STRONGROOM_LOG_FORMAT", "text"),
    ];
    let config = Config::load(&source, Some(&place.text)).unwrap();
    assert_eq!(config.grpc.listen, "127.0.0.1:1".parse().unwrap());
    assert_eq!(config.trust_domains, ["a.example", "b.example"]);
    assert_eq!(config.confirmation, Confirmation::EmailMatch);
    assert_eq!(config.timing, Timing { probe_deadline: Duration::from_secs(20), ..Timing::default() });
    assert_eq!(config.retention.provider_calls, Duration::from_secs(7 * 24 * 60 * 60));
    assert_eq!(config.log.format, LogFormat::Text);

    let [secret, keyring, policy, crt, key, ca] =
        ["client_secret", "keyring", "policy.toml", "grpc.crt", "grpc.key", "callers.crt"]
            .map(|name| place.path(name).to_str().unwrap().to_owned());
    let source: &[(&str, &str)] = &[
        ("STRONGROOM_ENVIRONMENT", "production"),
        ("STRONGROOM_CLIENT_ID", "7"),
        ("STRONGROOM_CLIENT_SECRET_FILE", &secret),
        ("STRONGROOM_KEYRING_FILE", &keyring),
        ("STRONGROOM_POLICY_FILE", &policy),
        ("STRONGROOM_TRUST_DOMAINS", "prod.example"),
        ("STRONGROOM_DATABASE_URL", "sqlite:///a"),
        ("STRONGROOM_GRPC_LISTEN", "[::1]:0"),
        ("STRONGROOM_GRPC_CERT_FILE", &crt),
        ("STRONGROOM_GRPC_KEY_FILE", &key),
        ("STRONGROOM_GRPC_CLIENT_CA_FILE", &ca),
        ("STRONGROOM_PUBLIC_LISTEN", "[::1]:0"),
        ("STRONGROOM_PUBLIC_BASE_URL", "https://connect.example"),
        ("STRONGROOM_PUBLIC_PLATFORM_NAME", "Example Shops"),
        ("STRONGROOM_PUBLIC_CERT_FILE", &crt),
        ("STRONGROOM_PUBLIC_KEY_FILE", &key),
        ("STRONGROOM_OPS_LISTEN", "[::1]:0"),
    ];
    assert_eq!(Config::load(&source, None).unwrap().environment, Environment::Production);
}

#[test]
fn a_sandbox_scales_time_in_stage_and_on_loopback_only() {
    let place = Place::new();
    let sandbox: &[(&str, &str)] = &[
        ("STRONGROOM_PROVIDER_API", "http://127.0.0.1:9000/v2"),
        ("STRONGROOM_PROVIDER_UI", "http://[::1]:9000/v2"),
        ("STRONGROOM_TIME_SCALE", "10"),
    ];
    let config = Config::load(&sandbox, Some(&place.text)).unwrap();
    assert_eq!(config.time_scale, 10);
    assert_eq!(config.timing, Timing::default().scaled(10));
    assert_eq!(config.retention.provider_calls, Retention::default().provider_calls / 10);
    assert_eq!(config.budget, Pace::new(SHARE, WINDOW / 10));
    let production = place.with("environment = \"stage\"", "environment = \"production\"");
    assert_eq!(
        faults(sandbox, &production),
        [
            "provider.api: may be overridden only with environment \"stage\"",
            "time_scale: may be above 1 only with environment \"stage\" and a [provider] on a loopback address",
        ]
    );
    assert_eq!(faults(&sandbox[..1], &place.text), ["provider.ui: is missing"]);
}

#[test]
fn every_bad_value_is_refused_with_its_own_fault() {
    const DURATION: &str = "timing.probe_deadline";
    let place = Place::new();
    let path = |name: &str| place.path(name).to_str().unwrap().to_owned();
    write(&place.path("open"), 0o644);
    write(&place.path("group"), 0o640);
    let (open, group, dir) = (path("open"), path("group"), place.dir.path().to_str().unwrap().to_owned());
    let plainly = "must be written plainly: no user, query, fragment, dot segments or default port";
    let origin = "must be an origin: no path, no slash at the end, lower case, no default port";
    // variable, value, the one fault
    let cases: Vec<(&str, &str, String)> = vec![
        ("environment", "prod", "must be \"stage\" or \"production\"".into()),
        ("environment", "Stage", "must be \"stage\" or \"production\"".into()),
        ("client_id", "", "must be 1 to 64 visible ASCII characters".into()),
        ("client_id", "1 2", "must be 1 to 64 visible ASCII characters".into()),
        ("client_secret_file", "secret", "must be an absolute path".into()),
        ("client_secret_file", "/nowhere/secret", "cannot be looked at: entity not found".into()),
        ("client_secret_file", &dir, "is not a file".into()),
        ("client_secret_file", &open, "is a secret that others than its owner may read".into()),
        ("keyring_file", &group, "is a secret that others than its owner may read".into()),
        ("grpc.key_file", &open, "is a secret that others than its owner may read".into()),
        ("public.key_file", &open, "is a secret that others than its owner may read".into()),
        ("policy_file", "policy.toml", "must be an absolute path".into()),
        ("trust_domains", "", "entry 1: is no SPIFFE trust domain".into()),
        ("trust_domains", "a.example,spiffe://b", "entry 2: is no SPIFFE trust domain".into()),
        ("trust_domains", "A.example", "entry 1: is no SPIFFE trust domain".into()),
        ("trust_domains", "a/b", "entry 1: is no SPIFFE trust domain".into()),
        ("trust_domains", "a,a", "has an entry twice".into()),
        ("budget.share", "0", "must be a whole number from 1 to 30".into()),
        ("budget.share", "31", "must be a whole number from 1 to 30".into()),
        ("budget.share", "all", "must be a whole number from 1 to 30".into()),
        ("time_scale", "0", "must be a whole number from 1 to 1000".into()),
        ("time_scale", "1001", "must be a whole number from 1 to 1000".into()),
        ("time_scale", "fast", "must be a whole number from 1 to 1000".into()),
        ("database.url", "mysql://h/d", "must begin with sqlite:// or postgres://".into()),
        ("database.url", "/var/x.db", "must begin with sqlite:// or postgres://".into()),
        ("database.url", "sqlite://x.db", "must have an absolute path, without options and escapes".into()),
        ("database.url", "sqlite:///x?mode=ro", "must have an absolute path, without options and escapes".into()),
        ("database.url", "sqlite::memory:", "must begin with sqlite:// or postgres://".into()),
        ("drain.announce", "61s", "must be at most 60s".into()),
        ("drain.announce", "soon", "must be a duration".into()),
        ("grpc.listen", "localhost:1", "must be an IP address and a port".into()),
        ("ops.listen", "9100", "must be an IP address and a port".into()),
        ("ops.listen", "0.0.0.0:7443", "is the address of another listener".into()),
        ("public.base_url", "connect.example", "must be a URL".into()),
        ("public.base_url", "http://connect.example", "must begin with https://".into()),
        ("public.base_url", "https://my_shop.example", "must not have an underscore in its host".into()),
        ("public.base_url", "https://connect.example/", origin.into()),
        ("public.base_url", "https://connect.example/x", origin.into()),
        ("public.base_url", "https://connect.example:443", origin.into()),
        ("public.base_url", "https://Connect.example", origin.into()),
        ("public.base_url", "https://u:p@connect.example", origin.into()),
        ("public.return_urls", "shop", "entry 1: must be a URL".into()),
        ("public.return_urls", "http://shop.example", "entry 1: must begin with https://".into()),
        (
            "public.return_urls",
            "https://a.example,https://a.example/x",
            "entry 2: is a prefix that does not end in a slash".into(),
        ),
        ("public.return_urls", "https://a.example/?x=/", format!("entry 1: {plainly}")),
        ("public.return_urls", "https://u@a.example/", format!("entry 1: {plainly}")),
        ("public.return_urls", "https://a.example/../b/", format!("entry 1: {plainly}")),
        ("public.return_urls", "https://a.example,https://a.example/", "has an entry twice".into()),
        ("provider.api", "http://localhost:9/v2", "must be http or https to a loopback address".into()),
        ("provider.api", "https://stage.wepayapi.com/v2", "must be http or https to a loopback address".into()),
        ("provider.api", "http://127.0.0.1.example/v2", "must be http or https to a loopback address".into()),
        ("provider.api", "http://127.0.0.1:9/v2/", "must end in /v2, without user, query and fragment".into()),
        ("provider.api", "ftp://127.0.0.1/v2", "must be http or https to a loopback address".into()),
        ("links.confirmation", "never", "must be \"always\" or \"email_match\"".into()),
        ("log.format", "xml", "must be \"json\" or \"text\"".into()),
        ("log.filter", " ", "must be 1 to 1024 bytes".into()),
        (DURATION, "9s", "must be at least 10s".into()),
        (DURATION, "25h", "must be at most 86400s".into()),
        (DURATION, "10", "must be a duration".into()),
        (DURATION, "-10s", "must be a duration".into()),
        ("retention.provider_calls", "23h", "must be at least 86400s".into()),
        ("app_owner.account_id", "38 00", "must be 1 to 64 visible ASCII characters".into()),
        ("retention.provider_calls", "3651d", "must be at most 315360000s".into()),
        ("retention.provider_calls", "for ever", "must be a duration".into()),
        ("timing.mint_deadline", "69999ms", "must be at least 70s".into()),
        ("timing.code_life", "11m", "must be at least 30s longer than timing.code_life".into()),
    ];
    assert!(cases.len() >= 30);
    for (key, value, rule) in &cases {
        let variable = format!("STRONGROOM_{}", key.to_uppercase().replace('.', "_"));
        let errors = Config::load(&&[(variable.as_str(), *value)][..], Some(&place.text)).unwrap_err();
        let found: Vec<_> = errors.faults().iter().map(|fault| fault.rule.as_str()).collect();
        assert_eq!(found, [rule.as_str()], "{key} = {value}");
        assert!(!errors.to_string().contains("canary"), "{errors}");
    }
}

#[test]
fn every_bad_file_is_refused_with_its_own_fault() {
    let place = Place::new();
    let cases = [
        ("environment = \"stage\"", "", "environment: is missing"),
        ("trust_domains = [\"prod.example\"]", "", "trust_domains: is missing or empty"),
        ("trust_domains = [\"prod.example\"]", "trust_domains = []", "trust_domains: is missing or empty"),
        ("[\"prod.example\"]", "\"prod.example\"", "trust_domains: must be a list of texts"),
        ("[\"prod.example\"]", "[1]", "trust_domains: must be a list of texts"),
        ("client_id = \"100001\"", "client_id = true", "client_id: must be text"),
        ("client_id = \"100001\"", "client_id = 0x10", "client_id: must be text"),
        ("[ops]", "[opps]", "opps: unknown key"),
        ("filter =", "filters =", "log.filters: unknown key"),
        ("[log]", "[log.more]\nx = 1\n[log]", "log.more: unknown key"),
        ("[log]", "[[log]]", "log: unknown key"),
        ("client_id =", "client_secret = \"canary\"\nclient_id =", "client_secret: unknown key"),
    ];
    for (part, by, expected) in cases {
        let text = place.with(part, by);
        let found = faults(NO_SOURCE, &text);
        assert!(found.contains(&expected.to_owned()), "{expected}: {found:?}");
        assert!(!found.join("").contains("canary"));
    }
    let errors =
        Config::load(&NO_SOURCE, Some(&place.with("client_id =", "client_secret = \"x\"\nclient_id ="))).unwrap_err();
    let mend = "client_secret (line 8): unknown key; secrets stand in files: use client_secret_file";
    assert_eq!(errors.to_string(), mend);
    let errors = Config::load(&NO_SOURCE, Some("a = 1\nb = \"x\nc = 2\nb = 3\n")).unwrap_err();
    assert!(errors.faults().iter().all(|fault| fault.key == "file"), "{errors}");
    assert_eq!(errors.faults().first().unwrap().place.as_deref(), Some("line 2"));
    assert_eq!(faults(NO_SOURCE, &"#".repeat(FILE_BYTES_MAX + 1)), ["file: is longer than 262144 bytes"]);
}

#[test]
fn a_server_at_a_loopback_address_needs_its_url_only() {
    let place = Place::new();
    for url in [
        "postgres://strongroom@127.0.0.1:5432/strongroom",
        "postgresql://strongroom@127.9.9.9/strongroom",
        "postgres://strongroom@[::1]:5433/strongroom-1.test",
    ] {
        let source: &[(&str, &str)] = &[("STRONGROOM_DATABASE_URL", url), ("STRONGROOM_DRAIN_ANNOUNCE", "5s")];
        let config = Config::load(&source, Some(&place.text)).unwrap();
        let Database::Postgres(server) = config.database else { panic!("{url}") };
        assert_eq!(server.url, url);
        assert_eq!((server.schema.as_str(), server.connections), ("public", 10));
        assert_eq!([server.password_file, server.ca_file, server.cert_file, server.key_file], [const { None }; 4]);
        assert_eq!(config.announce, Duration::from_secs(5));
    }
}

#[test]
fn an_unsafe_or_contradictory_server_is_refused_with_every_fault() {
    const LOCAL: &str = "postgres://u@127.0.0.1/d";
    const PLAIN: &str = "database.url: must be postgres://USER@HOST:PORT/DATABASE, without options and escapes";
    const FAR: &str = "database.ca_file: is missing: the server is not at a loopback address";
    const SCHEMA: &str = "database.schema: must be 1 to 63 lower-case letters, digits and underscores, and begin neither with a digit \
                          nor with pg_";
    let place = Place::new();
    let path = |name: &str| place.path(name).to_str().unwrap().to_owned();
    write(&place.path("open"), 0o644);
    let (ca, crt, key, open) = (path("database_ca.crt"), path("database.crt"), path("database.key"), path("open"));
    let long = "a".repeat(64);
    // Keys below `database` with their values, and the faults.
    let check = |keys: &[(&str, &str)], expected: &[&str]| {
        let variables: Vec<_> =
            keys.iter().map(|(key, value)| (format!("STRONGROOM_DATABASE_{}", key.to_uppercase()), *value)).collect();
        let source: Vec<_> = variables.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let errors = Config::load(&source.as_slice(), Some(&place.text)).unwrap_err();
        let mut found: Vec<_> = errors.faults().iter().map(|fault| format!("{}: {}", fault.key, fault.rule)).collect();
        found.sort_unstable();
        assert_eq!(found, expected, "{keys:?}");
        assert!(!errors.to_string().contains("canary"), "{errors}");
    };
    check(&[("url", "postgres://u:canary@127.0.0.1/d")], &["database.url: carries a password"]);
    check(&[("url", "postgres://u@127.0.0.1/d?sslmode=canary")], &[PLAIN]);
    check(&[("url", "postgres://u@127.0.0.1/d#canary")], &[PLAIN]);
    check(&[("url", "postgres://u@127.0.0.1/d/canary")], &[PLAIN]);
    check(&[("url", "postgres://u@127.0.0.1/d%2fcanary")], &[PLAIN]);
    check(&[("url", "postgres://u%20canary@127.0.0.1/d")], &[PLAIN]);
    check(&[("url", "postgres://u@127.0.0.1,canary/d")], &[PLAIN]);
    check(&[("url", "postgres://u@127.0.0.1:0/d")], &[PLAIN]);
    check(&[("url", "postgres://127.0.0.1/d")], &[PLAIN]);
    check(&[("url", "postgres://u@127.0.0.1/")], &[PLAIN]);
    check(&[("url", "postgres://u@127.0.0.1:x/d")], &["database.url: must be a URL with a host"]);
    check(&[("url", "postgres:///canary")], &["database.url: must be a URL with a host"]);
    check(&[("url", "postgres://u@db.example/d")], &[FAR]);
    check(&[("url", "postgres://u@localhost/d")], &[FAR]);
    check(&[("url", "postgres://u@127.0.0.1.example/d")], &[FAR]);
    check(&[("url", "postgres://u@10.0.0.1/d")], &[FAR]);
    check(&[("url", "postgres://u@[::]/d")], &[FAR]);
    check(
        &[("url", LOCAL), ("password_file", &open)],
        &["database.password_file: is a secret that others than its owner may read"],
    );
    check(&[("url", LOCAL), ("ca_file", &ca), ("cert_file", &crt)], &["database.key_file: is missing"]);
    check(&[("url", LOCAL), ("ca_file", &ca), ("key_file", &key)], &["database.cert_file: is missing"]);
    check(
        &[("url", LOCAL), ("cert_file", &crt), ("key_file", &key)],
        &["database.ca_file: is missing: without it the connection is not encrypted, and shows no certificate"],
    );
    check(&[("url", LOCAL), ("schema", "Canary")], &[SCHEMA]);
    check(&[("url", LOCAL), ("schema", "1st")], &[SCHEMA]);
    check(&[("url", LOCAL), ("schema", "pg_canary")], &[SCHEMA]);
    check(&[("url", LOCAL), ("schema", "a,b")], &[SCHEMA]);
    check(&[("url", LOCAL), ("schema", "")], &[SCHEMA]);
    check(&[("url", LOCAL), ("schema", &long)], &[SCHEMA]);
    check(&[("url", LOCAL), ("connections", "0")], &["database.connections: must be a whole number from 1 to 100"]);
    check(&[("url", LOCAL), ("connections", "101")], &["database.connections: must be a whole number from 1 to 100"]);
    check(
        &[("schema", "public"), ("connections", "5")],
        &[
            "database.connections: is for PostgreSQL, and database.url names a SQLite file",
            "database.schema: is for PostgreSQL, and database.url names a SQLite file",
        ],
    );
    check(
        &[("url", "postgres://u@db.example/d"), ("schema", "A"), ("connections", "x"), ("key_file", &key)],
        &[FAR, "database.cert_file: is missing", "database.connections: must be a whole number from 1 to 100", SCHEMA],
    );
}

#[test]
fn changed_keys_are_those_whose_value_the_file_decides() {
    let place = Place::new();
    let other =
        place.with("filter = \"info\"", "filter = \"debug\"").replace("[links]", "[drain]\nannounce = \"5s\"\n[links]");
    let other = other.replace("[\"prod.example\"]", "[\"prod.example\", \"test.example\"]");
    let changed = |source: &[(&str, &str)], one: &str, other: &str| Config::changed_keys(&source, one, other);
    assert_eq!(changed(NO_SOURCE, &place.text, &other), ["trust_domains", "drain.announce", "log.filter"]);
    let source: &[(&str, &str)] = &[("STRONGROOM_LOG_FILTER", "warn")];
    assert_eq!(changed(source, &place.text, &other), ["trust_domains", "drain.announce"]);
    let commented = format!("# More words.\n{}", place.text);
    assert!(changed(NO_SOURCE, &place.text, &commented).is_empty());
    assert!(changed(NO_SOURCE, &place.text, "a = ").is_empty());
}

#[test]
fn all_faults_are_reported_at_once() {
    // Nothing at all: every required key is named.
    let errors = Config::load(&NO_SOURCE, None).unwrap_err();
    let found: Vec<_> = errors.faults().iter().map(|fault| fault.key.as_str()).collect();
    assert_eq!(
        found,
        [
            "client_id",
            "client_secret_file",
            "database.url",
            "environment",
            "grpc.cert_file",
            "grpc.client_ca_file",
            "grpc.key_file",
            "grpc.listen",
            "keyring_file",
            "ops.listen",
            "policy_file",
            "public.base_url",
            "public.cert_file",
            "public.key_file",
            "public.listen",
            "public.platform_name",
            "trust_domains",
        ]
    );
    assert!(errors.to_string().contains("grpc.listen: is missing; set it in the file or as STRONGROOM_GRPC_LISTEN\n"));

    let place = Place::new();
    let text = place.with("0.0.0.0:8443", "nowhere").replace("\"json\"", "\"xml\"").replace("[links]", "[link]");
    let source: &[(&str, &str)] = &[("STRONGROOM_ENVIRONMENT", "test"), ("STRONGROOM_TIMING_STATE_LIFE", "1s")];
    let errors = Config::load(&source, Some(&text)).unwrap_err();
    let found: Vec<_> = errors.faults().iter().map(|f| (f.key.as_str(), f.place.is_some())).collect();
    let expected = ["environment", "link", "log.format", "public.listen", "timing.state_life"].map(|key| (key, true));
    assert_eq!(found, expected, "{errors}");
}

#[test]
fn the_readme_explains_every_key_and_no_other() {
    let (_, section) = include_str!("../../README.md").split_once("## Configuration").unwrap();
    let rows = section.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    let rows = rows.take_while(|line| line.starts_with('|'));
    let mut told: Vec<_> = rows.flat_map(|row| row.split('|').nth(1).unwrap().split('`').skip(1).step_by(2)).collect();
    let mut keys = super::KEYS.to_vec();
    told.sort_unstable();
    keys.sort_unstable();
    assert_eq!(told, keys);
}
