"""Measures Dask distributed: one scheduler, two worker processes of one thread, defaults."""

import json
import statistics
import time


def same(number):
    return number


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
    client.close()
    cluster.close()
    print(
        json.dumps(
            {
                "calls_per_s": statistics.median(rates),
                "latency_ms": statistics.median(samples),
                "start_s": start_s,
            }
        )
    )


if __name__ == "__main__":
    main()
