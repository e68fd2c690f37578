-- The newest of all states, for lists.
CREATE INDEX acquisitions_by_start ON acquisitions (started_ns);
