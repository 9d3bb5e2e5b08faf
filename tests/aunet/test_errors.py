"""Errors keep their problems apart and survive the journey between processes."""

import pickle

import pytest

from aunet.errors import InputError, Refused, Unavailable, check


def test_one_problem_or_several() -> None:
    assert InputError("a").problems == ("a",)
    assert InputError(["a", "b"]).problems == ("a", "b")
    assert str(InputError(name for name in "ab")) == "a\nb"


def test_input_error_is_a_value_error_and_refused_is_not() -> None:
    assert issubclass(InputError, ValueError)
    assert not issubclass(Refused, ValueError)


def test_a_server_that_is_away_is_not_taken_for_wrong_data() -> None:
    away = pickle.loads(pickle.dumps(Unavailable("s3://b: away")))
    assert type(away) is Unavailable and str(away) == "s3://b: away"
    assert not isinstance(away, (InputError, Refused, OSError))


def test_problems_survive_pickling() -> None:
    copy = pickle.loads(pickle.dumps(InputError(["a", "b"])))
    assert type(copy) is InputError and copy.problems == ("a", "b")


def test_check_names_field_value_and_cure() -> None:
    check(True, "loss.mask", 1.0, "unused")
    with pytest.raises(InputError, match=r"^loss\.mask = -1\.0: take 0 or more$"):
        check(False, "loss.mask", -1.0, "take 0 or more")
