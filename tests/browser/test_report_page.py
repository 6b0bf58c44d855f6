"""The report in a real browser: it opens alone, complains of nothing and fits a phone."""

from contextlib import contextmanager

import pytest

from mien.study.blend_shapes import BILATERAL_NAMES

pytestmark = pytest.mark.browser

# Boxes and paint of every shape as the reader gets them.
SHAPES = """() => [...document.querySelectorAll('path[data-shape]')].map(path => {
  const box = path.getBoundingClientRect();
  return {name: path.dataset.shape, wide: box.width, high: box.height, left: box.left, right: box.right,
          title: path.querySelector('title').textContent, seen: path.checkVisibility(),
          fill: getComputedStyle(path).fill};
})"""

# WCAG contrast of each text with the first opaque background behind it; texts inside figures have their own ground.
CONTRASTS = """() => {
  const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const luminance = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = element => {
    for (let e = element; e; e = e.parentElement) {
      const colour = parse(getComputedStyle(e).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const low = [];
  const texts = 'p, li, h1, h2, h3, td, th, dt, dd, span, figcaption, caption, a, summary';
  for (const element of document.querySelectorAll(texts)) {
    if (!element.checkVisibility() || !element.textContent.trim()) continue;
    const [a, b] = [luminance(parse(getComputedStyle(element).color)), luminance(ground(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) low.push([element.tagName, element.textContent.trim().slice(0, 30), ratio]);
  }
  return low;
}"""


@contextmanager
def opened(browser, report, *, width=1200, scheme="light"):
    """The report in a fresh context, and what it asked for and complained of."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page, requests, complaints = context.new_page(), [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(report.as_uri())
    page.wait_for_load_state("networkidle")
    yield page, requests, complaints
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 390])
def test_it_asks_for_nothing_and_complains_of_nothing(browser, report, width, scheme):
    with opened(browser, report, width=width, scheme=scheme) as (page, requests, complaints):
        assert page.locator("h1").inner_text() == "Reactivity to pictures and films"
        assert [url for url in requests if not url.startswith("data:")] == [report.as_uri()]
        assert complaints == []


def test_the_policy_blocks_what_the_page_does_not_bring(browser, report, tmp_path):
    """The saboteur: were a script or an image from elsewhere put in, the page's own policy stops it."""
    spoiled = tmp_path / "spoiled.html"
    bad = '<script>document.title = "spoiled"</script><img src="file:///nowhere.png"><style>h1 {color: red}</style>'
    spoiled.write_text(
        report.read_text(encoding="utf-8").replace("</main>", f"{bad}</main>"), encoding="utf-8"
    )
    with opened(browser, spoiled) as (page, _, complaints):
        assert "spoiled" not in page.title()
        assert len([text for text in complaints if "Content Security Policy" in text]) == 3


@pytest.mark.parametrize("width", [390, 340])
def test_the_page_does_not_scroll_sideways(browser, report, width):
    with opened(browser, report, width=width) as (page, _, _):
        assert page.evaluate("document.documentElement.scrollWidth") == width


def test_all_shapes_of_the_face_are_seen_at_300_px(browser, report):
    with opened(browser, report, width=340) as (page, _, _):
        box = page.locator(".face-map").bounding_box()
        assert box["width"] == pytest.approx(300, abs=1)
        shapes = page.evaluate(SHAPES)
        assert {shape["name"] for shape in shapes} == set(BILATERAL_NAMES)
        assert len(shapes) == 34
        for shape in shapes:
            assert shape["seen"]
            assert min(shape["wide"], shape["high"]) >= 4, shape
            assert box["x"] <= shape["left"] < shape["right"] <= box["x"] + box["width"], shape
            assert shape["fill"] != "none"
        smile = next(shape for shape in shapes if shape["name"] == "mouthSmile")
        assert smile["title"].startswith("mouthSmile +0.041 (")


def test_every_shape_can_be_pointed_at(browser, report):
    """No shape lies hidden under another or under the drawing: some point of each is its own."""
    with opened(browser, report) as (page, _, _):
        covered = page.evaluate("""() => [...document.querySelectorAll('path[data-shape]')].filter(path => {
          path.scrollIntoView({block: 'center'});
          const box = path.getBoundingClientRect(), step = 2;
          for (let x = box.left; x < box.right; x += step)
            for (let y = box.top; y < box.bottom; y += step)
              if (document.elementFromPoint(x, y) === path) return false;
          return true;
        }).map(path => path.dataset.shape)""")
        assert covered == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read(browser, report, scheme):
    with opened(browser, report, scheme=scheme) as (page, _, _):
        assert page.evaluate(CONTRASTS) == []


def test_labels_beside_the_face_stay_on_the_page_or_are_hidden(browser, report):
    with opened(browser, report) as (page, _, _):
        boxes = page.evaluate("""() => [...document.querySelectorAll('.face-labels text')].map(text => {
          const box = text.getBoundingClientRect(); return [box.left, box.right];})""")
        assert len(boxes) == 8
        assert all(left > 0 and right < 1200 for left, right in boxes)
    with opened(browser, report, width=390) as (page, _, _):
        assert not page.locator(".face-labels").is_visible()


def test_the_keyboard_reaches_tables_and_details(browser, report):
    with opened(browser, report) as (page, _, _):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the answer"
        assert page.locator('[role="region"][tabindex="0"]').count() >= 5


def test_it_prints_on_a4(browser, report):
    with opened(browser, report) as (page, _, _):
        pdf = page.pdf(prefer_css_page_size=True)
        assert pdf.startswith(b"%PDF")
        assert 3 <= pdf.count(b"/Type /Page\n") <= 14
