"""Odd command lines, each with the exit code that it must end with; data of ``test_odd_lines``.

Words that begin with ``@`` are replaced: ``@lake`` a finished lake, ``@bare`` a lake without any
table, ``@raw`` a raw folder, ``@empty`` an empty folder, ``@file`` a file, ``@missing`` nothing,
``@fifo`` a named pipe, ``@loop`` a link to itself, ``@locked`` a folder that nobody may read.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

OK, FAILED, WRONG = 0, 1, 2


@dataclass(frozen=True)
class Line:
    """One command line.

    Attributes:
        words: After ``itememb``.
        code: How it must end.
        env: Variables set beside.
    """

    words: tuple[str, ...]
    code: int
    env: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        names = [f"{name}={value}" for name, value in self.env.items()]
        return ascii(" ".join((*names, *(word[:40] or "''" for word in self.words))))


NO_COMMANDS: Final = (
    (), ("",), ("--",), ("-",), ("nope",), ("--nope",), ("runn",), ("💥",), ("\x1b[31m",),
    ("run", "similar"), ("--lake", "x", "run"), ("-k", "1", "similar"), ("RUN",),
)  # fmt: skip
LOOK_UPS: Final = (("similar", "x"), ("links", "x"), ("recommend", "7"), ("export", "@missing"))
RUN: Final = ("run", "--raw", "@raw", "--lake", "@missing")
#: Values that no option of a number, a day or a choice takes.
RUBBISH: Final = ("x", "1.5.5", "1e", "💥", "\x1b[31m", "a\nb", "--", "[1", "nul l")
#: No lake knows them.
ITEMS: Final = (
    "x", "", " ", "💥", "\x1b[31mx", "a\nb", "x" * 10_000, "../..", "%s", "[bold]x[/b]",
)  # fmt: skip
NO_USERS: Final = (
    "", "x", "1.5", "9" * 20, "9" * 5000, "9223372036854775808", "1_0_", "💥", "\x1b[31m",
)  # fmt: skip
NO_LAKES: Final = (
    "@missing", "@file", "@bare", "@fifo", "@loop", "/dev/null", "/proc/1/mem", "💥", "\x1b[31m",
    "a" * 300,
)  # fmt: skip
NO_ASSETS: Final = (
    "nope", "key:", 'key:"nope"', "((", "key:x and", "\x1b[31m", "💥", "*+-", "a" * 5000, "+",
)  # fmt: skip
#: URLs that name a variable that is not set, or none.
UNSET: Final = (
    "s3://${NO_SUCH_KEY}:${HOME}@bucket/raw", "${NO_SUCH_KEY}", "${}", "a/${NO_SUCH_KEY",
)  # fmt: skip
#: Words that are no raw folder.
NO_RAW: Final = (
    "@file", "@missing", "@empty", "@fifo", "@loop", "/dev/null", "/proc/1/mem", "/proc/self/fd/0",
    "s3://bucket/raw", "gs://bucket/raw", "abfs://box/raw", "nope://x/y", "nope://", "://",
    "http://",
    "http://127.0.0.1:9/raw",
    "https://[::1/raw", "ftp://127.0.0.1:9/raw", "memory://nothing/here",
    "file://", "zip://a.zip::@file", "simplecache::nope://x", "::", "github://", "\x1b]0;t\x07",
    "💥", "a" * 300, "~nobody-here/raw", "file:///no/such/../place", "reference://",
    "sftp://127.0.0.1:9/x",
)  # fmt: skip
#: URLs that hold a secret of their own, all spelled with ``hunter2``.
SECRETS: Final = (
    "s3://AKIA:hunter2@bucket/raw", "ftp://me:hunter2@host/raw", "https://host/raw?token=hunter2",
    "https://host/raw?X-Amz-Signature=hunter2", "https://host/raw?a=1&password=hunter2",
    "abfs://c@acc/raw?sig=hunter2", "https://:hunter2@host/raw", "ftp://me:hun%20hunter2@host/r",
    "simplecache::ftp://me:hunter2@host/raw", "https://host/raw?api_key=hunter2",
    "https://host/raw?secret=hunter2&x=${HOME}", "s3://${HOME}:hunter2@bucket/raw",
    "https://host/raw#access_token=hunter2", "HTTPS://me:hunter2@host/raw",
)  # fmt: skip
SETTINGS: Final = (
    "seed", "=1", "seed=", "seed=-1", "seed=2147483648", "seed=1.5", "seed=x", "seed=[1", "seed={",
    "seed=[1]", "seed='", "seed=null", "seed=.nan", "seed=.inf", "seed=2017-13-01",
    "seed=2017-01-01",
    "seed=&a *a", "seed=!!python/object:os.system x", "seed=!x", "seed=*a", "seed=\t\t-",
    "seed.x=1", "item_model=1", "item_model=[]", "item_model.dim=0", "item_model.dim=1e9",
    "item_model.dim=4097", "item_model.dim=x", "item_model.dim=true", "item_model.nope=1",
    "item_model.dim.x=1", "nope.dim=1", "nope=1", ".=1", "a..b=1", "item_model.temperature=.nan",
    "item_model.start=nope", "item_model.bridge=maybe", "link_holdout.share=1.01",
    "link_scorer.folds=1", "link_scorer.target_precision=1", "domains.retail=", "domains.retail=''",
    "user_model.loss=x", "recommendations.k=0", "holdout_days=-1", "holdout_days=1e400",
    "holdout_days=99999999999999999999", "seed=1: 2: 3", "seed=? x", "seed=@", "seed=`",
    "💥=1", "item_model.\x1b[31m=1", "item_model.learning_rate=-1",
    "item_model.learning_rate=1e999",
)  # fmt: skip


def lines() -> Iterator[Line]:
    """Yield the lines that a test calls in its own process."""
    yield from _words()
    yield from _look_ups()
    yield from _run()
    yield from _settings()
    yield from _places()
    yield from _demo_and_ui()
    yield from _variables()


def processes() -> Iterator[Line]:
    """Yield the lines that are processes of their own, of a user whom ``@locked`` refuses."""
    yield Line(("run", "--raw", "@locked", "--lake", "@missing"), FAILED)
    yield Line(("run", "--raw", "@locked/raw", "--lake", "@missing"), FAILED)
    yield Line(("run", "--raw", "@raw", "--lake", "@locked"), FAILED)
    yield Line(("run", "--raw", "@raw", "--lake", "@locked/lake"), FAILED)
    yield Line(RUN, FAILED, {"DAGSTER_HOME": "@locked"})
    yield Line(RUN, FAILED, {"DAGSTER_HOME": "@file"})
    yield Line(("run", "--lake", "@missing"), FAILED, {"ITEMEMB_RAW": "s3://bucket/raw"})
    yield Line((*RUN, "--set", "seed=[1"), WRONG)
    yield Line(("similar", "x", "--lake", "@locked"), FAILED)
    yield Line(("export", "@locked/x", "--lake", "@lake"), FAILED)
    yield Line(("demo", "@locked/x", "--households", "0.01"), FAILED)
    yield Line(("similar", "x", "--lake", "@lake"), WRONG, {"OMP_NUM_THREADS": "abc"})


def _words() -> Iterator[Line]:
    yield Line(("--help",), OK)
    yield Line(("-h",), OK)
    yield Line(("--version",), OK)
    for words in NO_COMMANDS:
        yield Line(words, WRONG)
    for name in ("run", "demo", "similar", "links", "recommend", "export", "ui"):
        yield Line((name, "--help"), OK)
        yield Line((name, "--nope"), WRONG)
        yield Line((name, "-z"), WRONG)
        yield Line((name, "a", "b", "c"), WRONG)
    for name in ("demo", "similar", "links", "recommend", "export"):
        yield Line((name,), WRONG)


def _look_ups() -> Iterator[Line]:
    for item in ITEMS:
        yield Line(("similar", item, "--lake", "@lake"), FAILED)
        yield Line(("links", item, "--lake", "@lake"), FAILED)
    yield Line(("similar", "--lake", "@lake", "--", "-x"), FAILED)
    for user in ("-1", "0", "-9223372036854775808", "9223372036854775807"):
        yield Line(("recommend", "--lake", "@lake", "--", user), FAILED)
    for user in NO_USERS:
        yield Line(("recommend", user, "--lake", "@lake"), WRONG)
    yield Line(("recommend", "--lake", "@lake", "--", "-9223372036854775809"), WRONG)
    yield Line(("recommend", "-1", "--lake", "@lake"), WRONG)
    for k in ("0", "-1", "", "1.5", "9" * 20, *RUBBISH):
        yield Line(("similar", "fmcg_escape", "--lake", "@lake", "-k", k), WRONG)
        yield Line(("recommend", "7", "--lake", "@lake", "-k", k), WRONG)
    yield Line(("similar", "fmcg_escape", "--lake", "@lake", "-k", "1000000"), OK)
    yield Line(("similar", "fmcg_escape", "--lake", "@lake", "-k", "1000000", "--goes-with"), OK)
    yield Line(("recommend", "7", "--lake", "@lake", "-k", "1000000"), OK)
    for channel in ("", "x", "Retail", "💥"):
        yield Line(("similar", "fmcg_escape", "--lake", "@lake", "--channel", channel), WRONG)
    yield Line(("similar", "fmcg_escape", "--lake", "@lake", "--goes-with=1"), WRONG)
    for words in LOOK_UPS:
        for lake in NO_LAKES:
            yield Line((*words, "--lake", lake), FAILED)
        yield Line((*words, "--lake", ""), FAILED)
        yield Line((*words, "--lake", "s3://bucket/lake"), WRONG)
        yield Line((*words, "--lake"), WRONG)
    for folder in ("@file", ""):
        yield Line(("export", folder, "--lake", "@lake"), WRONG)
    for folder in ("/proc/x", "@file/x", "/dev/null/x", "@loop/x", "a" * 300):
        yield Line(("export", folder, "--lake", "@lake"), FAILED)


def _run() -> Iterator[Line]:
    for option in ("--start", "--end", "--epoch"):
        for value in ("2017-13-01", "20170199", "0000-00-00", "99999-01-01", "today", *RUBBISH):
            yield Line((*RUN, option, value), WRONG)
        yield Line((*RUN, option), WRONG)
    for value in ("", "spar", "DuckDB", *RUBBISH):
        if value:
            yield Line((*RUN, "--engine", value), WRONG)
    for value in ("0", "-1", "1.5", "", "9" * 20, *RUBBISH):
        yield Line((*RUN, "--workers", value), WRONG)
    for value in NO_ASSETS:
        yield Line((*RUN, "--select", value), WRONG)
    yield Line((*RUN, "--start", "2017-02-02", "--end", "2017-02-01"), WRONG)
    yield Line((*RUN, "--start", "1900-01-01", "--end", "1900-02-01"), WRONG)
    yield Line((*RUN, "--start", "9999-12-31"), WRONG)
    yield Line((*RUN, "--end", "0001-01-01"), WRONG)
    yield Line((*RUN, "--force=yes"), WRONG)
    yield Line((*RUN, "--fresh=yes"), WRONG)


def _settings() -> Iterator[Line]:
    for text in SETTINGS:
        yield Line((*RUN, "--set", text), WRONG)
    yield Line((*RUN, "--set"), WRONG)
    yield Line((*RUN, "--set", "seed=1", "--set", "seed.x=1"), WRONG)
    yield Line((*RUN, "--set", "item_model.dim=4", "--set", "item_model=1"), WRONG)


def _places() -> Iterator[Line]:
    for raw in NO_RAW:
        yield Line(("run", "--raw", raw, "--lake", "@missing"), FAILED)
    for raw in SECRETS:
        yield Line(("run", "--raw", raw, "--lake", "@missing"), WRONG)
        yield Line(("ui", "--raw", raw, "--lake", "@missing"), WRONG)
        yield Line(("run", "--lake", "@missing"), WRONG, {"ITEMEMB_RAW": raw})
    for raw in UNSET:
        yield Line(("run", "--raw", raw, "--lake", "@missing"), WRONG)
    for lake in ("@file", "/dev/null", "/dev/null/x", "/proc/x", "@file/x", "@loop", "a" * 300):
        yield Line(("run", "--raw", "@raw", "--lake", lake), FAILED)
    yield Line(("run", "--raw", "@raw", "--lake", "s3://bucket/lake"), WRONG)


def _demo_and_ui() -> Iterator[Line]:
    for option in ("--seed", "--direct", "--households", "--markup", "--receipt-share"):
        for value in ("-1", "nan", "inf", "1e9" if option != "--seed" else "9" * 20, "", "x", "💥"):
            yield Line(("demo", "@missing", option, value), WRONG)
    for raw in ("@file", "@raw", "/dev/null", "@loop"):
        yield Line(("demo", raw, "--households", "0.01"), FAILED)
    yield Line(("demo", "", "--households", "0.01"), WRONG)
    yield Line(("demo", "/proc/x/y", "--households", "0.01"), FAILED)
    for port in ("x", "-1", "0", "65536", "99999999999", "", "3000.5", "💥"):
        yield Line(("ui", "--raw", "@raw", "--lake", "@missing", "--port", port), WRONG)
    for lake in ("@file", "/dev/null/x", "/proc/x", "@loop"):
        yield Line(("ui", "--raw", "@raw", "--lake", lake), FAILED)
    for raw in ("@missing", "nope://x", "s3://bucket/raw", "@file"):  # the page opens all the same
        yield Line(("ui", "--raw", raw, "--lake", "@missing"), OK)


def _variables() -> Iterator[Line]:
    for text in ("abc", "0", "-1", "1.5", "2,x", ",", "💥", "٣", "9" * 20):
        yield Line(("similar", "x", "--lake", "@lake"), WRONG, {"OMP_NUM_THREADS": text})
    for text in ("abc", "0", "-1", "1.5", "💥", "\x1b[31m"):
        yield Line(RUN, WRONG, {"ITEMEMB_WORKERS": text})
    for text in ("x", "2017-13-01", "💥", "01.01.2017", "\x1b[31m"):
        yield Line(RUN, WRONG, {"ITEMEMB_EPOCH": text})
        yield Line(("ui", "--raw", "@raw", "--lake", "@missing"), WRONG, {"ITEMEMB_EPOCH": text})
    for text in ("x", "💥", "DUCKDB"):
        yield Line(RUN, WRONG, {"ITEMEMB_ENGINE": text})
    for text in ("x", "-1", "0", "5", "2 apples", "💥", "2GB; DROP", "\x1b[31m", "'"):
        yield Line(RUN, WRONG, {"ITEMEMB_MEMORY": text})
    for name in ("ITEMEMB_START", "ITEMEMB_END", "ITEMEMB_LAKES", "ITEMEMB_WORKER"):
        yield Line(RUN, OK, {name: "x"})  # a warning: others may use such names
    for text in ("@file", "@file/x", "/dev/null", "/proc/x", "@loop", "a" * 300):
        yield Line(RUN, FAILED, {"DAGSTER_HOME": text})
        yield Line(("ui", "--raw", "@raw"), FAILED, {"DAGSTER_HOME": text})
    for text in ("x", "-1", "1.5", "💥"):
        yield Line(RUN, WRONG, {"DAGSTER_EVENT_BATCH_SIZE": text})
    yield Line(("similar", "x"), FAILED, {"ITEMEMB_LAKE": "@file"})
    yield Line(("similar", "x"), FAILED, {"ITEMEMB_LAKE": "\x1b[31m"})
    yield Line(("run", "--lake", "@missing"), FAILED, {"ITEMEMB_RAW": "@missing"})
    yield Line(("run", "--lake", "@missing"), FAILED, {"ITEMEMB_RAW": "nope://x"})
