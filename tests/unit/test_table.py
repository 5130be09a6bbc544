"""Tables: mappings that behave as the dict with the same history, and that no later change reaches."""

from hypothesis import given
from hypothesis import strategies as st

from atoll.model.table import Table

Changes = dict[int, str | None]
changes = st.dictionaries(st.integers(0, 30), st.none() | st.sampled_from("abc"), max_size=5)


@given(st.dictionaries(st.integers(0, 30), st.sampled_from("abc")), st.lists(changes, max_size=20))
def test_table_is_the_dict_with_the_same_history(first: dict[int, str], history: list[Changes]) -> None:
    tables, expected = [Table(first)], [first]
    for step in history:
        following = {**expected[-1], **step}
        expected.append({key: value for key, value in following.items() if value is not None})
        tables.append(tables[-1].after(step))
    # Earlier ones too: nothing that came later is seen in them.
    for table, wanted in zip(tables, expected, strict=True):
        assert dict(table.items()) == wanted == {key: table[key] for key in table}
        assert table == Table(wanted) and len(table) == len(wanted)
        assert sorted(table.values()) == sorted(wanted.values())
        assert [table.get(key) for key in range(32)] == [wanted.get(key) for key in range(32)]
        assert [key in table for key in range(32)] == [key in wanted for key in range(32)]
        assert all((key, value) in table.items() for key, value in wanted.items())


def test_missing_key_is_a_key_error() -> None:
    table = Table({1: "a"}).after({1: None})
    for key in (1, 2):
        try:
            table[key]
        except KeyError as error:
            assert error.args == (key,)
        else:
            raise AssertionError(key)


def test_get_gives_the_default_for_what_is_not_there() -> None:
    table = Table(dict.fromkeys(range(100), "a")).after({1: None})
    assert (table.get(1, "b"), table.get(2, "b"), table.get(100, "b"), table.get(100)) == ("b", "a", "b", None)


def test_table_that_nothing_changes_is_the_same() -> None:
    table = Table({1: "a"})
    assert table.after({}) is table
