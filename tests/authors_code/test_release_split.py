"""The release's split, image reading, retain order and attack."""

from __future__ import annotations

import csv
import traceback
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from torch.utils.data import BatchSampler, DataLoader, Sampler
from torch.utils.data import Dataset as Samples

from forgetmi.authors_code.attack import batch_mean_attack, image_losses
from forgetmi.authors_code.image import PixelNoise, read_image
from forgetmi.authors_code.sampler import retain_order
from forgetmi.authors_code.split import release_split
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import CohortError, EvaluationError
from forgetmi.core.signals import Signals
from forgetmi.data.decode import ImageFault
from forgetmi.data.image_store import build_image_store
from forgetmi.data.preprocessing import ImagePreprocessing


@pytest.mark.parametrize(
    ("percent", "forgotten", "retained", "patients"),
    [(3, 201, 6010, 16), (6, 401, 5810, 32), (10, 674, 5537, 60)],
)
def test_the_split_of_the_real_list(
    splits: Path, percent: int, forgotten: int, retained: int, patients: int
) -> None:
    table = splits / "mimic-cxr-sub-img-edema-split-manualtest.csv"
    found = release_split(table, splits / f"forget_set_{percent}per.csv")
    assert (len(found.forget), len(found.retain), len(found.test)) == (forgotten, retained, 531)
    assert len(found.validation) == -(-retained // 10)
    assert set(found.validation.tolist()) <= set(found.retain.tolist())
    everything = np.sort(np.concatenate([found.forget, found.retain, found.test]))
    np.testing.assert_array_equal(everything, np.arange(6742))
    with table.open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    assert len({rows[row][0] for row in found.forget}) == patients
    assert all(rows[row][4] == "TEST" for row in found.test)
    shares = [
        np.bincount(found.label[part], minlength=4) / len(part)
        for part in (found.retain, found.validation)
    ]
    np.testing.assert_allclose(shares[0], shares[1], atol=2e-3)
    with (splits / f"forget_set_{percent}per.csv").open(newline="") as file:
        listed = [row[2] for row in list(csv.reader(file))[1:]]
    assert [rows[row][2] for row in found.forget] == listed


def test_a_split_by_hand(tmp_path: Path) -> None:
    header = "subject_id,study_id,dicom_id,edeme_severity,fold\n"
    lines = [
        f"{10 + row // 2},{row},d{row},{row % 2},{'TEST' if row >= 20 else 1}\n"
        for row in range(24)
    ]
    (tmp_path / "split.csv").write_text(header + "".join(lines[:12]) + header + "".join(lines[12:]))
    (tmp_path / "forget.csv").write_text("subject_id,study_id\n10,0\n21,23\n")
    found = release_split(tmp_path / "split.csv", tmp_path / "forget.csv", validation_ratio=0.25)
    assert found.forget.tolist() == [0, 1, 23, 24]  # a listed patient's TEST rows, too
    assert found.test.tolist() == [21, 22]
    assert found.retain.tolist() == [
        *range(2, 12),
        *range(13, 21),
    ]  # the repeated header is skipped
    assert found.label[12] == -1
    assert len(found.validation) == 5


def test_lists_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "split.csv").write_text("subject_id,study_id\n1,2\n")
    (tmp_path / "forget.csv").write_text("patient\n1\n")
    with pytest.raises(CohortError) as caught:
        release_split(tmp_path / "split.csv", tmp_path / "forget.csv")
    assert len(caught.value.faults) == 2


def dicom(path: Path, pixels: np.ndarray, *, photometric: str = "MONOCHROME2") -> None:
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID, made.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1.1", "1.2.3"
    made.Rows, made.Columns = pixels.shape
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, photometric
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 12, 11, 0
    made.RescaleSlope, made.RescaleIntercept = "2", "-1000"
    made.PixelData = pixels.astype("<u2").tobytes()
    made.save_as(path, enforce_file_format=True)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_dicom_is_divided_by_its_maximum_and_nothing_else(tmp_path: Path, photometric: str) -> None:
    pixels = np.arange(12 * 30).reshape(12, 30)
    dicom(tmp_path / "a.dcm", pixels, photometric=photometric)
    found = read_image(tmp_path / "a.dcm", size=16)
    assert (found.dtype, found.shape) == (np.float32, (16, 16))
    expected = np.zeros((16, 16), np.float32)
    expected[2:14] = pixels[:, 7:23].astype(np.float32) / np.float32(pixels.max())
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_a_store_of_films_as_they_are_holds_what_the_release_reads(
    tmp_path: Path, photometric: str
) -> None:
    path = tmp_path / "a.dcm"
    dicom(path, np.arange(1, 12 * 30 + 1).reshape(12, 30), photometric=photometric)
    one = np.array(["0"], dtype=object)
    cohort = Cohort(
        "t",
        one,
        one,
        one,
        one,
        np.array([str(path)], dtype=object),
        one,
        np.zeros(1, np.int64),
        one,
        ("a",),
        True,
        {},
        False,
        "0",
        "0",
    )
    plain, as_stored, turned = (
        build_image_store(
            cohort,
            ImagePreprocessing(size=16, fit="center_crop", invert=invert, window=window),
            cache=tmp_path,
        ).images(np.array([0]))[0, 0]
        for invert, window in ((False, "first"), (False, "released"), (True, "released"))
    )
    np.testing.assert_array_equal(plain, as_stored)
    np.testing.assert_allclose(as_stored, read_image(path, size=16), atol=0.5 / 65535 + 1e-7)
    film = as_stored[2:14]
    expected = 1 - film if photometric == "MONOCHROME1" else film
    np.testing.assert_allclose(turned[2:14], expected, atol=1 / 65535 + 1e-7)


def by_the_rule(pixels: np.ndarray, size: int) -> np.ndarray:
    """Pad each side by half of what is missing plus 4, then cut the centre out."""
    pads = [int(max(0, size - side) / 2) + 4 for side in pixels.shape]
    padded = np.pad(pixels, [(pads[0], pads[0]), (pads[1], pads[1])])
    top, left = ((side - size) // 2 for side in padded.shape)
    return padded[top : top + size, left : left + size]


@pytest.mark.parametrize("shape", [(5, 5), (15, 16), (16, 17), (31, 8), (40, 41)])
def test_padding_and_crop(tmp_path: Path, shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(1, 4000, shape).astype(np.uint16)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = read_image(tmp_path / "a.png", size=16)
    np.testing.assert_array_equal(
        found, by_the_rule(pixels.astype(np.float32) / np.float32(pixels.max()), 16)
    )


def test_noise_comes_before_padding_and_is_clipped(tmp_path: Path) -> None:
    dicom(tmp_path / "a.dcm", np.full((8, 40), 4000))
    rng = np.random.Generator(np.random.PCG64(3))
    noisy = read_image(tmp_path / "a.dcm", noise=PixelNoise(mean=-0.5, std=0.1), rng=rng, size=32)
    assert not noisy[:12].any()
    assert not noisy[20:].any()
    assert noisy[12:20].mean() == pytest.approx(0.5, abs=0.02)
    assert noisy[12:20].std() == pytest.approx(0.1, abs=0.02)
    again = PixelNoise(mean=-0.5, std=0.1).apply(
        np.ones((8, 40), np.float32), np.random.Generator(np.random.PCG64(3))
    )
    np.testing.assert_array_equal(noisy[12:20], again[:, 4:36])
    rng = np.random.Generator(np.random.PCG64(3))
    loud = read_image(tmp_path / "a.dcm", noise=PixelNoise(std=5.0), rng=rng, size=8)
    assert (loud.min(), loud.max()) == (0.0, 1.0)


def test_arrays_are_not_scaled_and_only_dicom_is_disturbed(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.full((8, 8), 3.0))
    rng = np.random.Generator(np.random.PCG64(3))
    found = read_image(tmp_path / "a.npy", noise=PixelNoise(std=1.0), rng=rng, size=8)
    np.testing.assert_array_equal(found, np.full((8, 8), 3.0, np.float32))


def test_unreadable_images_say_so_without_their_path(tmp_path: Path) -> None:
    (tmp_path / "p123.dcm").write_bytes(b"nothing of the kind" * 20)
    (tmp_path / "p123.jpg").write_bytes(b"")
    dicom(tmp_path / "p123-black.dcm", np.zeros((8, 8)))
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "p123.png")
    for name in ("p123.dcm", "p123.jpg", "p123-black.dcm", "p123.png", "p123-absent.npy"):
        with pytest.raises(ImageFault) as caught:
            read_image(tmp_path / name, size=8)
        assert "p123" not in "".join(traceback.format_exception(caught.value))


class Numbers(Samples):
    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, at: int) -> int:
        return at


class Aligned(Sampler):
    """What the release does: seed the global generator, shuffle, and return the rows unshuffled."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __iter__(self):
        torch.manual_seed(42)
        torch.randperm(self.count)
        return iter(range(self.count))

    def __len__(self) -> int:
        return self.count


@pytest.mark.parametrize(("retained", "forgotten"), [(23, 9), (50, 12)])
def test_the_retain_order_is_that_of_real_loaders(retained: int, forgotten: int) -> None:
    state = torch.random.get_rng_state()
    try:
        for _ in range(2):  # the same in every epoch, whatever was drawn before
            torch.rand(5)
            aligned = Aligned(forgotten)
            loaders = (
                DataLoader(Numbers(forgotten), sampler=aligned, batch_size=4, num_workers=1),
                DataLoader(Numbers(forgotten), sampler=aligned, batch_size=4, num_workers=1),
                DataLoader(Numbers(retained), shuffle=True, batch_size=4, num_workers=1),
            )
            read = list(zip(*loaders, strict=False))
            kept = torch.cat([retain for _, _, retain in read]).tolist()
            assert torch.cat([forget for forget, _, _ in read]).tolist() == list(range(forgotten))
            assert kept == retain_order(retained, forgotten)[: len(kept)].tolist()
            assert len(kept) == 4 * len(list(BatchSampler(range(forgotten), 4, drop_last=False)))
    finally:
        torch.random.set_rng_state(state)


def test_the_attack_counts_batches() -> None:
    rng = np.random.default_rng(0)
    inside, outside = rng.normal(0.1, 0.02, 330), rng.normal(2.0, 0.05, 70)
    mixed = np.concatenate([rng.normal(0.1, 0.02, 64), rng.normal(2.0, 0.05, 50)])
    found = batch_mean_attack(retain=inside, test=outside, forget=mixed)
    assert found.units == (11, 3, 4)
    assert found.score == 0.5
    assert not found.comparable
    assert "Not comparable" in found.note
    sample = batch_mean_attack(retain=inside, test=outside, forget=mixed, unit="sample")
    assert sample.units == (330, 70, 114)
    assert sample.score == pytest.approx(64 / 114)


def test_overlapping_losses_make_everything_a_member() -> None:
    rng = np.random.default_rng(1)
    retain, test, forget = (rng.exponential(1.0, count) for count in (5537, 531, 674))
    found = batch_mean_attack(retain=retain, test=test, forget=forget)
    assert found.units == (174, 17, 22)
    assert found.score == 1.0


def test_the_attack_needs_finite_losses_of_every_set() -> None:
    with pytest.raises(EvaluationError) as caught:
        batch_mean_attack(retain=np.array([]), test=np.array([np.nan]), forget=np.ones(3))
    assert len(caught.value.faults) == 2


def test_image_losses_are_cross_entropies_in_the_order_asked() -> None:
    logits = np.array([[2.0, 0.0, -1.0], [0.0, 0.0, 0.0], [1e4, 0.0, 0.0]])
    names = np.array(["a", "b", "c"], dtype=object)
    signals = Signals.image_text(
        "m", "c", np.array([5, 7, 9]), names, names, np.array([1, 2, 0]), logits, logits
    )
    expected = torch.nn.functional.cross_entropy(
        torch.tensor(logits[[2, 0]]), torch.tensor([0, 1]), reduction="none"
    )
    np.testing.assert_allclose(
        image_losses(signals, np.array([9, 5])), expected.numpy(), rtol=1e-12, atol=1e-12
    )
    unknown = Signals.image_text(
        "m", "c", np.array([5]), names[:1], names[:1], np.array([-1]), logits[:1], logits[:1]
    )
    with pytest.raises(EvaluationError, match="1 images have no label"):
        image_losses(unknown, np.array([5]))
