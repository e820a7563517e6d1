"""A cluster of Ray on this machine: two nodes with a core each, for tests and nothing else."""

import os
import socket
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil

HERE = Path(__file__).resolve()
PORTS = (
    "metrics_agent_port",
    "metrics_export_port",
    "dashboard_agent_listen_port",
    "runtime_env_agent_port",
)


def _node():
    """Of one core, with ports of its own."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in PORTS]
        for free in sockets:
            free.bind(("127.0.0.1", 0))
        ports = [free.getsockname()[1] for free in sockets]
    return {
        "num_cpus": 1,
        "object_store_memory": 100_000_000,
        **dict(zip(PORTS, ports, strict=True)),
    }


def _patiently(function, seconds):
    """Ray gives a node 30 seconds to start, too few where many processes share two cores."""

    def again(*given, **named):
        until = time.monotonic() + seconds
        while True:
            try:
                return function(*given, **named)
            except RuntimeError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.5)

    return again


def _with_ports(start_raylet):
    """A node's daemon waits 15 seconds for its agents to write their ports to files: they are
    written before it starts.
    """

    def start(self, *given, **named):
        for name in PORTS:
            path = Path(self.get_session_dir_path()) / f"{name}_{self._node_id}"
            path.write_text(str(getattr(self._ray_params, name)))
        return start_raylet(self, *given, **named)

    return start


@contextmanager
def two_nodes():
    """A running cluster; its workers find the modules of the tests."""
    import ray
    from ray._private import node, services
    from ray.cluster_utils import Cluster

    before = dict(os.environ)
    os.environ.update(
        PYTHONPATH=os.pathsep.join([str(HERE.parents[1]), str(HERE.parents[2] / "lib")]),
        RAY_USAGE_STATS_ENABLED="0",
        RAY_worker_register_timeout_seconds="240",
        RAY_agent_register_timeout_ms="240000",
        # a node that is only slow is not dead
        RAY_health_check_timeout_ms="30000",
    )
    kept = services.get_node, node.Node.start_api_server, node.Node.start_raylet
    services.get_node = _patiently(services.get_node, 240)
    # the dashboard is not looked at, and takes a minute to start
    node.Node.start_api_server = lambda *_, **__: None
    node.Node.start_raylet = _with_ports(node.Node.start_raylet)
    cluster = None
    try:
        cluster = Cluster(initialize_head=True, head_node_args=_node())
        cluster.add_node(**_node())
        cluster.wait_for_nodes(timeout=240)
        yield cluster
    finally:
        ray.shutdown()
        if cluster is not None:
            cluster.shutdown()
        services.get_node, node.Node.start_api_server, node.Node.start_raylet = kept
        os.environ.clear()
        os.environ.update(before)


def workers_of(cluster):
    """Processes of actors that make shards, by the node of the cluster that they are on."""
    found = {}
    for place in cluster.list_all_nodes():
        raylet = place.all_processes["raylet"][0].process.pid
        with suppress(psutil.NoSuchProcess):
            found[place] = [
                child
                for child in psutil.Process(raylet).children(recursive=True)
                if "_Worker" in " ".join(_command(child))
            ]
    return found


def _command(process):
    with suppress(psutil.Error):
        return process.cmdline()
    return []


def wait_for(condition, seconds=900):
    """What the condition gives as soon as it is true; AssertionError if it never is."""
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, f"not within {seconds} seconds"
        time.sleep(0.05)
    return found
