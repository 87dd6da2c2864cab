"""Which of Dagster's UIs use a sandbox, while they live."""

from pathlib import Path

from imgmig_dagster.sandbox.ui_marks import marked, uis_on


def test_a_ui_is_known_while_it_lives(tmp_path: Path) -> None:
    root = tmp_path / ".imgmig"
    assert uis_on(root) == []
    with marked(root, 3000), marked(root, 3001):
        assert sorted(uis_on(root)) == ["http://127.0.0.1:3000", "http://127.0.0.1:3001"]
    assert uis_on(root) == []


def test_a_mark_that_a_killed_process_left_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "ui-3000.lock").touch()
    assert uis_on(tmp_path) == []
    with marked(tmp_path, 3000):
        assert uis_on(tmp_path) == ["http://127.0.0.1:3000"]
