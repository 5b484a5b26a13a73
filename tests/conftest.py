"""What the tests of several rooms share: a small generated cohort, prepared once, away from the user's own files."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is no failure: examples are limited in number, not in time. Every run tries the same ones, and the
# run of all tests more of them; `pytest -m hypothesis --hypothesis-profile explore` tries others.
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", settings.get_profile("explore"), derandomize=True)
settings.register_profile("forgetmi", settings.get_profile("thorough"), max_examples=20)
settings.load_profile("forgetmi")

# Keys that tests write are their owner's alone, as keys must be.
os.umask(0o077)

# What is imported and collected stays: a quarter of that time would go into looking for garbage among it.
gc.disable()

# Before torch is imported: one thread for each worker of pytest, unless more are asked for.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@dataclass(frozen=True)
class Small:
    """A cohort of a few patients at 32 px, and everything made of it."""

    cohort: object
    partition: object
    prepared: object


def pytest_collection_finish() -> None:
    """From here on garbage is collected, of what tests make."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """A test that changes a model that it asks for fails by its own name; see `tests.shared_models`."""
    yield
    _refuse_changes("the test", frozenset(getattr(item, "fixturenames", ())))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """A model that nobody asked for by name is looked at after each file."""
    yield
    if nextitem is None or nextitem.path != item.path:
        _refuse_changes(f"a test of {item.path.name}", None)


def _refuse_changes(who: str, asked_for: frozenset[str] | None) -> None:
    watch = sys.modules.get("tests.shared_models")
    changed = watch.changes(asked_for) if watch is not None else []
    if changed:
        pytest.fail(f"{who} changed a model that others use: {'; '.join(changed)}")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test touches the user's cache or identifier key."""
    folder = tmp_path_factory.mktemp("forgetmi")
    key = folder / "key"
    key.write_bytes(bytes(range(32)))
    os.environ["FORGETMI_CACHE"] = str(folder / "cache")
    os.environ["FORGETMI_KEY_FILE"] = str(key)


@pytest.fixture(scope="session", autouse=True)
def _blank_figures() -> Iterator[None]:
    """Reports have blank figures; those of the report's own tests and of other processes are drawn."""
    from tests.figures import blank_figures

    with blank_figures():
        yield


@pytest.fixture(scope="session", autouse=True)
def _quick_gate() -> Iterator[None]:
    """The gate is fitted in a few steps: its whole fit takes a quarter second a model.

    `tests/model/test_gate.py` has the whole fit, and so has every run in a process of its own; see `whole_gate`.
    """
    with gate_steps(20):
        yield


@pytest.fixture
def whole_gate() -> Iterator[None]:
    """The gate is fitted as for a user, for what is compared with figures, or with a process of its own."""
    with gate_steps(300):
        yield


@contextlib.contextmanager
def gate_steps(steps: int) -> Iterator[None]:
    """Fit the gate in so many steps; 300 are its whole fit."""
    from forgetmi.model.fit_gate import fit_gate

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(fit_gate.__kwdefaults__, "steps", steps)
        yield


@pytest.fixture(scope="session")
def small(_own_cache: None) -> Small:
    """A cohort of 24 patients; see `prepare_small`."""
    return prepare_small(patients=24, forget=23.0)


def prepare_small(
    *, patients: int, forget: float, widths: tuple[int, ...] = (8, 16, 16), blocks: int = 2
) -> Small:
    """A generated cohort, divided and prepared for a narrow model: an epoch takes a fraction of a second.

    Args:
        patients: How many.
        forget: Percent of the training patients that are forgotten.
        widths, blocks: Channels of each image stage, and its residual blocks.
    """
    from forgetmi.cohort.partition import partition
    from forgetmi.cohort.synthetic import SyntheticCohort
    from forgetmi.data.preprocessing import ImagePreprocessing
    from forgetmi.model.architecture import Architecture
    from forgetmi.run import workflow

    cohort = SyntheticCohort(patients=patients, seed=3, size=32).load()
    sets = partition(cohort, forget=forget, seed=3)
    prepared = workflow.prepare(
        cohort=cohort,
        partition=sets,
        images=ImagePreprocessing(size=32),
        architecture=Architecture(
            stem_width=8,
            widths=widths,
            blocks=blocks,
            hidden=16,
            heads=2,
            layers=1,
            intermediate=32,
        ),
        min_patients=2,
    )
    return Small(cohort, sets, prepared)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the repository; tests that need it skip where it is absent."""
    folder = Path(__file__).parents[1].parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the folder of real data is absent")
    return folder


@pytest.fixture(scope="session")
def shared_field() -> Path:
    """The folder of hospitals' inputs beside the repository; tests that need it skip where it is absent."""
    folder = Path(__file__).parents[1].parent / "shared" / "field"
    if not folder.is_dir():
        pytest.skip("the folder of hospitals' inputs is absent")
    return folder


@pytest.fixture(scope="session")
def sign_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A signing key; its public half has the ending .pub."""
    from tests.runs import new_key

    return new_key(tmp_path_factory.mktemp("keys") / "sign.key")


@pytest.fixture(scope="session")
def signed_run(sign_key: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished, signed run of `tests.runs.TINY`, made once for the tests of records and of the ledger.

    What it printed lies next to it as `printed`. A test that changes it works on a copy.
    """
    from forgetmi.run.finish import finish
    from forgetmi.run.record_keeping import Recording
    from tests.runs import TINY

    root = tmp_path_factory.mktemp("recorded") / "run"
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        finish(TINY, root, command=["forgetmi", "run"], how=Recording(sign_key=sign_key))
    (root.parent / "printed").write_text(printed.getvalue())
    return root
