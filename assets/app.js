// What every page does: times in the viewer's zone, words on hover over strips, the menu on phones.
(() => {
  "use strict";
  const root = document.documentElement;
  root.classList.add("js");
  const lang = root.lang === "fa" ? "fa-IR-u-nu-latn" : undefined;
  const full = new Intl.DateTimeFormat(lang, { dateStyle: "medium", timeStyle: "medium" });
  const day = new Intl.DateTimeFormat(lang, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
  const clock = new Intl.DateTimeFormat(lang, { hour: "2-digit", minute: "2-digit" });
  const date = new Intl.DateTimeFormat(lang, { day: "numeric", month: "short" });
  const second = new Intl.DateTimeFormat(lang, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const exact = new Intl.DateTimeFormat(lang, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const relative = new Intl.RelativeTimeFormat(lang || "en", { numeric: "auto", style: "short" });

  const ago = (seconds) => {
    const units = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
    const [unit, size] = units.find(([, size]) => Math.abs(seconds) >= size) || units[3];
    return relative.format(-Math.trunc(seconds / size), unit);
  };
  const show = (time) => {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) return;
    const kind = time.dataset.time;
    if (kind === "ago") time.textContent = ago((Date.now() - at) / 1000);
    else if (kind === "short") time.textContent = at.toDateString() === new Date().toDateString() ? clock.format(at) : day.format(at);
    else time.textContent = full.format(at);
    time.title = full.format(at) + "\n" + time.dateTime;
  };
  const localise = (within) => within.querySelectorAll("time[data-time]").forEach(show);
  localise(document);
  setInterval(() => document.querySelectorAll('time[data-time="ago"]').forEach(show), 1000);

  // One box for all words on hover; strips and charts say which words.
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  tip.setAttribute("aria-hidden", "true");
  document.body.append(tip);
  // Words stand above a place; what is more than words stands beside it.
  const say = (what, x, y) => {
    if (!what) { tip.hidden = true; return; }
    tip.replaceChildren(what);
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    if (typeof what !== "string") {
      const left = x + box.width + 20 < innerWidth ? x + 14 : x - box.width - 14;
      tip.style.left = Math.max(4, left) + "px";
      tip.style.top = Math.max(4, Math.min(y, innerHeight - box.height - 4)) + "px";
      return;
    }
    tip.style.left = Math.max(4, Math.min(x - box.width / 2, innerWidth - box.width - 4)) + "px";
    tip.style.top = (y - box.height - 12 < 4 ? y + 18 : y - box.height - 12) + "px";
  };

  const HALF_HOUR = 1800000;
  const words = () => {
    const legend = [...document.querySelectorAll(".legend li")].map((item) => item.textContent.trim());
    return { u: legend[0], p: legend[1], d: legend[2], n: legend[3] };
  };
  let known;
  const stripWords = (strip, x) => {
    const box = strip.getBoundingClientRect();
    const cells = strip.viewBox.baseVal.width / 6;
    const place = Math.min(cells - 1, Math.max(0, Math.floor((x - box.left) / box.width * cells)));
    const step = Number(strip.dataset.step) || HALF_HOUR;
    const last = Math.floor(Date.now() / step) * step;
    const from = new Date(last - (cells - 1 - place) * step);
    const to = new Date(Math.min(from.getTime() + step, Date.now()));
    let state = "n";
    for (const path of strip.children) {
      for (const run of path.getAttribute("d").matchAll(/M(\d+) 10h(\d+)/g)) {
        const start = (Number(run[1]) - 1) / 6;
        if (place >= start && place < start + (Number(run[2]) + 2) / 6) state = path.getAttribute("class");
      }
    }
    known = known || words();
    const note = strip.dataset.note ? "\n" + strip.dataset.note : "";
    return day.format(from) + " – " + clock.format(to) + "\n" + (known[state] || "") + note;
  };
  document.addEventListener("pointermove", (event) => {
    const strip = event.target.closest && event.target.closest(".row .strip");
    if (strip && strip.viewBox) say(stripWords(strip, event.clientX), event.clientX, event.clientY);
    else if (!(event.target.closest && event.target.closest("[data-tips]"))) say("");
  });
  document.addEventListener("scroll", () => say(""), true);

  // On phones the menu starts closed.
  const menu = document.querySelector(".menu");
  if (menu && matchMedia("(max-width: 56rem)").matches) menu.open = false;

  // What the hub tells as it happens. Whoever looks on while it is away is told so.
  const lost = document.getElementById("lost");
  const listen = (wanted) => {
    const heard = [];
    let stream;
    let since = 0;
    let late = 0;
    const hear = ([name, hearer]) => stream.addEventListener(name, hearer);
    const back = () => {
      clearTimeout(late);
      late = 0;
      lost.hidden = true;
      document.body.classList.remove("stale");
    };
    const away = () => {
      if (!late) {
        since = Date.now();
        late = setTimeout(() => {
          lost.textContent = lost.dataset.text.replace("{}", second.format(since));
          lost.hidden = false;
          document.body.classList.add("stale");
        }, 5000);
      }
      // What was refused, a browser does not try again by itself.
      if (stream.readyState === EventSource.CLOSED) setTimeout(connect, 10000);
    };
    const connect = () => {
      stream = new EventSource("/api/v1/events?" + wanted);
      hear(["open", back]);
      hear(["error", away]);
      heard.forEach(hear);
    };
    connect();
    addEventListener("pagehide", () => stream.close());
    // A page that comes back from the browser's memory listens again.
    addEventListener("pageshow", (event) => { if (event.persisted) connect(); });
    return { addEventListener: (name, hearer) => { heard.push([name, hearer]); hear([name, hearer]); } };
  };

  // Instants are typed in the viewer's zone, and sent in UTC.
  document.querySelectorAll("input[data-instant]").forEach((field) => {
    const text = field.value.trim();
    const at = new Date(/(Z|[+-]\d\d:?\d\d)$/.test(text) ? text : text.replace(" ", "T") + "Z");
    // What is wrong stays as it was typed.
    if (text && Number.isNaN(at.getTime())) return;
    // As it is typed there, before the field becomes one of that kind: it takes no other text.
    if (text) {
      if (at.getSeconds()) field.step = 1;
      const local = new Date(at - at.getTimezoneOffset() * 60000).toISOString().slice(0, at.getSeconds() ? 19 : 16);
      field.setAttribute("value", local);
      field.value = local;
    }
    field.type = "datetime-local";
    field.title = Intl.DateTimeFormat().resolvedOptions().timeZone;
    const help = field.closest("label") && field.closest("label").querySelector(".help");
    if (help) help.textContent = field.title;
  });
  document.addEventListener("formdata", (event) => {
    event.target.querySelectorAll('input[data-instant][type="datetime-local"]').forEach((field) => {
      if (field.value) event.formData.set(field.name, new Date(field.value).toISOString().replace(".000Z", "Z"));
    });
  });

  // What was sent from a page may be answered at an address that is no page.
  const here = document.querySelector("[data-here]");
  if (here) history.replaceState(null, "", here.dataset.here);

  // A form with something typed in it is sent only while its session goes on: else what was typed would be gone. Whoever logs in
  // elsewhere meanwhile sends it with the token of the new session.
  const ended = document.getElementById("ended");
  const quiet = /^(hidden|checkbox|radio|submit|button|image|reset|file|range)$/;
  const texts = (form) => [...form.querySelectorAll("input, textarea")].filter((field) => !quiet.test(field.type));
  const holdsText = (form) => form.getAttribute("method") === "post" && form.querySelector('input[name="form_token"]')
    && texts(form).some((field) => field.value !== "");
  const begun = () => [...document.forms].find((form) => holdsText(form) && texts(form).some((field) => field.value !== field.defaultValue));
  const tellEnded = (form) => {
    const place = form.querySelector(".actions.end");
    if (place) place.before(ended); else form.append(ended);
    // Told again each time it is asked for again.
    ended.hidden = true;
    requestAnimationFrame(() => { ended.hidden = false; ended.scrollIntoView({ block: "center" }); });
  };
  const freshToken = async () => {
    try {
      const answer = await fetch("/account", { headers: { Accept: "text/html" }, credentials: "same-origin", redirect: "manual" });
      if (answer.type === "opaqueredirect") return null;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      return (page.querySelector('meta[name="form-token"]') || {}).content || "";
    } catch { return ""; }
  };
  const asking = new WeakSet();
  const sure = new WeakSet();
  document.addEventListener("submit", async (event) => {
    const form = event.target;
    if (!ended || sure.has(form) || !holdsText(form)) return;
    event.preventDefault();
    event.stopPropagation();
    if (asking.has(form)) return;
    asking.add(form);
    const button = event.submitter;
    const token = await freshToken();
    asking.delete(form);
    if (token === null) { tellEnded(form); return; }
    ended.hidden = true;
    // What could not be found out is for the answer to say.
    if (token) form.querySelector('input[name="form_token"]').value = token;
    sure.add(form);
    if (button) form.requestSubmit(button); else form.requestSubmit();
    sure.delete(form);
  }, true);

  // What is to be typed elsewhere, into the clipboard.
  document.addEventListener("click", async (event) => {
    const button = event.target.closest && event.target.closest("button[data-copy]");
    if (!button) return;
    const text = button.parentElement.querySelector(".command, code");
    try {
      await navigator.clipboard.writeText(text.textContent);
      button.classList.add("done");
      setTimeout(() => button.classList.remove("done"), 2000);
    } catch { getSelection().selectAllChildren(text); }
  });

  window.probemesh = {
    localise,
    say,
    times: { full, day, clock, date, second, exact },
    token: () => (document.querySelector('meta[name="form-token"]') || {}).content || "",
    // A page's part, or null; whoever is no longer logged in is led to the log-in.
    part: async (address) => {
      try {
        const answer = await fetch(address, { headers: { Accept: "text/html" }, credentials: "same-origin", redirect: "manual" });
        if (answer.type === "opaqueredirect") {
          const form = ended && begun();
          if (!form || await freshToken() !== null) location.reload();
          else if (ended.hidden) tellEnded(form);
          return null;
        }
        if (answer.status === 404) document.dispatchEvent(new CustomEvent("probemesh-gone"));
        return answer.ok ? await answer.text() : null;
      } catch { return null; }
    },
    events: listen,
  };
})();
