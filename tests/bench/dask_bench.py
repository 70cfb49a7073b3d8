"""Measures Dask distributed: one scheduler, two worker processes of one thread, defaults."""

import json
import statistics
import time


def same(number):
    return number


def add(a, b):
    return a + b


def tree(client, leaves):
    started = time.perf_counter()
    level = client.map(same, range(leaves), pure=False)
    while len(level) > 1:
        pairs = range(0, len(level), 2)
        level = [client.submit(add, level[n], level[n + 1], pure=False) for n in pairs]
    assert level[0].result() == leaves * (leaves - 1) // 2
    return (2 * leaves - 1) / (time.perf_counter() - started)


def chain(client, calls):
    started = time.perf_counter()
    last = client.submit(add, 0, 1, pure=False)
    for _ in range(1, calls):
        last = client.submit(add, last, 1, pure=False)
    assert last.result() == calls
    return calls / (time.perf_counter() - started)


def round_trip(client, value, **mode):
    started = time.perf_counter()
    future = client.scatter(value, hash=False, **mode)
    back = client.gather(future, **mode)
    took = time.perf_counter() - started
    assert len(back) == len(value)
    return took


def used_by_two(client, value, **mode):
    workers = list(client.scheduler_info()["workers"])
    started = time.perf_counter()
    future = client.scatter(value, hash=False, **mode)
    lengths = [client.submit(len, future, workers=[worker], pure=False) for worker in workers]
    assert client.gather(lengths) == [len(value)] * len(workers)
    return time.perf_counter() - started


def part(number):
    return bytes([number]) * (1 << 20)


def cut(value, number):
    size = len(value) // 32
    return value[number * size : (number + 1) * size]


def join(cuts):
    return b"".join(cuts)


def shuffle(client, number):
    """32 parts of 1 MiB, each cut in 32, the cuts of one number joined: as one graph."""
    parts = range(32)
    graph = {("part", number, p): (part, p) for p in parts}
    for p in parts:
        for c in parts:
            graph["cut", number, p, c] = (cut, ("part", number, p), c)
    for c in parts:
        graph["join", number, c] = (join, [("cut", number, p, c) for p in parts])
        graph["length", number, c] = (len, ("join", number, c))
    started = time.perf_counter()
    lengths = client.get(graph, [("length", number, c) for c in parts])
    assert lengths == [1 << 20] * 32
    return time.perf_counter() - started


def median_of(measure, count):
    return statistics.median(measure() for _ in range(count))


def data(client):
    import numpy

    large, shared = bytes(256 << 20), bytes(64 << 20)
    arrays = numpy.ones(256 << 20, dtype="u1"), numpy.ones(64 << 20, dtype="u1")
    return {
        "shuffle_s": statistics.median([shuffle(client, number) for number in range(6)][1:]),
        "round_trip_s": median_of(lambda: round_trip(client, large), 3),
        "round_trip_best_s": median_of(lambda: round_trip(client, arrays[0], direct=True), 5),
        "used_by_two_s": median_of(lambda: used_by_two(client, shared), 3),
        "used_by_two_best_s": median_of(lambda: used_by_two(client, arrays[1], direct=True), 5),
    }


def main():
    from distributed import Client, LocalCluster

    started = time.perf_counter()
    cluster = LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None)
    client = Client(cluster)
    assert client.submit(same, -1).result() == -1
    start_s = time.perf_counter() - started

    rates = []
    for _ in range(3):
        calls = 10_000
        started = time.perf_counter()
        results = client.gather(client.map(same, range(calls), pure=False))
        rates.append(calls / (time.perf_counter() - started))
        assert results == list(range(calls))

    samples = []
    for number in range(200):
        started = time.perf_counter()
        client.submit(same, number, pure=False).result()
        samples.append((time.perf_counter() - started) * 1e3)
    trees = [tree(client, 4_096) for _ in range(3)]
    chains = [chain(client, 2_000) for _ in range(3)]
    moved = data(client)
    client.close()
    cluster.close()
    print(
        json.dumps(
            {
                "calls_per_s": statistics.median(rates),
                "latency_ms": statistics.median(samples),
                "start_s": start_s,
                "tree_calls_per_s": statistics.median(trees),
                "chain_calls_per_s": statistics.median(chains),
                **moved,
            }
        )
    )


if __name__ == "__main__":
    main()
