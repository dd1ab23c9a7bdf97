"""Errors of hub data sets without a hub; tests/hub/test_datasets.py has one."""

import pytest

from probe.data.hub import explained
from probe.errors import UserError


def test_a_bug_is_not_blamed_on_the_user():
    with pytest.raises(KeyError), explained("data set 'mine'", "some/set", None):
        raise KeyError("a bug")


def test_a_cache_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with (
        pytest.raises(UserError, match=r"some/set': .* it belongs to a cache: .*set HF_HOME"),
        explained("", "some/set", None),
    ):
        raise PermissionError(13, "Permission denied", str(tmp_path / "hub" / "file"))
