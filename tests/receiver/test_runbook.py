"""Each condition has its paragraph in docs/runbook.md, and each paragraph its condition."""

import re

from receiver.queries.conditions import CODES, RUNBOOK
from tests.receiver.processes import ROOT


def test_each_condition_has_a_paragraph_that_says_what_it_means_how_to_look_and_what_to_do():
    text = (ROOT / RUNBOOK).read_text()
    paragraphs = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", text, re.M | re.S))

    assert list(paragraphs) == list(CODES)
    for code, paragraph in paragraphs.items():
        assert all(f"**{part}.**" in paragraph for part in ("Means", "Look", "Do")), code
