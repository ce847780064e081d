//! Charts in the hand: read by mouse, finger and keys, zoomed by each, shared by their address, and used without a script.

use probemesh_browser::driver::{Driver, Page, Window};
use probemesh_browser::hub::{Hub, PASSWORD};
use probemesh_browser::judge::{is_usable_by_all, nothing_is_wrong_with};
use probemesh_browser::target::Target;
use probemesh_browser::until;
use serde_json::json;

const CHART: &str = "#charts svg.chart";
const ENTER: &str = "\u{e007}";
const SHIFT: char = '\u{e008}';
const ESCAPE: &str = "\u{e00c}";
const LEFT: &str = "\u{e012}";
const END: &str = "\u{e010}";

/// A hub that has checked a service a few times.
fn measured(target: &Target) -> Hub {
    let hub = Hub::start(&json!([{"name": "Shop", "base_url": target.address(), "interval_s": 1}]));
    until("some results", || {
        let results = hub.call("GET", "/api/monitor/results/?service=1", None);
        (results["results"].as_array()?.len() >= 4).then_some(())
    });
    hub
}

fn opened(driver: &Driver, hub: &Hub, window: Window, query: &str) -> Page {
    let page = driver.open(window);
    page.log_in(&hub.address(), PASSWORD);
    page.sees("Shop");
    page.go(&format!("{}/services/1{query}", hub.address()));
    until("the charts", || page.has(CHART).then_some(()));
    page
}

/// The text of an element in one line; nothing where it is not to be seen.
fn shown(page: &Page, selector: &str) -> String {
    let script = format!(
        "const one = document.querySelector({}); return one && one.checkVisibility() ? one.innerText.replace(/\\s+/g, ' ') : ''",
        json!(selector)
    );
    page.run(&script).as_str().unwrap_or_default().to_owned()
}

/// What the readout says when the mouse is there, once it says this. The page is alive: what is pointed at may move away under
/// the mouse, and a person would follow it.
fn read_at(page: &Page, selector: &str, across: f64, part: &str) -> String {
    until(&format!("{part} at {across} of {selector}"), || {
        page.point_at(selector, across);
        Some(shown(page, ".tip")).filter(|text| text.contains(part))
    })
}

/// What is said to those who hear the page.
fn said(page: &Page) -> String {
    let found = page.run("return [...document.querySelectorAll('body > [role=status]')].map((one) => one.textContent).join(' ')");
    found.as_str().unwrap_or_default().to_owned()
}

/// The length of the span shown and of one bucket, in seconds.
fn scale(page: &Page) -> (f64, f64) {
    let script = "const { step, tips } = document.querySelector('#charts svg.chart').dataset;\
                  return [step * tips.split('\\n').length / 1000, step / 1000]";
    let found = page.run(script);
    (found[0].as_f64().unwrap_or_default(), found[1].as_f64().unwrap_or_default())
}

fn address_has(page: &Page, part: &str) {
    until(&format!("{part} in {}", page.address()), || page.address().contains(part).then_some(()));
}

/// Chooses a span by hand; once more where the chart moved away under it. What is being loaded is waited for.
fn chooses(page: &Page, by_hand: impl Fn()) {
    until("a span that is chosen", || {
        by_hand();
        (page.has("[aria-busy]") || page.address().contains("from=")).then_some(())
    });
    address_has(page, "from=");
    has_loaded(page);
}

fn has_loaded(page: &Page) {
    until("the new span", || (!page.has("[aria-busy]")).then_some(()));
}

#[test]
fn a_mouse_reads_every_value_and_drags_a_span_that_is_drawn_finer() {
    let (driver, target) = (Driver::start(), Target::start());
    let hub = measured(&target);
    let page = opened(&driver, &hub, Window::DESK, "?range=1h");
    page.run("window.still = true");
    let read = read_at(&page, CHART, 0.998, "p50");
    for part in ["p95", "p99", "ms", "check"] {
        assert!(read.contains(part), "{part} in {read}");
    }
    let lines = page.run("return [...document.querySelectorAll('#charts .cross')].map((line) => line.getAttribute('visibility'))");
    assert_eq!(lines, json!(["visible", "visible"]), "all charts of a span are read at once");
    read_at(&page, "#charts .region-charts svg.chart", 0.998, "First byte");
    read_at(&page, CHART, 0.1, "nobody measured");
    is_usable_by_all(&page);

    assert_eq!(scale(&page), (3600.0, 60.0));
    chooses(&page, || page.drag(CHART, 0.5, 0.999));
    let (span, step) = scale(&page);
    assert!((1700.0..=1900.0).contains(&span) && step <= 10.0, "half an hour by seconds: {span} s by {step} s");
    assert!(page.address().contains("to=") && !shown(&page, ".window-now").is_empty(), "{}", page.address());
    assert_eq!(page.run("return window.still"), json!(true), "the page was not loaded again");
    is_usable_by_all(&page);

    // The address says it all, to somebody else, too; and the way back is the browser's own, or a link.
    let shared = page.address();
    let other = opened(&driver, &hub, Window::DESK, &shared[shared.find('?').expect("it has a query")..]);
    assert_eq!(scale(&other), (span, step));
    page.run("history.back()");
    address_has(&page, "range=1h");
    until("the hour again", || (scale(&page) == (3600.0, 60.0)).then_some(()));
    page.run("history.forward()");
    address_has(&page, "from=");
    until("the span again", || (scale(&page) == (span, step)).then_some(()));
    // A new service is shown by its first hours.
    page.click(".ways a[href*='range=1h']");
    address_has(&page, "range=1h");
    until("what is usual", || (scale(&page) == (3600.0, 60.0)).then_some(()));
    nothing_is_wrong_with(&page);
}

#[test]
fn keys_read_choose_and_zoom_and_a_voice_says_what_they_found() {
    let (driver, target) = (Driver::start(), Target::start());
    let hub = measured(&target);
    let page = opened(&driver, &hub, Window::DESK, "?range=1h");
    // As the tabulator comes there.
    page.run("document.querySelector('.ways a:last-of-type').focus()");
    until("the chart has the focus", || {
        page.press("\u{e004}");
        (page.run("return document.activeElement.matches('#charts svg.chart')") == json!(true)).then_some(())
    });
    page.press(END);
    until("the newest", || Some(said(&page)).filter(|text| text.contains("p50 ") && text.contains("check")));
    assert!(shown(&page, ".tip").contains("p99"));
    page.press(&LEFT.repeat(30));
    until("an older one", || said(&page).contains("nobody measured").then_some(()));
    page.press(END);
    page.press_with(SHIFT, &LEFT.repeat(19));
    until("the choice is said", || said(&page).contains("Chosen:").then_some(()));
    page.press(ESCAPE);
    assert!(!page.has("#charts .chosen") && page.address().ends_with("?range=1h"), "nothing is chosen any more");
    page.press(END);
    page.press_with(SHIFT, &LEFT.repeat(19));
    page.press(ENTER);
    address_has(&page, "from=");
    has_loaded(&page);
    let (span, _) = scale(&page);
    assert!((1100.0..=1300.0).contains(&span), "twenty minutes: {span} s");
    until("where one is is said", || said(&page).contains("Shown:").then_some(()));
    assert_eq!(page.run("return document.activeElement.matches('#charts svg.chart')"), json!(true), "the focus stays");
    page.press("+");
    until("half of it", || (scale(&page).0 < span * 0.6).then_some(()));
    let narrow = scale(&page).0;
    page.press("-");
    until("twice that", || (scale(&page).0 > narrow * 1.7).then_some(()));
    is_usable_by_all(&page);
    nothing_is_wrong_with(&page);
}

#[test]
fn fingers_read_and_pinch_on_a_phone_also_where_one_reads_from_right_to_left() {
    let (driver, target) = (Driver::start(), Target::start());
    let hub = measured(&target);
    let page = opened(&driver, &hub, Window::PHONE, "?range=1h");
    page.run("document.querySelector('.menu').open = true");
    page.click("button[value=fa]");
    until("right to left", || (page.run("return document.dir || getComputedStyle(document.body).direction") == json!("rtl")).then_some(()));
    let read = until("the readout", || {
        page.touch(CHART, &[(0.6, 0.99)]);
        Some(shown(&page, ".tip")).filter(|text| text.contains("p50"))
    });
    assert!(read.contains("ms"), "{read}");
    let inside =
        page.run("const box = document.querySelector('.tip').getBoundingClientRect(); return box.left >= 0 && box.right <= innerWidth");
    assert_eq!(inside, json!(true), "the readout is on the screen");
    let wide = page.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth");
    assert_eq!(wide, json!(0));
    // Towards the newest, which is all there is.
    chooses(&page, || page.touch(CHART, &[(0.9, 0.4), (0.995, 0.97)]));
    let (span, _) = scale(&page);
    assert!(span < 1500.0, "the hour is spread over more than the screen: {span} s");
    is_usable_by_all(&page);
    nothing_is_wrong_with(&page);
}

#[test]
fn without_a_script_a_span_is_chosen_by_the_form_and_left_by_links() {
    let (driver, target) = (Driver::start(), Target::start());
    let hub = measured(&target);
    let page = driver.open_without_scripts(Window::DESK);
    page.log_in(&hub.address(), PASSWORD);
    page.go(&format!("{}/services/1?range=1h", hub.address()));
    page.click(".choose summary");
    page.click(".choose form button");
    until("the span of the form", || page.address().contains("from=").then_some(()));
    assert!(page.source().contains("class=\"window-now\""), "{}", page.address());
    page.click(".ways a[href*='range=1h']");
    until("what is usual", || page.address().contains("range=1h").then_some(()));
    page.go(&format!("{}/services/1?from=2026-01-02T00:00&to=2026-01-01T00:00", hub.address()));
    assert!(page.source().contains("is not after the beginning"));
}
