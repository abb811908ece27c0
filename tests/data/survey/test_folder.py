from __future__ import annotations

import multiprocessing
import re
import shutil
from pathlib import Path

import pytest
from bad_folder import PLANTED, SIZE, noise
from PIL import Image

from lehr.data import ImageFolder
from lehr.data.file_facts import SUFFIXES_OF
from lehr.data.survey import survey
from lehr.data.walk import SUFFIXES
from lehr.errors import DataError


def names(finding) -> list[str]:
    """The files of a finding, without what is said of each."""
    return sorted(name.split(" ")[0].removesuffix(":") for name in finding.names)


@pytest.mark.parametrize("kind", PLANTED)
def test_every_planted_fault_is_found_and_nothing_else_of_its_kind(of_bad, kind):
    found = of_bad.finding(kind)
    assert found is not None
    assert names(found) == PLANTED[kind]
    assert found.n == len(PLANTED[kind])


def test_the_table_names_every_planted_fault(of_bad):
    text = str(of_bad)
    for kind, files in PLANTED.items():
        assert f"{len(files)} {kind}" in text
        assert all(file in text for file in files)


def test_the_documentation_explains_every_kind_of_finding():
    text = (Path(__file__).parents[3] / "docs" / "data.md").read_text()
    table = text.partition("## What is odd")[2].partition("## Which likelihood")[0]
    explained = {kind for row in re.findall(r"^\| (.+?) \|", table, re.MULTILINE) for kind in row.split(", ")}
    assert set(PLANTED) <= explained


def test_the_data_stay_as_they_were(bad, common):
    data = ImageFolder(path=str(bad), size=SIZE, workers=0, on_corrupt="error", **common)
    found = survey(data)
    assert (data.on_corrupt, data.skipped, data.left_out, data.file_facts) == ("error", [], {}, {})
    assert sum(found.n.values()) == 31
    with pytest.raises(RuntimeError, match="has not been read"):
        data.images("train")


def test_damaged_files_that_training_leaves_out_are_no_obstacle(bad, common):
    found = survey(ImageFolder(path=str(bad), size=SIZE, workers=0, on_corrupt="skip", **common))
    assert found.finding("damaged").about == "left out"
    assert found.finding("damaged").n == 4


def test_a_folder_that_holds_nothing_else_than_damage_is_one_line(tmp_path, common):
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(DataError, match="none of 1 files can be read as an image"):
        survey(ImageFolder(path=str(tmp_path), workers=0, **common))


def test_sizes_and_what_the_crop_makes_of_them(tmp_path, common):
    for i, (height, width) in enumerate([(20, 20)] * 8 + [(20, 40), (10, 20)]):
        Image.fromarray(noise(i, height, width)).save(tmp_path / f"{i}.png")
    files = survey(ImageFolder(path=str(tmp_path), size=20, workers=0, crop="random", **common)).files
    assert (files.width, files.height, files.sizes) == ((20, 20, 40), (10, 20, 20), 3)
    assert files.crop.mean_cut == pytest.approx(0.1)  # two of ten lose a half
    assert (files.crop.most_cut, files.crop.much_cut, files.crop.random) == (0.5, 2, True)
    assert (files.crop.enlarged, files.crop.most_enlarged, files.crop.reduced) == (1, 2.0, 1.0)


def test_a_picture_that_lies_on_its_side_counts_as_it_is_read(tmp_path, common):
    for i in range(10):
        image = Image.fromarray(noise(i, 20, 40))
        exif = image.getexif()
        exif[0x0112] = 6  # to be turned by a quarter
        image.save(tmp_path / f"{i}.jpg", exif=exif)
    files = survey(ImageFolder(path=str(tmp_path), size=8, workers=0, **common)).files
    assert (files.width, files.height) == ((20, 20, 20), (40, 40, 40))


def test_equal_files_are_named_within_a_split_and_across_whatever_their_format(photos, tmp_path, common):
    test = tmp_path / "test" / "cat"
    test.mkdir(parents=True)
    for i in range(4):
        Image.fromarray(noise(i)).save(test / f"new{i}.png")
    Image.open(photos / "cat" / "01.PNG").save(test / "again.bmp")
    shutil.copy(photos / "dog" / "00.PNG", photos / "cat" / "copy.PNG")
    data = ImageFolder(path=str(photos), test_path=str(tmp_path / "test"), size=8, workers=0, **common)
    found = survey(data)
    (across,) = (one for one in found.findings if one.kind.startswith("test images in"))
    assert across.n == 1
    assert across.names[0].endswith(": cat/01.PNG = test: cat/again.bmp")
    assert found.equal.n_groups == 2
    assert found.finding("equal with other labels").n == 1


def test_classes_have_the_names_of_their_folders_and_uneven_ones_are_noted(tmp_path, common):
    for name, n in (("few", 5), ("many", 40)):
        (tmp_path / name).mkdir()
        for i in range(n):
            Image.fromarray(noise(i + 1000 * len(name))).save(tmp_path / name / f"{i}.png")
    found = survey(ImageFolder(path=str(tmp_path), size=8, workers=0, test_fraction=0, **common))
    (factor,) = found.factors
    assert (factor.name, factor.titles, set(factor.counts)) == ("class", ("few", "many"), {"train", "val"})
    assert sum(map(sum, factor.counts.values())) == 45
    few, many = factor.counts["train"]
    assert factor.imbalance == many / few > 3
    assert f"many has {many} training images, few has {few}" in found.finding("uneven labels").about


def test_names_of_all_formats_are_known():
    assert set().union(*SUFFIXES_OF.values()) == SUFFIXES
    Image.init()
    for name, suffixes in SUFFIXES_OF.items():
        if name not in ("MPO", "DIB"):  # of which Pillow says JPEG and BMP too
            assert {Image.registered_extensions()[suffix] for suffix in suffixes} <= {name, "DIB", "BMP"}


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_processes_that_decode_end_with_the_survey_even_if_it_cannot_be_made(photos, common):
    before = set(multiprocessing.active_children())
    survey(ImageFolder(path=str(photos), size=8, workers=1, **common))
    with pytest.raises(DataError, match="no example is left for validation"):
        survey(ImageFolder(path=str(photos), size=8, workers=1, **{**common, "val_fraction": 0.001}))
    assert set(multiprocessing.active_children()) == before


def test_pictures_of_3_to_2_as_most_cameras_take_them_are_not_much_cut(tmp_path, common):
    for i, (height, width) in enumerate([(32, 48), (48, 32), (40, 60)] * 4 + [(32, 49)]):
        Image.fromarray(noise(i, height, width)).save(tmp_path / f"{i}.png")
    found = survey(ImageFolder(path=str(tmp_path), size=16, workers=0, **common))
    assert names(found.finding("much cut")) == ["12.png"]
    assert found.files.crop.much_cut == 1


def test_test_images_among_those_of_validation_were_not_trained_on(tmp_path, common):
    for i in range(40):
        (tmp_path / str(i % 2)).mkdir(exist_ok=True)
        Image.fromarray(noise(i % 4)).save(tmp_path / str(i % 2) / f"{i}.png")
    found = survey(ImageFolder(path=str(tmp_path), size=8, workers=0, **{**common, "val_fraction": 0.4}))
    said = {one.kind: one.about for one in found.findings}
    assert said["test images in train too"] == "what is tested on was trained on"
    assert said["test images in val too"] == "what is tested on was validated on"


def test_the_name_of_a_class_is_a_line_whatever_its_folder_is_called(tmp_path, common):
    for name in ("a\tb", "c\nd"):
        (tmp_path / name).mkdir()
        for i in range(20):
            Image.fromarray(noise(i + len(name) + ord(name[0]) * 100)).save(tmp_path / name / f"{i}.png")
    found = survey(ImageFolder(path=str(tmp_path), size=8, workers=0, **common))
    assert found.factors[0].titles == ("a\\tb", "c\\nd")
