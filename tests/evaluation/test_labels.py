"""Which labels are used: so much of each class, or what a list names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from viewmill.evaluation.labels import check_labels, labelled
from viewmill.evaluation.pictures import Pictures
from viewmill.pipelines.source import open_source

from .tasks import pictures


def uneven() -> Pictures:
    """Of classes 0, 1, 2: 100, 40 and 3 pictures."""
    return pictures(143, 3, 1, label=np.repeat([2, 0, 1], [3, 100, 40]))


def test_of_each_class_the_same_share_and_one_at_least() -> None:
    here = uneven()
    rows = labelled(here, 0.1, 0)
    assert np.bincount(here.label[rows]).tolist() == [10, 4, 1] and (np.diff(rows) > 0).all()
    assert np.bincount(here.label[labelled(here, 0.001, 0)]).tolist() == [1, 1, 1]
    assert labelled(here, 1, 0).tolist() == labelled(here, None, 0).tolist() == list(range(143))


def test_the_draw_is_its_seeds_and_a_smaller_share_is_part_of_a_larger() -> None:
    here = uneven()
    first, again, other = labelled(here, 0.1, 0), labelled(here, 0.1, 0), labelled(here, 0.1, 1)
    assert first.tolist() == again.tolist() != other.tolist()
    assert set(first) < set(labelled(here, 0.3, 0))


def folder_of(root: Path, files: list[str]) -> Pictures:
    from PIL import Image
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(root / name)
    return Pictures(open_source(str(root)), None, "data=folder", 1)


def test_a_list_names_whole_keys_or_their_ends(tmp_path: Path) -> None:
    here = folder_of(tmp_path / "data", ["cat/c_1.png", "cat/c_2.png", "dog/d_1.png"])
    listed = tmp_path / "1percent.txt"
    listed.write_text("d_1.JPEG\ncat/c_1.png\n\nd_1.JPEG\n")
    assert [here.source.key(int(here.index[row])) for row in labelled(here, str(listed), 0)] == ["cat/c_1.png", "dog/d_1.png"]


def test_a_list_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    here = folder_of(tmp_path / "data", ["cat/1.png", "dog/1.png"])
    listed = tmp_path / "keys.txt"
    for text, message in (("9.png", "data=folder has no labelled picture '9.png'"),
                          ("1.png", "'1.png' is the end of several keys of data=folder; give whole keys"),
                          ("\n", "lists no picture")):
        listed.write_text(text)
        with pytest.raises(ValueError, match=message):
            labelled(here, str(listed), 0)
    with pytest.raises(ValueError, match=r"labels=nowhere is no share and no file of keys that can be read"):
        labelled(here, "nowhere", 0)


def test_pictures_without_a_label_are_left_out() -> None:
    images = np.zeros((6, 8, 8, 3), np.uint8)
    here = Pictures(open_source((images, np.array([0, -1, 1, -1, 0, 1]))), None, "data", 1, unlabelled=True)
    assert len(here) == 6 and labelled(here, None, 0).tolist() == [0, 2, 4, 5]
    assert set(labelled(here, 0.5, 0)) <= {0, 2, 4, 5} and len(labelled(here, 0.5, 0)) == 2


@pytest.mark.parametrize("labels", [0, -0.1, 1.5, 13, True, "", [0.1]])
def test_what_is_no_share_is_refused(labels: object) -> None:
    with pytest.raises(ValueError, match=r"labels needs a share of each class in \(0, 1\], for example 0.01, or a file of keys"):
        check_labels(labels, 0)
    with pytest.raises(ValueError, match="labels_seed needs a whole number of at least 0, got -1"):
        check_labels(0.1, -1)
