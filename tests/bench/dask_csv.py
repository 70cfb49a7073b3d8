"""Scans a CSV with Dask DataFrame: late flights by carrier, on two worker processes of one thread."""

import json
import statistics
import sys
import time

ROUNDS = 7


def scan(path, minutes, **options):
    import dask.dataframe as dd

    started = time.perf_counter()
    flights = dd.read_csv(path, assume_missing=True, **options)
    late = flights[flights.dep_delay > minutes]
    found = late.groupby("carrier").dep_delay.agg(["count", "sum", "max"]).compute()
    return time.perf_counter() - started, found


def main():
    from distributed import Client, LocalCluster

    path, minutes = sys.argv[1], float(sys.argv[2])
    cluster = LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None)
    client = Client(cluster)
    columns = {"usecols": ["carrier", "dep_delay"]}
    forms = [{}, columns, {**columns, "blocksize": 8_000_000}, {**columns, "blocksize": 16_000_000}]
    medians = []
    for options in forms:
        _, found = scan(path, minutes, **options)
        rounds = [scan(path, minutes, **options)[0] for _ in range(ROUNDS)]
        medians.append(statistics.median(rounds))
    rows = found.to_dict("index").items()
    late = {carrier: [int(row["count"]), row["sum"], row["max"]] for carrier, row in rows}
    client.close()
    cluster.close()
    print(json.dumps({"default_s": medians[0], "best_s": min(medians[1:]), "late": late}))


if __name__ == "__main__":
    main()
