-- put_acquisition
-- Insert an acquisition, or replace its value; the dataset path is never changed once it is set.
-- A size below zero leaves the size as it is.
INSERT INTO acquisitions (id, origin, state, started_ns, dataset, value, size)
VALUES (:id, :origin, :state, :started_ns, :dataset, :value, :size)
ON CONFLICT (id) DO UPDATE SET
    value = excluded.value,
    dataset = coalesce(acquisitions.dataset, excluded.dataset),
    attempts = CASE WHEN acquisitions.state = excluded.state THEN acquisitions.attempts ELSE 0 END,
    next_at_ns = CASE WHEN acquisitions.state = excluded.state THEN acquisitions.next_at_ns ELSE 0 END,
    size = CASE WHEN excluded.size < 0 THEN acquisitions.size ELSE excluded.size END,
    error = CASE WHEN acquisitions.state = excluded.state THEN acquisitions.error
                 WHEN excluded.state = 'rejected' THEN acquisitions.error ELSE NULL END,
    state = excluded.state;

-- size_by_files
-- Bytes of its sources.
UPDATE acquisitions SET size = (SELECT coalesce(sum(size), 0) FROM files WHERE acquisition_id = :id) WHERE id = :id;

-- get_acquisition
SELECT * FROM acquisitions WHERE id = :id;

-- acquisition_by_origin
SELECT * FROM acquisitions WHERE origin = :origin;

-- ready_in_state
-- The newest first: the acquisition that somebody is waiting for.
SELECT * FROM acquisitions WHERE state = :state AND next_at_ns = 0 ORDER BY started_ns DESC LIMIT :limit;

-- ripe_in_state
-- Those that were postponed and whose time has come, in the order of their times: no sorting of a long queue.
SELECT * FROM acquisitions WHERE state = :state AND next_at_ns > 0 AND next_at_ns <= :now_ns
ORDER BY next_at_ns LIMIT :limit;

-- next_delivery
-- Small datasets before large ones; those that never failed, the newest first, before those that did.
SELECT * FROM (SELECT *, 1 AS place FROM acquisitions WHERE state = 'delivering' AND (size > 1073741824) = 0
               AND next_at_ns = 0 ORDER BY started_ns DESC LIMIT 1)
UNION ALL
SELECT * FROM (SELECT *, 2 AS place FROM acquisitions WHERE state = 'delivering' AND (size > 1073741824) = 0
               AND next_at_ns > 0 AND next_at_ns <= :now_ns ORDER BY next_at_ns LIMIT 1)
UNION ALL
SELECT * FROM (SELECT *, 3 AS place FROM acquisitions WHERE state = 'delivering' AND (size > 1073741824) = 1
               AND next_at_ns = 0 ORDER BY started_ns DESC LIMIT 1)
UNION ALL
SELECT * FROM (SELECT *, 4 AS place FROM acquisitions WHERE state = 'delivering' AND (size > 1073741824) = 1
               AND next_at_ns > 0 AND next_at_ns <= :now_ns ORDER BY next_at_ns LIMIT 1)
ORDER BY place LIMIT 1;

-- large_should_yield
-- Something is queued, or small enough to go first.
SELECT EXISTS (SELECT 1 FROM acquisitions WHERE state = 'queued' AND next_at_ns = 0)
OR EXISTS (SELECT 1 FROM acquisitions WHERE state = 'queued' AND next_at_ns > 0 AND next_at_ns <= :now_ns)
OR EXISTS (SELECT 1 FROM acquisitions WHERE state = 'delivering' AND (size > 1073741824) = 0 AND next_at_ns <= :now_ns)
AS yes;

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
    delivered_size = NULL, sha256 = NULL, source_sha256 = NULL, upload = NULL, touched_ns = NULL;

-- forget_files
DELETE FROM files WHERE acquisition_id = :acquisition_id;

-- orphan_uploads
-- What was begun for these files and will not be gone on with.
INSERT OR IGNORE INTO orphans SELECT upload FROM files
WHERE acquisition_id = :acquisition_id AND upload IS NOT NULL AND (:target IS NULL OR target = :target);

-- orphan_staging
-- What a target gathers of a dataset until it is whole.
INSERT OR IGNORE INTO orphans SELECT :prefix || dataset FROM acquisitions WHERE id = :id AND dataset IS NOT NULL;

-- forget_uploads
UPDATE files SET state = 'pending', upload = NULL WHERE acquisition_id = :acquisition_id AND state = 'claimed';

-- orphans
SELECT upload FROM orphans LIMIT :limit;

-- orphan_ended
DELETE FROM orphans WHERE upload = :upload;

-- files_left
SELECT * FROM files WHERE acquisition_id = :acquisition_id AND state IN ('pending', 'claimed')
AND (role = 'data') <= :data ORDER BY (role = 'data'), size, target LIMIT :limit;

-- files_of
SELECT * FROM files WHERE acquisition_id = :acquisition_id ORDER BY target;

-- files_after
SELECT * FROM files WHERE acquisition_id = :acquisition_id AND target > :after ORDER BY target LIMIT :limit;

-- claim_file
UPDATE files SET state = 'claimed', upload = :upload WHERE acquisition_id = :acquisition_id AND target = :target;

-- file_sent
UPDATE files SET state = 'sent', upload = NULL, sha256 = :sha256, source_sha256 = :source_sha256,
    delivered_size = :delivered_size, touched_ns = :touched_ns
WHERE acquisition_id = :acquisition_id AND target = :target;

-- reset_file
UPDATE files SET state = 'pending', upload = NULL, sha256 = NULL, source_sha256 = NULL, delivered_size = NULL,
    touched_ns = NULL
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
SELECT * FROM events WHERE sequence IN (SELECT sequence FROM latest) ORDER BY sequence;

-- put_latest
INSERT INTO latest (topic, sequence) VALUES (:topic, :sequence)
ON CONFLICT (topic) DO UPDATE SET sequence = excluded.sequence;

-- event_published
UPDATE events SET published_ns = :published_ns WHERE sequence = :sequence;

-- published_events
-- For those who ask for them again.
SELECT * FROM events WHERE sequence > :after AND sequence <= :until AND published_ns IS NOT NULL
ORDER BY sequence LIMIT :limit;

-- prune_events
-- From the oldest on, a few at a time. The newest stay whatever the clock says, and so do the last words of every
-- retained topic and what no broker acknowledged.
DELETE FROM events WHERE sequence IN (
    SELECT sequence FROM (SELECT sequence, published_ns FROM events
                          WHERE sequence NOT IN (SELECT sequence FROM latest) ORDER BY sequence LIMIT :limit)
    WHERE published_ns < :before_ns
    AND sequence <= (SELECT value FROM counters WHERE name = 'event_sequence') - :spared);

-- started_between
SELECT started_ns, id FROM acquisitions WHERE started_ns >= :since_ns AND started_ns < :until_ns
AND (started_ns > :since_ns OR id > :after) ORDER BY started_ns, id LIMIT :limit;

-- events_of
SELECT * FROM events WHERE subject = :subject ORDER BY sequence;

-- fact
SELECT value FROM facts WHERE name = :name;

-- put_fact
INSERT INTO facts (name, value) VALUES (:name, :value) ON CONFLICT (name) DO UPDATE SET value = excluded.value;

-- set_verified
UPDATE acquisitions SET verified_ns = :verified_ns WHERE id = :id;

-- to_release
SELECT * FROM acquisitions INDEXED BY acquisitions_to_release
WHERE state = 'verified' AND verified_ns <= :before_ns AND next_at_ns <= :now_ns
ORDER BY verified_ns LIMIT :limit;

-- in_use
-- The same file on its way in another acquisition.
SELECT EXISTS (SELECT 1 FROM files JOIN acquisitions ON id = acquisition_id WHERE source = :source
AND acquisitions.state NOT IN ('verified', 'released')) AS yes;

-- plan_release
INSERT INTO releases (source, acquisition_id, sha256, kept, planned_ns)
VALUES (:source, :acquisition_id, :sha256, :kept, :planned_ns)
ON CONFLICT (acquisition_id, source) DO UPDATE SET kept = excluded.kept, sha256 = excluded.sha256,
    planned_ns = excluded.planned_ns WHERE moved_ns IS NULL;

-- release_moved
UPDATE releases SET moved_ns = :moved_ns WHERE acquisition_id = :acquisition_id AND source = :source;

-- release_removed
UPDATE releases SET removed_ns = :removed_ns WHERE acquisition_id = :acquisition_id AND source = :source;

-- releases_of
SELECT * FROM releases WHERE acquisition_id = :acquisition_id ORDER BY source;

-- to_remove
SELECT acquisition_id, min(moved_ns) AS moved_ns FROM releases
WHERE moved_ns IS NOT NULL AND removed_ns IS NULL AND moved_ns <= :before_ns GROUP BY acquisition_id LIMIT :limit;

-- files_at
-- Every delivery of what lay or lies under this path.
SELECT * FROM files WHERE source = :source AND role = 'data' ORDER BY acquisition_id DESC LIMIT 50;

-- files_like
-- Files of this size and time, wherever they are; the one with this identity first.
SELECT * FROM files WHERE mtime_ns = :mtime_ns AND size = :size AND role = 'data'
ORDER BY (file_id = :file_id) DESC, acquisition_id DESC LIMIT 20;

-- follow_file
-- The source of a verified file is elsewhere, or was touched, with the same content.
UPDATE files SET source = :source, mtime_ns = :mtime_ns, file_id = :file_id
WHERE acquisition_id = :acquisition_id AND target = :target AND state = 'verified';

-- note_source
INSERT OR IGNORE INTO source_changes (acquisition_id, target, at_ns, what, source, detail)
VALUES (:acquisition_id, :target, :at_ns, :what, :source, :detail);

-- source_changes_of
SELECT * FROM source_changes WHERE acquisition_id = :acquisition_id ORDER BY at_ns, target;

-- delivered_below
-- Verified files whose sources should still be in a folder: not released, not yet known to be gone.
SELECT * FROM files WHERE source > :after AND source < :until AND role = 'data' AND state = 'verified'
AND NOT EXISTS (SELECT 1 FROM releases WHERE releases.acquisition_id = files.acquisition_id
                AND releases.source = files.source AND moved_ns IS NOT NULL)
AND NOT EXISTS (SELECT 1 FROM source_changes WHERE source_changes.acquisition_id = files.acquisition_id
                AND source_changes.target = files.target AND source_changes.source = files.source
                AND what IN ('gone', 'replaced'))
ORDER BY source LIMIT :limit;

-- delivered_at
-- The same for one path.
SELECT * FROM files WHERE source = :source AND role = 'data' AND state = 'verified'
AND NOT EXISTS (SELECT 1 FROM releases WHERE releases.acquisition_id = files.acquisition_id
                AND releases.source = files.source AND moved_ns IS NOT NULL)
AND NOT EXISTS (SELECT 1 FROM source_changes WHERE source_changes.acquisition_id = files.acquisition_id
                AND source_changes.target = files.target AND source_changes.source = files.source
                AND what IN ('gone', 'replaced'));

-- bring_forward
-- The clock went back: what was postponed by the old time.
UPDATE acquisitions SET next_at_ns = max(:now_ns, next_at_ns - :by_ns)
WHERE state IN ('settling', 'complete', 'captured', 'documented', 'queued', 'delivering', 'verified')
AND next_at_ns > :after_ns;
