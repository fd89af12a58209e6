"""PASCAL VOC's folders as they are: lists, annotations, classes that are there, not there, or only hard to see."""

from __future__ import annotations

from pathlib import Path

import pytest
from viewmill.evaluation import voc
from viewmill.evaluation.voc import CLASSES, Thing

from .voc_folders import annotation, write_voc


def test_an_annotation_is_read_as_it_is(tmp_path: Path) -> None:
    """With VOC2007's fields around what is read, one of them a thing's part with a box and a name of its own."""
    path = tmp_path / "000007.xml"
    path.write_text("""<annotation><folder>VOC2007</folder><filename>000007.jpg</filename>
        <size><width>500</width><height>333</height><depth>3</depth></size><segmented>0</segmented>
        <object><name>car</name><pose>Unspecified</pose><truncated>1</truncated><difficult>0</difficult>
            <bndbox><xmin>141</xmin><ymin>50.5</ymin><xmax>500</xmax><ymax>330</ymax></bndbox></object>
        <object><name>person</name><difficult>1</difficult>
            <part><name>head</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>3</xmax><ymax>4</ymax></bndbox></part>
            <bndbox><xmin>10</xmin><ymin>20</ymin><xmax>30</xmax><ymax>40</ymax></bndbox></object></annotation>""")
    assert voc.objects(path) == ((333, 500), [Thing("car", (141, 50.5, 500, 330), False),
                                              Thing("person", (10, 20, 30, 40), True)])


@pytest.mark.parametrize(("text", "message"), [
    (annotation("x", (2, 3), []).replace("<height>2</height>", ""),
     r"is no annotation of VOC's: <annotation> has no <size/height>"),
    (annotation("x", (2, 3), [("cat", (1, 1, 2, 2), False)]).replace("<xmin>1</xmin>", "<xmin>a</xmin>"),
     "is no annotation of VOC's: could not convert"),
    ("<annotation>", r"is no XML \(no element found"),
    ('<!DOCTYPE a [<!ENTITY b "c">]>' + annotation("x", (2, 3), []), "declares a document type"),
])
def test_what_is_no_annotation_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        voc.objects(tmp_path / "a.xml")
    assert str(caught.value).startswith(str(tmp_path / "a.xml")) and "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=r"b.xml: cannot be read \(No such file"):
        voc.objects(tmp_path / "b.xml")


def test_a_list_names_pictures_by_the_first_word_of_a_line(tmp_path: Path) -> None:
    path = tmp_path / "cat_train.txt"
    path.write_text("000012 -1\n000005  1\n\n2008_000002\n")
    assert voc.keys(path) == ["000012", "000005", "2008_000002"]
    path.write_text("1\n2\n1\n")
    with pytest.raises(ValueError, match="lists '1' twice"):
        voc.keys(path)
    path.write_text("\n")
    with pytest.raises(ValueError, match="lists no picture"):
        voc.keys(path)
    with pytest.raises(ValueError, match=r"no.txt is no list of pictures that can be read \(FileNotFoundError\)"):
        voc.keys(tmp_path / "no.txt")


def test_a_list_lies_in_a_folder_of_voc_s(tmp_path: Path) -> None:
    write_voc(tmp_path / "VOC2007", {"trainval": {"a": [("cat", False)]}})
    listed = tmp_path / "VOC2007" / "ImageSets" / "Main" / "trainval.txt"
    assert voc.is_list(str(listed)) and voc.is_list(listed) and voc.root(listed) == tmp_path / "VOC2007"
    assert not voc.is_list("keys.txt") and not voc.is_list(str(tmp_path)) and not voc.is_list(["a.tar"])
    with pytest.raises(ValueError, match="is in no folder of VOC's: beside ImageSets there is no JPEGImages"):
        voc.root(tmp_path / "ImageSets" / "x.txt")


def test_a_class_is_there_not_there_or_only_difficult() -> None:
    def thing(name: str, difficult: bool) -> Thing:
        return Thing(name, (1, 1, 2, 2), difficult)

    assert len(CLASSES) == 20 and list(CLASSES) == sorted(CLASSES)
    row = voc.present([thing("cat", True), thing("dog", False), thing("dog", True), thing("car", True), thing("car", False)])
    assert {name: int(value) for name, value in zip(CLASSES, row, strict=True) if value} == {"cat": -1, "dog": 1, "car": 1}
    with pytest.raises(ValueError, match="'zebra' is none of the 20 classes aeroplane"):
        voc.present([thing("zebra", False)])
