"""The contract of everything that runs parts, over all implementations."""

import threading
import time

import pytest

from itememb_core.parts import InOrder, Threads

EXECUTORS = [(InOrder(), 1), (Threads(1), 1), (Threads(3), 3)]
every = pytest.mark.parametrize(
    ("executor", "workers"), EXECUTORS, ids=["in order", "one thread", "three threads"]
)


class Source:
    """Counts up, and remembers how far it was read."""

    def __init__(self, parts):
        self.parts, self.taken = parts, 0

    def __iter__(self):
        for part in range(self.parts):
            self.taken += 1
            yield part


def later_parts_are_faster(shared, part):
    time.sleep(0.02 / (part + 1))
    return shared * part


@every
def test_results_come_in_the_order_of_the_parts(executor, workers):
    found = executor.map(later_parts_are_faster, 10, range(7))
    assert list(found) == [0, 10, 20, 30, 40, 50, 60]


@every
def test_no_parts_give_no_result(executor, workers):
    assert list(executor.map(later_parts_are_faster, 1, iter(()))) == []


@every
def test_parts_are_taken_when_they_are_needed(executor, workers):
    source, started, lock = Source(50), [], threading.Lock()

    def task(shared, part):
        with lock:
            started.append(part)
        return part

    results = executor.map(task, None, source)
    assert source.taken == 0
    for given in range(1, 10):
        assert next(results) == given - 1
        assert source.taken <= given - 1 + workers
        assert len(started) <= given - 1 + workers
    results.close()


@every
def test_no_more_parts_are_in_work_than_workers(executor, workers):
    lock, now, most = threading.Lock(), [0], [0]

    def task(shared, part):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.02)
        with lock:
            now[0] -= 1

    list(executor.map(task, None, range(9)))
    assert most[0] == workers  # all of them work, too


class BadPartError(Exception):
    """What a part raises."""


def fails_at_three(shared, part):
    if part == 3:
        raise shared
    return part


@every
def test_a_part_s_own_exception_is_raised_in_its_turn(executor, workers):
    error, source = BadPartError("part 3"), Source(50)
    results = executor.map(fails_at_three, error, source)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(BadPartError) as raised:
        next(results)
    assert raised.value is error
    assert source.taken <= 3 + workers
    assert list(results) == []


@every
def test_an_error_of_the_source_is_raised_too(executor, workers):
    def source():
        yield 1
        raise BadPartError

    with pytest.raises(BadPartError):
        list(executor.map(later_parts_are_faster, 1, source()))


@every
def test_closing_ends_the_work(executor, workers):
    before, finished = threading.active_count(), []

    def task(shared, part):
        time.sleep(0.01)
        finished.append(part)
        return part

    source = Source(50)
    results = executor.map(task, None, source)
    next(results)
    results.close()
    assert threading.active_count() == before
    count = len(finished)
    time.sleep(0.05)
    assert len(finished) == count <= workers
    assert source.taken <= workers
