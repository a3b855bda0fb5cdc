"""The page of an image of the reader's own, in a real browser."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.web.conftest import Looks

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def test_the_whole_page_works(live: str, mine: Path, look: Looks) -> None:
    page = look(f"{live}index.html", viewport={"width": 1280, "height": 900})
    page.get_by_role("link", name="My image").click()
    page.set_input_files("#file", mine)
    page.wait_for_selector("#unusual section:nth-child(2)")
    assert page.locator("#predictions li").count() == 5
    page.locator("#predictions button").nth(1).click()
    page.locator("#caption").filter(has_text="Grad-CAM").wait_for()
    page.locator("[data-show=occlusion]").click()
    page.locator("#caption").filter(has_text="stride").wait_for()
    page.locator("#unusual button").first.click()
    page.wait_for_selector("#unit:not([hidden])")
    box = page.locator("#map").bounding_box()
    assert box is not None
    cells = [int(n) for n in str(page.locator("#map").get_attribute("data-size")).split(",")]
    y, x = cells[0] // 2, cells[1] // 3
    page.locator("#map").click(
        position={
            "x": (x + 0.5) * box["width"] / cells[1],
            "y": (y + 0.5) * box["height"] / cells[0],
        }
    )
    page.locator("#unit-name").filter(has_text=f"@{y},{x}").wait_for()
    assert page.locator("#overlay").is_visible()


def test_what_is_pointed_at_is_framed_for_the_moment_and_what_is_chosen_stays(
    live: str, mine: Path, look: Looks
) -> None:
    page = look(f"{live}mine.html")
    page.set_input_files("#file", mine)
    page.wait_for_selector("#unusual section:nth-child(2)")
    plates = page.locator("#unusual button")
    plates.nth(0).click()
    chosen = page.locator("#caption").filter(has_text="the receptive field of")
    page.wait_for_selector("#unit:not([hidden])")
    said = chosen.inner_text()
    plates.last.hover()
    page.locator("#caption").filter(has_not_text=said).wait_for()
    assert page.locator("#overlay").is_visible()
    page.mouse.move(1, 1)
    page.locator("#caption").filter(has_text=said).wait_for()


def test_the_map_that_is_shown_is_told_by_its_button(live: str, mine: Path, look: Looks) -> None:
    page = look(f"{live}mine.html")
    page.set_input_files("#file", mine)
    for name in ("image", "cam", "occlusion"):
        page.locator(f"[data-show={name}]").click()
        page.wait_for_selector(f"[data-show={name}][aria-pressed=true]")
        assert page.locator("[data-show][aria-pressed=true]").count() == 1


def test_a_target_is_typed(live: str, mine: Path, look: Looks) -> None:
    page = look(f"{live}mine.html")
    page.set_input_files("#file", mine)
    page.wait_for_selector("#predictions li")
    example, classes = page.get_attribute("#target", "placeholder"), page.locator("#predictions")
    assert example
    assert example in classes.inner_text(), "an example of a target is one that the network has"
    page.fill("#target", "output[0, 2]")
    page.press("#target", "Enter")
    page.locator("#caption").filter(has_text="output[0, 2]: Grad-CAM of").wait_for()


def test_a_mistake_in_a_target_is_said_beside_it(
    live: str, mine: Path, chromium: "Browser"
) -> None:
    """A request that is refused is a complaint of the browser, so this page is no `look`."""
    page = chromium.new_page()
    page.goto(f"{live}mine.html")
    page.set_input_files("#file", mine)
    page.wait_for_selector("#predictions li")
    page.fill("#target", "box:1")
    page.get_by_role("button", name="Heat map", exact=True).click()
    page.locator("#target-problem").filter(has_text="is not a detector").wait_for()
    page.locator("#predictions button").nth(1).click()
    page.locator("#caption").filter(has_text="Grad-CAM").wait_for()
    assert page.locator("#target-problem").inner_text() == ""
    page.close()


def test_a_picture_is_dropped_or_pasted(live: str, mine: Path, look: Looks) -> None:
    give = """([kind, bytes]) => {
        const file = new File([new Uint8Array(bytes)], "mine.png", { type: "image/png" });
        const data = new DataTransfer();
        data.items.add(file);
        const made = kind === "drop"
            ? new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })
            : new ClipboardEvent("paste", { clipboardData: data, bubbles: true });
        document.body.dispatchEvent(made);
    }"""
    for kind in ("drop", "paste"):
        page = look(f"{live}mine.html")
        page.evaluate(give, [kind, list(mine.read_bytes())])
        page.wait_for_selector("#predictions li")


def test_a_picture_picked_before_the_script_came_is_looked_at(
    live: str, mine: Path, look: Looks
) -> None:
    held: list[Any] = []
    page = look(f"{live}index.html")
    page.route("**/static/my_image.js", lambda route: held.append(route))  # noqa: PLW0108 - it is marked
    page.goto(f"{live}mine.html", wait_until="commit")
    page.set_input_files("#file", mine)
    while not held:
        page.wait_for_timeout(20)
    held[0].continue_()
    page.wait_for_selector("#predictions li")


def test_a_camera_is_followed_and_its_last_picture_looked_at(live: str, look: Looks) -> None:
    page = look(f"{live}mine.html", permissions=["camera"])
    page.locator("#camera").click()
    page.wait_for_selector("#predictions li")
    page.locator("#camera").click()
    page.wait_for_selector("#unusual section:nth-child(2)")
    assert page.locator("#camera").inner_text() == "Camera"


def test_without_a_network_the_page_says_what_to_do(served: str, look: Looks) -> None:
    page = look(f"{served}mine.html")
    assert page.get_by_text("retroscope serve one.atlas --model MODEL").is_visible()
    assert not page.locator("#file").is_visible()
    assert not page.get_by_role("link", name="My image").is_visible()


ANSWER_SLOWLY = """(lines) => {
    globalThis.asked = [];
    globalThis.fetch = async (url, { signal }) => {
        const request = { signal, cancelled: false };
        asked.push(request);
        const encoder = new TextEncoder();
        return new Response(new ReadableStream({
            start(controller) {
                for (const line of lines) controller.enqueue(encoder.encode(line + "\\n"));
                signal.addEventListener("abort", () => controller.error(signal.reason));
            },
            cancel() { request.cancelled = true; },
        }));
    };
}"""
"""A server that sends these lines and then computes on."""


def test_a_new_image_ends_the_analysis_of_the_last_one(live: str, mine: Path, look: Looks) -> None:
    page = look(f"{live}mine.html")
    page.evaluate(ANSWER_SLOWLY, ['{"predictions": []}'])
    page.set_input_files("#file", mine)
    page.wait_for_function("asked.length === 1")
    page.evaluate("document.getElementById('file').value = ''")
    page.set_input_files("#file", mine)
    page.wait_for_function("asked.length === 2")
    assert page.evaluate("asked.map(({ signal }) => signal.aborted)") == [True, False]
    assert page.locator("#upload-status").inner_text() == "Running …"


def test_nothing_is_read_after_an_error(live: str, mine: Path, look: Looks) -> None:
    page = look(f"{live}mine.html")
    page.evaluate(ANSWER_SLOWLY, ['{"error": "no classes"}'])
    page.set_input_files("#file", mine)
    page.locator("#upload-status").filter(has_text="no classes").wait_for()
    page.wait_for_function("asked[0].cancelled")


def test_the_camera_pauses_after_a_frame_that_failed(live: str, look: Looks) -> None:
    page = look(f"{live}mine.html", permissions=["camera"])
    page.clock.install()
    page.evaluate(ANSWER_SLOWLY, ['{"error": "no classes"}'])
    page.locator("#camera").click()
    page.locator("#upload-status").filter(has_text="no classes").wait_for()
    page.wait_for_timeout(300)
    assert page.evaluate("asked.length") == 1
    page.clock.run_for(1500)
    while page.evaluate("asked.length") < 2:
        page.wait_for_timeout(20)


def test_an_image_of_the_atlas_is_a_sample_and_has_a_link(live: str, look: Looks) -> None:
    page = look(f"{live}mine.html")
    sample = page.locator("[data-sample]").nth(1)
    number = sample.get_attribute("data-sample")
    sample.click()
    page.wait_for_selector("#predictions li")
    assert page.url.endswith(f"#image={number}")
    page.reload()
    page.wait_for_selector("#predictions li")
    assert sample.get_attribute("aria-pressed") == "true"


@pytest.mark.parametrize("name", ["broken.png", "letter.txt"])
def test_a_refused_file_says_so_and_clears_the_page(
    live: str, mine: Path, chromium: "Browser", name: str
) -> None:
    """A request that is refused is a complaint of the browser, so this page is no `look`."""
    page = chromium.new_page()
    page.goto(f"{live}mine.html")
    page.set_input_files("#file", mine)
    page.wait_for_selector("#unusual section:nth-child(2)")
    refused = mine.with_name(name)
    refused.write_bytes(b"not an image")
    page.set_input_files("#file", refused)
    page.locator("#upload-status.alarm").filter(has_text="PNG").wait_for()
    assert not page.locator("#analysis").is_visible()
    assert page.locator("#predictions li").count() == 0
    page.close()


ANSWER_WHEN_FREE = """(busy) => {
    const fetchNow = globalThis.fetch;
    globalThis.asked = 0;
    globalThis.fetch = (...request) => {
        asked += 1;
        if (asked > busy) return fetchNow(...request);
        if (asked % 2) return Promise.resolve(new Response('{"error": "busy"}', { status: 429 }));
        return Promise.reject(new TypeError("Failed to fetch"));
    };
}"""
"""A server that is busy and away in turns, this many times."""


def test_a_busy_server_is_named_and_the_image_is_examined_when_it_is_free(
    live: str, mine: Path, look: Looks
) -> None:
    page = look(f"{live}mine.html")
    page.evaluate(ANSWER_WHEN_FREE, 2)
    page.set_input_files("#file", mine)
    page.locator("#upload-status").filter(has_text="busy; trying again").wait_for()
    page.locator("#upload-status").filter(has_text="does not answer; trying again").wait_for()
    page.wait_for_selector("#unusual section:nth-child(2)")
    page.locator("#upload-status:empty").wait_for(state="attached")


def test_the_camera_goes_on_when_a_busy_server_is_free_again(live: str, look: Looks) -> None:
    page = look(f"{live}mine.html", permissions=["camera"])
    page.evaluate(ANSWER_WHEN_FREE, 2)
    page.locator("#camera").click()
    page.locator("#upload-status").filter(has_text="goes on").wait_for()
    page.wait_for_selector("#predictions li")
    page.locator("#upload-status:empty").wait_for(state="attached")


def test_a_camera_that_is_unplugged_says_so(live: str, look: Looks) -> None:
    page = look(f"{live}mine.html", permissions=["camera"])
    page.locator("#camera").click()
    page.wait_for_selector("#predictions li")
    page.evaluate("""() => {
        const [track] = document.getElementById("video").srcObject.getTracks();
        track.dispatchEvent(new Event("ended"));
    }""")
    page.locator("#upload-status").filter(has_text="has stopped").wait_for()
    assert page.locator("#camera").inner_text() == "Camera"


def test_the_page_of_an_image_says_what_the_network_takes_it_for(live: str, look: Looks) -> None:
    page = look(f"{live}image/0.html")
    page.wait_for_selector("#predictions li")
    photo = page.locator(".whole-image image").first
    page.locator("#predictions button").first.click()
    page.locator("#frame-caption").filter(has_text="Grad-CAM").wait_for()
    assert str(photo.get_attribute("href")).startswith("data:image/png")
    page.locator("#predictions button").first.click()
    assert "image/0.webp" in str(photo.get_attribute("href"))


def test_a_file_that_cannot_be_read_is_named(
    live: str, mine: Path, chromium: "Browser", tmp_path: Path
) -> None:
    """A request that is refused is a complaint of the browser, so this page is no `look`."""
    damaged = tmp_path / "holiday.jpg"
    damaged.write_bytes(b"no picture")
    page = chromium.new_page()
    page.goto(f"{live}mine.html")
    page.set_input_files("#file", damaged)
    status = page.locator("#upload-status")
    status.filter(has_text="'holiday.jpg' is not a valid JPEG, PNG").wait_for()
    page.set_input_files("#file", mine)
    page.wait_for_selector("#predictions li")
    assert status.inner_text() == ""
    page.close()
