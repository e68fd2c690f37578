"""How an agent hands a dataset to the facility: tus 1.0 for each file, then one commit.

1. `POST /upload` creates an upload: `Upload-Length`, and `Upload-Metadata` with the keys
   `dataset` (layout.dataset_path) and `path` (layout.check_member); answers 201 and `Location`.
   The body may already carry the whole file (creation-with-upload).
2. `PATCH` on the location from `Upload-Offset`; `Upload-Checksum: sha256 <base64>` over the body is mandatory,
   460 discards the chunk. `HEAD` tells the offset. `DELETE` ends the upload and removes it.
   Where `OPTIONS` names it, `Upload-Checksum: sha256-running <base64>` may stand instead: the hash of all bytes of
   the file up to the end of the body, so that neither side hashes twice; 412 when the facility has lost it.
   The last answer carries `Upload-Sha256: <hex>`: the hash of what the facility holds.
3. `PUT /datasets/{dataset}/manifest-sha256.txt` commits: the facility compares its own hash of every file with
   the manifest, then makes the dataset visible, the manifest last. 200 with CommitAnswer;
   409 with CommitAnswer when files are missing or differ; the same manifest again is a no-op.
4. `GET /datasets/{dataset}/verify` hashes what is stored now and answers CommitAnswer.

Every request carries `Authorization: Bearer <token>`, but `GET /health`: `{"status": "ok", "time": RFC 3339}`.
An upload for a (dataset, path) that is already complete with other bytes replaces it until the commit, never after.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

TUS_VERSION = "1.0.0"
UPLOAD = "/upload"
DATASETS = "/datasets"
HEALTH = "/health"
CHECKSUM_MISMATCH = 460
SHA256_HEADER = "Upload-Sha256"
ALGORITHMS_HEADER = "Tus-Checksum-Algorithm"
OF_CHUNK = "sha256"
RUNNING = "sha256-running"


class CommitAnswer(BaseModel):
    """What the facility holds of a dataset."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    verified: bool
    files: dict[str, str]
    """SHA-256 (hex) by path, computed by the facility from its own bytes."""
    missing: list[str] = []
    different: list[str] = []
    unlisted: list[str] = []
