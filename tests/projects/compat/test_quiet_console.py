"""MMEngine's verbose log messages go to the log file but not to the console."""

from mmengine.logging import MMLogger

from smallvit.compat import quiet_console

LINES = ("paramwise_options -- a.b:lr=1", "Config:\na = 1", "Hooks will be executed in the ...")


def test_the_log_file_has_what_the_console_leaves_out(tmp_path, capsys):
    quiet_console.install()
    logger = MMLogger("quiet-1", log_file=str(tmp_path / "run.log"), log_level="INFO")
    for line in (*LINES, "Epoch(train) [1]"):
        logger.info(line)
    logger.error("paramwise_options -- broken")
    shown = "".join(capsys.readouterr())
    assert "Epoch(train)" in shown
    assert "broken" in shown
    assert not any(line in shown for line in LINES)
    written = (tmp_path / "run.log").read_text()
    assert all(line in written for line in LINES)


def test_without_a_file_or_at_debug_all_is_shown(tmp_path, capsys):
    quiet_console.install()
    MMLogger("quiet-2", log_level="INFO").info(LINES[0])
    logger = MMLogger("quiet-3", log_file=str(tmp_path / "run.log"), log_level="DEBUG")
    logger.info(LINES[1])
    shown = "".join(capsys.readouterr())
    assert LINES[0] in shown
    assert LINES[1] in shown
