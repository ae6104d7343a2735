"""The page of the demo: `tools/demo_page.py`."""

import re

import numpy as np
from demo_page import Chapter, figure, render


def test_the_page_needs_no_other_file_and_escapes_what_it_is_told():
    picture = np.zeros((4, 4, 3), np.uint8)
    chapter = Chapter(
        "<b>", "a & b", ["swd <x>"], [figure(picture, '"quoted"', 40)], [["", "64 px"], ["<i>", "1"]]
    )
    page = render("<title>", "lead", [chapter])
    assert "<b>" not in page
    assert "<i>" not in page
    assert "a &amp; b" in page
    sources = re.findall(r'(?:src|href)="([^"]*)', page)
    assert len(sources) == 1
    assert sources[0].startswith("data:image/png;base64,")


def test_small_pictures_are_shown_with_their_pixels():
    picture = np.zeros((16, 16, 3), np.uint8)
    assert figure(picture, "", 160).enlarged
    assert not figure(picture, "", 8).enlarged
