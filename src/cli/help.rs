//! What the commands that are no clients of the API say at the end of their help. The others say it where they stand.

/// `strongroom` alone.
pub const BEGIN: &str = "\
Where to begin:
  strongroom demo                       the whole job in one process, told step by step
  strongroom dev                        the same parts, kept running: try every command on them
  strongroom merchant list              in another shell, as a caller of that `dev`
  strongroom serve --example            what a deployment of your own needs

Every command has examples in its own --help, every group its exit codes: 0 is done, 2 a wrong
command line, 5 a refusal whose reason says what to do.";

/// `demo`.
pub const DEMO: &str = "\
Example:
  strongroom demo

Provider, database, certificates and browser are embedded; the directory is removed at the end.
What a step says was read from an answer of the API, a page, or the sandbox's call log. Takes
under a minute.

Exit codes:
  0  every step held
  1  a step did not hold, and is named";

/// `dev`.
pub const DEV: &str = "\
Examples:
  strongroom dev                        state in .strongroom, where other commands look for it
  strongroom dev --dir /tmp/try         then: strongroom merchant list --dev /tmp/try

Prints one line that begins with `ready` when all of it answers; DIR/dev.json says where, and who
may call. Who may do what is in DIR/product/grants.toml; SIGHUP reads it again. SIGTERM or Ctrl-C
ends it. Not for real merchants: the provider is the sandbox, and DIR has every key.";

/// `sandbox`.
pub const SANDBOX: &str = "\
Examples:
  strongroom sandbox --listen 127.0.0.1:9000
  strongroom sandbox --dir sandbox-state --time-scale 60      a minute passes in a second
  strongroom sandbox --setting throttle='\"fixed\"' --setting throttle_calls=5
  strongroom sandbox --tls-dir sandbox-tls                    https; trust sandbox-tls/ca.pem
  strongroom sandbox --throttle off                           for tests that make many calls
  strongroom sandbox --notice-ca ca.pem                       notices to https receivers, too

The line has api, ui, control, client_id and client_secret, with TLS also ca. What the sandbox
covers, and where it departs from the provider, is in docs/sandbox.md.";

/// `serve`.
pub const SERVE: &str = "\
Examples:
  strongroom serve --example > strongroom.toml      every key, commented
  strongroom doctor --config strongroom.toml        what is still wrong, and how to mend it
  strongroom serve --config strongroom.toml

Refuses to start on any unsafe or missing setting and names all of them at once. Grants,
certificates, budget.share and log.filter are looked at every ten seconds, and on SIGHUP at once;
SIGTERM lets calls finish and waits for every mint under way.

Exit codes:
  0  it was told to end
  1  it could not start, or a server ended; the log says why
  2  usage: the command line is wrong";

/// `key create`.
pub const KEY_CREATE: &str = "\
Example:
  strongroom key create --file /etc/strongroom/keyring

Back it up, apart from the database: without it nothing opens again.";

/// `migrate`.
pub const MIGRATE: &str = "\
Example:
  strongroom migrate --config /etc/strongroom/strongroom.toml

Prints the schema's version before and after. SQLite: only while no process has the database; a
start of `serve` does the same. PostgreSQL: beside running processes, and only here; as the role
that owns the tables, which the environment can name:

  export STRONGROOM_DATABASE_URL=postgres://strongroom_migrator@db.example:5432/strongroom
  export STRONGROOM_DATABASE_PASSWORD_FILE=/run/secrets/migrator";
