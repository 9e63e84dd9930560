"""The breakages that are replayed against the tests still fit the code that they break."""

from pathlib import Path

import pytest

import seeded_faults

FAULTS = seeded_faults.read_faults()
MODULE = Path(__file__).resolve().parents[3] / "MedImgClassifier"


def test_there_are_enough_faults_each_of_its_own_name():
    assert len(FAULTS) >= 20
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_fault_still_applies_and_leaves_a_file_that_loads(fault):
    text = (MODULE / fault.file).read_text("utf-8")
    broken = fault.seeded(text)
    assert broken != text
    if fault.file.endswith(".py"):
        compile(broken, fault.file, "exec")
    else:
        from xml.etree import ElementTree

        ElementTree.fromstring(broken)


def test_fault_whose_place_is_gone_or_there_twice_is_an_error():
    fault = seeded_faults.Fault("a fault", "a.py", "nothing", "old\n", "new\n")
    assert fault.seeded("an\nold\nline\n") == "an\nnew\nline\n"
    for text in ("nothing of it\n", "old\nold\n"):
        with pytest.raises(ValueError, match="a fault"):
            fault.seeded(text)


def test_failing_tests_are_named():
    told = "FAILED Testing/Python/panel/test_a.py::test_b - boom\nERROR Testing/Python/slicer/test_c.py - no\n1 failed"
    assert seeded_faults.failed_tests(told) == ["panel/test_a.py::test_b", "slicer/test_c.py"]
