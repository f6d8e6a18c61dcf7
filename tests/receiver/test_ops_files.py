"""The rules for Prometheus and the board for Grafana speak of numbers that /metrics really has."""

import json
import re
from collections import defaultdict

import pytest
import yaml

from receiver.ingest.receipts import ACKNOWLEDGED, NOT_STORED, REJECTED
from receiver.maintenance.rollup import roll_up_if_due
from receiver.queries.conditions import CODES, RUNBOOK
from receiver.registry import handles
from receiver.store.lifecycle import State
from receiver.web.workers import RESULTS
from tests.receiver import promtool
from tests.receiver.databases import postgresql_and_sqlite_in_long_runs
from tests.receiver.processes import ROOT

OPS = ROOT / "ops"
RULES, RULES_TEST, BOARD = OPS / "prometheus-rules.yml", OPS / "prometheus-rules-test.yml", OPS / "grafana-board.json"
VALUES = {
    "condition": {*CODES},
    "state": {*State},
    "result": {*ACKNOWLEDGED, REJECTED, NOT_STORED.result, *RESULTS},
}
"""What the labels that the files name may say."""
ON_ONE_DATABASE = {"sqlite": {"senang_database_connections"}, "postgresql": {"senang_disk_free_bytes"}}
"""What is left out there."""


def rules():
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def expressions():
    """Every expression of the two files, by where it stands."""
    panels = json.loads(BOARD.read_text())["panels"]
    found = {f"panel {panel['title']}": target["expr"] for panel in panels for target in panel["targets"]}
    return found | {f"rule {rule['alert']}": rule["expr"] for rule in rules()}


def used_by(expression):
    """The numbers that an expression reads, and what it says of their labels: names, and values by the name."""
    names = set(re.findall(r"\bsenang_\w+", expression))
    grouped = {name.strip() for names in re.findall(r"by \(([^)]*)\)", expression) for name in names.split(",")}
    chosen = dict(re.findall(r'(\w+)(?:=~|!=|=)"([^"]*)"', expression))
    return names, grouped | set(chosen), {label: set(values.split("|")) for label, values in chosen.items()}


@pytest.fixture
def scraped(environment, request, database):
    """The labels of each number, of a receiver to which all sorts of things have happened."""
    environment["METRICS_TOKEN"] = "a-token"
    app, deliver, work = map(request.getfixturevalue, ("app", "deliver", "work"))

    @handles("test.fails")
    def fails(event, session):
        raise ValueError

    for event_type in ("payment.success", "test.fails"):
        deliver(event_type)
    app.test_client().post("/webhooks/senang", data=b"{}")
    work()
    roll_up_if_due(request.getfixturevalue("inbox"))
    app.test_cli_runner().invoke(args=["events", "pause", "test.fails", "--reason", "the bank is down"])
    found = defaultdict(set)
    text = app.test_client().get("/metrics", headers={"Authorization": "Bearer a-token"}).text
    for name, labels in re.findall(r"^(senang_\w+)(?:\{(.*)\})? \S+$", text, re.M):
        found[name] |= set(re.findall(r'(\w+)="', labels))
    return found


@postgresql_and_sqlite_in_long_runs
def test_every_number_and_label_of_the_files_is_in_a_real_scrape(scraped, database):
    absent = ON_ONE_DATABASE["postgresql" if database.startswith("postgresql") else "sqlite"]
    wrong = []
    for where, expression in expressions().items():
        names, labels, values = used_by(expression)
        wrong += [(where, name) for name in names - set(scraped) - absent]
        known = set().union(*(scraped[name] for name in names if name in scraped))
        wrong += [(where, label) for label in labels - known if not names & absent]
        wrong += [(where, value) for label, said in values.items() for value in said - VALUES[label]]

    assert wrong == []


def test_each_condition_is_the_business_of_one_rule():
    conditions = [used_by(rule["expr"])[2].get("condition", set()) for rule in rules()]

    assert sorted(code for codes in conditions for code in codes) == sorted(CODES)


def test_each_rule_says_how_urgent_it_is_and_leads_to_a_paragraph_that_exists():
    runbook = (ROOT / RUNBOOK).read_text()
    places = [rule["annotations"].get("runbook", "") for rule in rules()]

    assert {rule["labels"]["severity"] for rule in rules()} == {"page", "ticket"}
    for place in places:
        assert not place or "$labels" in place or f"## {place.partition('#')[2]}\n" in runbook, place


def test_prometheus_itself_takes_the_rules_and_they_fire_when_they_should():
    promtool.run("check", "rules", str(RULES))
    promtool.run("test", "rules", str(RULES_TEST))


def test_each_rule_is_tried():
    tried = {case["alertname"] for test in yaml.safe_load(RULES_TEST.read_text())["tests"] for case in
             test["alert_rule_test"] if case.get("exp_alerts")}  # fmt: skip

    assert tried == {rule["alert"] for rule in rules()}
