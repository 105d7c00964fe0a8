"""What is made of the answers of Flink's REST interface, and of none."""

import socket

import pytest

from l3core.errors import RunError, UsageError
from launch.flink import rest
from launch.flink.job_server import free_port
from launch.flink.rest import FlinkCluster, Job, Slots
from launch.runners import NoAnswerError
from tests.flink_rest import flink_rest


@pytest.fixture
def flink(monkeypatch):
    monkeypatch.setattr(rest, "POLL_S", 0.01)
    with flink_rest() as server:
        yield server


@pytest.fixture
def cluster(flink):
    return FlinkCluster(flink.url)


def test_the_version(cluster):
    assert cluster.version() == "1.19.0"


def test_nothing_listens_there():
    url = f"http://localhost:{free_port()}"
    with pytest.raises(UsageError) as caught:
        FlinkCluster(url).version()
    assert str(caught.value).startswith(
        f"--flink-master: no Flink answers at {url} (Connection refused): name the host and port"
    )


def test_a_name_that_there_is_not():
    with pytest.raises(UsageError, match=r"no Flink answers at http://nowhere\.invalid:8081 \([A-Z]"):
        FlinkCluster("http://nowhere.invalid:8081").version()


def test_somebody_listens_and_says_nothing(monkeypatch):
    monkeypatch.setattr(rest, "ANSWER_WITHIN_S", 0.2)
    with socket.create_server(("localhost", 0)) as silent:
        url = f"http://localhost:{silent.getsockname()[1]}"
        with pytest.raises(UsageError, match=r"\(no answer within 0 s\)"):
            FlinkCluster(url).version()


@pytest.mark.parametrize("content", [b"<html>a page</html>", b"", [], "text", {"version": "1"}])
def test_somebody_else_answers(flink, cluster, content):
    flink.say("/config", content)
    with pytest.raises(UsageError, match=f"what answers at {flink.url} is not Flink"):
        cluster.version()


def test_a_web_server_without_such_a_page(flink, cluster):
    flink.say("/config", {}, status=404)
    with pytest.raises(UsageError, match=r"no Flink answers at .* \(HTTP 404\)"):
        cluster.version()


def test_slots(cluster):
    assert cluster.slots() == Slots(task_managers=2, total=4, free=3)


@pytest.mark.parametrize(
    ("hosts", "here"),
    [
        (["localhost"], True),
        (["localhost", "127.0.0.1", "[::1]", socket.gethostname()], True),
        (["10.0.0.7"], False),
        (["localhost", "10.0.0.7"], False),
        ([], True),  # whoever comes will be seen when the job runs
    ],
)
def test_whether_its_workers_are_on_this_machine(flink, cluster, hosts, here):
    flink.on(*hosts)
    assert cluster.is_here() is here


@pytest.mark.parametrize(
    ("told", "restarts"),
    [
        ({}, False),
        ({"restart-strategy.type": "fixed-delay"}, True),
        ({"restart-strategy": "failure-rate"}, True),  # the name until 1.19
        ({"restart-strategy.type": "none"}, False),
        ({"restart-strategy": "None"}, False),
        ({"restart-strategy.type": "off"}, False),
        ({"restart-strategy.type": "disable", "restart-strategy": "fixed-delay"}, False),
        ({"restart-strategy.fixed-delay.attempts": "3"}, False),  # of no strategy
    ],
)
def test_whether_it_tries_again(flink, cluster, told, restarts):
    told = told | {"rest.port": "8081"}
    flink.say("/jobmanager/config", [{"key": key, "value": value} for key, value in told.items()])
    assert cluster.restarts() is restarts


def test_jobs(flink, cluster):
    flink.add_job("a1", "l3flow-x")
    flink.add_job("b2", "other", "FAILED", why="it rained")
    assert cluster.jobs() == [Job("a1", "l3flow-x", "RUNNING"), Job("b2", "other", "FAILED")]
    assert (cluster.state("a1"), cluster.state("b2")) == ("RUNNING", "FAILED")
    assert cluster.failure("b2") == "it rained"
    assert cluster.failure("a1") == "the cluster does not say why"


def test_a_job_that_it_does_not_know_any_more(flink, cluster):
    with pytest.raises(RunError, match=f"the cluster at {flink.url} does not know job a1 any more"):
        cluster.state("a1")


@pytest.mark.parametrize(("status", "content"), [(503, {}), (500, {}), (200, b"<html>starting</html>")])
def test_a_cluster_may_be_away_for_a_moment(flink, cluster, monkeypatch, status, content):
    flink.add_job("a1", "x")
    there = flink.answers["/jobs/a1"]
    monkeypatch.setattr(rest, "AWAY_AT_MOST_S", 0.0)
    for _ in range(2):  # the second time it is away anew
        flink.say("/jobs/a1", content, status=status)
        assert cluster.state("a1") is None
        flink.answers["/jobs/a1"] = there
        assert cluster.state("a1") == "RUNNING"


def test_a_cluster_that_stays_away():
    cluster = FlinkCluster(f"http://localhost:{free_port()}")
    assert cluster.state("a1") is None
    cluster._away_since -= rest.AWAY_AT_MOST_S  # a minute ago
    with pytest.raises(RunError, match="does not answer any more: Connection refused"):
        cluster.state("a1")


def test_stopping(flink, cluster):
    flink.add_job("a1", "x")
    assert cluster.cancel("a1") == "CANCELED"
    assert flink.log[0] == "PATCH /jobs/a1?mode=cancel"


def test_stopping_what_has_ended_meanwhile(flink, cluster):
    flink.add_job("a1", "x", "FINISHED")
    flink.cancelled = "FINISHED"
    assert cluster.cancel("a1") == "FINISHED"


def test_a_job_that_does_not_stop(flink, cluster, monkeypatch):
    monkeypatch.setattr(rest, "CANCELLED_WITHIN_S", 0.05)
    flink.add_job("a1", "x")
    flink.cancelled = "CANCELLING"
    with pytest.raises(RunError, match=r"job a1 at .* was told to stop and is still running"):
        cluster.cancel("a1")


def test_stopping_at_a_cluster_that_is_gone():
    with pytest.raises(RunError, match=r"job a1 at .* could not be stopped: Connection refused"):
        FlinkCluster(f"http://localhost:{free_port()}").cancel("a1")


QUESTIONS = {
    "/overview": FlinkCluster.slots,
    "/taskmanagers": FlinkCluster.is_here,
    "/jobmanager/config": FlinkCluster.restarts,
    "/jobs/overview": FlinkCluster.jobs,
    "/jobs/a1/exceptions": lambda cluster: cluster.failure("a1"),
}


@pytest.mark.parametrize("path", QUESTIONS)
@pytest.mark.parametrize("content", [b"<html>log in</html>", b"", 1, ["a page"]])
def test_another_service_answers_in_its_place(flink, cluster, path, content):
    flink.say(path, content)
    with pytest.raises(RunError) as caught:
        QUESTIONS[path](cluster)
    assert str(caught.value) == f"the cluster at {flink.url} does not answer: what answers is not Flink"


@pytest.mark.parametrize("path", QUESTIONS)
def test_a_cluster_that_is_gone_is_one_line(flink, path):
    cluster = FlinkCluster(f"http://localhost:{free_port()}")
    with pytest.raises(NoAnswerError) as caught:
        QUESTIONS[path](cluster)
    assert str(caught.value) == f"the cluster at {cluster.url} does not answer: Connection refused"


def test_stopping_at_a_cluster_that_is_just_starting(flink, cluster, monkeypatch):
    flink.add_job("a1", "x")
    answers = iter([503, 503])
    answer = flink.RequestHandlerClass.answer

    def refusing(self, status, content):
        answer(self, next(answers, status) if self.command == "PATCH" else status, content)
        if self.command == "PATCH":
            flink.jobs["a1"][1] = "RUNNING" if flink.log.count(flink.log[0]) < 3 else "CANCELED"

    monkeypatch.setattr(flink.RequestHandlerClass, "answer", refusing)
    assert cluster.cancel("a1") == "CANCELED"
    assert flink.log.count("PATCH /jobs/a1?mode=cancel") == 3
