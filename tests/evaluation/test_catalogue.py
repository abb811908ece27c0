"""The catalogue of metrics, the files of runs and docs/metrics.md name the same numbers."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lehr.evaluation.catalogue import CATALOGUE, COLUMNS, LOOKED_AT_FIRST, find_metric
from lehr.evaluation.evaluate import SECTIONS

ROOT = Path(__file__).parents[2]
OLD_RUN = ROOT / "tests" / "fixtures" / "old_run"
NAMES = [metric.name for metric in CATALOGUE]


def in_docs() -> set[str]:
    """The names of metrics in docs/metrics.md: what stands in backticks and begins with a section."""
    sections = {name.split("/")[0] for name in NAMES}
    words = re.findall(r"`([^`\s]+/[^`\s]+)`", (ROOT / "docs" / "metrics.md").read_text())
    return {word for word in words if word.split("/")[0] in sections and not re.search(r"\.json$|\.\.\.$", word)}


def test_names_are_named_once():
    assert len(set(NAMES)) == len(NAMES)
    assert all(metric.line and metric.unit == metric.unit.strip() for metric in CATALOGUE)
    assert {name.split("/")[0] for name in NAMES} == {
        *("SPLIT", "train", "posterior", "time", "memory", "compare"),
        *(section.name for section in SECTIONS),
    }


def test_the_docs_say_of_every_metric_what_it_is_and_of_none_that_there_is_not():
    assert {name for name in NAMES if name not in in_docs()} == set()
    assert {name for name in in_docs() if find_metric(name) is None} == set()


@pytest.mark.parametrize("file", ["metrics.json", "evaluation.json"])
def test_every_number_of_a_finished_run_is_in_the_catalogue(file):
    names = [name for name in json.loads((OLD_RUN / file).read_text()) if "/" in name]
    assert len(names) > 20
    assert {name for name in names if find_metric(name) is None} == set()


@pytest.mark.parametrize("names", [LOOKED_AT_FIRST, COLUMNS])
def test_what_is_shown_first_is_in_the_catalogue(names):
    assert all(find_metric(name) for name in names)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("val/elbo", "SPLIT/elbo"),
        ("train/iwae", "train/iwae"),
        ("generation/my_flow/frechet", "generation/SAMPLER/frechet"),
        ("generation/real/coverage", "generation/SAMPLER/coverage"),
        ("generation/frechet", None),
        ("val/iwae", None),
        ("elbo", None),
        ("mine/elbo", None),
    ],
)
def test_a_name_is_found_whatever_its_split_and_its_sampler(name, expected):
    found = find_metric(name)
    assert (found and found.name) == expected


def test_the_catalogue_is_read_without_torch():
    code = "import sys, lehr.evaluation.catalogue; print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
