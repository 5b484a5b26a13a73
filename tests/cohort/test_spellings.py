"""One person in two spellings is never two people without a word, in a table, a list or a mapping file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from forgetmi.cohort.forget_list import read_forget_list
from forgetmi.cohort.identifiers import Pseudonyms
from forgetmi.cohort.identity import Same
from forgetmi.cohort.partition import partition
from forgetmi.cohort.table import TableCohort
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import CohortError

KEY = b"0123456789abcdef"
HEADER = "patient_id,study_id,image_id,image,report,label"
FIELD = Path(__file__).parents[2] / ".." / "shared" / "field" / "tables"


def digest(identifier: str) -> str:
    return Pseudonyms(KEY).digest("patient", identifier)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "key").write_bytes(KEY)
    Image.fromarray(np.full((2, 2), 7, np.uint8)).save(tmp_path / "1.png")
    return tmp_path


def table(folder: Path, patients: list[str], **columns: list[str]) -> Path:
    """A table with a row for each patient, each of a study and an image of its own."""
    lines = [HEADER + "".join(f",{name}" for name in columns)]
    for row, patient in enumerate(patients):
        cells = [patient, f"s{row}", f"i{row}", "1.png", "Clear.", str(row % 2)]
        lines.append(",".join(cells + [values[row] for values in columns.values()]))
    path = folder / "cohort.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def load(path: Path, *same: Same, **options: object) -> Cohort:
    return TableCohort(
        path,
        key_file=path.parent / "key",
        same_identifiers=same,
        **options,  # type: ignore[arg-type]
    ).load()


def refused(path: Path, *same: Same, **options: object) -> list[str]:
    with pytest.raises(CohortError) as caught:
        load(path, *same, **options)
    return [str(fault) for fault in caught.value.faults]


def listed(folder: Path, *identifiers: str) -> Path:
    path = folder / "list.csv"
    path.write_text("patient_id\n" + "".join(f"{one}\n" for one in identifiers), encoding="utf-8")
    return path


def test_007_and_7_are_refused_until_the_user_says(folder: Path) -> None:
    path = table(folder, ["007", "7", "008", "008", "9"])
    found = refused(path)
    assert len(found) == 1
    for words in (
        "cohort.csv row 2 (line 3), column 'patient_id'",
        f"patient {digest('7')}",
        f"compare cohort.csv row 1 (line 2), patient {digest('007')}",
        "only in leading zeros",
        "--cohort.same-identifiers leading-zeros",
        "--cohort.same-identifiers never",
    ):
        assert words in found[0]
    assert "007" not in found[0].replace(digest("007"), "")

    # One person, or two
    assert load(path, "leading-zeros").patient.tolist() == [
        digest(one) for one in ("7", "7", "8", "8", "9")
    ]
    one, two = load(path, "leading-zeros"), load(path, "never")
    assert len(set(one.patient)) == 3
    assert len(set(two.patient)) == 4
    assert one.notices[0] == "4 spellings of patients' identifiers name 3 patients"
    assert not any("spellings" in notice for notice in two.notices)

    # The rule is part of what a run is tied to
    assert one.digest != two.digest


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        ("p7", "P7", "only in upper and lower case"),
        ("12-34", "1234", "only in punctuation"),
        ("12 34", "1234", "only in blanks"),
        ("p7.0", "p7", "only in a .0 at the end"),
        ("p７", "p7", "only in the Unicode form"),
        ("p-07", "P7", "only in leading zeros, upper and lower case, punctuation"),
    ],
)
def test_every_kind_of_difference(folder: Path, one: str, other: str, words: str) -> None:
    found = refused(table(folder, [one, other, "x", "y"]))
    assert len(found) == 1
    assert words in found[0]


def test_a_misspelt_rule_is_refused(folder: Path) -> None:
    found = refused(table(folder, ["p1", "p2"]), "leading_zeros")  # type: ignore[arg-type]
    assert "Did you mean 'leading-zeros'?" in found[0]


def test_another_rule_does_not_cover_it(folder: Path) -> None:
    path = table(folder, ["007", "7", "a1", "A1"])
    assert len(refused(path)) == 2
    assert len(refused(path, "case")) == 1
    assert len(set(load(path, "case", "leading-zeros").patient)) == 2
    assert len(set(load(path, "case", "never").patient)) == 3


def test_invisible_marks_and_unicode_forms_are_one(folder: Path) -> None:
    cohort = load(table(folder, ["p7", "p\u200b7", "\ufeffp7", "Jos\u00e9", "Jose\u0301", "x"]))
    assert cohort.patient.tolist() == [digest("p7")] * 3 + [digest("José")] * 2 + [digest("x")]
    assert "3 rows have identifiers with invisible marks" in cohort.notices[0]


@pytest.mark.parametrize("word", ["nan", "NaN", "None", "NA", "N/A", "<NA>", "null", "NULL", "-"])
def test_words_for_missing_are_blank(folder: Path, word: str) -> None:
    found = refused(table(folder, ["p1", word, word, "p2"]))
    assert len(found) == 2
    assert all("the identifier is blank" in one for one in found)


def test_words_for_missing_in_a_group_are_no_group(folder: Path) -> None:
    path = table(folder, ["p1", "p2", "p3", "p4"], family=["nan", "NA", "f1", "f1"])
    cohort = load(path, group="family")
    assert cohort.group[0] == digest("p1")
    assert cohort.group[1] == digest("p2")
    assert cohort.group[2] == cohort.group[3] != digest("p3")
    assert "2 rows have a word for a missing value as their group" in cohort.notices[0]


def test_groups_and_studies_in_two_spellings(folder: Path) -> None:
    path = table(folder, ["p1", "p2", "p3", "p4"], family=["F1", "f1", "g", "h"])
    assert "the group's identifier" in refused(path, group="family")[0]
    assert len(set(load(path, "case", group="family").group)) == 3

    # Two studies of one patient may be one; of two patients, they are two
    rows = ["p1,S1,i1,1.png,Clear.,0", "p1,s1,i2,1.png,Clear.,1", "p2,S2,i3,1.png,Clear.,1"]
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    assert "the study's identifier" in refused(path)[0]
    path.write_text("\n".join([HEADER, rows[0], rows[1].replace("p1", "p3"), rows[2]]) + "\n")
    assert len(set(load(path).study)) == 3


DAMAGED = ["8.39860E+15", "8.3986E15", "7.0", "9007199254740993.0", "1E+05"]


@pytest.mark.parametrize("cell", DAMAGED)
def test_damage_of_spreadsheets_is_refused_with_rows(folder: Path, cell: str) -> None:
    found = refused(table(folder, ["p1", cell, "p2", cell]))
    assert len(found) == 2
    assert "row 2 (line 3), column 'patient_id'" in found[0]
    assert "the identifier is damaged" in found[0]
    assert "as text" in found[0]
    assert cell not in found[0]


def test_numbers_that_a_spreadsheet_rounded(folder: Path) -> None:
    rounded = ["123456789012345000", "223456789012345000"]
    assert "end in zeros after the 15th" in refused(table(folder, [*rounded, "3"]))[0]
    assert len(load(table(folder, [*rounded, "323456789012345001"]))) == 3


@pytest.mark.parametrize(
    ("numbers", "words"),
    [([7.0, 8.0, None], "ends in .0"), ([2.0**53 + 2, 1.0, 2.0], "beyond 2^53")],
)
def test_floating_point_identifiers_of_parquet(
    folder: Path, numbers: list[float | None], words: str
) -> None:
    frame = pd.read_csv(table(folder, ["p1", "p2", "p3"]), dtype=str)
    path = folder / "cohort.parquet"
    frame.assign(patient_id=pd.Series(numbers, dtype="float64")).to_parquet(path)
    assert any(words in one for one in refused(path))

    whole = frame.assign(patient_id=pd.Series([7, 8, 2**60 + 1], dtype="int64"))
    whole.to_parquet(path)
    assert load(path).patient.tolist() == [digest("7"), digest("8"), digest(str(2**60 + 1))]


@pytest.mark.parametrize(("kind", "kept"), [("float32", 2**24), ("float16", 2**11)])
def test_short_floating_point_numbers_keep_fewer_digits(folder: Path, kind: str, kept: int) -> None:
    frame = pd.read_csv(table(folder, ["p1", "p2", "p3"]), dtype=str)
    path = folder / "cohort.parquet"
    for largest, faults in ((kept - 1, 0), (kept + 1, 1)):
        column = pa.array(np.array([1, 2, largest], kind))
        pq.write_table(pa.Table.from_pandas(frame).set_column(0, "patient_id", column), path)
        if faults:
            assert "power of ten" in refused(path, "decimals")[0]
        else:
            assert len(load(path, "decimals")) == 3


def mapping(folder: Path, *rows: str, header: str = "written,identifier") -> Path:
    path = folder / "map.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def test_a_mapping_file_says_who_is_who(folder: Path) -> None:
    path = table(folder, ["007", "7", "old 12", "12", "13"])
    who = mapping(folder, "7,007", "old 12,12")
    cohort = load(path, identifier_map=who)
    assert cohort.patient.tolist() == [digest(one) for one in ("007", "007", "12", "12", "13")]

    # Two that are listed as what they are stay two
    apart = load(path, identifier_map=mapping(folder, "7,7", "007,007"))
    assert len(set(apart.patient)) == 5

    # A list is read by the same file, which is not needed again
    request = read_forget_list(listed(folder, "7", "old 12"), cohort=cohort, key=KEY)
    assert request.patients == (digest("007"), digest("12"))


@pytest.mark.parametrize(
    ("rows", "header", "words"),
    [
        (["7,007", "7,008"], "written,identifier", "row 2 (line 3): the spelling stands for two"),
        (["7,007", "007,8"], "written,identifier", "is itself a spelling of another"),
        (["7,nan"], "written,identifier", "blank"),
        (["7,007"], "from,to", "the first line looks like data"),
        (["Smith,Jones"], "Miller,Baker", "the first line looks like data"),
    ],
)
def test_mapping_files_refused(folder: Path, rows: list[str], header: str, words: str) -> None:
    path = table(folder, ["007", "7", "x"])
    found = refused(path, identifier_map=mapping(folder, *rows, header=header))
    assert words in " ".join(found)
    assert not any(word in " ".join(found) for word in ("007", "Smith", "Miller"))


def test_a_list_is_read_by_the_cohorts_rule(folder: Path) -> None:
    cohort = load(table(folder, ["007", "7", "008", "9"]), "leading-zeros")
    for spelling in ("7", "007", "0007"):
        request = read_forget_list(listed(folder, spelling), cohort=cohort, key=KEY)
        assert request.patients == (digest("7"),)
        sets = partition(cohort, forget=request, holdout=0, validation=0)
        assert sets.forget.tolist() == [0, 1]
    both = read_forget_list(listed(folder, "7", "007", "08"), cohort=cohort, key=KEY)
    assert both.patients == (digest("7"), digest("8"))


@pytest.mark.parametrize(
    ("of_cohort", "of_list", "words"),
    [
        ("007", "7", "only in leading zeros from patient"),
        ("7", "007", "only in leading zeros from patient"),
        ("p-7", "P-7", "case"),
        ("12-34", "1234", "punctuation"),
        ("p 7", "p7", "blanks"),
        ("p７", "p7", "the Unicode form"),
    ],
)
def test_a_list_in_another_spelling_is_neither_unknown_nor_matched(
    folder: Path, of_cohort: str, of_list: str, words: str
) -> None:
    cohort = load(table(folder, [of_cohort, "x", "y"]))
    with pytest.raises(CohortError, match="is not in the cohort, but differs only in") as caught:
        read_forget_list(listed(folder, of_list), cohort=cohort, key=KEY)
    said = str(caught.value)
    assert words in said
    assert digest(of_cohort) in said
    for digest_ in (digest(of_cohort), digest(of_list)):
        said = said.replace(digest_, "")
    assert of_list not in said.replace("list.csv row 1 (line 2)", "")


def test_a_list_of_invisible_marks_and_decomposed_names(folder: Path) -> None:
    cohort = load(table(folder, ["José", "p7", "x"]))
    request = read_forget_list(listed(folder, "Jose\u0301", " p\u200b7 "), cohort=cohort, key=KEY)
    assert request.patients == (digest("José"), digest("p7"))


@pytest.mark.parametrize("cell", [*DAMAGED, "nan", "-"])
def test_a_damaged_or_blank_list_is_refused(folder: Path, cell: str) -> None:
    cohort = load(table(folder, ["7", "8", "x"]))
    with pytest.raises(CohortError, match=r"list\.csv row 1 .*identifier is (damaged|blank)"):
        read_forget_list(listed(folder, cell), cohort=cohort, key=KEY)


def test_decimals_are_read_where_the_user_says_so(folder: Path) -> None:
    cohort = load(table(folder, ["7.0", "8", "x"]), "decimals")
    assert cohort.patient[0] == digest("7")
    request = read_forget_list(listed(folder, "7", "8.0"), cohort=cohort, key=KEY)
    assert request.patients == (digest("7"), digest("8"))


def test_a_specification_without_the_options_reads_and_writes_as_before(folder: Path) -> None:
    from forgetmi.core.serialization import from_plain
    from forgetmi.run.spec import CHOICES, RunSpec, to_plain

    old = RunSpec(cohort=TableCohort(folder / "cohort.csv"))
    plain = to_plain(old)
    assert not {"same_identifiers", "identifier_map"} & set(plain["cohort"])
    assert from_plain(RunSpec, plain, where="spec", choices=CHOICES) == old

    new = RunSpec(cohort=TableCohort(folder / "cohort.csv", same_identifiers=("case", "never")))
    assert to_plain(new)["cohort"]["same_identifiers"] == ["case", "never"]
    assert from_plain(RunSpec, to_plain(new), where="spec", choices=CHOICES) == new


def field(folder: Path, name: str) -> Path:
    """One of the tables beside the repository, with an image for each of its rows."""
    if not FIELD.is_dir():
        pytest.skip("the folder of field inputs is absent")
    path = folder / name
    path.write_bytes((FIELD / name).read_bytes())
    (folder / "img").mkdir(exist_ok=True)
    for number in range(1, 13):
        for image in (0, 1):
            film = Image.fromarray(np.full((2, 2), number, np.uint8))
            film.save(folder / "img" / f"{number:03d}_{image}.png")
    return path


def test_the_table_of_one_person_in_two_spellings(folder: Path) -> None:
    path = field(folder, "one_person_two_spellings.csv")
    found = refused(path)
    assert len(found) == 12
    assert all("only in leading zeros" in one for one in found)
    cohort = load(path, "leading-zeros")
    assert len(set(cohort.patient)) == 12
    request = read_forget_list(field(folder, "withdrawn_7.csv"), cohort=cohort, key=KEY)
    sets = partition(cohort, forget=request, holdout=0.2, validation=0.1)
    assert len(sets.forget) == 2
    assert set(cohort.patient[sets.forget]) == {digest("7")}


def test_the_table_of_missing_patients(folder: Path) -> None:
    found = refused(field(folder, "nan_as_patient.csv"))
    assert len(found) == 8
    assert all("the identifier is blank" in one for one in found)
