"""bench.json and growth.json as columns that gnuplot reads.

    columns.py FOLDER-OF-JSON FOLDER-FOR-COLUMNS

SPDX-License-Identifier: MIT
"""
import json
import os
import sys


def number(x):
    if x >= 1e6:
        return f"{x / 1e6:.3g}M"
    if x >= 1e4:
        return f"{x / 1e3:.3g}k"
    return f"{x:.0f}" if x >= 100 else f"{x:.3g}"


def quoted(text):
    return '"' + text.replace('"', "'") + '"'


def write(path, rows):
    with open(path, "w", encoding="utf-8") as file:
        for row in rows:
            file.write("\t".join(row) + "\n")


def read(path):
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def beside_raw(bench):
    for figure in reversed(sorted(bench["figures"], key=lambda f: int(f["id"][2:]))):
        if figure["goal_is"] == "ratio at least" and figure["raw"]["what"] != "with fewer threads":
            yield [quoted(f"{figure['id']}  {figure['name']}"), f"{figure['ratio']:.4f}", f"{figure['goal']:.4f}",
                   quoted(f"{number(figure['ours']['median'])} of {number(figure['raw']['median'])} a second")]


def caption(run, sessions):
    machine = run["machine"]
    openssl = " ".join(machine["openssl"].split()[:2])
    return f"{sessions}libofflinetok {run['version']}, {run['date'][:10]}; {machine['cores']} cores of " \
           f"{machine['cpu'].replace('(R)', '')}, {machine['file_system']}, {openssl}, {machine['lmdb'].split(':')[0]}"


def main():
    recorded, out = sys.argv[1:]
    bench, growth = (read(os.path.join(recorded, name)) for name in ("bench.json", "growth.json"))
    if bench is not None:
        write(os.path.join(out, "bench.txt"), [[caption(bench, f"{bench['sessions']:,} sessions; ")]])
        write(os.path.join(out, "beside.dat"), beside_raw(bench))
        write(os.path.join(out, "threads.dat"),
              [[f"{p[k]:.6g}" for k in ("threads", "plain", "signing", "raw")] for p in bench["threads"]])
    if growth is not None:
        write(os.path.join(out, "growth.txt"), [[caption(growth, "")]])
        names = ("sessions", "kept_us", "rotated_us", "page_of_subject_us", "page_of_client_us", "count_us",
                 "cutoff_us", "sweep_us", "open_us", "bytes", "resident_mib")
        write(os.path.join(out, "growth.dat"), [[f"{p[k]:.6g}" for k in names] for p in growth["points"]])


main()
