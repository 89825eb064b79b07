"""The benchmark's report: medians, ratios, what is said of the targets, the page it is written into."""

import json
from xml.etree import ElementTree

import pytest
from bench.whole import million, plot, report
from bench.whole.cases import CASES
from bench.whole.ends import Sample, arriving, last_count, smtp_source, source
from bench.whole.relays import POSTFIX, Directory

OURS = "fastrelay, 2 workers"


def result(case: str = "reuse", cpu: float = 0.1, delivered: float = 6000.0) -> report.Result:
    postfix = [Sample(700, 600, 2.0, 120), Sample(900, 800, 2.4, 130), Sample(800, 700, 2.2, 125)]
    ours = [Sample(delivered + n, delivered + n, cpu, 60) for n in (-100, 0, 100)]
    return report.Result(case, {POSTFIX: postfix, OURS: ours})


def test_bench_report_shows_median_and_spread():
    assert report.spread(result().samples[POSTFIX], "cpu_ms") == "2.20 (2.00 to 2.40)"
    assert report.spread(result().samples[POSTFIX][:1], "delivered") == "600"
    assert report.spread(result().samples[POSTFIX], "p99") == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [(12345.6, "12,346"), (99.96, "100.0"), (12.34, "12.3"), (1.234, "1.23"), (0.1, "0.100")],
)
def test_bench_report_numbers_have_three_digits(value: float, text: str):
    assert report.number(value) == text


def test_bench_report_ratios_are_those_of_medians():
    found = result()
    assert found.ratio(OURS, "cpu_ms") == pytest.approx(0.1 / 2.2)
    cells = report.row(found, OURS).split("|")
    assert [cell.strip() for cell in cells[-3:-1]] == ["22.0", "8.6"]
    assert report.row(found, POSTFIX).endswith("|  |  |")


def test_bench_report_without_postfix_has_no_ratio():
    alone = report.Result("reuse", {OURS: result().samples[OURS]})
    assert alone.ratio(OURS, "cpu_ms") is None
    assert report.row(alone, OURS).endswith("|  |  |")


def test_bench_report_shows_what_the_ends_allow():
    found = result()
    found.samples[report.NO_RELAY] = [Sample(9000, 9000)]
    row = report.row(found, report.NO_RELAY)
    assert row.endswith("| none: source to sink | 9,000 | 9,000 |  |  |  |  |")


def test_bench_report_table_has_as_many_cells_everywhere():
    lines = report.table([result(), result("one")]).splitlines()
    assert len(lines) == 6
    assert {line.count("|") for line in lines} == {9}


def test_bench_report_claims_a_target_only_when_it_was_measured_and_reached():
    said = report.targets([result(cpu=0.1)], OURS)
    assert "| 1/20 of Postfix's | 1/22.0 | yes |" in said
    assert "half load" not in said
    assert "one message a connection" not in said
    assert "| 1/20 of Postfix's | 1/11.0 | no |" in report.targets([result(cpu=0.2)], OURS)
    assert "| 5,000 | 4,000 | no |" in report.targets([result(delivered=4000.0)], OURS)
    assert report.targets([result()], "fastrelay, 7 workers") == ""


def test_bench_report_compares_tables_with_none():
    results = [result("no-tables", cpu=0.100), result("tables", cpu=0.115)]
    assert "| +15.0% | no |" in report.targets(results, OURS)


def test_bench_report_times_are_shown_of_cases_that_have_them():
    assert report.times_table([result()]) == ""
    timed = report.Result("half-load", {OURS: [Sample(100, 100, 0.1, 50, 0.2, 100.0, 1.5, 25.0)]})
    assert "| 1.50 | 25.0 |" in report.times_table([timed])
    assert "| 25.0 ms | no |" in report.targets([timed], OURS)


def test_bench_report_history_keeps_every_sample():
    [line] = report.history_lines([result()], {"commit": "abc"})
    assert json.loads(json.dumps(line)) == line
    assert (line["commit"], line["case"]) == ("abc", "reuse")
    assert line["relays"][POSTFIX]["cpu_ms"] == [2.0, 2.4, 2.2]
    assert "p99" not in line["relays"][POSTFIX]


def test_bench_report_writes_between_its_marks_only():
    mark = report.BEGIN.format("more")
    before = f"above\n{report.BEGIN.format('main')}{report.END}"
    page = f"{before}{mark}old\n{report.END}below\n"
    made = report.put_between(page, "more", "new\n")
    assert made == f"{before}{mark}\nnew\n\n{report.END}below\n"
    assert report.put_between(made, "more", "new\n") == made
    with pytest.raises(ValueError, match="no marks"):
        report.put_between(made, "less", "new\n")


def test_bench_ends_reads_the_last_whole_counter():
    assert last_count(b"sess=1 quit=0 mesg=9\rsess=1 quit=0 mesg=12\rsess=1 quit=0 mesg=1") == 12
    assert last_count(b"") == 0


def test_bench_ends_makes_the_load_that_the_case_names():
    words = smtp_source(CASES["recipients"], 25, 77)
    assert words[words.index("-r") + 1] == "50"
    assert words[words.index("-m") + 1] == "77"
    assert "-d" in words
    assert "-N" not in words
    assert "-d" not in smtp_source(CASES["one"], 25, 77)
    assert "-N" in smtp_source(CASES["tables"], 25, 77)


def test_bench_cases_fit_their_tables():
    """Each numbered recipient is in the table, after the warm-up's too."""
    case = CASES["tables"]
    assert max(case.count("fastrelay", 1.0), case.warm_up) < case.entries


def test_bench_cases_give_a_fixed_rate_the_same_messages():
    assert CASES["same-rate"].count("fastrelay", 0.5) == CASES["same-rate"].count(POSTFIX, 0.5) == 500
    assert CASES["reuse"].count("fastrelay", 0.5) == 5 * CASES["reuse"].count(POSTFIX, 0.5)


def test_bench_cases_with_many_next_hops_give_each_message_a_domain(tmp_path):
    case = CASES["destinations"]
    directory = Directory(case, 25, 26, 2000)
    hops = dict(line.split() for line in directory.next_hops())
    assert len(hops) == 2000 and len(set(hops.values())) == case.destinations
    slow = [hop for hop in hops.values() if hop.endswith(":26")]
    assert len(slow) == 2000 * case.slow // 100
    assert arriving(case, 2000) == 1899
    words = source(case, 25, 10)
    assert words[words.index("--to") + 1] == "user@d%d.there.example"


def test_bench_cases_count_what_a_sink_takes():
    assert arriving(CASES["late"], 1000) == 899
    assert arriving(CASES["reuse"], 1000) == 1000
    assert "--pipelining" in source(CASES["pipelined"], 25, 10)


def test_bench_report_compares_many_messages_with_few():
    results = [result("reuse", cpu=0.100), result("many", cpu=0.105)]
    assert "| +5.0% | yes |" in report.targets(results, OURS)


def test_bench_plot_has_a_bar_for_each_median():
    drawn = plot.plot([result(), result("one")])
    ElementTree.fromstring(drawn)
    assert drawn.count("fill='#b0b8c4'") == 1 + 2 * 2  # Postfix: in the legend, and twice a case
    assert ">2.20<" in drawn and ">6,000<" in drawn


def test_pairs_are_compared_one_by_one():
    pairs = [(0.1, 0.11), (0.2, 0.2), (0.4, 0.44), (0.2, 0.18)]
    assert million.row("waiting", pairs) == "| waiting | 0.200 | 0.190 | +5.0% (+0.0% to +10.0%) |"
