//! A browser window, by the WebDriver protocol (https://www.w3.org/TR/webdriver2/): Chromium behind ChromeDriver.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::http::ask;
use crate::{patiently, until};

/// What the window is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub width: u32,
    pub height: u32,
    pub dark: bool,
    pub phone: bool,
}

impl Window {
    pub const DESK: Window = Window { width: 1360, height: 900, dark: false, phone: false };
    pub const DARK: Window = Window { dark: true, ..Window::DESK };
    pub const PHONE: Window = Window { width: 390, height: 844, dark: false, phone: true };
}

/// ChromeDriver; ends with this value.
pub struct Driver {
    child: Child,
    port: u16,
}

impl Driver {
    pub fn start() -> Driver {
        let port = free_port();
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={port}")).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("chromedriver starts; tests/run installs it");
        let driver = Driver { child, port };
        until("chromedriver", || ask(port, "GET", "/status", &[], b"").ok().filter(|answer| answer.status == 200));
        driver
    }

    pub fn open(&self, window: Window) -> Page {
        self.open_with(window, true)
    }

    /// A window in which no script of a page runs.
    pub fn open_without_scripts(&self, window: Window) -> Page {
        self.open_with(window, false)
    }

    fn open_with(&self, window: Window, scripts: bool) -> Page {
        let mut args = vec![
            "--headless=new".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--hide-scrollbars".to_owned(),
            "--lang=en-GB".to_owned(),
            "--force-color-profile=srgb".to_owned(),
            format!("--window-size={},{}", window.width, window.height),
        ];
        if window.dark {
            args.push("--blink-settings=preferredColorScheme=0".to_owned());
        }
        let mut options = json!({"args": args});
        if !scripts {
            options["prefs"] = json!({"profile.managed_default_content_settings.javascript": 2});
        }
        if window.phone {
            let metrics = json!({"width": window.width, "height": window.height, "pixelRatio": 1, "touch": true});
            options["mobileEmulation"] = json!({"deviceMetrics": metrics});
        }
        let wanted = json!({"capabilities": {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}}});
        let opened = send(self.port, "POST", "/session", Some(wanted));
        let id = opened["sessionId"].as_str().expect("a session has an id").to_owned();
        Page { port: self.port, path: format!("/session/{id}") }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One window; closes with this value.
pub struct Page {
    port: u16,
    path: String,
}

impl Page {
    pub fn go(&self, address: &str) {
        self.ask("POST", "/url", Some(json!({"url": address})));
    }

    pub fn address(&self) -> String {
        self.ask("GET", "/url", None).as_str().expect("it is a text").to_owned()
    }

    /// Runs a script's body and gives what it returns.
    pub fn run(&self, script: &str) -> Value {
        self.ask("POST", "/execute/sync", Some(json!({"script": script, "args": []})))
    }

    /// The same for one that calls back.
    pub fn run_async(&self, script: &str) -> Value {
        self.ask("POST", "/execute/async", Some(json!({"script": script, "args": []})))
    }

    /// The page as markup, also where no script may run.
    pub fn source(&self) -> String {
        self.ask("GET", "/source", None).as_str().unwrap_or_default().to_owned()
    }

    /// What is to be read, in one line.
    pub fn text(&self) -> String {
        self.run("return document.body.innerText.replace(/\\s+/g, ' ')").as_str().unwrap_or_default().to_owned()
    }

    /// Waits until the page shows a text.
    pub fn sees(&self, text: &str) {
        until(&format!("{text:?} on {}: {}", self.address(), self.text()), || self.text().contains(text).then_some(()));
    }

    pub fn has(&self, selector: &str) -> bool {
        self.run(&format!("return document.querySelector({}) !== null", json!(selector))) == json!(true)
    }

    pub fn click(&self, selector: &str) {
        self.do_to(selector, &[("click", json!({}))]);
    }

    /// Types into a field that is emptied first.
    pub fn fill(&self, selector: &str, text: &str) {
        self.do_to(selector, &[("clear", json!({})), ("value", json!({"text": text}))]);
    }

    /// Does this to an element; once more where the page put another in its place meanwhile, or something moved before it.
    fn do_to(&self, selector: &str, steps: &[(&str, Value)]) {
        const PASSING: [&str; 3] = ["stale element reference", "element click intercepted", "element not interactable"];
        let mut why = String::new();
        let done = patiently(|| {
            let element = self.find(selector);
            let refused = steps.iter().find_map(|(step, body)| {
                let answer = tell(self.port, "POST", &format!("{}/element/{element}/{step}", self.path), Some(body.clone()));
                answer.err().map(|error| (*step, error))
            });
            let Some((step, error)) = refused else { return Some(()) };
            why = format!("{step} of {selector}: {}", error["message"]);
            assert!(PASSING.iter().any(|passing| error["error"] == *passing), "{why}");
            None
        });
        assert!(done.is_some(), "{why}");
    }

    /// Presses keys where the focus is.
    pub fn press(&self, keys: &str) {
        let actions: Vec<Value> =
            keys.chars().flat_map(|key| [json!({"type": "keyDown", "value": key}), json!({"type": "keyUp", "value": key})]).collect();
        self.ask("POST", "/actions", Some(json!({"actions": [{"type": "key", "id": "keys", "actions": actions}]})));
    }

    /// Presses keys while another is held.
    pub fn press_with(&self, held: char, keys: &str) {
        let mut actions = vec![json!({"type": "keyDown", "value": held})];
        actions.extend(keys.chars().flat_map(|key| [json!({"type": "keyDown", "value": key}), json!({"type": "keyUp", "value": key})]));
        actions.push(json!({"type": "keyUp", "value": held}));
        self.ask("POST", "/actions", Some(json!({"actions": [{"type": "key", "id": "keys", "actions": actions}]})));
    }

    /// Moves the mouse over an element, to so much of its width.
    pub fn point_at(&self, selector: &str, across: f64) {
        let to = self.place(selector, across);
        self.pointers(&[("mouse", vec![moved(to, 0)])]);
    }

    /// Drags the mouse over an element, from so much of its width to so much.
    pub fn drag(&self, selector: &str, from: f64, to: f64) {
        let (from, to) = (self.place(selector, from), self.place(selector, to));
        let middle = ((from.0 + to.0) / 2.0, from.1);
        let down = json!({"type": "pointerDown", "button": 0});
        self.pointers(&[(
            "mouse",
            vec![moved(from, 0), down, moved(middle, 50), moved(to, 50), json!({"type": "pointerUp", "button": 0})],
        )]);
    }

    /// Touches an element with a finger or two, each moved from so much of its width to so much, and lets go.
    pub fn touch(&self, selector: &str, fingers: &[(f64, f64)]) {
        let ways: Vec<(&str, Vec<Value>)> = fingers
            .iter()
            .map(|(from, to)| {
                let (from, to) = (self.place(selector, *from), self.place(selector, *to));
                let middle = ((from.0 + to.0) / 2.0, from.1);
                let down = json!({"type": "pointerDown", "button": 0});
                ("touch", vec![moved(from, 0), down, moved(middle, 80), moved(to, 80), json!({"type": "pointerUp", "button": 0})])
            })
            .collect();
        self.pointers(&ways);
    }

    fn pointers(&self, ways: &[(&str, Vec<Value>)]) {
        let sources: Vec<Value> = ways
            .iter()
            .enumerate()
            .map(|(number, (kind, actions))| {
                json!({"type": "pointer", "id": format!("{kind}{number}"), "parameters": {"pointerType": kind}, "actions": actions})
            })
            .collect();
        self.ask("POST", "/actions", Some(json!({"actions": sources})));
    }

    /// Where in the window so much of an element's width is, half way down, once it stays there and nothing lies over it.
    fn place(&self, selector: &str, across: f64) -> (f64, f64) {
        let script = format!(
            "const one = document.querySelector({0}); if (!one) return null; one.scrollIntoView({{block: 'center', behavior: 'instant'}});\
             const box = one.getBoundingClientRect(); const at = [Math.round(box.left + box.width * {across}), Math.round(box.top + box.height / 2)];\
             const top = document.elementFromPoint(...at); return top && top.closest({0}) === one ? at : null;",
            json!(selector)
        );
        let mut last = None;
        until(&format!("a place to point at on {selector}"), || {
            let at = self.run(&script);
            let at = Some((at[0].as_f64()?, at[1].as_f64()?));
            std::mem::replace(&mut last, at).filter(|last| Some(*last) == at)
        })
    }

    /// A picture of what the window shows, as WebP: a quarter of what PNG takes.
    pub fn picture(&self, file: &Path) {
        let picture = json!({"cmd": "Page.captureScreenshot", "params": {"format": "webp", "quality": 70}});
        let picture = self.ask("POST", "/goog/cdp/execute", Some(picture));
        let bytes = BASE64_STANDARD.decode(picture["data"].as_str().expect("it is a text")).expect("it is base64");
        std::fs::write(file, bytes).expect("the picture is written");
    }

    /// CPU seconds all processes of the browser have used.
    pub fn cpu_seconds(&self, driver: &Driver) -> f64 {
        let processes = processes();
        let mut ours = vec![driver.child.id()];
        let mut index = 0;
        while let Some(parent) = ours.get(index).copied() {
            ours.extend(processes.iter().filter(|process| process.parent == parent).map(|process| process.id));
            index += 1;
        }
        processes.iter().filter(|process| ours[1..].contains(&process.id)).map(|process| process.cpu_seconds).sum()
    }

    /// What the browser complained of since last asked: scripts that fail, what the policy refused, what could not be loaded.
    pub fn complaints(&self) -> Vec<String> {
        let log = self.ask("POST", "/se/log", Some(json!({"type": "browser"})));
        let lines = log.as_array().cloned().unwrap_or_default();
        lines.iter().filter(|line| line["level"] == "SEVERE").map(|line| line["message"].to_string()).collect()
    }

    /// Logs in and waits for the page behind it: until that has come, whatever is asked for next would be left for it.
    pub fn log_in(&self, hub: &str, password: &str) {
        self.go(&format!("{hub}/login"));
        self.fill("input[name=username]", "admin");
        self.fill("input[name=password]", password);
        self.click("form.stack button");
        until("the page behind the log-in", || (!self.address().contains("/login")).then_some(()));
    }

    fn find(&self, selector: &str) -> String {
        until(selector, || {
            let found = ask(
                self.port,
                "POST",
                &format!("{}/element", self.path),
                &[("Content-Type", "application/json")],
                json!({"using": "css selector", "value": selector}).to_string().as_bytes(),
            );
            let found = found.ok().filter(|answer| answer.status == 200)?.json();
            let element = found["value"].as_object()?.values().next()?.as_str()?.to_owned();
            Some(element)
        })
    }

    /// Prints what the page showed when a test failed.
    fn last_seen(&self) {
        let script = "return [document.location.href, document.visibilityState, scrollY, document.body.innerText]";
        let path = format!("{}/execute/sync", self.path);
        let seen = ask(
            self.port,
            "POST",
            &path,
            &[("Content-Type", "application/json")],
            json!({"script": script, "args": []}).to_string().as_bytes(),
        );
        match seen {
            Ok(seen) => eprintln!("the page was last seen as: {}", String::from_utf8_lossy(&seen.body)),
            Err(error) => eprintln!("the page cannot be seen any more: {error}"),
        }
    }

    fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        send(self.port, method, &format!("{}{path}", self.path), body)
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.last_seen();
        }
        let _ = ask(self.port, "DELETE", &self.path, &[], b"");
    }
}

fn moved(to: (f64, f64), ms: u32) -> Value {
    json!({"type": "pointerMove", "duration": ms, "x": to.0, "y": to.1})
}

struct Process {
    id: u32,
    parent: u32,
    cpu_seconds: f64,
}

/// All there are, by /proc.
fn processes() -> Vec<Process> {
    let read = |entry: std::fs::DirEntry| {
        let id = entry.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
        let ticks = |index: usize| fields.get(index)?.parse::<f64>().ok();
        Some(Process { id, parent: fields.get(1)?.parse().ok()?, cpu_seconds: (ticks(11)? + ticks(12)?) / 100.0 })
    };
    std::fs::read_dir("/proc").expect("it is there").flatten().filter_map(read).collect()
}

fn send(port: u16, method: &str, path: &str, body: Option<Value>) -> Value {
    tell(port, method, path, body).unwrap_or_else(|error| panic!("{method} {path}: {}", error["message"]))
}

/// What the driver answers, or its error: `error` is one of the protocol's codes, `message` says more.
fn tell(port: u16, method: &str, path: &str, body: Option<Value>) -> Result<Value, Value> {
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let answer = ask(port, method, path, &[("Content-Type", "application/json")], body.as_bytes()).expect("the driver answers");
    let value = answer.json()["value"].clone();
    if answer.status == 200 { Ok(value) } else { Err(value) }
}

/// A port nobody listens on now, below those the system gives out by chance; a process gets each once.
pub fn free_port() -> u16 {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id() % 200) as u16 * 100;
    let mut ports = std::iter::from_fn(|| Some(10_000 + (start + GIVEN.fetch_add(1, Ordering::Relaxed)) % 20_000));
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("one of so many")
}
