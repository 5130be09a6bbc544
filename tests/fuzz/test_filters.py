"""Filters of every list, in any form."""

import json

from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.effort import tries
from tests.fuzz.junk import texts, values
from tests.fuzz.target import Target, quoted

KEYS = [
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "is-task",
    "label",
    "label!",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
    "driver",
    "scope",
    "type",
    "dangling",
    "reference",
    "until",
    "container",
    "event",
    "image",
    "sandbox",
    "kind",
    "all",
]
LISTS = (
    "GET /containers/json", "GET /networks", "GET /images/json", "GET /volumes", "GET /atoll/sandboxes",
    "GET /events?until=1&since=0",
    "POST /networks/prune", "POST /volumes/prune", "POST /images/prune", "GET /system/df",
)  # fmt: skip

keys = st.sampled_from(KEYS) | texts
proper = st.dictionaries(
    keys, st.lists(texts, max_size=3) | st.dictionaries(texts, st.booleans(), max_size=3), min_size=1, max_size=3
)
filters = (
    proper.map(json.dumps) | st.dictionaries(keys, values, max_size=2).map(json.dumps) | values.map(json.dumps) | texts
)


@tries(200)
@given(listing=st.sampled_from(LISTS), text=filters)
def test_filters(target: Target, listing: str, text: str) -> None:
    method, _, path = listing.partition(" ")
    target.ask(method, f"{path}{'&' if '?' in path else '?'}filters={quoted(text)}")
