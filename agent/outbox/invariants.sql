-- an_acquisition_is_what_its_columns_say
SELECT id FROM acquisitions
WHERE json_extract(value, '$.id') IS NOT id OR json_extract(value, '$.state') IS NOT state
OR json_extract(value, '$.origin') IS NOT origin OR json_extract(value, '$.started_ns') IS NOT started_ns LIMIT 20;

-- a_state_is_one_that_exists
SELECT id || ' is ' || state FROM acquisitions
WHERE state NOT IN ('acquiring', 'aborted', 'settling', 'complete', 'captured', 'documented', 'queued', 'delivering',
                    'verified', 'released', 'rejected') LIMIT 20;

-- a_file_state_is_one_that_exists
SELECT acquisition_id || '/' || target || ' is ' || state FROM files
WHERE state NOT IN ('pending', 'claimed', 'sent', 'verified', 'rejected') LIMIT 20;

-- a_dataset_belongs_to_one_acquisition
SELECT dataset FROM acquisitions WHERE dataset IS NOT NULL GROUP BY dataset HAVING count(*) > 1 LIMIT 20;

-- what_is_queued_has_a_dataset_and_files
SELECT id FROM acquisitions WHERE state IN ('queued', 'delivering', 'verified', 'released')
AND (dataset IS NULL OR NOT EXISTS (SELECT 1 FROM files WHERE acquisition_id = acquisitions.id)) LIMIT 20;

-- a_file_that_was_sent_has_its_hashes
SELECT acquisition_id || '/' || target FROM files WHERE state IN ('sent', 'verified')
AND (length(sha256) IS NOT 64 OR length(source_sha256) IS NOT 64 OR delivered_size IS NULL OR upload IS NOT NULL)
LIMIT 20;

-- a_file_that_was_not_sent_has_none
SELECT acquisition_id || '/' || target FROM files WHERE state IN ('pending', 'claimed')
AND (sha256 IS NOT NULL OR source_sha256 IS NOT NULL OR delivered_size IS NOT NULL) LIMIT 20;

-- only_a_claimed_file_has_an_upload
SELECT acquisition_id || '/' || target FROM files WHERE upload IS NOT NULL AND state <> 'claimed' LIMIT 20;

-- files_are_verified_with_their_acquisition
SELECT acquisition_id || '/' || target FROM files JOIN acquisitions ON id = acquisition_id
WHERE (files.state = 'verified') <> (acquisitions.state IN ('verified', 'released')) LIMIT 20;

-- an_upload_in_use_is_no_orphan
SELECT upload FROM orphans WHERE upload IN (SELECT upload FROM files WHERE state = 'claimed') LIMIT 20;

-- events_are_numbered_without_gaps
-- The newest 10,000, for older ones are forgotten once they were published.
SELECT 'the last is ' || counters.value || ', of the newest 10000 there are '
    || (SELECT count(*) FROM events WHERE sequence > counters.value - 10000) FROM counters
WHERE name = 'event_sequence'
AND (min(counters.value, 10000) <> (SELECT count(*) FROM events WHERE sequence > counters.value - 10000)
     OR counters.value <> (SELECT coalesce(max(sequence), 0) FROM events));

-- what_is_verified_was_announced
-- As far back as no event was forgotten.
SELECT id FROM acquisitions WHERE state IN ('verified', 'released')
AND verified_ns >= (SELECT time_ns FROM events WHERE sequence > (SELECT value - 10000 FROM counters) ORDER BY sequence
                    LIMIT 1)
AND NOT EXISTS (SELECT 1 FROM events WHERE subject = acquisitions.id AND type LIKE '%.acquisition.verified.v1') LIMIT 20;

-- the_latest_of_a_retained_topic_is_the_latest
SELECT topic FROM latest
WHERE sequence IS NOT (SELECT max(sequence) FROM events WHERE events.topic = latest.topic AND retained = 1) LIMIT 20;

-- only_what_was_verified_is_released
SELECT source FROM releases JOIN acquisitions ON id = acquisition_id
WHERE state NOT IN ('verified', 'released') OR length(sha256) IS NOT 64 LIMIT 20;

-- what_is_removed_was_moved_first
SELECT source FROM releases WHERE removed_ns IS NOT NULL AND moved_ns IS NULL LIMIT 20;
