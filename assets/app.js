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
    const last = Math.floor(Date.now() / HALF_HOUR) * HALF_HOUR;
    const from = new Date(last - (cells - 1 - place) * HALF_HOUR);
    const to = new Date(Math.min(from.getTime() + HALF_HOUR, Date.now()));
    let state = "n";
    for (const path of strip.children) {
      for (const run of path.getAttribute("d").matchAll(/M(\d+) 10h(\d+)/g)) {
        const start = (Number(run[1]) - 1) / 6;
        if (place >= start && place < start + (Number(run[2]) + 2) / 6) state = path.getAttribute("class");
      }
    }
    known = known || words();
    return day.format(from) + " – " + clock.format(to) + "\n" + (known[state] || "");
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

  window.probemesh = {
    localise,
    say,
    times: { full, day, clock, date, second, exact },
    token: () => (document.querySelector('meta[name="form-token"]') || {}).content || "",
    // A page's part, or null; whoever is no longer logged in is led to the log-in.
    part: async (address) => {
      try {
        const answer = await fetch(address, { headers: { Accept: "text/html" }, credentials: "same-origin", redirect: "manual" });
        if (answer.type === "opaqueredirect") { location.reload(); return null; }
        return answer.ok ? await answer.text() : null;
      } catch { return null; }
    },
    events: () => new EventSource("/api/v1/events"),
  };
})();
