-- Every table: deployment and app, the trails, and the rows they tell of.
--
-- Common dialect: ids are 16 bytes, times are microseconds since 1970 (UTC), states are texts with a CHECK. The same tables, columns
-- and indexes as on SQLite; what differs is at the end: triggers, and who may do what.

-- From which schema on a build can use this one: a migration that only expands leaves it, one that contracts raises it. So a build
-- goes on working, and can be started, beside a schema that is newer than all it knows.
CREATE TABLE schema_compatibility (
    singleton  BIGINT NOT NULL PRIMARY KEY CHECK (singleton = 1),
    works_from BIGINT NOT NULL CHECK (works_from >= 1)
);
INSERT INTO schema_compatibility (singleton, works_from) VALUES (1, 1);

-- The processes that have this database open. seen_at_us is by the database's clock; who was not seen for a lease is taken for dead, and
-- its row removed: what it does then is refused, since it is nobody.
CREATE TABLE runs (
    id            BYTEA   NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    name          TEXT    NOT NULL CHECK (length(name) BETWEEN 1 AND 128),
    started_at_us BIGINT NOT NULL,
    seen_at_us    BIGINT NOT NULL
);

-- What one process at a time does for all of them, until when by the database's clock.
CREATE TABLE duties (
    name     TEXT    NOT NULL PRIMARY KEY CHECK (length(name) > 0),
    run_id   BYTEA   NOT NULL CHECK (length(run_id) = 16),
    until_us BIGINT NOT NULL
);

-- Our registration at a provider. One row today; app_id stands in the unique keys of other tables, so that a second one
-- is no rewrite.
CREATE TABLE apps (
    id BYTEA NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    provider TEXT NOT NULL CHECK (length(provider) > 0),
    environment TEXT NOT NULL CHECK (environment IN ('stage', 'production')),
    client_id TEXT NOT NULL CHECK (length(client_id) > 0),
    created_at_us BIGINT NOT NULL,
    UNIQUE (provider, environment, client_id)
);

-- The pace of calls to the provider, of all processes together: when the next call may leave, and by what it is slowed down since the
-- provider said that it was too fast. By the database's clock.
CREATE TABLE budgets (
    app_id           BYTEA   NOT NULL PRIMARY KEY REFERENCES apps (id),
    next_at_us       BIGINT NOT NULL,
    slowdown         BIGINT NOT NULL CHECK (slowdown >= 1),
    slowed_until_us  BIGINT NOT NULL
);

-- The most urgent call that waits in each process: the lower the lane the sooner, within a lane who waits longest. waiting: how many wait
-- there. What was not seen for a while is nobody's any more.
CREATE TABLE budget_bids (
    app_id     BYTEA   NOT NULL REFERENCES apps (id),
    run_id     BYTEA   NOT NULL CHECK (length(run_id) = 16),
    lane       BIGINT NOT NULL CHECK (lane >= 0),
    since_us   BIGINT NOT NULL,
    waiting    BIGINT NOT NULL CHECK (waiting >= 1),
    seen_at_us BIGINT NOT NULL,
    PRIMARY KEY (app_id, run_id)
);

-- Every trail: the change trail (one) and the read trail of each process run. seq and hash are its newest place; the row of the
-- change trail is the lock that every state change takes first. run_id: whose read trail it is.
CREATE TABLE trails (
    id BYTEA NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    kind TEXT NOT NULL CHECK (kind IN ('change', 'read')),
    run_id BYTEA CHECK (run_id IS NULL OR length(run_id) = 16),
    seq BIGINT NOT NULL CHECK (seq >= 0),
    hash BYTEA NOT NULL CHECK (length(hash) = 32),
    opened_at_us BIGINT NOT NULL,
    closed_at_us BIGINT
);

CREATE UNIQUE INDEX trails_change ON trails (kind) WHERE kind = 'change';
CREATE INDEX trails_open ON trails (opened_at_us) WHERE closed_at_us IS NULL;

-- What this database was stamped with at its first start. id is also the id of the change trail; key_check tells the keyring.
CREATE TABLE deployment (
    singleton BIGINT NOT NULL PRIMARY KEY CHECK (singleton = 1),
    id BYTEA NOT NULL UNIQUE REFERENCES trails (id) CHECK (length(id) = 16),
    app_id BYTEA NOT NULL REFERENCES apps (id) CHECK (length(app_id) = 16),
    key_check BYTEA NOT NULL CHECK (length(key_check) = 16),
    stamped_at_us BIGINT NOT NULL
);

-- The change trail, which is also the feed: every state change commits with its record. tag is random: two rows with one seq and
-- different tags come from different histories.
CREATE TABLE change_trail (
    seq BIGINT NOT NULL PRIMARY KEY CHECK (seq > 0),
    tag BYTEA NOT NULL CHECK (length(tag) = 8),
    time_us BIGINT NOT NULL,
    kind TEXT NOT NULL CHECK (length(kind) > 0),
    merchant_id BYTEA CHECK (length(merchant_id) = 16),
    connection_id BYTEA CHECK (length(connection_id) = 16),
    record BYTEA NOT NULL CHECK (length(record) > 0),
    hash BYTEA NOT NULL CHECK (length(hash) = 32),
    signature BYTEA NOT NULL CHECK (length(signature) = 64)
);

-- For people who ask what happened, newest first. They lead to records; what a record says is in its signed bytes.
CREATE INDEX change_trail_time ON change_trail (time_us, seq);
CREATE INDEX change_trail_merchant ON change_trail (merchant_id, time_us, seq) WHERE merchant_id IS NOT NULL;
CREATE INDEX change_trail_connection ON change_trail (connection_id, time_us, seq) WHERE connection_id IS NOT NULL;

-- The records of all read trails: a batch of reads and denials each.
CREATE TABLE read_records (
    trail_id BYTEA NOT NULL REFERENCES trails (id) CHECK (length(trail_id) = 16),
    seq BIGINT NOT NULL CHECK (seq > 0),
    time_us BIGINT NOT NULL,
    record BYTEA NOT NULL CHECK (length(record) > 0),
    hash BYTEA NOT NULL CHECK (length(hash) = 32),
    signature BYTEA NOT NULL CHECK (length(signature) = 64),
    PRIMARY KEY (trail_id, seq)
);

CREATE INDEX read_records_time ON read_records (time_us, trail_id, seq);

-- A customer of the platform. mac: id, external id, labels (what a grant decides on).
CREATE TABLE merchants (
    id            BYTEA   NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    external_id   TEXT    NOT NULL UNIQUE CHECK (length(external_id) BETWEEN 1 AND 128),
    labels        TEXT    NOT NULL,
    created_at_us BIGINT NOT NULL,
    mac           BYTEA   NOT NULL CHECK (length(mac) = 32)
);

-- Personal data, sealed like a token; found by blind index.
CREATE TABLE merchant_private (
    merchant_id   BYTEA   NOT NULL PRIMARY KEY REFERENCES merchants (id),
    email_index   BYTEA   CHECK (email_index IS NULL OR length(email_index) = 32),
    epoch         BIGINT NOT NULL,
    salt          BYTEA   NOT NULL CHECK (length(salt) = 32),
    ciphertext    BYTEA   NOT NULL,
    changed_at_us BIGINT NOT NULL
);
CREATE INDEX merchant_private_email ON merchant_private (email_index);

-- A provider user who granted our app access. mac: all but the time and email_index, the blind index of the address under which the
-- provider knows the user: whoever alters that can make a registration be refused or asked for again, and no token move.
CREATE TABLE connections (
    id            BYTEA   NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    app_id        BYTEA   NOT NULL REFERENCES apps (id),
    subject       TEXT    NOT NULL,
    role          TEXT    NOT NULL CHECK (role IN ('merchant', 'app_owner')),
    head_version  BIGINT NOT NULL CHECK (head_version >= 0),
    email_index   BYTEA   CHECK (email_index IS NULL OR length(email_index) = 32),
    created_at_us BIGINT NOT NULL,
    mac           BYTEA   NOT NULL CHECK (length(mac) = 32),
    UNIQUE (app_id, subject)
);
CREATE INDEX connections_email ON connections (app_id, email_index) WHERE email_index IS NOT NULL;

-- What something that can bring or kill tokens is about to do; written before it is done. Merchant, connection and code may be
-- absent: later kinds have none. run_id: the process that owns it, and is the only one to send it.
CREATE TABLE attempts (
    id             BYTEA   NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    app_id         BYTEA   NOT NULL REFERENCES apps (id),
    kind           TEXT    NOT NULL CHECK (kind IN ('exchange', 'register', 'import', 'refresh')),
    run_id         BYTEA   NOT NULL CHECK (length(run_id) = 16),
    merchant_id    BYTEA   REFERENCES merchants (id),
    connection_id  BYTEA   REFERENCES connections (id),
    flow_id        BYTEA,
    code_hash      BYTEA   UNIQUE CHECK (code_hash IS NULL OR length(code_hash) = 32),
    email_index    BYTEA   CHECK (email_index IS NULL OR length(email_index) = 32),
    state          TEXT    NOT NULL CHECK (state IN ('received', 'armed', 'committed', 'refused', 'not_sent', 'rejected',
                                                     'in_doubt', 'lost', 'not_applied', 'late')),
    reason         TEXT,
    received_at_us BIGINT NOT NULL,
    armed_at_us    BIGINT,
    changed_at_us  BIGINT NOT NULL,
    judge_at_us    BIGINT,
    settled_at_us  BIGINT
);
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
    connection_id  BYTEA   NOT NULL REFERENCES connections (id),
    version        BIGINT NOT NULL CHECK (version >= 1),
    issued_kind    TEXT    NOT NULL CHECK (issued_kind IN ('temporary', 'permanent')),
    cause          TEXT    NOT NULL,
    attempt_id     BYTEA   NOT NULL UNIQUE REFERENCES attempts (id),
    fingerprint    BYTEA   NOT NULL CHECK (length(fingerprint) = 16),
    stored_at_us   BIGINT NOT NULL,
    mac            BYTEA   NOT NULL CHECK (length(mac) = 32),
    permanent      BIGINT NOT NULL CHECK (permanent IN (0, 1)),
    seen_pending   BIGINT NOT NULL CHECK (seen_pending IN (0, 1)),
    candidate      BIGINT NOT NULL CHECK (candidate IN (0, 1)),
    expires_at_us  BIGINT,
    liveness       TEXT    NOT NULL CHECK (liveness IN ('live', 'suspect', 'dead', 'expired', 'insufficient_scope')),
    evidence       TEXT    NOT NULL,
    evidence_at_us BIGINT NOT NULL,
    PRIMARY KEY (connection_id, version)
);
CREATE INDEX token_versions_fingerprint ON token_versions (fingerprint);
-- Versions that wait to be judged against a head which may have outlived them.
CREATE INDEX token_versions_candidates ON token_versions (connection_id) WHERE candidate = 1;

-- The one mutable part of a version: its sealed bytes, sealed again when the epoch changes.
CREATE TABLE token_secrets (
    connection_id BYTEA   NOT NULL,
    version       BIGINT NOT NULL,
    epoch         BIGINT NOT NULL,
    salt          BYTEA   NOT NULL CHECK (length(salt) = 32),
    ciphertext    BYTEA   NOT NULL,
    PRIMARY KEY (connection_id, version),
    FOREIGN KEY (connection_id, version) REFERENCES token_versions (connection_id, version)
);

-- What came back from the provider and could not be read, sealed for an operator: it may hold the only live token.
CREATE TABLE salvage (
    attempt_id    BYTEA   NOT NULL PRIMARY KEY REFERENCES attempts (id),
    epoch         BIGINT NOT NULL,
    salt          BYTEA   NOT NULL CHECK (length(salt) = 32),
    ciphertext    BYTEA   NOT NULL,
    stored_at_us  BIGINT NOT NULL
);

-- Merchant → connection. mac: everything but the times.
CREATE TABLE links (
    id            BYTEA   NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    app_id        BYTEA   NOT NULL REFERENCES apps (id),
    merchant_id   BYTEA   NOT NULL REFERENCES merchants (id),
    connection_id BYTEA   NOT NULL REFERENCES connections (id),
    state         TEXT    NOT NULL CHECK (state IN ('active', 'held', 'closed')),
    flow_id       BYTEA,
    created_at_us BIGINT NOT NULL,
    changed_at_us BIGINT NOT NULL,
    row_version   BIGINT NOT NULL,
    mac           BYTEA   NOT NULL CHECK (length(mac) = 32)
);
CREATE UNIQUE INDEX links_active ON links (app_id, merchant_id) WHERE state = 'active';
CREATE UNIQUE INDEX links_open ON links (merchant_id, connection_id) WHERE state <> 'closed';
CREATE INDEX links_connection ON links (connection_id);

-- Our own link, handed to a merchant; its secret part is derived, not stored. The leave columns are set when the mint that
-- comes of it may revoke exactly that head. mac: everything but created_at.
CREATE TABLE invitations (
    id               BYTEA   NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    app_id           BYTEA   NOT NULL REFERENCES apps (id),
    merchant_id      BYTEA   NOT NULL REFERENCES merchants (id),
    return_url       TEXT    NOT NULL,
    requested_by     TEXT    NOT NULL,
    leave            TEXT    CHECK (leave IS NULL OR leave IN ('replacement', 'upgrade_temporary')),
    leave_connection BYTEA,
    leave_version    BIGINT,
    created_at_us    BIGINT NOT NULL,
    expires_at_us    BIGINT NOT NULL,
    mac              BYTEA   NOT NULL CHECK (length(mac) = 32)
);

-- One browser journey through the provider's authorize page. State and browser binding stand here as HMACs only. mac: id,
-- invitation, state, browser, expiry.
CREATE TABLE flows (
    id             BYTEA   NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    app_id         BYTEA   NOT NULL REFERENCES apps (id),
    invitation_id  BYTEA   NOT NULL REFERENCES invitations (id),
    state_hash     BYTEA   NOT NULL UNIQUE CHECK (length(state_hash) = 32),
    browser_hash   BYTEA   NOT NULL CHECK (length(browser_hash) = 32),
    state          TEXT    NOT NULL CHECK (state IN ('pending', 'working', 'done')),
    outcome        TEXT,
    attempt_id     BYTEA   REFERENCES attempts (id),
    link_id        BYTEA   REFERENCES links (id),
    started_at_us  BIGINT NOT NULL,
    expires_at_us  BIGINT NOT NULL,
    ended_at_us    BIGINT,
    mac            BYTEA   NOT NULL CHECK (length(mac) = 32)
);

-- What was asked under which request id: the same id with the same content gets the same answer. A request with an effect at the
-- provider that no row of ours tells of is noted before it is sent, and settled when its outcome is known.
CREATE TABLE requests (
    caller        TEXT    NOT NULL,
    request_id    TEXT    NOT NULL,
    method        TEXT    NOT NULL,
    content_hash  BYTEA   NOT NULL CHECK (length(content_hash) = 32),
    subject_id    BYTEA   NOT NULL CHECK (length(subject_id) = 16),
    settled       BIGINT NOT NULL CHECK (settled IN (0, 1)),
    created_at_us BIGINT NOT NULL,
    PRIMARY KEY (caller, request_id)
);

-- A payment account at the provider. opening: how far we are with making it; the columns from state on are what the provider last
-- said of it. Lists of the provider's words are kept apart by spaces. mac: id, app, connection, merchant, reference_id, provider_id.
CREATE TABLE accounts (
    id                     BYTEA   NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    app_id                 BYTEA   NOT NULL REFERENCES apps (id),
    connection_id          BYTEA   NOT NULL REFERENCES connections (id),
    merchant_id            BYTEA   REFERENCES merchants (id),
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
    provider_created_at_us BIGINT,
    disablement_at_us      BIGINT,
    seen_at_us             BIGINT,
    refusal_error          TEXT,
    refusal_code           TEXT,
    refusal_description    TEXT,
    sends                  BIGINT NOT NULL CHECK (sends >= 0),
    sent_at_us             BIGINT,
    created_at_us          BIGINT NOT NULL,
    changed_at_us          BIGINT NOT NULL,
    mac                    BYTEA   NOT NULL CHECK (length(mac) = 32),
    CHECK ((opening = 'open') = (provider_id IS NOT NULL)),
    CHECK ((opening = 'open') = (seen_at_us IS NOT NULL)),
    UNIQUE (app_id, provider_id),
    UNIQUE (app_id, connection_id, reference_id)
);
CREATE INDEX accounts_merchant ON accounts (merchant_id, id) WHERE merchant_id IS NOT NULL;
CREATE INDEX accounts_unsettled ON accounts (id) WHERE opening IN ('sent', 'in_doubt');

-- What the provider told us of, to be looked into: its notices carry ids only, and prove nothing.
CREATE TABLE notices (
    app_id       BYTEA   NOT NULL REFERENCES apps (id),
    kind         TEXT    NOT NULL CHECK (kind IN ('user', 'account')),
    about        BYTEA   NOT NULL CHECK (length(about) = 16),
    object_id    TEXT    NOT NULL CHECK (length(object_id) BETWEEN 1 AND 20),
    reference_id TEXT    CHECK (length(reference_id) BETWEEN 1 AND 64),
    times        BIGINT NOT NULL CHECK (times >= 1),
    first_at_us  BIGINT NOT NULL,
    last_at_us   BIGINT NOT NULL,
    PRIMARY KEY (app_id, kind, about, object_id)
);
-- The call log: every call to the provider, also one that failed, its request redacted. A log and no state: nothing decides on it, it
-- has no event, and what is older than its retention goes. Its ids are plain: a call is logged whatever became of what it was about.
CREATE TABLE provider_calls (
    id            BYTEA   NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    at_us         BIGINT NOT NULL,
    call          TEXT    NOT NULL CHECK (length(call) > 0),
    attempt_id    BYTEA   CHECK (attempt_id IS NULL OR length(attempt_id) = 16),
    merchant_id   BYTEA   CHECK (merchant_id IS NULL OR length(merchant_id) = 16),
    connection_id BYTEA   CHECK (connection_id IS NULL OR length(connection_id) = 16),
    request       TEXT    NOT NULL,
    outcome       TEXT    NOT NULL CHECK (outcome IN ('done', 'not_sent', 'refused', 'unknown')),
    status        BIGINT,
    code          TEXT,
    detail        TEXT    NOT NULL,
    duration_us   BIGINT NOT NULL CHECK (duration_us >= 0)
);
CREATE INDEX provider_calls_time ON provider_calls (at_us, id);
CREATE INDEX provider_calls_attempt ON provider_calls (attempt_id, at_us, id) WHERE attempt_id IS NOT NULL;
CREATE INDEX provider_calls_merchant ON provider_calls (merchant_id, at_us, id) WHERE merchant_id IS NOT NULL;
CREATE INDEX provider_calls_connection ON provider_calls (connection_id, at_us, id) WHERE connection_id IS NOT NULL;

-- Append-only, in the database as well.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME;
END $$;

CREATE FUNCTION take_next_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.seq <> (SELECT COALESCE(MAX(seq), 0) + 1 FROM change_trail) THEN
        RAISE EXCEPTION 'change_trail takes the next record only';
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION take_next_reads() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.seq <> (SELECT COALESCE(MAX(seq), 0) + 1 FROM read_records WHERE trail_id = NEW.trail_id) THEN
        RAISE EXCEPTION 'read_records takes the next record only';
    END IF;
    RETURN NEW;
END $$;

-- They look at our tables, and not at what somebody made of the same name for a session.
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION take_next_change() SET search_path = %I, pg_temp', current_schema());
    EXECUTE format('ALTER FUNCTION take_next_reads() SET search_path = %I, pg_temp', current_schema());
END $$;

CREATE TRIGGER change_trail_appends BEFORE INSERT ON change_trail FOR EACH ROW EXECUTE FUNCTION take_next_change();
CREATE TRIGGER change_trail_keeps BEFORE UPDATE ON change_trail FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER change_trail_stays BEFORE DELETE ON change_trail FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER change_trail_whole BEFORE TRUNCATE ON change_trail FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER read_records_appends BEFORE INSERT ON read_records FOR EACH ROW EXECUTE FUNCTION take_next_reads();
CREATE TRIGGER read_records_keeps BEFORE UPDATE ON read_records FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER read_records_stays BEFORE DELETE ON read_records FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER read_records_whole BEFORE TRUNCATE ON read_records FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Who may do what. The migrator owns the tables; the service logs in as a member of strongroom_app, whoever looks at the trails as one of
-- strongroom_auditor. Both are groups without a login; they are made here where the migrator may, otherwise beforehand.
DO $$
DECLARE
    wanted TEXT;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['strongroom_app', 'strongroom_auditor'] LOOP
        BEGIN
            IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = wanted) THEN
                EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', current_schema(), wanted);
    END LOOP;
END $$;

-- The service reads and appends everywhere, changes what is not append-only, and removes only what is coordination or past its retention.
GRANT SELECT, INSERT ON apps, trails, deployment, change_trail, read_records, merchants, merchant_private, connections, attempts,
    token_versions, token_secrets, salvage, links, invitations, flows, requests, accounts, notices, provider_calls, runs, duties, budgets,
    budget_bids TO strongroom_app;
GRANT UPDATE ON trails, merchant_private, connections, attempts, token_versions, links, flows, requests, accounts, notices, runs,
    duties, budgets, budget_bids TO strongroom_app;
GRANT DELETE ON provider_calls, requests, runs, duties, budget_bids TO strongroom_app;
GRANT SELECT ON schema_compatibility, _sqlx_migrations TO strongroom_app, strongroom_auditor;

-- An auditor reads the trails, and what they must agree with: no secret, no personal data.
GRANT SELECT ON apps, trails, deployment, change_trail, read_records, connections, attempts, token_versions, links, accounts, runs
    TO strongroom_auditor;
