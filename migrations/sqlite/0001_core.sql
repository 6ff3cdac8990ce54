-- The core every other table stands on: which deployment and app this database belongs to, and the trails.
--
-- Common dialect: ids are 16 bytes, times are microseconds since 1970 (UTC), states are texts with a CHECK, tables are STRICT.

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

-- Every trail: the change trail (one) and the read trail of each process run. seq and hash are its newest place; the row of the
-- change trail is the lock that every state change takes first.
CREATE TABLE trails (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    kind TEXT NOT NULL CHECK (kind IN ('change', 'read')),
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

CREATE INDEX change_trail_merchant ON change_trail (merchant_id, seq) WHERE merchant_id IS NOT NULL;
CREATE INDEX change_trail_connection ON change_trail (connection_id, seq) WHERE connection_id IS NOT NULL;

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

-- business tables
