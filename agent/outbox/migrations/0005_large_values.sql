-- An acquisition of 100,000 files has a value of many megabytes. As a row of a table with rowids, the value last, it
-- is read only by those who ask for it; as a key of the tree, SQLite read all of it for each file that names its id.
CREATE TABLE acquisitions_by_rowid (
    id TEXT NOT NULL PRIMARY KEY,
    origin TEXT NOT NULL UNIQUE,          -- how it was heard; the same after a restart
    state TEXT NOT NULL,
    started_ns INTEGER NOT NULL,
    dataset TEXT,                         -- path below the facility's root, fixed once
    attempts INTEGER NOT NULL DEFAULT 0,  -- failed tries in this state
    next_at_ns INTEGER NOT NULL DEFAULT 0,
    error TEXT,                           -- the last failure, one line
    size INTEGER NOT NULL DEFAULT 0,      -- bytes of the dataset's sources
    verified_ns INTEGER,                  -- when the target confirmed the whole dataset (UTC ns)
    value TEXT NOT NULL                   -- the frozen acquisition as JSON
);
INSERT INTO acquisitions_by_rowid
SELECT id, origin, state, started_ns, dataset, attempts, next_at_ns, error, size, verified_ns, value FROM acquisitions;
DROP TABLE acquisitions;
ALTER TABLE acquisitions_by_rowid RENAME TO acquisitions;
CREATE INDEX acquisitions_open ON acquisitions (state) WHERE state NOT IN ('verified', 'released', 'rejected');
CREATE INDEX acquisitions_ready ON acquisitions (state, next_at_ns, started_ns);
CREATE INDEX acquisitions_delivering ON acquisitions ((size > 1073741824), next_at_ns, started_ns)
WHERE state = 'delivering';
CREATE INDEX acquisitions_to_release ON acquisitions (verified_ns) WHERE state = 'verified';
CREATE INDEX acquisitions_by_start ON acquisitions (started_ns, id);
