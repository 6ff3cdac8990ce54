-- Every table: deployment and app, the trails, and the rows they tell of.
--
-- Common dialect: ids are 16 bytes, times are microseconds since 1970 (UTC), states are texts with a CHECK, tables are STRICT.

-- From which schema on a build can use this one: a migration that only expands leaves it, one that contracts raises it. So a build
-- goes on working, and can be started, beside a schema that is newer than all it knows.
CREATE TABLE schema_compatibility (
    singleton  INTEGER NOT NULL PRIMARY KEY CHECK (singleton = 1),
    works_from INTEGER NOT NULL CHECK (works_from >= 1)
) STRICT;
INSERT INTO schema_compatibility (singleton, works_from) VALUES (1, 1);

-- The processes that have this database open. seen_at_us is by the database's clock; who was not seen for a lease is taken for dead, and
-- its row removed: what it does then is refused, since it is nobody.
CREATE TABLE runs (
    id            BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    name          TEXT    NOT NULL CHECK (length(name) BETWEEN 1 AND 128),
    started_at_us INTEGER NOT NULL,
    seen_at_us    INTEGER NOT NULL
) STRICT;

-- What one process at a time does for all of them, until when by the database's clock.
CREATE TABLE duties (
    name     TEXT    NOT NULL PRIMARY KEY CHECK (length(name) > 0),
    run_id   BLOB    NOT NULL CHECK (length(run_id) = 16),
    until_us INTEGER NOT NULL
) STRICT;

-- Our registration at a provider. One row today; app_id stands in the unique keys of other tables, so that a second one
-- is no rewrite.
CREATE TABLE apps (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    provider TEXT NOT NULL CHECK (length(provider) > 0),
    environment TEXT NOT NULL CHECK (environment IN ('stage', 'production')),
    client_id TEXT NOT NULL CHECK (length(client_id) > 0),
    created_at_us INTEGER NOT NULL,
    UNIQUE (provider, environment, client_id)
) STRICT;

-- The pace of calls to the provider, of all processes together: when the next call may leave, and by what it is slowed down since the
-- provider said that it was too fast. By the database's clock.
CREATE TABLE budgets (
    app_id           BLOB    NOT NULL PRIMARY KEY REFERENCES apps (id),
    next_at_us       INTEGER NOT NULL,
    slowdown         INTEGER NOT NULL CHECK (slowdown >= 1),
    slowed_until_us  INTEGER NOT NULL
) STRICT;

-- The most urgent call that waits in each process: the lower the lane the sooner, within a lane who waits longest. waiting: how many wait
-- there. What was not seen for a while is nobody's any more.
CREATE TABLE budget_bids (
    app_id     BLOB    NOT NULL REFERENCES apps (id),
    run_id     BLOB    NOT NULL CHECK (length(run_id) = 16),
    lane       INTEGER NOT NULL CHECK (lane >= 0),
    since_us   INTEGER NOT NULL,
    waiting    INTEGER NOT NULL CHECK (waiting >= 1),
    seen_at_us INTEGER NOT NULL,
    PRIMARY KEY (app_id, run_id)
) STRICT;

-- Every trail: the change trail (one) and the read trail of each process run. seq and hash are its newest place; the row of the
-- change trail is the lock that every state change takes first. run_id: whose read trail it is.
CREATE TABLE trails (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    kind TEXT NOT NULL CHECK (kind IN ('change', 'read')),
    run_id BLOB CHECK (run_id IS NULL OR length(run_id) = 16),
    seq INTEGER NOT NULL CHECK (seq >= 0),
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    opened_at_us INTEGER NOT NULL,
    closed_at_us INTEGER
) STRICT;

CREATE UNIQUE INDEX trails_change ON trails (kind) WHERE kind = 'change';
CREATE INDEX trails_open ON trails (opened_at_us) WHERE closed_at_us IS NULL;

-- What this database was stamped with at its first start. id is also the id of the change trail; key_check tells the keyring.
CREATE TABLE deployment (
    singleton INTEGER NOT NULL PRIMARY KEY CHECK (singleton = 1),
    id BLOB NOT NULL UNIQUE REFERENCES trails (id) CHECK (length(id) = 16),
    app_id BLOB NOT NULL REFERENCES apps (id) CHECK (length(app_id) = 16),
    key_check BLOB NOT NULL CHECK (length(key_check) = 16),
    stamped_at_us INTEGER NOT NULL
) STRICT;

-- The change trail, which is also the feed: every state change commits with its record. tag is random: two rows with one seq and
-- different tags come from different histories.
CREATE TABLE change_trail (
    seq INTEGER NOT NULL PRIMARY KEY CHECK (seq > 0),
    tag BLOB NOT NULL CHECK (length(tag) = 8),
    time_us INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (length(kind) > 0),
    merchant_id BLOB CHECK (length(merchant_id) = 16),
    connection_id BLOB CHECK (length(connection_id) = 16),
    record BLOB NOT NULL CHECK (length(record) > 0),
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    signature BLOB NOT NULL CHECK (length(signature) = 64)
) STRICT;

-- For people who ask what happened, newest first. They lead to records; what a record says is in its signed bytes.
CREATE INDEX change_trail_time ON change_trail (time_us, seq);
CREATE INDEX change_trail_merchant ON change_trail (merchant_id, time_us, seq) WHERE merchant_id IS NOT NULL;
CREATE INDEX change_trail_connection ON change_trail (connection_id, time_us, seq) WHERE connection_id IS NOT NULL;

-- The records of all read trails: a batch of reads and denials each.
CREATE TABLE read_records (
    trail_id BLOB NOT NULL REFERENCES trails (id) CHECK (length(trail_id) = 16),
    seq INTEGER NOT NULL CHECK (seq > 0),
    time_us INTEGER NOT NULL,
    record BLOB NOT NULL CHECK (length(record) > 0),
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    signature BLOB NOT NULL CHECK (length(signature) = 64),
    PRIMARY KEY (trail_id, seq)
) STRICT;

CREATE INDEX read_records_time ON read_records (time_us, trail_id, seq);

-- Append-only, in the database as well. The INSERT triggers also stop REPLACE, which deletes without firing DELETE triggers.
CREATE TRIGGER change_trail_appends BEFORE INSERT ON change_trail
WHEN NEW.seq <> (SELECT COALESCE(MAX(seq), 0) + 1 FROM change_trail)
BEGIN SELECT RAISE(ABORT, 'change_trail takes the next record only'); END;

CREATE TRIGGER change_trail_keeps BEFORE UPDATE ON change_trail
BEGIN SELECT RAISE(ABORT, 'change_trail is append-only'); END;

CREATE TRIGGER change_trail_stays BEFORE DELETE ON change_trail
BEGIN SELECT RAISE(ABORT, 'change_trail is append-only'); END;

CREATE TRIGGER read_records_appends BEFORE INSERT ON read_records
WHEN NEW.seq <> (SELECT COALESCE(MAX(seq), 0) + 1 FROM read_records WHERE trail_id = NEW.trail_id)
BEGIN SELECT RAISE(ABORT, 'read_records takes the next record only'); END;

CREATE TRIGGER read_records_keeps BEFORE UPDATE ON read_records
BEGIN SELECT RAISE(ABORT, 'read_records is append-only'); END;

CREATE TRIGGER read_records_stays BEFORE DELETE ON read_records
BEGIN SELECT RAISE(ABORT, 'read_records is append-only'); END;

-- A customer of the platform. mac: id, external id, labels (what a grant decides on).
CREATE TABLE merchants (
    id            BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    external_id   TEXT    NOT NULL UNIQUE CHECK (length(external_id) BETWEEN 1 AND 128),
    labels        TEXT    NOT NULL,
    created_at_us INTEGER NOT NULL,
    mac           BLOB    NOT NULL CHECK (length(mac) = 32)
) STRICT;

-- Personal data, sealed like a token; found by blind index.
CREATE TABLE merchant_private (
    merchant_id   BLOB    NOT NULL PRIMARY KEY REFERENCES merchants (id),
    email_index   BLOB    CHECK (email_index IS NULL OR length(email_index) = 32),
    epoch         INTEGER NOT NULL,
    salt          BLOB    NOT NULL CHECK (length(salt) = 32),
    ciphertext    BLOB    NOT NULL,
    changed_at_us INTEGER NOT NULL
) STRICT;
CREATE INDEX merchant_private_email ON merchant_private (email_index);

-- A provider user who granted our app access. mac: all but the time and email_index, the blind index of the address under which the
-- provider knows the user: whoever alters that can make a registration be refused or asked for again, and no token move.
CREATE TABLE connections (
    id            BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    app_id        BLOB    NOT NULL REFERENCES apps (id),
    subject       TEXT    NOT NULL,
    role          TEXT    NOT NULL CHECK (role IN ('merchant', 'app_owner')),
    head_version  INTEGER NOT NULL CHECK (head_version >= 0),
    email_index   BLOB    CHECK (email_index IS NULL OR length(email_index) = 32),
    created_at_us INTEGER NOT NULL,
    mac           BLOB    NOT NULL CHECK (length(mac) = 32),
    UNIQUE (app_id, subject)
) STRICT;
CREATE INDEX connections_email ON connections (app_id, email_index) WHERE email_index IS NOT NULL;

-- What something that can bring or kill tokens is about to do; written before it is done. Merchant, connection and code may be
-- absent: later kinds have none. run_id: the process that owns it, and is the only one to send it.
CREATE TABLE attempts (
    id             BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    app_id         BLOB    NOT NULL REFERENCES apps (id),
    kind           TEXT    NOT NULL CHECK (kind IN ('exchange', 'register', 'import', 'refresh')),
    run_id         BLOB    NOT NULL CHECK (length(run_id) = 16),
    merchant_id    BLOB    REFERENCES merchants (id),
    connection_id  BLOB    REFERENCES connections (id),
    flow_id        BLOB,
    code_hash      BLOB    UNIQUE CHECK (code_hash IS NULL OR length(code_hash) = 32),
    email_index    BLOB    CHECK (email_index IS NULL OR length(email_index) = 32),
    state          TEXT    NOT NULL CHECK (state IN ('received', 'armed', 'committed', 'refused', 'not_sent', 'rejected',
                                                     'in_doubt', 'lost', 'not_applied', 'late')),
    reason         TEXT,
    received_at_us INTEGER NOT NULL,
    armed_at_us    INTEGER,
    changed_at_us  INTEGER NOT NULL,
    judge_at_us    INTEGER,
    settled_at_us  INTEGER
) STRICT;
-- At most one attempt that is received, armed or in doubt (M3), held by the database and not by code.
CREATE UNIQUE INDEX attempts_open_merchant ON attempts (app_id, merchant_id)
    WHERE settled_at_us IS NULL AND merchant_id IS NOT NULL;
CREATE UNIQUE INDEX attempts_open_connection ON attempts (app_id, connection_id)
    WHERE settled_at_us IS NULL AND connection_id IS NOT NULL;
CREATE INDEX attempts_open ON attempts (id) WHERE settled_at_us IS NULL;
CREATE INDEX attempts_merchant ON attempts (merchant_id, id) WHERE merchant_id IS NOT NULL;
CREATE UNIQUE INDEX attempts_open_email ON attempts (app_id, email_index)
    WHERE settled_at_us IS NULL AND email_index IS NOT NULL;

-- A token version. The facts of its issue never change (mac: connection, version, issued kind, cause, attempt, fingerprint);
-- beside them stands what is known of it.
CREATE TABLE token_versions (
    connection_id  BLOB    NOT NULL REFERENCES connections (id),
    version        INTEGER NOT NULL CHECK (version >= 1),
    issued_kind    TEXT    NOT NULL CHECK (issued_kind IN ('temporary', 'permanent')),
    cause          TEXT    NOT NULL,
    attempt_id     BLOB    NOT NULL UNIQUE REFERENCES attempts (id),
    fingerprint    BLOB    NOT NULL CHECK (length(fingerprint) = 16),
    stored_at_us   INTEGER NOT NULL,
    mac            BLOB    NOT NULL CHECK (length(mac) = 32),
    permanent      INTEGER NOT NULL CHECK (permanent IN (0, 1)),
    seen_pending   INTEGER NOT NULL CHECK (seen_pending IN (0, 1)),
    candidate      INTEGER NOT NULL CHECK (candidate IN (0, 1)),
    expires_at_us  INTEGER,
    liveness       TEXT    NOT NULL CHECK (liveness IN ('live', 'suspect', 'dead', 'expired', 'insufficient_scope')),
    evidence       TEXT    NOT NULL,
    evidence_at_us INTEGER NOT NULL,
    PRIMARY KEY (connection_id, version)
) STRICT;
CREATE INDEX token_versions_fingerprint ON token_versions (fingerprint);
-- Versions that wait to be judged against a head which may have outlived them.
CREATE INDEX token_versions_candidates ON token_versions (connection_id) WHERE candidate = 1;

-- The one mutable part of a version: its sealed bytes, sealed again when the epoch changes.
CREATE TABLE token_secrets (
    connection_id BLOB    NOT NULL,
    version       INTEGER NOT NULL,
    epoch         INTEGER NOT NULL,
    salt          BLOB    NOT NULL CHECK (length(salt) = 32),
    ciphertext    BLOB    NOT NULL,
    PRIMARY KEY (connection_id, version),
    FOREIGN KEY (connection_id, version) REFERENCES token_versions (connection_id, version)
) STRICT;

-- What came back from the provider and could not be read, sealed for an operator: it may hold the only live token.
CREATE TABLE salvage (
    attempt_id    BLOB    NOT NULL PRIMARY KEY REFERENCES attempts (id),
    epoch         INTEGER NOT NULL,
    salt          BLOB    NOT NULL CHECK (length(salt) = 32),
    ciphertext    BLOB    NOT NULL,
    stored_at_us  INTEGER NOT NULL
) STRICT;

-- Merchant → connection. mac: everything but the times.
CREATE TABLE links (
    id            BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    app_id        BLOB    NOT NULL REFERENCES apps (id),
    merchant_id   BLOB    NOT NULL REFERENCES merchants (id),
    connection_id BLOB    NOT NULL REFERENCES connections (id),
    state         TEXT    NOT NULL CHECK (state IN ('active', 'held', 'closed')),
    flow_id       BLOB,
    created_at_us INTEGER NOT NULL,
    changed_at_us INTEGER NOT NULL,
    row_version   INTEGER NOT NULL,
    mac           BLOB    NOT NULL CHECK (length(mac) = 32)
) STRICT;
CREATE UNIQUE INDEX links_active ON links (app_id, merchant_id) WHERE state = 'active';
CREATE UNIQUE INDEX links_open ON links (merchant_id, connection_id) WHERE state <> 'closed';
CREATE INDEX links_connection ON links (connection_id);

-- Our own link, handed to a merchant; its secret part is derived, not stored. The leave columns are set when the mint that
-- comes of it may revoke exactly that head. mac: everything but created_at.
CREATE TABLE invitations (
    id               BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    app_id           BLOB    NOT NULL REFERENCES apps (id),
    merchant_id      BLOB    NOT NULL REFERENCES merchants (id),
    return_url       TEXT    NOT NULL,
    requested_by     TEXT    NOT NULL,
    leave            TEXT    CHECK (leave IS NULL OR leave IN ('replacement', 'upgrade_temporary')),
    leave_connection BLOB,
    leave_version    INTEGER,
    created_at_us    INTEGER NOT NULL,
    expires_at_us    INTEGER NOT NULL,
    mac              BLOB    NOT NULL CHECK (length(mac) = 32)
) STRICT;

-- One browser journey through the provider's authorize page. State and browser binding stand here as HMACs only. mac: id,
-- invitation, state, browser, expiry.
CREATE TABLE flows (
    id             BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    app_id         BLOB    NOT NULL REFERENCES apps (id),
    invitation_id  BLOB    NOT NULL REFERENCES invitations (id),
    state_hash     BLOB    NOT NULL UNIQUE CHECK (length(state_hash) = 32),
    browser_hash   BLOB    NOT NULL CHECK (length(browser_hash) = 32),
    state          TEXT    NOT NULL CHECK (state IN ('pending', 'working', 'done')),
    outcome        TEXT,
    attempt_id     BLOB    REFERENCES attempts (id),
    link_id        BLOB    REFERENCES links (id),
    started_at_us  INTEGER NOT NULL,
    expires_at_us  INTEGER NOT NULL,
    ended_at_us    INTEGER,
    mac            BLOB    NOT NULL CHECK (length(mac) = 32)
) STRICT;

-- What was asked under which request id: the same id with the same content gets the same answer. A request with an effect at the
-- provider that no row of ours tells of is noted before it is sent, and settled when its outcome is known.
CREATE TABLE requests (
    caller        TEXT    NOT NULL,
    request_id    TEXT    NOT NULL,
    method        TEXT    NOT NULL,
    content_hash  BLOB    NOT NULL CHECK (length(content_hash) = 32),
    subject_id    BLOB    NOT NULL CHECK (length(subject_id) = 16),
    settled       INTEGER NOT NULL CHECK (settled IN (0, 1)),
    created_at_us INTEGER NOT NULL,
    PRIMARY KEY (caller, request_id)
) STRICT;

-- A payment account at the provider. opening: how far we are with making it; the columns from state on are what the provider last
-- said of it. Lists of the provider's words are kept apart by spaces. mac: id, app, connection, merchant, reference_id, provider_id.
CREATE TABLE accounts (
    id                     BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    app_id                 BLOB    NOT NULL REFERENCES apps (id),
    connection_id          BLOB    NOT NULL REFERENCES connections (id),
    merchant_id            BLOB    REFERENCES merchants (id),
    reference_id           TEXT    CHECK (length(reference_id) > 0),
    provider_id            TEXT    CHECK (length(provider_id) > 0),
    opening                TEXT    NOT NULL CHECK (opening IN ('requested', 'sent', 'open', 'refused', 'in_doubt', 'absent')),
    name                   TEXT    NOT NULL,
    description            TEXT    NOT NULL,
    kind                   TEXT    CHECK (kind IN ('personal', 'business', 'nonprofit')),
    country                TEXT    NOT NULL,
    currency               TEXT    NOT NULL,
    state                  TEXT    CHECK (state IN ('pending', 'action_required', 'active', 'disabled', 'deleted')),
    action_reasons         TEXT    NOT NULL,
    disabled_reasons       TEXT    NOT NULL,
    provider_created_at_us INTEGER,
    disablement_at_us      INTEGER,
    seen_at_us             INTEGER,
    refusal_error          TEXT,
    refusal_code           TEXT,
    refusal_description    TEXT,
    sends                  INTEGER NOT NULL CHECK (sends >= 0),
    sent_at_us             INTEGER,
    created_at_us          INTEGER NOT NULL,
    changed_at_us          INTEGER NOT NULL,
    mac                    BLOB    NOT NULL CHECK (length(mac) = 32),
    CHECK ((opening = 'open') = (provider_id IS NOT NULL)),
    CHECK ((opening = 'open') = (seen_at_us IS NOT NULL)),
    UNIQUE (app_id, provider_id),
    UNIQUE (app_id, connection_id, reference_id)
) STRICT;
CREATE INDEX accounts_merchant ON accounts (merchant_id, id) WHERE merchant_id IS NOT NULL;
CREATE INDEX accounts_unsettled ON accounts (id) WHERE opening IN ('sent', 'in_doubt');

-- What the provider told us of, to be looked into: its notices carry ids only, and prove nothing.
CREATE TABLE notices (
    app_id       BLOB    NOT NULL REFERENCES apps (id),
    kind         TEXT    NOT NULL CHECK (kind IN ('user', 'account')),
    about        BLOB    NOT NULL CHECK (length(about) = 16),
    object_id    TEXT    NOT NULL CHECK (length(object_id) BETWEEN 1 AND 20),
    reference_id TEXT    CHECK (length(reference_id) BETWEEN 1 AND 64),
    times        INTEGER NOT NULL CHECK (times >= 1),
    first_at_us  INTEGER NOT NULL,
    last_at_us   INTEGER NOT NULL,
    PRIMARY KEY (app_id, kind, about, object_id)
) STRICT;
-- The call log: every call to the provider, also one that failed, its request redacted. A log and no state: nothing decides on it, it
-- has no event, and what is older than its retention goes. Its ids are plain: a call is logged whatever became of what it was about.
CREATE TABLE provider_calls (
    id            BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    at_us         INTEGER NOT NULL,
    call          TEXT    NOT NULL CHECK (length(call) > 0),
    attempt_id    BLOB    CHECK (attempt_id IS NULL OR length(attempt_id) = 16),
    merchant_id   BLOB    CHECK (merchant_id IS NULL OR length(merchant_id) = 16),
    connection_id BLOB    CHECK (connection_id IS NULL OR length(connection_id) = 16),
    request       TEXT    NOT NULL,
    outcome       TEXT    NOT NULL CHECK (outcome IN ('done', 'not_sent', 'refused', 'unknown')),
    status        INTEGER,
    code          TEXT,
    detail        TEXT    NOT NULL,
    duration_us   INTEGER NOT NULL CHECK (duration_us >= 0)
) STRICT;
CREATE INDEX provider_calls_time ON provider_calls (at_us, id);
CREATE INDEX provider_calls_attempt ON provider_calls (attempt_id, at_us, id) WHERE attempt_id IS NOT NULL;
CREATE INDEX provider_calls_merchant ON provider_calls (merchant_id, at_us, id) WHERE merchant_id IS NOT NULL;
CREATE INDEX provider_calls_connection ON provider_calls (connection_id, at_us, id) WHERE connection_id IS NOT NULL;
