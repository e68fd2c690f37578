"""What a manifest wants and what is held, side by side."""

from __future__ import annotations

from collections.abc import Mapping

from agent.contract.upload import CommitAnswer

EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def compare(dataset: str, wanted: Mapping[str, str], held: Mapping[str, str], *, strict: bool = False) -> CommitAnswer:
    """`strict`: more files than the manifest names are a difference too."""
    missing = sorted(wanted.keys() - held.keys())
    different = sorted(path for path in wanted.keys() & held.keys() if wanted[path] != held[path])
    unlisted = sorted(held.keys() - wanted.keys())
    verified = not missing and not different and not (strict and unlisted)
    files = {path: held[path] for path in sorted(held) if not verified or path in wanted}
    return CommitAnswer(
        dataset=dataset, verified=verified, files=files, missing=missing, different=different, unlisted=unlisted
    )


def told(answer: CommitAnswer) -> str:
    """In one line, why a dataset is not what its manifest says; empty where it is."""
    kinds = (("missing", answer.missing), ("different", answer.different))
    parts = [
        f"{len(paths)} {kind} ({', '.join(paths[:3])}{', ...' if len(paths) > 3 else ''})"
        for kind, paths in kinds
        if paths
    ]
    return ", ".join(parts)
