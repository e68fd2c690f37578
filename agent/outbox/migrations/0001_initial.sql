-- One row an acquisition. `value` is the frozen acquisition as JSON; the other columns are what is searched.
CREATE TABLE acquisitions (
    id TEXT PRIMARY KEY,
    origin TEXT NOT NULL UNIQUE,          -- how it was heard; the same after a restart
    state TEXT NOT NULL,
    started_ns INTEGER NOT NULL,
    dataset TEXT,                         -- path below the facility's root, fixed once
    value TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,  -- failed tries in this state
    next_at_ns INTEGER NOT NULL DEFAULT 0,
    error TEXT                            -- the last failure, one line
) WITHOUT ROWID;
CREATE INDEX acquisitions_by_state ON acquisitions (state, next_at_ns);
CREATE INDEX acquisitions_open ON acquisitions (state) WHERE state NOT IN ('verified', 'released', 'rejected');

-- One row a file of a dataset. `source` is read only, never written.
CREATE TABLE files (
    acquisition_id TEXT NOT NULL REFERENCES acquisitions (id),
    target TEXT NOT NULL,                 -- path inside the dataset
    source TEXT NOT NULL,                 -- absolute path on this machine
    role TEXT NOT NULL,
    state TEXT NOT NULL,                  -- pending, claimed, sent, verified, rejected
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    file_id TEXT NOT NULL,
    description TEXT,                     -- file with the OME-XML that is embedded on the way out
    delivered_size INTEGER,
    sha256 TEXT,                          -- of the delivered bytes
    source_sha256 TEXT,                   -- of the bytes that the acquisition software wrote
    upload TEXT,                          -- where an interrupted upload is resumed
    PRIMARY KEY (acquisition_id, target)
) WITHOUT ROWID;
CREATE INDEX files_by_source ON files (source);
CREATE INDEX files_to_send ON files (state, size) WHERE state IN ('pending', 'claimed');

-- Every event ever announced, in order. `sequence` has no gaps.
CREATE TABLE events (
    sequence INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,              -- a repeated step announces nothing twice
    topic TEXT NOT NULL,
    type TEXT NOT NULL,
    subject TEXT NOT NULL,
    time_ns INTEGER NOT NULL,
    data TEXT NOT NULL,                   -- JSON
    retained INTEGER NOT NULL,
    published_ns INTEGER                  -- when the broker acknowledged it
);
CREATE INDEX events_to_publish ON events (sequence) WHERE published_ns IS NULL;
CREATE INDEX events_retained ON events (topic, sequence) WHERE retained = 1;

-- Where reading of each journal may begin again after a restart.
CREATE TABLE journals (
    name TEXT PRIMARY KEY,
    byte_offset INTEGER NOT NULL
) WITHOUT ROWID;

-- Numbers that must survive the rows that they count.
CREATE TABLE counters (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO counters (name, value) VALUES ('event_sequence', 0);
