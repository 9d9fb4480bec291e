"""Wrong use, bad data and hostile text: exit codes, one line each, nothing cut."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from itememb_core.demo import DemoSummary
from itememb_dagster.automation.outcome import Outcome
from itememb_dagster.automation.runner import Runner
from itememb_dagster.cli.options import check_variables
from tests.cli.conftest import CATALOG_ID, ESCAPE_ID, RECEIPT_ID, USER

RUN = ("run", "--raw", "raw", "--lake", "l")
#: Words of a command, what its one line names.
WRONG_USE = {
    "no yaml": ((*RUN, "--set", "seed=[1"), "seed=[1"),
    "no day": ((*RUN, "--set", "seed=2017-13-01"), "seed=2017-13-01"),
    "no assignment": ((*RUN, "--set", "seed"), "seed"),
    "unknown setting": ((*RUN, "--set", "x.y=1"), "x"),
    "epoch": ((*RUN, "--epoch", "x"), "epoch"),
    "engine": ((*RUN, "--engine", "x"), "engine"),
    "start": ((*RUN, "--start", "x"), "--start"),
    "end": ((*RUN, "--end", "2017-13-01"), "--end"),
    "demo option": (("demo", "d", "--direct", "7"), "--direct"),
}


def one_error(shown: str, named: str) -> None:
    lines = shown.splitlines()
    assert len(lines) == 1, shown
    assert lines[0].startswith("error: ")
    assert named in lines[0]


@pytest.mark.parametrize("case", WRONG_USE)
def test_wrong_values_are_one_line_and_exit_2(case, itememb):
    words, named = WRONG_USE[case]
    ended = itememb(*words)
    assert ended.code == 2
    one_error(ended.err, named)


@pytest.mark.parametrize("command", ["similar", "recommend"])
@pytest.mark.parametrize("k", ["0", "-3", "x"])
def test_how_many_must_be_one_at_least(command, k, itememb, lake):
    ended = itememb(command, USER, "-k", k, "--lake", lake)
    assert ended.code == 2
    assert "'-k'" in ended.err


@pytest.mark.parametrize(
    "words", [("similar", "x", "--no-such"), ("no_such",), ("similar",), ("recommend", "x")]
)
def test_unknown_words_are_wrong_use(words, itememb):
    ended = itememb(*words)
    assert ended.code == 2
    assert "Traceback" not in ended.err


def test_a_user_beyond_64_bits_is_one_line(itememb, lake):
    ended = itememb("recommend", "9" * 20, "--lake", lake)
    assert ended.code == 2
    one_error(ended.err, "9" * 20)


def test_bad_data_exits_1(itememb, lake):
    for words in (
        ("similar", "no_such", "--lake", lake),
        ("links", "no_such", "--lake", lake),
        ("recommend", "8", "--lake", lake),
        ("similar", "x", "--lake", "nowhere"),
    ):
        ended = itememb(*words)
        assert ended.code == 1
        one_error(ended.err, words[1] if "nowhere" not in words else "nowhere")


def test_an_error_that_holds_a_line_break_or_an_escape_is_one_plain_line(itememb, lake):
    ended = itememb("similar", "no\n\x1b[31msuch", "--lake", lake)
    assert ended.code == 1
    one_error(ended.err, "no  [31msuch")


def test_export_to_where_nothing_can_be_written_names_it(itememb, lake, tmp_path):
    (tmp_path / "file").write_text("")
    for folder in ("/proc/x", "file/x"):
        ended = itememb("export", folder, "--lake", lake)
        assert ended.code == 1
        one_error(ended.err, folder)
    assert itememb("export", "out", "--lake", lake).code == 0
    assert len(list(Path("out").iterdir())) == 5


@pytest.mark.parametrize("home", ["file", "file/x"])
def test_a_dagster_home_that_is_a_file_is_one_line(home, itememb, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / home))
    ended = itememb(*RUN)
    assert ended.code == 1
    one_error(ended.err, "DAGSTER_HOME")


@pytest.mark.parametrize("threads", ["abc", "0", "2,x"])
def test_threads_that_are_no_number_are_one_line(threads, itememb, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    ended = itememb(*RUN)
    assert ended.code == 2
    one_error(ended.err, "OMP_NUM_THREADS")


def test_the_demo_names_the_whole_next_command(itememb, monkeypatch):
    summary = DemoSummary(*range(11))
    monkeypatch.setattr("itememb_dagster.cli.demo.write_demo", lambda *_: summary)
    monkeypatch.delenv("ITEMEMB_LAKE", raising=False)
    ended = itememb("demo", "my raw")
    assert ended.code == 0
    hint = ended.out.splitlines()[-1].removeprefix("next: ")
    assert shlex.split(hint) == ["itememb", "run", "--raw", "my raw", "--lake", "data/lake"]
    monkeypatch.setenv("ITEMEMB_LAKE", "other")
    assert itememb("demo", "raw").out.splitlines()[-1].endswith("--raw raw --lake other")


def test_ids_are_never_cut(itememb, lake):
    for words in (("links", RECEIPT_ID), ("similar", RECEIPT_ID), ("recommend", USER)):
        ended = itememb(*words, "--lake", lake)
        assert ended.code == 0, ended.err
        table = [line for line in ended.out.splitlines() if line.startswith("│")]
        assert any(CATALOG_ID in line for line in table), ended.out
        assert len({len(line) for line in table}) == 1  # the frame is whole
    table = itememb("links", RECEIPT_ID, "--lake", lake).out.splitlines()
    assert sum(RECEIPT_ID in line for line in table if line.startswith("│")) == 2


def test_titles_are_printed_literally_and_without_control_characters(itememb, lake):
    shown = itememb("similar", RECEIPT_ID, "--lake", lake).out
    assert "[bold]Milk[" in shown
    assert "red  [31m" in shown
    assert not set(shown) & set("\x1b\x07\r")
    assert ESCAPE_ID in shown


def test_why_two_items_are_linked_is_printed_without_control_characters(itememb, lake, monkeypatch):
    monkeypatch.setattr("itememb_core.links.reasons.reasons", lambda _: "red \x1b[31m\x07")
    shown = itememb("links", RECEIPT_ID, "--lake", lake).out
    assert "red  [31m" in shown
    assert not set(shown) & set("\x1b\x07")


def test_a_variable_that_nothing_reads_is_told(monkeypatch, capsys):
    monkeypatch.setenv("ITEMEMB_START", "x")
    check_variables()
    assert "warning: ITEMEMB_START: no such variable, it is ignored" in capsys.readouterr().err


def test_the_flags_of_a_run_are_heard(itememb, tiny_raw, monkeypatch):
    heard = []
    monkeypatch.setattr(Runner, "run", lambda self: heard.append(self.request) or Outcome())
    for flags in ((), ("--fresh",), ("--force",), ("--verify",)):
        itememb("run", "--raw", tiny_raw, "--lake", "l", *flags)
    assert [(r.fresh, r.force, r.verify) for r in heard] == [
        (False, False, False), (True, False, False), (False, True, False), (False, False, True),
    ]  # fmt: skip


INTERRUPTED = """
import os, signal, sys
from itememb_dagster import cli
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
cli.cli.callback = lambda: os.kill(os.getpid(), signal.SIGINT)
sys.argv[1:] = ["similar", "x"]
cli.main()
"""


def test_an_interrupt_exits_130(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 130
    assert done.stderr.split() == ["stopped"]
