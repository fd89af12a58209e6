"""What is text is shown as text, whatever it holds."""

from __future__ import annotations

from viewmill.evaluation.report.markup import Markup, joined, tag


def test_text_and_attributes_are_escaped_and_markup_is_not() -> None:
    assert tag("p", "a < b & c", title='"<') == '<p title="&quot;&lt;">a &lt; b &amp; c</p>'
    assert tag("p", tag("b", "<i>"), Markup("<br>")) == "<p><b>&lt;i&gt;</b><br></p>"


def test_attributes_are_named_as_html_names_them_and_left_out_where_there_is_nothing_to_say() -> None:
    made = tag("input", class_="a", data_value=0.5, aria_label="x", checked=True, hidden=False, id=None, name="n")
    assert made == '<input class="a" data-value="0.5" aria-label="x" checked name="n">'


def test_lists_are_flattened_numbers_written_and_nothing_left_out() -> None:
    assert joined(["a", [tag("b", 3), None], []], "<") == "a<b>3</b>&lt;"
