"""COCO's and VOC's formats give the same scenes, and one line where something is amiss."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from viewmill.evaluation.dense import coco, voc
from viewmill.evaluation.dense.masks import Polygons, numbers
from viewmill.evaluation.dense.placement import Placement
from viewmill.evaluation.dense.scenes import VOID, Scenes, joined
from viewmill.evaluation.voc import CLASSES

from .sets import picture, write_coco, write_voc

AS_IT_IS = Placement((0, 0, 64, 48), (48, 64))


def test_coco_s_boxes_classes_and_masks(tmp_path: Path) -> None:
    scenes = coco.read(write_coco(tmp_path, "train2017", 5), masks=True)
    assert scenes.names == ("block", "disc") and len(scenes) == 5
    for number, scene in enumerate(scenes.scenes[:4]):
        pixels, things = picture(number)
        assert np.array_equal(scene.pixels(), pixels)
        assert scene.boxes.tolist() == [list(box) for _, box, _ in things]
        assert scene.label.tolist() == [label + 1 for label, _, _ in things]
        for mask, (_, _, inside), area in zip(scene.masks, things, scene.area, strict=True):
            assert np.array_equal(mask.painted((48, 64), AS_IT_IS), inside) and area == inside.sum()
    assert len(scenes.learnt()) == 4  # the last shows nothing


def test_voc_s_boxes_begin_at_0_and_its_masks_are_numbers(tmp_path: Path) -> None:
    scenes = voc.read(write_voc(tmp_path, "trainval", 5, difficult=(3,)), masks=True)
    assert scenes.names == ("block", "disc")
    for number, scene in enumerate(scenes.scenes):
        _, things = picture(number)
        assert scene.boxes.tolist() == [list(box) for _, box, _ in things]
        assert scene.difficult.tolist() == [number == 3 and place == 0 for place in range(len(things))]
        for mask, (_, _, inside) in zip(scene.masks, things, strict=True):
            assert np.array_equal(mask.painted((48, 64), AS_IT_IS), inside)


def test_masks_of_voc_s_belong_to_the_boxes_that_they_lie_in(tmp_path: Path) -> None:
    path = write_voc(tmp_path, "trainval", 2)
    map_ = tmp_path / "SegmentationObject" / "0001.png"
    numbered = numbers(map_, (48, 64))
    other = Image.fromarray(np.array([0, 9, 4])[numbered].astype(np.uint8), "L")
    other.save(map_)
    scene = voc.read(path, masks=True).scenes[1]
    for mask, (_, _, inside) in zip(scene.masks, picture(1)[1], strict=True):
        assert np.array_equal(mask.painted((48, 64), AS_IT_IS), inside)
    Image.fromarray((numbered == 1).astype(np.uint8), "L").save(map_)
    with pytest.raises(ValueError, match="shows 1 things, its annotation has 2; none is left for thing 2"):
        voc.read(path, masks=True)


def test_voc_s_own_classes_have_voc_s_numbers(tmp_path: Path) -> None:
    path = write_voc(tmp_path, "trainval", 2)
    for xml in (tmp_path / "Annotations").iterdir():
        xml.write_text(xml.read_text().replace("block", "cat").replace("disc", "bus"))
    scenes = voc.read(path)
    assert scenes.names == CLASSES and scenes.scenes[1].label.tolist() == [6, 8]


def test_maps_of_classes(tmp_path: Path) -> None:
    voc_s = voc.read_maps(write_voc(tmp_path / "voc", "train", 3), "SegmentationClass").scenes[1]
    coco_s = coco.read(write_coco(tmp_path, "train2017", 3), masks=True).scenes[1]
    expected = np.zeros((48, 64), np.uint8)
    for label, _, inside in picture(1)[1]:
        expected[inside] = label + 1
    assert voc_s.size_hw == (48, 64) and np.array_equal(coco_s.classes(AS_IT_IS), expected)
    expected[:2] = VOID
    assert np.array_equal(voc_s.classes(AS_IT_IS), expected)


def test_the_smaller_of_two_things_lies_above_and_a_crowd_is_void(tmp_path: Path) -> None:
    path = write_coco(tmp_path, "train2017", 2)
    content = json.loads(path.read_text())
    shapes = [(3, [0, 0, 20, 0, 20, 20, 0, 20], 400, 0), (7, [5, 5, 15, 5, 15, 15, 5, 15], 100, 0),
              (3, [10, 0, 30, 0, 30, 20, 10, 20], 9999, 1)]
    content["annotations"] = [
        {"id": number, "image_id": 100, "category_id": category, "bbox": [0, 0, 9, 9], "area": area, "iscrowd": crowd,
         "segmentation": [polygon]} for number, (category, polygon, area, crowd) in enumerate(shapes)]
    path.write_text(json.dumps(content))
    classes = coco.read(path, masks=True).scenes[0].classes(AS_IT_IS)
    assert [int(classes[10, x]) for x in (2, 7, 12, 17, 25, 40)] == [1, 2, 2, 1, VOID, 0]


def test_a_polygon_is_painted_where_it_is_shown() -> None:
    triangle = Polygons((np.array([0.0, 0, 20, 0, 0, 20]),))
    larger = triangle.painted((48, 64), Placement((0, 0, 32, 24), (48, 64)))
    assert abs(int(larger.sum()) - 800) < 30 and larger[5, 5] == 1 and larger[30, 30] == 0
    assert triangle.painted((48, 64), Placement((0, 0, 64, 48), (48, 64), mirrored=True))[2, 60] == 1


def test_sets_are_joined_and_told_apart_by_name(tmp_path: Path) -> None:
    one, other = (voc.read(write_voc(tmp_path / name, "trainval", 3, first)) for name, first in (("2007", 0), ("2012", 10)))
    both = joined([one, other], "both")
    assert len(both) == 6 and both.names == ("block", "disc")
    assert len({one.fingerprint, other.fingerprint, both.fingerprint, one.part(2).fingerprint}) == 4
    named = Scenes(one.scenes, ("disc", "block"), "x").named(("block", "disc"))
    assert [scene.label.tolist() for scene in named.scenes[:2]] == [[2], [1, 2]]
    with pytest.raises(ValueError, match="x has the class 'cube', which the training pictures have not"):
        Scenes([], ("cube",), "x").named(("block",))


def spoilt(tmp_path: Path, **changes: Any) -> Path:
    path = write_coco(tmp_path, "train2017", 2)
    content = json.loads(path.read_text())
    content["annotations"][0].update(changes)
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(("changes", "said"), [
    ({"image_id": 5}, "belongs to image 5, which is not among the images"),
    ({"category_id": 1}, "has the category 1, which is not among the categories"),
    ({"bbox": [1, 2, 3]}, r"needs bbox: \[x, y, width, height\]"),
    ({"segmentation": [[1, 2]]}, "has no mask"),
])
def test_an_annotation_of_coco_s_that_is_amiss(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=f"annotation 1000.*{said}"):
        coco.read(spoilt(tmp_path, **changes), masks=True)


def test_files_that_are_not_what_they_should_be(tmp_path: Path) -> None:
    path = write_coco(tmp_path, "train2017", 2)
    (tmp_path / "train2017").rename(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=r"0000.png, which is not in .*images=FOLDER"):
        coco.read(path)
    assert len(coco.read(path, str(tmp_path / "elsewhere"))) == 2
    for text, said in (("{", "cannot be read as JSON"), ("[]", "no list 'images'"), ('{"images": []}', "no list 'annotations'")):
        path.write_text(text)
        with pytest.raises(ValueError, match=said):
            coco.read(path)


def test_pictures_of_another_size_and_maps_that_are_none(tmp_path: Path) -> None:
    scenes = voc.read_maps(write_voc(tmp_path, "train", 1), "SegmentationClass")
    Image.new("RGB", (10, 20)).save(tmp_path / "JPEGImages" / "0000.png")
    with pytest.raises(ValueError, match="is 10 x 20 px, its annotation says 64 x 48"):
        scenes.scenes[0].pixels()
    with pytest.raises(ValueError, match="is 64 x 48 px, its picture 10 x 20"):
        numbers(tmp_path / "SegmentationClass" / "0000.png", (20, 10))
    with pytest.raises(ValueError, match="is of mode RGB"):
        numbers(tmp_path / "JPEGImages" / "0000.png", (20, 10))
    (tmp_path / "SegmentationObject" / "0000.png").unlink()
    with pytest.raises(ValueError, match=r"names 0000, of which there is no map .*lists of ImageSets/Segmentation"):
        voc.read(tmp_path / "ImageSets" / "Main" / "train.txt", masks=True)
    with pytest.raises(ValueError, match="names 0000, of which there is no map"):
        voc.read_maps(tmp_path / "ImageSets" / "Main" / "train.txt", "SegmentationClassAug")
