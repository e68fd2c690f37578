-- When a source was last touched in any way, as it was when its bytes were confirmed (ns on its file system's clock).
ALTER TABLE files ADD COLUMN touched_ns INTEGER;
-- What is left to send of a dataset, in the order of sending, however much of it is sent: metadata, then by size.
CREATE INDEX files_left ON files (acquisition_id, (role = 'data'), size, target) WHERE state IN ('pending', 'claimed');

-- Bytes of the dataset's sources: small datasets go before large ones.
ALTER TABLE acquisitions ADD COLUMN size INTEGER NOT NULL DEFAULT 0;
UPDATE acquisitions SET size = (SELECT coalesce(sum(size), 0) FROM files WHERE acquisition_id = acquisitions.id);
-- The newest of each state that waits for nothing (next_at_ns = 0), and those that wait, by when.
CREATE INDEX acquisitions_ready ON acquisitions (state, next_at_ns, started_ns);
-- The same for deliveries, where datasets of up to 1 GiB come before larger ones.
CREATE INDEX acquisitions_delivering ON acquisitions ((size > 1073741824), next_at_ns, started_ns)
WHERE state = 'delivering';

-- Uploads that nobody will resume; ended at the far side as soon as it can be reached.
CREATE TABLE orphans (
    upload TEXT PRIMARY KEY
) WITHOUT ROWID;

-- The last event of every retained topic, so that a reconnect need not look through all that ever were.
CREATE TABLE latest (
    topic TEXT PRIMARY KEY,
    sequence INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO latest SELECT topic, max(sequence) FROM events WHERE retained = 1 GROUP BY topic;

-- What this installation knows of itself, such as the id that marks its own unfinished uploads.
CREATE TABLE facts (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

DROP INDEX acquisitions_by_state;

-- The events of one acquisition, for those who ask about it.
CREATE INDEX events_by_subject ON events (subject, sequence);

-- When the target confirmed the whole dataset (UTC ns), for the policy of release.
ALTER TABLE acquisitions ADD COLUMN verified_ns INTEGER;
UPDATE acquisitions SET verified_ns = (SELECT max(time_ns) FROM events WHERE subject = acquisitions.id
    AND type LIKE '%.acquisition.verified.v1') WHERE state IN ('verified', 'released');
CREATE INDEX acquisitions_to_release ON acquisitions (verified_ns) WHERE state = 'verified';

-- Source files that were moved or removed, each with when and where to: the audit of every release.
CREATE TABLE releases (
    source TEXT NOT NULL,
    acquisition_id TEXT NOT NULL REFERENCES acquisitions (id),
    sha256 TEXT NOT NULL,                 -- of the source's bytes, confirmed by the target just before
    kept TEXT NOT NULL,                   -- where it was moved to
    planned_ns INTEGER NOT NULL,          -- written before the file is touched
    moved_ns INTEGER,
    removed_ns INTEGER,                   -- when it was removed from there for good
    PRIMARY KEY (acquisition_id, source)
) WITHOUT ROWID;
CREATE INDEX releases_kept ON releases (moved_ns) WHERE moved_ns IS NOT NULL AND removed_ns IS NULL;
CREATE INDEX releases_planned ON releases (acquisition_id) WHERE moved_ns IS NULL;
