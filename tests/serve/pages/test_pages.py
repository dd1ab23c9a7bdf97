"""The pages in Chromium, on made-up runs: what is seen, by whom, and what happens meanwhile."""

import re

import httpx
import pytest
from playwright.sync_api import expect

from probe.serve.states import State

from .accessible import faults
from .conftest import EVIL, PHONE, TOKEN, made_up

PAGES = (
    "/", "/?state=lost&kind=ood", "/submit", "/runs/waits", "/runs/runs", "/runs/one", "/runs/broke", "/runs/other",
    "/compare?runs=one,two", "/compare?runs=one&runs=other", "/compare", "/board?sort=d", "/login", "/runs/absent",
    "/nowhere",
)  # fmt: skip
CONTEXTS = {"light": {}, "dark": {"color_scheme": "dark"}, "phone": {"viewport": PHONE, "color_scheme": "dark"}}


@pytest.mark.parametrize("look", CONTEXTS)
def test_every_page_can_be_used_by_everybody(serve, browse, look):
    server = serve()
    page = browse(server, **CONTEXTS[look])
    found = {}
    for path in PAGES:
        page.goto(server.url + path)
        page.evaluate("document.querySelectorAll('main details').forEach((one) => { one.open = true; })")
        found[path] = faults(page)
    assert {path: one for path, one in found.items() if one} == {}


def test_the_theme_is_kept(serve, browse):
    server = serve()
    page = browse(server)
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_label("Theme").select_option("dark")
    page.goto(server.url + "/board")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (light, dark) == ("rgb(251, 250, 248)", "rgb(22, 24, 28)")
    assert faults(page) == []
    page.get_by_label("Theme").select_option("system")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == light


def test_text_of_runs_is_only_text(serve, browse):
    server = serve()
    page = browse(server)
    for path in ("/", "/runs/waits", "/runs/broke", "/board"):
        page.goto(server.url + path)
        expect(page.locator("main").get_by_text(EVIL).first).to_be_visible()
    page.goto(server.url + "/runs/runs")
    expect(page.locator("#log")).to_contain_text(EVIL)
    assert page.evaluate("window.evil") is None


def test_the_list_follows_its_runs_and_keeps_what_the_reader_does(serve, browse):
    server = serve()
    page = browse(server)
    page.get_by_label("Compare one").check()
    page.get_by_role("link", name="runs", exact=True).focus()
    said = page.evaluate_handle("""() => {
      const all = [], node = document.getElementById("said");
      new MutationObserver(() => all.push(node.textContent)).observe(node, { childList: true });
      return all;
    }""")
    now = server.made.rows["runs"].progress
    for done in (200.0, 300.0):
        server.made.change("runs", progress={**now, "done": done})
        expect(page.locator("#progress-runs")).to_contain_text(f"{done:.0f} of 512")
    server.made.change("runs", state=State.DONE, progress=None)
    server.made.rows = {"newest": made_up("newest", State.QUEUED), **server.made.rows}
    server.made.rev += 1
    expect(page.locator("#state-runs")).to_have_text("done")
    expect(page.get_by_label("Compare runs")).to_be_visible()
    expect(page.locator("[data-rows] tr").first).to_contain_text("newest")
    expect(page.get_by_label("Compare one")).to_be_checked()
    assert page.evaluate("document.activeElement.id") == "link-runs"
    assert said.json_value() == ["runs: done"]  # progress is not read out


def test_times_are_local_and_their_titles_utc(serve, browse):
    page = browse(serve(), timezone_id="Asia/Tokyo", locale="en-GB")
    time = page.locator("#run-one time")
    expect(time).to_have_text(re.compile("27 Nov 2026, 20:30"))
    expect(time).to_have_attribute("title", "2026-11-27 11:30:05 UTC")


def test_filters_and_pages_are_links_and_queries(serve, browse):
    server = serve()
    page = browse(server)
    page.get_by_label("State").select_option("done")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("[data-rows] tr")).to_have_count(3)
    assert "state=done" in page.url
    page.get_by_label("Model").fill("nothing")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_text("No run fits this filter.")).to_be_visible()
    page.get_by_role("link", name="Show all", exact=True).click()
    expect(page.get_by_role("link", name="Older runs")).to_have_attribute("href", "/?cursor=next")


def test_an_empty_list_says_what_to_do_and_shows_the_first_run(serve, browse):
    server = serve()
    rows, server.made.rows = server.made.rows, {}
    page = browse(server)
    expect(page.get_by_role("heading", name="No runs yet")).to_be_visible()
    server.made.rows = rows
    server.made.rev += 1
    expect(page.locator("[data-rows] tr")).to_have_count(len(rows))


def test_form_and_yaml_are_one_configuration(serve, browse):
    server = serve()
    page = browse(server, "/submit")
    page.get_by_text("Advanced: the whole configuration").click()
    yaml = page.get_by_label("Configuration in YAML")
    state = page.locator("#yaml-state")
    expect(state).to_have_text("Valid: the configuration of a run.")
    yaml.fill("model: {source: embedded:cifar-attractors, dtype: float64}\nresolution: 64\ndatasets: {retina: }\n")
    expect(page.get_by_label("Resolution")).to_have_value("64")
    expect(page.get_by_label("retina")).to_be_checked()
    expect(page.get_by_label("photographs")).not_to_be_checked()
    page.get_by_label("Starts").fill("12")
    page.get_by_label("digits").check()
    expect(yaml).to_have_value(
        "model:\n  source: embedded:cifar-attractors\n  dtype: float64\nresolution: 64\n"
        "datasets:\n  retina:\n  digits:\nseeds:\n  count: 12\n"
    )
    page.get_by_label("Name").fill("mine")
    page.get_by_label("Starts").fill("13")
    page.get_by_role("button", name="Submit", exact=True).click()  # before the answer to the last change
    expect(page.get_by_role("heading", level=1)).to_have_text("mine")
    ((_, asked),) = server.made.asked
    assert asked.name == "mine"
    assert asked.settings["seeds"] == {"count": 13}
    assert asked.settings["model"]["dtype"] == "float64"


def test_mistakes_stand_beside_their_lines(serve, browse):
    page = browse(serve(), "/submit", viewport={"width": 1200, "height": 1800})
    page.get_by_text("Advanced: the whole configuration").click()
    yaml = page.get_by_label("Configuration in YAML")
    yaml.fill("resolution: 32\nseeds:\n  cuont: 12\nsolver:\n  max_steps: -1\n")
    notes = page.get_by_role("list", name="Mistakes in the YAML").get_by_role("button")
    expect(notes).to_have_text([re.compile("^Line 3: .*did you mean 'count'"), re.compile("^Line 5: .*greater than")])
    for line, note in ((3, notes.first), (5, notes.last)):
        number = page.locator(".numbers > *").nth(line - 1).bounding_box()
        assert abs(note.bounding_box()["y"] - number["y"]) < 60
    expect(yaml).to_have_attribute("aria-invalid", "true")
    notes.first.press("Enter")
    assert page.evaluate("document.getSelection().toString()") == "  cuont: 12"
    page.get_by_role("button", name="Submit this YAML").click()
    expect(page.get_by_role("alert")).to_contain_text("This was not submitted:")
    expect(page.get_by_role("alert")).to_be_focused()
    expect(yaml).to_have_value(re.compile("cuont"))
    expect(notes).to_have_count(2)  # the same text came back
    page.get_by_role("button", name="Submit this YAML").click()
    expect(notes).to_have_count(2)
    yaml.fill("study: bottleneck\n")
    expect(page.get_by_text("This YAML is not the configuration of a run")).to_be_visible()
    expect(page.get_by_label("Resolution")).to_be_disabled()


def test_a_run_is_cancelled_resumed_and_deleted_with_the_keyboard(serve, browse):
    server = serve(token=TOKEN)
    page = browse(server, "/runs/runs")

    def press(name: str) -> None:
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.textContent.trim()") == name:
                box = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
                assert box == "solid"  # the focus is seen
                return page.keyboard.press("Enter")
        raise AssertionError(f"{name} is not reached")

    press("Cancel")
    assert server.made.asked == []  # it asks first
    press("Yes, cancel it")
    expect(page.locator("#state .state")).to_have_text("stopping")
    server.made.change("runs", state=State.CANCELLED)
    expect(page.get_by_text("Resume", exact=True)).to_be_visible()
    press("Resume")
    press("Yes, resume it")
    expect(page.locator("#state .state")).to_have_text("queued")
    page.goto(server.url + "/runs/gone")
    press("Delete")
    press("Yes, delete it")
    page.wait_for_url(server.url + "/")
    assert server.made.asked == [("cancel", "runs"), ("resume", "runs"), ("delete", "gone")]
    assert page.get_by_role("link", name="gone").count() == 0


def test_a_finished_run_shows_its_report_which_stays_in_its_box(serve, browse):
    server = serve(token=TOKEN)
    page = browse(server, "/runs/runs")
    expect(page.locator("iframe")).to_have_count(0)
    (server.made.folders / "runs" / "report" / "report.html").write_text("x")
    server.made.change("runs", state=State.DONE, progress=None)
    expect(page.frame_locator("iframe").get_by_role("heading")).to_have_text("Report that runs")
    assert page.locator("iframe").get_attribute("sandbox") == "allow-scripts"
    assert page.frames[1].evaluate("self.origin") == "null"
    expect(page.get_by_role("link", name="Open the report alone")).to_have_attribute(
        "href", "/v1/runs/runs/report.html"
    )
    assert page.title().startswith("runs (done)")


def test_runs_are_compared_or_refused(serve, browse):
    page = browse(serve())
    page.get_by_label("Compare one").check()
    page.get_by_label("Compare two").check()
    page.get_by_role("button", name="Compare ticked runs").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Compare one with two")
    expect(page.frame_locator("iframe").get_by_role("heading")).to_have_text("Report that runs")
    page.go_back()
    page.get_by_label("Compare other").check()
    page.get_by_role("button", name="Compare ticked runs").click()
    expect(page.get_by_role("alert")).to_contain_text("different resolutions (32 and 64)")
    assert page.locator("iframe").count() == 0


def test_the_leaderboard_sorts_by_its_headings(serve, browse):
    page = browse(serve(), "/board", java_script_enabled=False)
    first = page.locator(".board tbody th")
    expect(first).to_have_text(["one", "two", "third"])
    page.get_by_role("link", name="d", exact=True).click()
    expect(page.get_by_role("columnheader", name="d", exact=True)).to_have_attribute("aria-sort", "descending")
    expect(first).to_have_text(["two", "one", "third"])
    page.get_by_role("link", name="d", exact=True).click()
    expect(page.get_by_role("columnheader", name="d", exact=True)).to_have_attribute("aria-sort", "ascending")
    expect(first).to_have_text(["third", "one", "two"])
    page.get_by_role("link", name="to random").click()
    expect(first).to_have_text(["one", "two", "third"])
    expect(page.get_by_text("No rank for third: It has no errors.")).to_be_visible()
    expect(page.get_by_role("region", name="Refused")).to_contain_text("broke: It is no run")


def test_without_a_script_runs_are_submitted_watched_and_ended(serve, browse):
    server = serve(token=TOKEN)
    page = browse(server, "/submit", java_script_enabled=False)
    page.get_by_label("Starts").fill("14")
    page.get_by_label("Executor").select_option("slurm")
    page.get_by_role("button", name="Submit", exact=True).click()
    expect(page.locator("#state .state")).to_have_text("queued")
    page.get_by_text("Cancel", exact=True).click()
    page.get_by_role("button", name="Yes, cancel it").click()
    expect(page.locator("#state .state")).to_have_text("stopping")
    ((_, asked), _) = server.made.asked
    assert (asked.settings["seeds"], asked.executor) == ({"count": 14}, "slurm")
    expect(page.locator("time").first).to_have_text(re.compile("2026-11-27 11:30 UTC"))


def test_below_a_sub_path_every_link_stays_there(serve, browse):
    server = serve(root_path="/lab/probe")
    page = browse(server)
    links = set()
    for path in ("/", "/submit", "/runs/runs", "/runs/one", "/compare?runs=one,two", "/board", "/login"):
        page.goto(server.url + path)
        links |= set(
            page.evaluate("""() => [...document.querySelectorAll("main *, header *, head *")].flatMap((one) =>
              ["href", "src", "action", "data-events", "data-log", "data-check"].map((name) => one.getAttribute(name))
            ).filter((one) => one)""")
        )
    assert [link for link in links if not link.startswith(("/lab/probe/", "#"))] == []
    page.goto(server.url + "/")
    server.made.change("runs", state=State.DONE)
    expect(page.locator("#state-runs")).to_have_text("done")


def test_a_wrong_token_is_told_and_the_right_one_leads_where_one_wanted_to_go(serve, browse):
    server = serve(token=TOKEN)
    page = browse(server, "/board?sort=d")
    assert page.url == f"{server.url}/board?sort=d"
    page.get_by_role("button", name="Log out").click()
    page.get_by_label("Token").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_label("Token")).to_have_accessible_description(re.compile("This is not the token"))
    assert faults(page) == []


def test_a_page_asks_for_no_script_or_style_inline(serve):
    server = serve()
    for path in PAGES:
        answer = httpx.get(server.url + path)
        assert "style=" not in answer.text, path
        assert re.findall(r"<script(?! src=)|<style|\son\w+=", answer.text.replace("onerror=", "")) == [], path
        assert "script-src 'self'" in answer.headers["content-security-policy"]
        assert answer.status_code == {"/runs/absent": 404, "/nowhere": 404, "/compare": 422}.get(
            path, 422 if "other" in path and "compare" in path else 200
        )
