"""What each level of isolation says of itself."""
import pytest


@pytest.mark.parametrize("level, word", [("bubblewrap", "a user, processes and a file tree of its own"), ("process", "Isolation: none (process)")])
def test_a_log_says_how_the_run_is_isolated(own, repo, level, word):
    """The first step of every log."""
    api = own("--isolation", level).api()
    repo.commit({"README": "no program\n"})
    api.create_stack("admin/levels/dev")
    _, log = api.run("admin/levels/dev", "preview", expect="failed", sourceContext={"git": {"repoUrl": repo.url, "branch": "main"}})
    assert word in log.split("== Setup\n")[1].split("\n== ")[0]
