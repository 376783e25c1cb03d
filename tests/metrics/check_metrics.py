#!/usr/bin/python3
"""Reads what print_metrics wrote to FOLDER with the parser of the Prometheus project, and compares it with what was
done (E3).

    check_metrics.py FOLDER
"""

import pathlib
import sys

try:
    from prometheus_client.openmetrics.parser import text_string_to_metric_families
except ImportError:
    sys.exit("python3-prometheus-client is missing: make deps")


def expected_values(folder):
    """{(metric, realm): value} of what was done."""
    values = {}
    for line in (folder / "expected.tsv").read_text(encoding="utf-8").split("\n")[:-1]:
        realm, metric, value = line.split("\t")
        values[metric, realm] = float(value)
    return values


def check_family(family):
    """A counter with a help text, whose samples have the one name and the one label that a counter of ours has."""
    assert family.type == "counter", f"{family.name} is a {family.type}"
    assert family.documentation.endswith("."), f"{family.name}: {family.documentation!r}"
    for sample in family.samples:
        assert sample.name == family.name + "_total", sample
        assert list(sample.labels) == ["realm"], sample
        assert sample.timestamp is None and sample.exemplar is None, sample


def read_values(folder):
    """{(metric, realm): value} as a reader has it. The parser itself refuses families that come in parts or twice,
    quotes that are not escaped, and what does not end with `# EOF`; of a sample that comes twice it says nothing."""
    text = (folder / "metrics.txt").read_bytes().decode("utf-8")
    values = {}
    for family in text_string_to_metric_families(text):
        check_family(family)
        for sample in family.samples:
            values[family.name, sample.labels["realm"]] = sample.value
    lines = sum(not line.startswith("#") for line in text.split("\n")[:-1])
    assert lines == len(values), f"{lines} samples of {len(values)} time series"
    return values


def main():
    folder = pathlib.Path(sys.argv[1])
    expected, read = expected_values(folder), read_values(folder)
    wrong = [
        f"{metric} of {realm!r}: {expected.get((metric, realm))} done, {read.get((metric, realm))} read"
        for metric, realm in sorted(expected.keys() | read.keys())
        if expected.get((metric, realm)) != read.get((metric, realm))
    ]
    if wrong:
        sys.exit("\n".join(wrong))
    print(f"{len(read)} values of {len({realm for _, realm in read})} realms")


if __name__ == "__main__":
    main()
