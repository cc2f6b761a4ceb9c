//! Chromium without a window, driven by its DevTools protocol over two named pipes: what a page looks like, what it asks
//! for, and what it says when something is wrong.
//!
//! Messages are JSON with a zero byte behind each; what is asked for carries a number, what happens by itself is an event.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::process::{Process, pause};

/// How long an answer, or a page, may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Debian's package.
const PROGRAM: &str = "/usr/bin/chromium";

/// Where `cargo xtask test` puts axe-core (MPL-2.0), by which pages are looked at for barriers.
#[must_use]
pub fn axe_folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/axe-core"))
}

/// The script of axe-core.
#[must_use]
pub fn axe() -> String {
    let path = axe_folder().join("node_modules/axe-core/axe.min.js");
    std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}: run `cargo xtask servers` once", path.display()))
}

/// A browser; it ends with the test.
pub struct Browser {
    _process: Process,
    to: RefCell<File>,
    from: Receiver<Value>,
    number: Cell<u64>,
    events: RefCell<VecDeque<Value>>,
}

/// How a page is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Width of the window in pixels.
    pub width: u32,
    /// Its height.
    pub height: u32,
    /// Whether the machine is set to dark.
    pub dark: bool,
    /// Whether it is set to little motion.
    pub still: bool,
    /// Whether scripts run.
    pub scripts: bool,
}

impl Default for Look {
    fn default() -> Self {
        Self { width: 1_440, height: 900, dark: false, still: false, scripts: true }
    }
}

/// A tab with cookies of its own.
pub struct Tab<'a> {
    browser: &'a Browser,
    session: String,
    target: String,
    context: String,
}

impl Browser {
    /// Starts a browser.
    #[must_use]
    pub fn start() -> Self {
        assert!(Path::new(PROGRAM).is_file(), "Chromium is not installed: run `cargo xtask servers` once");
        let process = Process::new("browser", None);
        let [to, from] = ["to", "from"].map(|name| process.folder().join(name));
        process.run(Command::new("mkfifo").arg(&to).arg(&from));
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--remote-debugging-pipe",
            "--no-first-run",
            "--disable-extensions",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-default-apps",
            "--hide-scrollbars",
            "--mute-audio",
            "--lang=en-GB",
            "--autoplay-policy=no-user-gesture-required",
            "about:blank",
        ];
        // The protocol is on the descriptors 3 and 4. Opening a pipe waits for its other end, so the order is the same here.
        let script = "exec 3<\"$0/to\" 4>\"$0/from\"; exec \"$@\"";
        let mut command = process.command("sh");
        command.arg("-c").arg(script).arg(process.folder()).arg(PROGRAM).args(arguments);
        command.arg(format!("--user-data-dir={}", process.folder().join("profile").display()));
        process.launch(command.env("HOME", process.folder()));
        let to = File::options().write(true).open(&to).expect("the pipe to the browser");
        let source = File::open(&from).expect("the pipe from the browser");
        let (sender, from) = channel();
        std::thread::spawn(move || {
            for message in BufReader::new(source).split(0).map_while(Result::ok) {
                let Ok(message) = serde_json::from_slice(&message) else { continue };
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        Self { _process: process, to: RefCell::new(to), from, number: Cell::new(0), events: RefCell::default() }
    }

    fn call(&self, session: Option<&str>, method: &str, params: Value) -> Value {
        let number = self.number.get() + 1;
        self.number.set(number);
        let mut message = json!({ "id": number, "method": method, "params": params });
        if let Some(session) = session {
            message["sessionId"] = json!(session);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.to.borrow_mut().write_all(&bytes).expect("the browser listens");
        loop {
            let message = self.from.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no answer to {method}"));
            if message["id"] == number {
                assert!(message.get("error").is_none(), "{method}: {}", message["error"]);
                return message["result"].clone();
            }
            if message.get("method").is_some() {
                self.events.borrow_mut().push_back(message);
            }
        }
    }

    /// Opens a tab with a look.
    #[must_use]
    pub fn tab(&self, look: Look) -> Tab<'_> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let context = text(&self.call(None, "Target.createBrowserContext", json!({}))["browserContextId"]);
        let made = self.call(None, "Target.createTarget", json!({ "url": "about:blank", "browserContextId": context }));
        let target = text(&made["targetId"]);
        let attached = self.call(None, "Target.attachToTarget", json!({ "targetId": target, "flatten": true }));
        let tab = Tab { browser: self, session: text(&attached["sessionId"]), target, context };
        for domain in ["Page", "Runtime", "Network", "Log"] {
            tab.call(&format!("{domain}.enable"), json!({}));
        }
        let mobile = look.width < 600;
        tab.call(
            "Emulation.setDeviceMetricsOverride",
            json!({ "width": look.width, "height": look.height, "deviceScaleFactor": 1, "mobile": mobile }),
        );
        tab.call("Emulation.setTouchEmulationEnabled", json!({ "enabled": mobile }));
        let scheme = if look.dark { "dark" } else { "light" };
        let motion = if look.still { "reduce" } else { "no-preference" };
        tab.call(
            "Emulation.setEmulatedMedia",
            json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }, { "name": "prefers-reduced-motion", "value": motion }] }),
        );
        tab.call("Emulation.setScriptExecutionDisabled", json!({ "value": !look.scripts }));
        tab
    }
}

impl Tab<'_> {
    /// Calls a method of the protocol for this tab.
    pub fn call(&self, method: &str, params: Value) -> Value {
        self.browser.call(Some(&self.session), method, params)
    }

    /// Goes to a page, and waits until it is loaded.
    pub fn go(&self, url: &str) {
        self.browser.events.borrow_mut().retain(|event| event["method"] != "Page.loadEventFired");
        let gone = self.call("Page.navigate", json!({ "url": url }));
        assert!(gone.get("errorText").is_none(), "{url}: {}", gone["errorText"]);
        self.wait_for_event("Page.loadEventFired");
    }

    fn wait_for_event(&self, method: &str) {
        let is_it = |event: &Value| event["method"] == method && event["sessionId"] == *self.session;
        if self.browser.events.borrow().iter().any(is_it) {
            return;
        }
        loop {
            let message = self.browser.from.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no {method}"));
            let found = is_it(&message);
            self.browser.events.borrow_mut().push_back(message);
            if found {
                return;
            }
        }
    }

    /// What an expression gives, awaited if it is a promise.
    pub fn evaluate(&self, expression: &str) -> Value {
        let given = self
            .call("Runtime.evaluate", json!({ "expression": expression, "awaitPromise": true, "returnByValue": true }));
        assert!(given.get("exceptionDetails").is_none(), "{expression}: {}", given["exceptionDetails"]);
        given["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    pub fn wait_until(&self, expression: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.evaluate(expression) != true {
            assert!(Instant::now() < deadline, "never became true: {expression}");
            pause(Duration::from_millis(50));
        }
    }

    /// Presses a key, such as `Tab`, `Enter` or `+`.
    pub fn press(&self, key: &str) {
        let text = match key {
            "Enter" => Some("\r"),
            key if key.chars().count() == 1 => Some(key),
            _ => None,
        };
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            "ArrowLeft" => 37,
            "ArrowRight" => 39,
            _ => 0,
        };
        let mut down = json!({ "type": "keyDown", "key": key, "windowsVirtualKeyCode": code });
        if let Some(text) = text {
            down["text"] = json!(text);
        }
        self.call("Input.dispatchKeyEvent", down);
        self.call("Input.dispatchKeyEvent", json!({ "type": "keyUp", "key": key, "windowsVirtualKeyCode": code }));
    }

    /// Drags with the mouse from one place to another, in pixels of the window.
    pub fn drag(&self, from: (f64, f64), to: (f64, f64)) {
        let mouse = |kind: &str, (x, y): (f64, f64), held: u32| {
            self.call(
                "Input.dispatchMouseEvent",
                json!({ "type": kind, "x": x, "y": y, "button": "left", "buttons": held, "clickCount": 1 }),
            );
        };
        mouse("mouseMoved", from, 0);
        mouse("mousePressed", from, 1);
        mouse("mouseMoved", ((from.0 + to.0) / 2.0, (from.1 + to.1) / 2.0), 1);
        mouse("mouseMoved", to, 1);
        mouse("mouseReleased", to, 0);
    }

    /// A picture of the whole page as PNG.
    #[must_use]
    pub fn screenshot(&self) -> Vec<u8> {
        let size = self.call("Page.getLayoutMetrics", json!({}))["cssContentSize"].clone();
        let clip = json!({ "x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1 });
        let shot = self
            .call("Page.captureScreenshot", json!({ "format": "png", "clip": clip, "captureBeyondViewport": true }));
        STANDARD.decode(shot["data"].as_str().unwrap_or_default()).expect("base64")
    }

    /// Takes what happened of a kind since it was last taken.
    fn take(&self, method: &str) -> Vec<Value> {
        // What was sent before this answer is here after it.
        self.evaluate("0");
        let mut events = self.browser.events.borrow_mut();
        let is_it = |event: &&Value| event["method"] == method && event["sessionId"] == *self.session;
        let found = events.iter().filter(is_it).map(|event| event["params"].clone()).collect();
        events.retain(|event| !is_it(&event));
        found
    }

    /// Takes the addresses of all requests since it was last asked.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        let sent = self.take("Network.requestWillBeSent");
        sent.iter().filter_map(|event| event["request"]["url"].as_str().map(str::to_owned)).collect()
    }

    /// Takes the bytes of all answers but sound that ended since it was last asked, with their heads, as they came over the wire.
    pub fn weight(&self) -> u64 {
        let is_media = |event: &&Value| event["type"] == "Media";
        let answers = self.take("Network.responseReceived");
        let media: Vec<&Value> = answers.iter().filter(is_media).map(|event| &event["requestId"]).collect();
        let ended = self.take("Network.loadingFinished");
        let counted = ended.iter().filter(|event| !media.contains(&&event["requestId"]));
        counted.filter_map(|event| event["encodedDataLength"].as_f64()).map(|length| length as u64).sum()
    }

    /// Takes what pages complained of since it was last asked: exceptions, refused content, failed requests.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let mut found: Vec<String> =
            self.take("Runtime.exceptionThrown").iter().map(|event| event["exceptionDetails"].to_string()).collect();
        let errors = self.take("Log.entryAdded").into_iter().filter(|event| event["entry"]["level"] == "error");
        found.extend(errors.map(|event| event["entry"].to_string()));
        let said = self.take("Runtime.consoleAPICalled");
        let bad = said.iter().filter(|event| event["type"] == "error" || event["type"] == "warning");
        found.extend(bad.map(|event| event["args"].to_string()));
        found
    }

    /// The violations that axe-core finds on the page, in words.
    #[must_use]
    pub fn barriers(&self, axe: &str) -> Vec<String> {
        self.evaluate(&format!("{axe}; 0"));
        let found = self.evaluate(
            "axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) => violations.map((rule) => \
             rule.id + ': ' + rule.help + ' ' + rule.nodes.map((node) => node.target.join(' ') + ' ' + \
             node.any.concat(node.all, node.none).map((check) => check.message).join(' ')).join(' | ')))",
        );
        found.as_array().into_iter().flatten().map(|rule| rule.as_str().unwrap_or_default().to_owned()).collect()
    }
}

impl Drop for Tab<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.browser.call(None, "Target.closeTarget", json!({ "targetId": self.target }));
        self.browser.call(None, "Target.disposeBrowserContext", json!({ "browserContextId": self.context }));
        self.browser.events.borrow_mut().retain(|event| event["sessionId"] != *self.session);
    }
}
