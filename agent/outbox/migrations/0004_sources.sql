-- The same file under another name: found by what a rename leaves as it is.
CREATE INDEX files_by_time ON files (mtime_ns, size) WHERE role = 'data';

-- What became of source files after they were delivered: never silently moved, replaced or deleted.
CREATE TABLE source_changes (
    acquisition_id TEXT NOT NULL REFERENCES acquisitions (id),
    target TEXT NOT NULL,                 -- path inside the dataset
    at_ns INTEGER NOT NULL,               -- when it was noticed
    what TEXT NOT NULL,                   -- moved, gone, replaced, touched
    source TEXT NOT NULL,                 -- where it was
    detail TEXT NOT NULL,                 -- where it is now, or what took its place
    PRIMARY KEY (acquisition_id, target, at_ns, what)
) WITHOUT ROWID;
