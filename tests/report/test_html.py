"""HTML elements and numbers."""

from speechasym.report.html import Html, bar, number, percent, percent_range, tag


def test_html_and_numbers():
    assert tag("p", "<&>", Html("<b>"), None, class_="a b", data_t='"') == (
        '<p class="a b" data-t="&quot;">&lt;&amp;&gt;<b></p>'
    )
    assert tag("img", alt=None, hidden=True, open=False) == "<img hidden>"
    assert percent(0.0919) == "9.2\u202f%" and percent(None) == percent(float("nan")) == "\u2013"
    assert (
        percent_range(0.016, 0.22) == "1.6 to 22.0\u202f%" and percent_range(None, None) == "\u2013"
    )
    assert [number(v) for v in (1794, 0.99748, 12.345, None)] == [
        "1,794",
        "0.997",
        "12.3",
        "\u2013",
    ]
    assert "width:25.00%" in bar([("s", 1), ("d", 0)], 4) and 'class="d"' not in bar([("d", 0)], 4)
