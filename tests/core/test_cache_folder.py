"""Only forgetmi's own files are counted in a cache, and removed from it."""

from __future__ import annotations

from pathlib import Path

from forgetmi.core.cache_folder import (
    CHECKPOINTS,
    COHORTS,
    FILMS,
    FORMER_FILMS,
    files_in_cache,
    remove_from_cache,
)

KINDS = (FILMS, FORMER_FILMS, COHORTS, CHECKPOINTS)
HEX16, HEX24 = "0123456789abcdef", "0123456789abcdef01234567"
OWN = {
    FILMS: [f"{HEX16}/a.u16", f"{HEX16}/tmpx.partial", "seen.bin", "key", ".key-x.partial"],
    FORMER_FILMS: [f"{HEX16}/a.u16", f"{HEX16}/a.json", "seen.bin"],
    COHORTS: [
        f"{HEX24}/cohort.csv",
        f"{HEX24}/images.npy",
        ".x.12345678.forgetmi.partial/made/cohort.csv",
    ],
    CHECKPOINTS: [f"{HEX16}/model.json", f"{HEX16}/model.safetensors"],
}
FOREIGN = [
    "notes.txt",
    "images/holiday.png",
    "images/2024/holiday.png",
    f"images/{HEX16}/holiday.png",
    "synthetic/mine/cohort.csv",
    "checkpoints/mine/model.json",
    "decoded-films/mine/a.u16",
]


def test_others_files_stay(tmp_path: Path) -> None:
    own = [f"{kind}/{name}" for kind, names in OWN.items() for name in names]
    for name in (*own, *FOREIGN):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")

    for kind, names in OWN.items():
        found = files_in_cache(tmp_path, kind)
        assert {str(path.relative_to(tmp_path / kind)) for path in found} == set(names)

    removed = remove_from_cache(tmp_path, KINDS)
    assert removed == {kind: len(names) for kind, names in OWN.items()}
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == set(FOREIGN)

    # Folders that held nothing else are gone.
    assert not (tmp_path / "synthetic" / HEX24).exists()
    assert not (tmp_path / "synthetic" / ".x.12345678.forgetmi.partial").exists()
    assert remove_from_cache(tmp_path, KINDS) == dict.fromkeys(KINDS, 0)


def test_a_link_is_removed_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "film").write_bytes(b"x")
    (tmp_path / FILMS / HEX16).mkdir(parents=True)
    (tmp_path / FILMS / HEX16 / "a.u16").symlink_to(tmp_path / "mine" / "film")
    assert remove_from_cache(tmp_path, [FILMS]) == {FILMS: 1}
    assert (tmp_path / "mine" / "film").exists()


def test_a_cache_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert remove_from_cache(tmp_path / "nowhere", KINDS) == dict.fromkeys(KINDS, 0)
