"""The page of `explore` in a real browser: everything that a person does with it."""

import re
import shutil
import time
from contextlib import contextmanager

import browser
import pytest
import soundfile as sf
from helpers import ROOT
from PIL import Image

import speechasym
from speechasym.annotations.textgrid import read_textgrid, write_textgrid

playwright = pytest.importorskip(
    "playwright.sync_api", reason="no playwright here: pip install 'speechasym[test]'"
)
expect = playwright.expect  # waits until it is so
expect.set_options(timeout=20_000)
CHROMIUM = browser.chromium()
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium here: install Debian's chromium-headless-shell"
)
SPOKEN = ROOT / "data" / "librivox-austen-0880.flac"
WORDS = [(0.2, 0.35, "he"), (0.35, 0.55, "was"), (0.55, 0.8, "not"), (1.0, 1.1, "")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Recordings: one with labels, one to delete, one that is broken."""
    folder = tmp_path_factory.mktemp("recordings")
    shutil.copy(SPOKEN, folder / "spoken.flac")
    write_textgrid(folder / "spoken.TextGrid", {"words": WORDS}, 2.99)
    for name in ("gone.wav", "other.wav"):
        shutil.copy(ROOT / "data" / "goforward.wav", folder / name)
    (folder / "broken.wav").write_bytes(b"RIFF, it says" * 9)
    return folder


@pytest.fixture(scope="module")
def explorer(folder):
    with speechasym.explore(folder, browser=False) as explorer:
        yield explorer


@pytest.fixture(scope="module")
def chromium():
    with playwright.sync_playwright() as p:
        flags = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        started = p.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield started
        started.close()


@pytest.fixture
def tab(chromium, explorer):
    """Opens a page, drawn; fails at the end if it wrote errors that were not expected."""
    with tabs(chromium) as open_tab:
        yield lambda name="spoken.flac", **options: open_tab(explorer, name, **options)


@contextmanager
def tabs(chromium):
    contexts, messages = [], []

    def open_tab(explorer, name="spoken.flac", extra="&p=waveform;gammatone", **options):
        context = chromium.new_context(**({"viewport": {"width": 1300, "height": 900}} | options))
        contexts.append(context)
        context.set_default_timeout(60_000)  # the first tile compiles the kernels
        page = context.new_page()
        page.messages = messages
        page.on("console", lambda m: messages.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: messages.append(str(error)))
        number = next(r.id for r in explorer.session.recordings if r.name == name)
        page.goto(f"{explorer.address}#r={number}{extra}")
        drawn(page)
        return page

    yield open_tab
    for context in contexts:
        context.close()
    assert messages == []


def drawn(page):
    """Wait until everything in view is exact."""
    page.wait_for_selector("main[aria-busy=false]")


def until(page, condition):
    """Wait for a condition in JavaScript; the page's policy forbids `wait_for_function`."""
    end = time.monotonic() + 60
    while not page.evaluate(condition):
        assert time.monotonic() < end, condition
        page.wait_for_timeout(20)


def view(page, before=None):
    """From and to of what is in view in s, as the address says; another one than `before`."""
    hash_ = "new URLSearchParams(location.hash.slice(1)).get('t')"
    if before is not None:
        text = "-".join(f"{time:g}" for time in before)
        until(page, f"{hash_} !== {text!r}")
    drawn(page)
    return tuple(map(float, page.evaluate(hash_).split("-")))


@contextmanager
def redrawn(page, kind):
    """Wait until what is done inside has changed a panel's picture."""
    data = f"document.querySelector('.panel.{kind} canvas').toDataURL()"
    page.evaluate(f"window.before = {data}")
    yield
    until(page, f"{data} !== window.before")
    drawn(page)


def plot_of(page, kind):
    box = page.locator(f".panel.{kind} .plot").bounding_box()
    left = 70  # the gutter
    return box["x"] + left, box["y"], box["width"] - left - 10, box["height"]


def test_it_loads_zooms_and_pans(tab):
    page = tab(extra="")  # the usual panels
    assert page.locator(".panel.units, .panel.asymmetry").count() == 2
    assert page.title() == "spoken.flac | speechasym explore"
    assert page.locator("#recordings button").count() == 4
    assert "2.99 s" in page.locator("#about").inner_text()
    x, y, width, height = plot_of(page, "gammatone")
    page.mouse.move(x + width / 2, y + height / 2)
    whole = view(page)
    page.mouse.wheel(0, -480)
    near = view(page, whole)
    assert near[1] - near[0] == pytest.approx((whole[1] - whole[0]) / 4, rel=0.01)
    assert sum(near) / 2 == pytest.approx(sum(whole) / 2, abs=0.01)  # the pointer's time stays
    page.keyboard.press("ArrowRight")
    right = view(page, near)
    assert right[0] == pytest.approx(near[0] + 0.1 * (near[1] - near[0]), abs=1e-3)
    page.keyboard.press("Home")
    first = view(page, right)
    assert first[0] == 0
    for _ in range(10):
        page.keyboard.press("+")
    close = view(page, first)
    assert close[1] - close[0] < 0.02  # 20 ms: single samples
    page.reload()
    drawn(page)
    assert view(page) == close
    page.keyboard.press("0")
    assert view(page, close) == whole
    assert "Hz" in page.evaluate(READ)


READ = """(() => {
  const plot = document.querySelector(".panel.gammatone .plot");
  const box = plot.getBoundingClientRect();
  const at = {clientX: box.x + 300, clientY: box.y + 40, bubbles: true, pointerId: 7};
  plot.dispatchEvent(new PointerEvent("pointermove", at));
  return document.getElementById("read-out").textContent;
})()"""


def test_values_are_read_by_keyboard_and_announced(tab):
    page = tab()
    page.locator(".panel.gammatone .plot").focus()
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowUp")
    until(page, "document.getElementById('said').textContent.includes('Hz')")
    said = page.locator("#said").inner_text()
    assert " s · " in said and "dB" in said
    page.keyboard.press("[")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("]")
    expect(page.locator("#range")).to_contain_text("selected")
    page.keyboard.press("Escape")
    expect(page.locator("#range")).not_to_contain_text("selected")


def test_a_selection_is_played_at_quarter_speed(tab):
    page = tab()
    x, y, width, height = plot_of(page, "waveform")
    page.mouse.move(x + 0.2 * width, y + height / 2)
    page.mouse.down()
    page.mouse.move(x + 0.3 * width, y + height / 2, steps=4)
    page.mouse.up()
    page.select_option("#speed", "0.25")
    page.locator("#loop").check()
    page.locator("#panels").focus()
    page.keyboard.press(" ")
    until(page, "document.getElementById('sound').currentTime > 0")
    sound = page.evaluate(
        "(({duration, playbackRate, preservesPitch}) => [duration, playbackRate, preservesPitch])"
        "(document.getElementById('sound'))"
    )
    assert sound == [pytest.approx(0.299, abs=0.01), 0.25, True]
    expect(page.locator("#play")).to_have_text("Stop")
    page.keyboard.press("Escape")
    expect(page.locator("#play")).to_have_text("Play")


def test_a_parameter_changes_the_picture_and_the_address(tab):
    page = tab()
    channels = page.locator(".panel.gammatone select").first
    with redrawn(page, "gammatone"):
        channels.select_option("32")
    page.locator("#look summary").click()
    with redrawn(page, "gammatone"):
        page.select_option("#palette", "magma")
    page.locator("#add button[data-kind=spectrogram]").click()
    expect(page.locator(".panel.spectrogram .ramps")).to_contain_text("dB")
    until(page, "location.hash.includes('channels:32;spectrogram')")
    page.reload()
    drawn(page)
    expect(page.locator(".panel.spectrogram")).to_have_count(1)
    expect(channels).to_have_value("32")
    assert channels.input_value() == "32"


def saved(page, item):
    page.locator("#save summary").click()
    with page.expect_download() as download:
        page.locator(f"#save-items button[data-save={item}]").click()
    return download.value


def test_picture_table_and_sound_are_saved(tab, tmp_path):
    page = tab()
    picture = saved(page, "picture")
    assert picture.suggested_filename == "spoken_0.00-2.99.png"
    picture.save_as(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert image.width > 1500 and len(image.getcolors(1 << 24)) > 50
    table = saved(page, "gammatone")
    lines = table.path().read_text().splitlines()
    assert len(lines) > 100 and "time" in lines[0]
    sound = saved(page, "sound")
    assert sf.info(sound.path(), verbose=False).frames == pytest.approx(2.99 * 16000, abs=200)


def test_labels_are_corrected_and_saved_as_a_new_textgrid(tab, folder):
    page = tab()
    words = page.locator(".tier.hand .lane button:not(.empty)")
    expect(words).to_have_count(3)
    words.nth(1).dblclick()
    page.locator("#label").fill("wasn't")
    page.keyboard.press("Enter")
    expect(words.nth(1)).to_have_text("wasn't")
    start = page.locator(".edit input[type=number]").first
    expect(start).to_have_value("0.3500")
    start.fill("0.4")  # a shared border moves both
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Split in the middle").click()
    page.locator("#label").fill("not")
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowRight")  # to the second half, which has no label yet
    page.keyboard.press("F2")
    page.keyboard.type("yet")
    page.keyboard.press("Enter")
    expect(words).to_have_text(["he", "not", "yet", "not"])
    page.keyboard.press("ArrowLeft")
    page.get_by_role("button", name="Merge with next").click()
    expect(words).to_have_text(["he", "not yet", "not"])
    page.get_by_role("button", name="Undo").click()
    page.keyboard.press("Control+z")
    expect(words).to_have_text(["he", "not", "not"])
    words.nth(2).focus()
    page.keyboard.press("Delete")
    expect(words).to_have_text(["he", "not"])
    expect(page.locator("#tiers")).to_contain_text("Not saved")
    page.get_by_role("button", name="Save as new TextGrid").click()
    page.wait_for_selector("#alerts .done")
    new = read_textgrid(folder / "spoken.corrected.TextGrid")["words"]
    kept = [(round(a, 3), round(b, 3), label) for a, b, label in new if label]
    assert kept == [(0.2, 0.4, "he"), (0.4, 0.475, "not")]
    old = read_textgrid(folder / "spoken.TextGrid")["words"]
    assert [label for *_, label in old if label] == ["he", "was", "not"]


def test_a_border_is_dragged(tab):
    page = tab("spoken.flac", extra="&t=0-1&p=waveform")
    words = page.locator(".tier.hand").first.locator(".lane button:not(.empty)")
    words.nth(0).click()
    handle = page.locator(".handle").nth(1).bounding_box()
    x, y = handle["x"] + 4, handle["y"] + 8
    width = plot_of(page, "waveform")[2]
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + width / 20, y, steps=3)
    page.mouse.up()
    expect(words.nth(0)).to_have_attribute("aria-label", re.compile("0.200 to 0.400 s"))
    expect(words.nth(1)).to_have_attribute("aria-label", re.compile("0.400 to 0.550 s"))
    assert "0.200 to 0.400 s" in words.nth(0).get_attribute("aria-label")


def test_on_a_phone_in_the_dark(tab):
    size = {"width": 390, "height": 844}
    page = tab(extra="", viewport=size, has_touch=True, is_mobile=True, color_scheme="dark")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.locator("#open-list").tap()
    page.locator("#recordings button", has_text="other.wav").tap()
    expect(page.locator("#name")).to_have_text("other.wav")
    drawn(page)
    expect(page.locator("#list")).to_be_hidden()
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_other_pages_and_paths_are_refused(chromium, explorer):
    context = chromium.new_context()
    page = context.new_page()
    wrong = explorer.address[:-4] + "xxx/"
    assert page.goto(wrong).status == 404
    assert page.goto(f"{explorer.address}r/0/%2e%2e/%2e%2e/etc/passwd").status == 404
    page.goto("data:text/html,<p>another origin")
    code = "fetch({url!r}).then(r => r.text(), e => 'refused')"
    assert page.evaluate(code.format(url=f"{explorer.address}session.json")) == "refused"
    post = "fetch({url!r}, {{method: 'POST', body: '{{}}'}}).then(r => r.text(), e => 'refused')"
    assert page.evaluate(post.format(url=f"{explorer.address}r/0/textgrid")) == "refused"
    context.close()


def alert(page):
    page.wait_for_selector("#alerts p")
    return page.locator("#alerts").inner_text()


def test_a_file_deleted_while_open_and_a_broken_one(tab, folder):
    page = tab("gone.wav", extra="&t=0-2&p=waveform")
    (folder / "gone.wav").unlink()
    page.keyboard.press("+")
    page.keyboard.press("+")
    assert "gone.wav" in alert(page) and "deleted" in alert(page)
    page.get_by_role("button", name="Close this message").first.click()
    page.locator("#recordings button", has_text="broken.wav").click()
    assert "broken.wav" in alert(page)
    page.messages.clear()  # the browser reports each refused request


def test_two_tabs_are_independent(tab):
    one, two = tab(), tab("other.wav")
    start = view(one)
    one.keyboard.press("+")
    assert one.locator("#name").inner_text() == "spoken.flac"
    assert two.locator("#name").inner_text() == "other.wav"
    assert view(one, start) != start
    two.reload()
    drawn(two)
    assert view(two)[1] == pytest.approx(2.79, abs=0.01)


def test_a_killed_server_is_reported(chromium, folder):
    with tabs(chromium) as open_tab:
        with speechasym.explore(folder / "other.wav", browser=False) as server:
            page = open_tab(server, "other.wav")
        assert "The server has stopped" in alert(page)
        page.messages.clear()


def test_the_microphone_is_shown_live_and_kept(tab):
    page = tab()
    page.locator("#record").click()
    page.wait_for_selector("#live canvas.gammatone")
    until(page, "Number(document.querySelector('.clock').textContent.slice(2)) > 0.9")
    page.locator("#stop-recording").click()
    page.wait_for_selector("#alerts .done")
    drawn(page)
    expect(page.locator("#recordings button")).to_have_count(5)
    expect(page.locator("#recordings button[aria-current]")).to_contain_text(" s")
    assert page.locator("#recordings button").count() == 5
