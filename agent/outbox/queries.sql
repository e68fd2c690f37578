-- put_acquisition
-- Insert an acquisition, or replace its value; the dataset path is never changed once it is set.
INSERT INTO acquisitions (id, origin, state, started_ns, dataset, value)
VALUES (:id, :origin, :state, :started_ns, :dataset, :value)
ON CONFLICT (id) DO UPDATE SET
    value = excluded.value,
    dataset = coalesce(acquisitions.dataset, excluded.dataset),
    attempts = CASE WHEN acquisitions.state = excluded.state THEN acquisitions.attempts ELSE 0 END,
    next_at_ns = CASE WHEN acquisitions.state = excluded.state THEN acquisitions.next_at_ns ELSE 0 END,
    error = CASE WHEN acquisitions.state = excluded.state THEN acquisitions.error
                 WHEN excluded.state = 'rejected' THEN acquisitions.error ELSE NULL END,
    state = excluded.state;

-- get_acquisition
SELECT * FROM acquisitions WHERE id = :id;

-- acquisition_by_origin
SELECT * FROM acquisitions WHERE origin = :origin;

-- due_in_state
-- The newest first: the acquisition that somebody is waiting for.
SELECT * FROM acquisitions WHERE state = :state AND next_at_ns <= :now_ns ORDER BY started_ns DESC LIMIT :limit;

-- newest_acquisitions
SELECT * FROM acquisitions ORDER BY started_ns DESC LIMIT :limit;

-- count_by_state
SELECT state, count(*) AS n FROM acquisitions GROUP BY state;

-- queue
-- Acquisitions that are not at their end; answered from a partial index, however many are finished.
SELECT count(*) AS n FROM acquisitions WHERE state NOT IN ('verified', 'released', 'rejected');

-- postpone
-- A try failed: remember why, and when to try again.
UPDATE acquisitions SET attempts = attempts + 1, next_at_ns = :next_at_ns, error = :error WHERE id = :id;

-- note_error
UPDATE acquisitions SET error = :error WHERE id = :id;

-- put_file
INSERT INTO files (acquisition_id, target, source, role, state, size, mtime_ns, file_id, description)
VALUES (:acquisition_id, :target, :source, :role, :state, :size, :mtime_ns, :file_id, :description)
ON CONFLICT (acquisition_id, target) DO UPDATE SET
    source = excluded.source, role = excluded.role, size = excluded.size, mtime_ns = excluded.mtime_ns,
    file_id = excluded.file_id, description = excluded.description, state = excluded.state,
    delivered_size = NULL, sha256 = NULL, source_sha256 = NULL, upload = NULL;

-- forget_files
DELETE FROM files WHERE acquisition_id = :acquisition_id;

-- files_of
SELECT * FROM files WHERE acquisition_id = :acquisition_id ORDER BY target;

-- claim_file
UPDATE files SET state = 'claimed', upload = :upload WHERE acquisition_id = :acquisition_id AND target = :target;

-- file_sent
UPDATE files SET state = 'sent', upload = NULL, sha256 = :sha256, source_sha256 = :source_sha256,
    delivered_size = :delivered_size
WHERE acquisition_id = :acquisition_id AND target = :target;

-- reset_file
UPDATE files SET state = 'pending', upload = NULL, sha256 = NULL, source_sha256 = NULL, delivered_size = NULL
WHERE acquisition_id = :acquisition_id AND target = :target;

-- files_verified
UPDATE files SET state = 'verified' WHERE acquisition_id = :acquisition_id;

-- file_by_source
SELECT * FROM files WHERE source = :source ORDER BY acquisition_id DESC LIMIT 1;

-- bytes_left
SELECT coalesce(sum(size), 0) AS n FROM files WHERE state IN ('pending', 'claimed');

-- next_sequence
UPDATE counters SET value = value + 1 WHERE name = 'event_sequence' RETURNING value;

-- last_sequence
SELECT value FROM counters WHERE name = 'event_sequence';

-- event_exists
SELECT 1 FROM events WHERE id = :id;

-- put_event
INSERT INTO events (sequence, id, topic, type, subject, time_ns, data, retained)
VALUES (:sequence, :id, :topic, :type, :subject, :time_ns, :data, :retained);

-- unpublished_events
SELECT * FROM events WHERE published_ns IS NULL AND sequence > :after ORDER BY sequence LIMIT :limit;

-- retained_events
-- The last event of every retained topic: published anew after each connect.
SELECT * FROM events WHERE sequence IN (SELECT max(sequence) FROM events WHERE retained = 1 GROUP BY topic)
ORDER BY sequence;

-- event_published
UPDATE events SET published_ns = :published_ns WHERE sequence = :sequence;

-- events_of
SELECT * FROM events WHERE subject = :subject ORDER BY sequence;
