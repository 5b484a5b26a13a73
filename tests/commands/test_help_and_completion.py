"""Help by topic and completion: made from the commands themselves, from the pages and from the glossary."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from forgetmi.commands import completion, help_topics
from forgetmi.commands.command_texts import command_words, help_of, options_in
from forgetmi.commands.verbs import COMMANDS
from forgetmi.core.errors import SpecError
from forgetmi.core.registry import methods


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each shell reads; the commands' help is made once."""
    made = {words: options_in(help_of(*words)) for words in (("verify",), ("requests", "add"))}
    choices = {" ".join(words): options for words, options in made.items()}
    choices["requests"] = ["add", "list"]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(completion, "_choices", lambda: choices)
        return {
            "bash": completion.bash(),
            "zsh": completion.bash("zsh"),
            "fish": completion.fish(),
        }


def completed(script: str, *words: str) -> list[str]:
    """What bash offers for the last of some words."""
    program = (
        f"{script}\nCOMP_WORDS=({' '.join(map(repr, words))}); COMP_CWORD={len(words) - 1}\n"
        '_forgetmi; echo "${COMPREPLY[@]}"'
    )
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    done = subprocess.run([bash, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_bash_offers_verbs_actions_options_and_methods(scripts: dict[str, str]) -> None:
    script = scripts["bash"]
    assert set(completed(script, "forgetmi", "re")) == {"report", "record", "requests"}
    assert completed(script, "forgetmi", "requests", "a") == ["add"]
    assert completed(script, "forgetmi", "requests", "add", "--led") == ["--ledger"]
    assert completed(script, "forgetmi", "verify", "runs/1", "--rec") == ["--recompute"]
    assert completed(script, "forgetmi", "run", "--method", "salu") == ["salun"]
    assert completed(script, "forgetmi", "verify", "--no-such") == []


def test_zsh_and_fish_have_the_same_words(scripts: dict[str, str]) -> None:
    assert scripts["zsh"].replace("bashcompinit", "").count("--recompute") == scripts["bash"].count(
        "--recompute"
    )
    assert "autoload -Uz bashcompinit" in scripts["zsh"]
    for verb in COMMANDS:
        assert f"-a {verb} -d '" in scripts["fish"]
    assert (
        "-n '__fish_seen_subcommand_from requests; and __fish_seen_subcommand_from add' -l"
        in (scripts["fish"])
    )
    assert " ".join(methods.names()) in scripts["fish"]
    assert "complete -c forgetmi -f\n" not in scripts["fish"]  # runs are named by their folders


def test_every_command_with_subcommands_is_followed() -> None:
    words = command_words()
    assert ("requests", "drift") in words
    assert ("pool", "make") in words
    assert ("run",) in words


def test_a_topic_is_a_command_a_page_or_a_term() -> None:
    assert help_topics.topic(["requests", "add"]).startswith("usage: forgetmi requests add")
    assert help_topics.topic(["glossary"]).startswith("# Glossary")
    assert help_topics.topic(["what", "is", "read"]).startswith("# ")
    assert "largest difference that counts as none" in help_topics.topic(["Margin"])
    assert help_topics.topic(["mu"]).startswith("UU, MU, UR, MR:")


def test_a_command_of_an_entry_point_is_a_topic() -> None:
    assert "forgetmi checkpoint convert" in help_topics.topic(["checkpoint"])


def test_a_word_with_two_entries_shows_both() -> None:
    found = help_topics.topic(["stage"]).splitlines()
    assert [line.partition(":")[0] for line in found] == ["part", "run"]


def test_options_are_those_that_a_line_begins_with() -> None:
    text = """--spec FILE gives the rest. --method KIND with KIND one of a, b.
│ -h, --help             show it │
│ --verifiers {None}|PATH  Directory that forgetmi shadows --out wrote, or │
│                          --retained-share made. │
│ --json, --no-json      Print one object. │"""
    expected = ["--spec", "--method", "--help", "--verifiers", "--json", "--no-json"]
    assert options_in(text) == expected


def test_an_unknown_topic_names_the_nearest() -> None:
    with pytest.raises(SpecError, match="Did you mean 'margin'"):
        help_topics.topic(["margni"])


def test_without_a_topic_everything_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    help_topics.help_topics([])
    printed = capsys.readouterr().out
    assert "\n  withdraw " in printed
    assert "\n  glossary  Glossary" in printed
    assert "keyed digest" in printed


def test_pages_of_an_installed_package_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As a wheel leaves it: pages among the package's files, no checkout beside it
    (tmp_path / "share" / "doc" / "forgetmi").mkdir(parents=True)
    page = tmp_path / "share" / "doc" / "forgetmi" / "glossary.md"
    page.write_text("# Glossary\n\n- **gap**: a difference.\n", encoding="utf-8")

    class Installed:
        files = (Path("../share/doc/forgetmi/glossary.md"), Path("forgetmi/cli.py"))

        def locate_file(self, file: Path) -> Path:
            return tmp_path / "lib" / file

    (tmp_path / "lib").mkdir()
    monkeypatch.setattr(help_topics, "_CHECKOUT", tmp_path / "none")
    monkeypatch.setattr(help_topics, "distribution", lambda name: Installed())
    assert list(help_topics.pages()) == ["glossary"]
    assert help_topics.topic(["gap"]) == "gap: a difference."
