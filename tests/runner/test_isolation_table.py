"""docs/isolation.md says what the tests show, and names tests that there are."""
from helpers import isolation_table


def test_the_page_is_the_table():
    assert isolation_table.written() == isolation_table.table(), "run: python3 tests/helpers/isolation_table.py"


def test_the_tests_that_it_names():
    assert not isolation_table.missing()


def test_every_attack_has_a_level_that_stops_it():
    for attack in isolation_table.ATTACKS:
        assert attack.stopped and not set(attack.stopped) & set(attack.open), attack.name
        assert set(attack.stopped + attack.open) <= set(isolation_table.LEVELS), attack.name
