"""The file, or the JSON, behind `--overrides`."""

import pytest

from aunet.errors import InputError
from jobs.overrides import read_overrides


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "--overrides .*not JSON"),
        ("[1]", "--overrides .*holds a list, not an object; give a JSON file"),
        (None, "--overrides .*no such file"),
        ('{"train.lr": NaN}', "NaN is not a number of JSON"),
        ('{"train.lr": 1e999}', "not JSON"),
        ("[" * 100_000, "nested too deep"),
    ],
)
def test_a_bad_overrides_file_is_refused(tmp_path, text: str | None, message: str) -> None:
    path = tmp_path / "overrides.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_overrides(str(path))


def test_overrides_are_read_from_a_file_or_given_as_they_are(tmp_path) -> None:
    path = tmp_path / "overrides.json"
    path.write_text('{"loss.semantic": 0.2}')
    assert read_overrides(str(path)) == read_overrides(' {"loss.semantic": 0.2}') == {"loss.semantic": 0.2}


def test_json_on_the_command_line_is_not_repeated() -> None:
    with pytest.raises(InputError, match=r"^--overrides: not JSON"):
        read_overrides('{"train.lr": 0.1, "x": ' + "1" * 1000)
