"""A class on a Dask cluster: two workers of this machine find what one judge here finds."""

import pytest

from tests.exercises.synthetic import QUESTIONS, RIGHT, WRONG
from tools.common import Problem
from tools.grading.judging import engines
from tools.grading.judging.walls import Limits

distributed = pytest.importorskip("distributed")

KEY = engines.answer_key(QUESTIONS, Limits())


@pytest.mark.filterwarnings("ignore")
def test_two_workers_judge_a_class(tmp_path):
    kinds = {"right": RIGHT, "wrong": WRONG}
    jobs = {f"{kind} {n}": [*cells, f"n = {n}"] for kind, cells in kinds.items() for n in range(3)}
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, local_directory=str(tmp_path)
    ) as cluster:
        found = dict(engines.on_cluster(cluster.scheduler_address, KEY, jobs))
        with distributed.Client(cluster) as client:
            judges = client.run(lambda: len(__import__("psutil").Process().children()))
    assert {name: sum(outcome["scores"].values()) for name, outcome in found.items()} == {
        name: 9 * name.startswith("right") for name in jobs
    }
    assert list(judges.values()) == [1, 1]  # both have worked, and each has started one judge


def test_an_address_where_nobody_answers_is_told(monkeypatch):
    monkeypatch.setattr(engines, "CONNECT_S", 1)
    with pytest.raises(Problem, match="no Dask scheduler answers at"):
        next(engines.on_cluster("tcp://127.0.0.1:1", KEY, {"a": RIGHT}))
