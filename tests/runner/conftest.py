"""For the tests of sources: each file has a `yard` of its own, with the options that it needs."""
import pytest


@pytest.fixture
def https(yard, tmp_path):
    """A git server that the yard's runner trusts."""
    server = yard.https(tmp_path)
    yield server
    server.stop()
