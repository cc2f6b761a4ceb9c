//! The pages in a real browser: what they look like, what they ask for, who can use them, what they do when the server goes.
//!
//! Screenshots go to `target/pages`, to be looked at.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use antiphon_platform::clock::{Clock, SECOND};
use antiphon_servers::{Browser, Look, Tab, axe};
use serde_json::{Value, json};
use support::pages::{Heard, Visitor, a_year, operator_key};
use support::{Client, parameter, rfc3339, start, wav};

/// What the first words and lines of a page may take on this machine, in ms.
const FIRST_PAINT: f64 = 300.0;

/// What the chart of a year may take, in ms.
const YEAR_IS_DRAWN: f64 = 300.0;

/// What a page may weigh with all that it asks for but sound, in bytes.
const LIGHT: u64 = 150_000;

fn screenshots() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("pages");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Gives a tab the cookies of a visitor.
fn sign_in(tab: &Tab<'_>, url: &str, key: &str) {
    let visitor = Visitor::new(url);
    assert_eq!(visitor.sign_in(key).status, 303);
    for cookie in visitor.cookies().split("; ") {
        let (name, value) = cookie.split_once('=').unwrap();
        tab.call("Network.setCookie", json!({ "url": url, "name": name, "value": value }));
    }
}

/// What a page's file is called.
fn file_name(path: &str) -> String {
    // What differs from run to run is an id.
    let segments = path.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').filter(|segment| !segment.is_empty());
    let words: Vec<&str> = segments.map(|segment| if segment.len() > 16 { "id" } else { segment }).collect();
    if words.is_empty() { String::from("now") } else { words.join("-") }
}

/// How many pixels of the first scrolling picture are light: none before anything was heard.
const LIGHT_PIXELS: &str = "(() => { const c = document.querySelector('canvas.scroll'); \
    const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; let light = 0; \
    for (let i = 0; i < d.length; i += 4) if (d[i] + d[i + 1] + d[i + 2] > 300) light++; return light; })()";

const IMAGES_ARE_THERE: &str =
    "[...document.images].every((image) => image.complete) && document.readyState === 'complete'";

#[test]
fn pages_look_well_ask_nobody_else_and_have_no_barriers() {
    let heard = Heard::start(&[]);
    let (url, browser, axe) = (heard.up.url().to_owned(), Browser::start(), axe());
    let mut pages = heard.pages();
    pages.push(String::from("/sensors/nobody"));
    let (mut slowest, mut heaviest) = ((0.0, String::new()), (0, String::new()));
    let mut shots = 0;
    for (width, height) in [(390, 844), (1_440, 900)] {
        for dark in [false, true] {
            let tab = browser.tab(Look { width, height, dark, ..Look::default() });
            tab.call("Emulation.setTimezoneOverride", json!({ "timezoneId": "Europe/Berlin" }));
            sign_in(&tab, &url, &heard.key());
            // As somebody who comes for the first time.
            tab.call("Network.setCacheDisabled", json!({ "cacheDisabled": true }));
            for path in &pages {
                if path == "/" {
                    heard.hear_on();
                }
                tab.weight();
                tab.go(&format!("{url}{path}"));
                tab.wait_until(IMAGES_ARE_THERE);
                if path == "/" {
                    // What was heard just now is in the picture.
                    tab.wait_until("[...document.querySelectorAll('.still-screen')].some((silence) => silence.hidden)");
                    tab.wait_until(&format!("{LIGHT_PIXELS} > 500"));
                }
                let name = format!("{}-{width}-{}", file_name(path), if dark { "dark" } else { "light" });
                std::fs::write(screenshots().join(format!("{name}.png")), tab.screenshot()).unwrap();
                shots += 1;
                let complaints: Vec<String> = tab
                    .complaints()
                    .into_iter()
                    .filter(|said| !(path == "/sensors/nobody" && said.contains("404")))
                    .collect();
                assert!(complaints.is_empty(), "{name}: {complaints:#?}");
                let weight = tab.weight();
                assert!(weight < LIGHT, "{name} weighs {weight} bytes");
                for request in tab.requests() {
                    assert!(request.starts_with(&url) || request.starts_with("data:"), "{name} asks for {request}");
                }
                let wide = tab.evaluate("document.documentElement.scrollWidth").as_f64().unwrap();
                assert!(wide <= f64::from(width), "{name} is {wide} px wide");
                let barriers = tab.barriers(&axe);
                assert!(barriers.is_empty(), "{name}: {barriers:#?}");
                let paint = tab.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0");
                if paint.as_f64().unwrap() > slowest.0 {
                    slowest = (paint.as_f64().unwrap(), name.clone());
                }
                heaviest = heaviest.max((weight, name));
            }
        }
    }
    println!("{shots} screenshots of {} pages, errors among them", pages.len());
    println!("slowest first contentful paint: {} ms, {}", slowest.0, slowest.1);
    println!("heaviest, with styles, scripts and pictures: {} bytes, {}", heaviest.0, heaviest.1);
    // Unoptimised, and beside other tests: the bound is for programs as they are shipped.
    assert!(cfg!(debug_assertions) || slowest.0 < FIRST_PAINT, "{slowest:?}");
}

#[test]
fn everything_is_reached_by_the_keyboard_and_has_a_name() {
    let heard = Heard::start(&[]);
    let (url, browser) = (heard.up.url().to_owned(), Browser::start());
    let tab = browser.tab(Look::default());
    sign_in(&tab, &url, &heard.key());
    for path in heard.pages() {
        tab.go(&format!("{url}{path}"));
        tab.evaluate("document.activeElement.blur(); getSelection().removeAllRanges(); 0");
        // What a mouse can press, the keyboard can, in some number of steps.
        let wanted = tab.evaluate(
            "[...document.querySelectorAll('a[href],button,input:not([type=hidden]),select,summary,audio,[tabindex=\"0\"]')]\
             .filter((element) => element.checkVisibility()).length",
        );
        let wanted = wanted.as_u64().unwrap();
        let mut reached = 0;
        tab.evaluate("window.reached = new Set(); 0");
        // A walk begins where the page puts the focus first, so it goes round twice by the end of the page.
        let mut ends = 0;
        for _ in 0..wanted * 12 + 20 {
            tab.press("Tab");
            let focused = tab.evaluate(
                "(() => { const e = document.activeElement; if (e === document.body) return null; \
                 reached.add(e); const box = e.getBoundingClientRect(); \
                 const name = e.getAttribute('aria-label') || e.labels?.[0]?.textContent || e.textContent.trim() || e.title \
                 || document.getElementById(e.getAttribute('aria-labelledby'))?.textContent || ''; \
                 const style = getComputedStyle(e); \
                 return { name, seen: box.width > 0 && box.height > 0, ring: style.outlineStyle !== 'none', what: e.outerHTML.slice(0, 120), count: reached.size }; })()",
            );
            if focused.is_null() {
                ends += 1;
                if reached == wanted || ends > 2 {
                    break;
                }
                continue;
            }
            assert!(!focused["name"].as_str().unwrap().trim().is_empty(), "{path}: no name: {focused}");
            assert!(focused["seen"] == true, "{path}: not seen: {focused}");
            let media = focused["what"].as_str().unwrap().starts_with("<audio");
            assert!(focused["ring"] == true || media, "{path}: no ring around {focused}");
            reached = focused["count"].as_u64().unwrap();
        }
        assert_eq!(reached, wanted, "{path}: reached {reached} of {wanted}");
    }
    // The first stop leads to the content.
    tab.go(&format!("{url}/songs"));
    tab.press("Tab");
    tab.press("Enter");
    tab.wait_until("document.activeElement.id === 'main'");
}

#[test]
fn a_chart_zooms_by_mouse_and_keyboard_and_goes_back() {
    let heard = Heard::start(&[("ANTIPHON_AUTH__PUBLIC_READS", "true")]);
    let (url, browser) = (heard.up.url().to_owned(), Browser::start());
    let tab = browser.tab(Look::default());
    tab.go(&format!("{url}/sensors/script?last=10m"));
    let length = |tab: &Tab<'_>| -> f64 {
        tab.evaluate("(() => { const f = document.querySelector('figure.timeline').dataset; return (Date.parse(f.to) - Date.parse(f.from)) / 1000; })()")
            .as_f64()
            .unwrap()
    };
    let first = length(&tab);
    assert_eq!(first, 600.0);
    tab.evaluate("document.querySelector('.plane').scrollIntoView({ block: 'center' }); 0");
    let place = tab.evaluate("(() => { const b = document.querySelector('.plane').getBoundingClientRect(); return [b.left, b.top, b.width, b.height]; })()");
    let of = |number: usize| place[number].as_f64().unwrap();
    let at = |share: f64| (of(0) + of(2) * share, of(1) + of(3) / 2.0);
    // What is newest was heard, so that there is a picture of it.
    tab.drag(at(0.74), at(0.99));
    tab.wait_until("location.search.includes('from=') && !document.querySelector('#range').hasAttribute('aria-busy')");
    let zoomed = length(&tab);
    assert!((zoomed - 150.0).abs() < 5.0, "{zoomed}");
    tab.evaluate("document.querySelector('.plane').focus(); 0");
    let at_once = "document.querySelector('figure.timeline').dataset.from";
    let before = tab.evaluate(at_once);
    tab.press("+");
    tab.wait_until(&format!("{at_once} !== {before}"));
    assert!((length(&tab) - 75.0).abs() < 3.0);
    let before = tab.evaluate(at_once);
    tab.press("ArrowLeft");
    tab.wait_until(&format!("{at_once} !== {before} && document.activeElement.classList.contains('plane')"));
    tab.evaluate("history.go(-2); 0");
    tab.wait_until("!document.querySelector('#range').hasAttribute('aria-busy') && document.querySelector('figure.timeline') !== null");
    tab.wait_until("(() => { const f = document.querySelector('figure.timeline').dataset; return Math.abs((Date.parse(f.to) - Date.parse(f.from)) / 1000 - 150) < 5; })()");
    // Another feature, of many values at each time, is a picture.
    tab.evaluate("(() => { const s = document.querySelector('#feature'); s.value = 'level.bands'; s.dispatchEvent(new Event('change', { bubbles: true })); })()");
    tab.wait_until("document.querySelector('figure.timeline img.map') !== null");
    tab.wait_until(IMAGES_ARE_THERE);
    let complaints = tab.complaints();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[test]
fn a_chart_of_a_year_is_drawn_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    a_year(&data);
    let up = start(&data, &["up", "--listen", "127.0.0.1:0"], &[("ANTIPHON_AUTH__PUBLIC_READS", "true")]);
    let browser = Browser::start();
    let tab = browser.tab(Look::default());
    tab.go(&format!("{}/sensors/roof", up.url()));
    // From the press of the button until a frame with the curve and the picture of the bands in it was painted.
    let took = tab.evaluate(&format!(
        "(async () => {{ document.querySelector('#from').value = '{}'; document.querySelector('#to').value = '{}'; \
         const frame = () => new Promise((next) => requestAnimationFrame(next)); \
         const begin = performance.now(); document.querySelector('form.range').requestSubmit(); \
         const done = () => location.search.includes('from=') && !document.querySelector('#range').hasAttribute('aria-busy') \
         && [...document.images].every((image) => image.complete); \
         while (!done()) await frame(); await frame(); return performance.now() - begin; }})()",
        "2026-05-01T00:00:00", "2027-05-01T00:00:00"
    ));
    let days = tab.evaluate("document.querySelector('svg.chart').dataset.values.split(',').filter(Boolean).length");
    assert!(days.as_u64().unwrap() >= 365, "{days}");
    println!("a year is drawn in {} ms", took.as_f64().unwrap().round());
    std::fs::write(screenshots().join("year-1440-light.png"), tab.screenshot()).unwrap();
    assert!(cfg!(debug_assertions) || took.as_f64().unwrap() < YEAR_IS_DRAWN, "{took}");
}

#[test]
fn what_is_heard_scrolls_and_an_hour_of_it_takes_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let up = start(&data, &["up", "--listen", "127.0.0.1:0"], &[("ANTIPHON_AUTH__PUBLIC_READS", "true")]);
    let client = Client::operator(&data);
    let api = format!("{}/api/v1/sensors", up.url());
    assert_eq!(client.post_json(&api, &json!({ "id": "roof", "name": "The roof" })).status, 201);
    let browser = Browser::start();
    for still in [false, true] {
        let tab = browser.tab(Look { still, ..Look::default() });
        tab.go(&format!("{}/", up.url()));
        if still {
            // What was heard before is there at once.
            tab.wait_until(&format!("{LIGHT_PIXELS} > 0"));
        }
        let before = tab.evaluate(LIGHT_PIXELS).as_u64().unwrap();
        let sent = Instant::now();
        let begin = Clock::system().now() - SECOND;
        let answer = client.send(
            "POST",
            &format!("{api}/roof/recordings?start={}", rfc3339(begin)),
            &[],
            &wav(5, 16_000, 16_000),
        );
        assert_eq!(answer.unwrap().status, 202);
        tab.wait_until(&format!("{LIGHT_PIXELS} > {before}"));
        tab.wait_until("document.querySelector('[data-level]').textContent.trim() !== '–'");
        println!("still {still}: on screen {} ms after it was sent", sent.elapsed().as_millis());
        assert!(cfg!(debug_assertions) || sent.elapsed() < Duration::from_secs(2));
    }
    let tab = browser.tab(Look::default());
    tab.go(&format!("{}/", up.url()));
    let hour = "(async () => { const path = [...document.scripts].find((s) => s.src.includes('now.js')).src.replace('now.js', 'scroll.js'); \
        const { Scroll } = await import(path); window.ring ??= new Scroll(document.createElement('canvas'), false); \
        const rows = new Uint8Array(640).map((_, i) => i % 251); \
        for (let s = 0; s < 3600; s++) { window.ring.add(1e12 + s * 1000, rows, 1023, false); window.ring.paint(); } return true; })()";
    let used = || -> f64 {
        tab.call("HeapProfiler.collectGarbage", json!({}));
        tab.call("Runtime.getHeapUsage", json!({}))["usedSize"].as_f64().unwrap()
    };
    tab.evaluate(hour);
    let before = used();
    tab.evaluate(hour);
    let grown = used() - before;
    println!("an hour of seconds grew the page by {grown} bytes");
    assert!(grown < 200_000.0, "{grown}");
}

/// `LIVE_SECONDS=3600` is an hour of it.
#[test]
fn a_page_that_follows_a_sensor_does_not_grow() {
    let seconds = i64::from(parameter("LIVE_SECONDS", 12));
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let up = start(&data, &["up", "--listen", "127.0.0.1:0"], &[("ANTIPHON_AUTH__PUBLIC_READS", "true")]);
    let client = Client::operator(&data);
    let api = format!("{}/api/v1/sensors", up.url());
    assert_eq!(client.post_json(&api, &json!({ "id": "roof" })).status, 201);
    let browser = Browser::start();
    let tab = browser.tab(Look::default());
    tab.go(&format!("{}/", up.url()));
    let size = || -> (f64, u64) {
        tab.call("HeapProfiler.collectGarbage", json!({}));
        let nodes = tab.call("Memory.getDOMCounters", json!({}))["nodes"].as_u64().unwrap();
        (tab.call("Runtime.getHeapUsage", json!({}))["usedSize"].as_f64().unwrap(), nodes)
    };
    let begin = Clock::system().now().div_euclid(SECOND) * SECOND;
    let mut before = None;
    for number in 0..seconds {
        // A second is sent when it is over, as sensors do.
        let over = begin + (number + 1) * SECOND;
        let left = u64::try_from(over - Clock::system().now()).unwrap_or(0);
        std::thread::park_timeout(Duration::from_micros(left));
        let second = wav(number.unsigned_abs(), 16_000, 16_000);
        let answer =
            client.send("POST", &format!("{api}/roof/recordings?start={}", rfc3339(over - SECOND)), &[], &second);
        assert_eq!(answer.unwrap().status, 202);
        if number == seconds / 3 {
            tab.wait_until("document.querySelector('[data-level]').textContent.trim() !== '–'");
            before = Some(size());
        }
    }
    let (before, after) = (before.unwrap(), size());
    println!("{} s of live sound: heap {} to {} bytes, nodes {} to {}", seconds, before.0, after.0, before.1, after.1);
    assert!(after.0 - before.0 < 300_000.0 && after.1 < before.1 + 100, "{before:?} {after:?}");
}

#[test]
fn a_page_says_that_the_server_is_away_and_goes_on_when_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let arguments = ["up", "--listen", &free];
    let mut up = start(&data, &arguments, &[]);
    let client = Client::operator(&data);
    assert_eq!(client.post_json(&format!("{}/api/v1/sensors", up.url()), &json!({ "id": "roof" })).status, 201);
    let browser = Browser::start();
    let tab = browser.tab(Look { width: 390, height: 844, ..Look::default() });
    sign_in(&tab, up.url(), &operator_key(&data));
    tab.go(&format!("{}/", up.url()));
    tab.wait_until("document.querySelector('#lost').hidden");
    up.kill();
    tab.wait_until("!document.querySelector('#lost').hidden && document.querySelector('#lost').textContent.includes('does not answer')");
    std::fs::write(screenshots().join("lost-390-light.png"), tab.screenshot()).unwrap();
    let up = start(&data, &arguments, &[]);
    tab.wait_until("document.querySelector('#lost').hidden");
    // The stream goes on too.
    let begin = Clock::system().now() - SECOND;
    let sent = client.send(
        "POST",
        &format!("{}/api/v1/sensors/roof/recordings?start={}", up.url(), rfc3339(begin)),
        &[],
        &wav(5, 16_000, 16_000),
    );
    assert_eq!(sent.unwrap().status, 202);
    tab.wait_until("document.querySelector('[data-level]').textContent.trim() !== '–'");
}

#[test]
fn without_scripts_the_facts_are_there() {
    let heard = Heard::start(&[("ANTIPHON_AUTH__PUBLIC_READS", "true")]);
    let (url, browser) = (heard.up.url().to_owned(), Browser::start());
    let tab = browser.tab(Look { scripts: false, ..Look::default() });
    let shown = |tab: &Tab<'_>| -> Value {
        // The protocol's own way to look, for scripts of the page do not run.
        let root = tab.call("DOM.getDocument", json!({ "depth": 0 }))["root"]["nodeId"].clone();
        tab.call("DOM.getOuterHTML", json!({ "nodeId": root }))["outerHTML"].clone()
    };
    for (path, facts) in [
        ("/", &["Live", "dBFS", "picture.png?last=40s", "Waiting"][..]),
        ("/sensors/script?last=10m", &["class=\"curve\"", "Most <strong>", "UTC</time>"][..]),
    ] {
        tab.go(&format!("{url}{path}"));
        let page = shown(&tab);
        for fact in facts {
            assert!(page.as_str().unwrap().contains(fact), "{path}: {fact}");
        }
        std::fs::write(screenshots().join(format!("{}-no-scripts.png", file_name(path))), tab.screenshot()).unwrap();
        let complaints = tab.complaints();
        assert!(complaints.is_empty(), "{path}: {complaints:#?}");
    }
}
