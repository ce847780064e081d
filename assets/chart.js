// Charts: what is under the pointer, the finger or the arrow keys is read out, to the eye and to the ear; a span that is chosen
// is loaded, drawn anew by the server, and stays in the address.
(() => {
  "use strict";
  const { localise, say, times } = window.probemesh;
  const SVG = "http://www.w3.org/2000/svg";
  const CHART = "svg[data-tips]";

  // For those who do not see the box on hover.
  const voice = document.createElement("p");
  voice.className = "sr";
  voice.setAttribute("role", "status");
  document.body.append(voice);
  let later = 0;
  const tell = (text) => {
    clearTimeout(later);
    later = setTimeout(() => { voice.textContent = text; }, 120);
  };

  // What a chart carries, read once.
  const known = new WeakMap();
  const of = (chart) => {
    let data = known.get(chart);
    if (!data) {
      const tips = chart.dataset.tips.split("\n").map((line) => line.split("|"));
      const keys = chart.dataset.keys.split("|").map((key) => [key.slice(0, key.indexOf(":")), key.slice(key.indexOf(":") + 1)]);
      data = { tips, keys, marks: JSON.parse(chart.dataset.marks || "[]"), from: Number(chart.dataset.from), step: Number(chart.dataset.step) };
      known.set(chart, data);
    }
    return data;
  };
  // What holds where a span can be chosen; null where charts are only read.
  const scope = (chart) => {
    const place = chart.closest("[data-of-span]");
    return place && place.querySelector(".window");
  };
  const peers = (chart) => {
    const { from, step } = of(chart);
    return [...document.querySelectorAll(CHART)].filter((other) => of(other).from === from && of(other).step === step);
  };
  const share = (chart, x) => {
    const box = chart.getBoundingClientRect();
    return (x - box.left) / box.width;
  };
  const bucket = (chart, x) => {
    const count = of(chart).tips.length;
    return Math.min(count - 1, Math.max(0, Math.floor(share(chart, x) * count)));
  };

  // Words.
  const span = (from, to) => {
    const fine = from % 60000 !== 0 || to % 60000 !== 0;
    const [whole, short] = fine ? [times.exact, times.second] : [times.day, times.clock];
    const oneDay = new Date(from).toDateString() === new Date(to).toDateString();
    return whole.format(from) + " – " + (oneDay ? short : whole).format(to);
  };
  const read = (chart, place) => {
    const { tips, keys, marks, from, step } = of(chart);
    const [foot, ...values] = tips[place];
    const [start, end] = [from + place * step, from + (place + 1) * step];
    const rows = keys.map(([look, name], index) => [look, name, values[index]]).filter((row) => row[2]);
    const over = marks.filter(([, begins, ends]) => begins < end && ends >= start);
    return { head: span(start, end), rows, foot, over: over.map(([kind, , , text]) => [kind, text]) };
  };
  const spoken = ({ head, rows, foot, over }) =>
    [head, rows.map(([, name, value]) => name + " " + value).join(", "), foot, ...over.map(([, text]) => text)].filter(Boolean).join(". ");
  const make = (name, look, text) => {
    const one = document.createElement(name);
    if (look) one.className = look;
    if (text !== undefined) one.textContent = text;
    return one;
  };
  const box = ({ head, rows, foot, over }) => {
    const whole = make("div", "readout");
    whole.append(make("b", "", head));
    const list = make("dl");
    for (const [look, name, value] of rows) {
      const line = make("div");
      const label = make("dt");
      label.append(make("i", "swatch " + look), make("bdi", "", name));
      line.append(label, make("dd", "", value));
      list.append(line);
    }
    if (rows.length) whole.append(list);
    if (foot) whole.append(make("p", "", foot));
    for (const [kind, text] of over) {
      const line = make("p", "over " + kind);
      line.append(make("bdi", "", text));
      whole.append(line);
    }
    return whole;
  };

  // The line through every chart of the same span, and what is chosen.
  let shown = null;
  const hide = () => {
    if (!shown) return;
    shown.peers.forEach((peer) => peer.querySelector(".cross").setAttribute("visibility", "hidden"));
    shown = null;
    say("");
  };
  const show = (chart, place) => {
    if (shown && shown.chart !== chart) hide();
    shown = shown || { chart, peers: peers(chart) };
    shown.place = place;
    const middle = (place + .5) / of(chart).tips.length;
    for (const peer of shown.peers) {
      const line = peer.querySelector(".cross");
      line.setAttribute("x1", middle * 100 + "%");
      line.setAttribute("x2", middle * 100 + "%");
      line.setAttribute("visibility", "visible");
    }
    const words = read(chart, place);
    const frame = chart.getBoundingClientRect();
    say(box(words), frame.left + middle * frame.width, frame.top + 8);
    return words;
  };
  let chosen = null;
  const choose = (chart, from, to) => {
    const { from: first, step, tips } = of(chart);
    const whole = step * tips.length;
    chosen = chosen || { chart, marks: peers(chart).map((peer) => {
      const mark = document.createElementNS(SVG, "rect");
      const line = peer.querySelector(".cross");
      mark.setAttribute("class", "chosen");
      mark.setAttribute("y", line.getAttribute("y1"));
      mark.setAttribute("height", line.getAttribute("y2") - line.getAttribute("y1"));
      peer.append(mark);
      return mark;
    }) };
    chosen.from = from;
    chosen.to = to;
    const [left, right] = [from, to].map((at) => Math.min(1, Math.max(0, (at - first) / whole)) * 100);
    for (const mark of chosen.marks) {
      mark.setAttribute("x", left + "%");
      mark.setAttribute("width", right - left + "%");
    }
  };
  const drop = () => {
    if (chosen) chosen.marks.forEach((mark) => mark.remove());
    chosen = null;
  };
  const buckets = (chart, one, other) => {
    const { from, step } = of(chart);
    const [low, high] = [Math.min(one, other), Math.max(one, other)];
    choose(chart, from + low * step, from + (high + 1) * step);
  };

  // Another span: the same page by another address, its parts put in the place of the old.
  let loading = 0;
  let here = location.search;
  const go = async (address, keep) => {
    // Whoever came here by keys goes on by keys.
    const focus = [...document.querySelectorAll(CHART)].findIndex(held);
    const turn = ++loading;
    hide();
    drop();
    document.querySelectorAll("[data-of-span]").forEach((place) => place.setAttribute("aria-busy", "true"));
    try {
      const answer = await fetch(address, { headers: { Accept: "text/html" }, credentials: "same-origin" });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (turn !== loading) return;
      if (answer.redirected || !page.getElementById("charts")) { location.assign(address); return; }
      for (const place of document.querySelectorAll("[data-of-span]")) {
        const fresh = page.getElementById(place.id);
        if (fresh) place.replaceChildren(...fresh.childNodes);
        place.removeAttribute("aria-busy");
        localise(place);
        prepare(place);
      }
      if (keep) history.pushState(null, "", address);
      here = location.search;
      const charts = [...document.querySelectorAll(CHART)];
      if (focus >= 0 && charts.length) charts[Math.min(focus, charts.length - 1)].focus({ preventScroll: true });
      const head = document.querySelector(".window-now b") || document.querySelector("[data-of-span] [aria-current]");
      tell(document.querySelector("[data-of-span] .window").dataset.showing.replace("{}", head.textContent));
    } catch { location.assign(address); }
  };
  const load = (chart, from, to) => {
    const limits = scope(chart);
    if (!limits) return;
    const [least, most] = [Number(limits.dataset.least), Number(limits.dataset.most)];
    // Nothing is known of later.
    const now = Number(limits.dataset.now);
    let [begin, end] = [from, to];
    if (end - begin < least) {
      const middle = (begin + end) / 2;
      [begin, end] = [middle - least / 2, middle + least / 2];
    }
    end = Math.min(end, now);
    begin = Math.max(Math.min(begin, end - least), end - most);
    const address = new URL(location.href);
    address.search = "";
    const whole = (at) => new Date(Math.round(at / 1000) * 1000).toISOString();
    address.searchParams.set("from", whole(begin));
    address.searchParams.set("to", whole(end));
    address.hash = "charts";
    go(address, true);
  };
  // By a factor round a place of the chart, 0 to 1.
  const zoom = (chart, factor, round) => {
    const { from, step, tips } = of(chart);
    const whole = step * tips.length;
    const middle = from + whole * round;
    const [begin, end] = [middle - whole * factor * round, middle + whole * factor * (1 - round)];
    const beyond = scope(chart) ? Math.max(0, end - Number(scope(chart).dataset.now)) : 0;
    load(chart, begin - (factor > 1 ? beyond : 0), end);
  };
  document.addEventListener("click", (event) => {
    const way = event.target.closest && event.target.closest("[data-of-span] nav a");
    if (!way || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    go(way.href, true);
  });
  addEventListener("popstate", () => { if (document.querySelector("[data-of-span]") && location.search !== here) go(location.href, false); });
  document.addEventListener("submit", (event) => {
    const form = event.target.closest("[data-of-span] form.ask");
    if (!form) return;
    event.preventDefault();
    const address = new URL(form.action);
    for (const field of form.querySelectorAll("input[name]")) {
      const at = new Date(field.value);
      address.searchParams.set(field.name, Number.isNaN(at.getTime()) ? field.value : at.toISOString());
    }
    go(address, true);
  });

  // Pointers: a mouse reads and drags, one finger reads, two fingers zoom.
  let drag = null;
  let pinch = null;
  const fingers = new Map();
  const at = (event) => event.target.closest && event.target.closest(CHART);
  // Whether keys are at work there.
  const held = (chart) => document.activeElement === chart && chart.matches(":focus-visible");
  document.addEventListener("pointerdown", (event) => {
    const chart = at(event);
    if (!chart) { if (shown && !held(shown.chart)) hide(); return; }
    if (event.pointerType === "touch") {
      fingers.set(event.pointerId, { chart, x: event.clientX });
      if (fingers.size === 2 && scope(chart)) {
        const { from, step, tips } = of(chart);
        const whole = step * tips.length;
        const grips = [...fingers].map(([id, finger]) => [id, from + share(chart, finger.x) * whole]);
        pinch = { chart, grips, whole, next: null };
        hide();
      } else show(chart, bucket(chart, event.clientX));
      return;
    }
    if (event.button === 0 && scope(chart)) drag = { chart, first: bucket(chart, event.clientX), x: event.clientX, moves: false };
  });
  document.addEventListener("pointermove", (event) => {
    if (event.pointerType === "touch" && fingers.has(event.pointerId)) {
      fingers.get(event.pointerId).x = event.clientX;
      if (!pinch) {
        const under = fingers.get(event.pointerId).chart;
        tell(spoken(show(under, bucket(under, event.clientX))));
        return;
      }
      const { chart, grips, whole } = pinch;
      const places = grips.map(([id]) => fingers.has(id) ? share(chart, fingers.get(id).x) : NaN);
      const apart = places[1] - places[0];
      if (!(Math.abs(apart) > .02)) return;
      const long = (grips[1][1] - grips[0][1]) / apart;
      if (!(long > 0)) return;
      const begins = grips[0][1] - places[0] * long;
      pinch.next = [begins, begins + long];
      if (long < whole) choose(chart, begins, begins + long);
      else drop();
      return;
    }
    if (drag) {
      if (!drag.moves && Math.abs(event.clientX - drag.x) > 4) {
        drag.moves = true;
        drag.chart.setPointerCapture(event.pointerId);
      }
      if (drag.moves) {
        const place = bucket(drag.chart, event.clientX);
        buckets(drag.chart, drag.first, place);
        show(drag.chart, place);
        return;
      }
    }
    const chart = at(event);
    if (chart) show(chart, bucket(chart, event.clientX));
    else if (shown && !held(shown.chart)) hide();
  });
  const lift = (event) => {
    // The page is scrolled instead.
    if (fingers.delete(event.pointerId) && event.type === "pointercancel") hide();
    if (pinch && fingers.size < 2) {
      const { chart, next, whole } = pinch;
      pinch = null;
      drop();
      if (event.type === "pointerup" && next && Math.abs(Math.log((next[1] - next[0]) / whole)) > .1) load(chart, next[0], next[1]);
    }
    if (!drag) return;
    const { chart, moves } = drag;
    drag = null;
    if (event.type === "pointerup" && moves && chosen) load(chart, chosen.from, chosen.to);
    else if (moves) drop();
  };
  document.addEventListener("pointerup", lift);
  document.addEventListener("pointercancel", lift);

  // Keys, where a chart has the focus. Charts run from left to right in every language.
  let cursor = null;
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && (drag || chosen)) {
      drag = null;
      if (cursor) cursor.first = undefined;
      drop();
      return;
    }
    const chart = document.activeElement;
    if (!chart || !chart.matches || !chart.matches(CHART) || event.ctrlKey || event.metaKey || event.altKey) return;
    const last = of(chart).tips.length - 1;
    const place = cursor && cursor.chart === chart ? cursor.place : last;
    const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -last, End: last };
    if (event.key in steps) {
      const next = Math.min(last, Math.max(0, place + steps[event.key]));
      const first = event.shiftKey && scope(chart) ? (cursor && cursor.first !== undefined ? cursor.first : place) : undefined;
      cursor = { chart, place: next, first };
      const words = spoken(show(chart, next));
      if (first === undefined) { drop(); tell(words); }
      else {
        buckets(chart, first, next);
        tell(scope(chart).dataset.chosen.replace("{}", span(chosen.from, chosen.to)));
      }
    } else if (event.key === "Enter" && chosen && chosen.chart === chart) load(chart, chosen.from, chosen.to);
    else if (event.key === "+" || event.key === "=") zoom(chart, .5, (place + .5) / (last + 1));
    else if (event.key === "-" || event.key === "_") zoom(chart, 2, .5);
    else if (event.key === "Escape") hide();
    else return;
    event.preventDefault();
  });
  document.addEventListener("focusin", (event) => {
    if (!event.target.matches || !event.target.matches(CHART) || !event.target.matches(":focus-visible")) return;
    const last = of(event.target).tips.length - 1;
    cursor = { chart: event.target, place: last };
    show(event.target, last);
  });
  document.addEventListener("focusout", (event) => {
    if (event.target.matches && event.target.matches(CHART)) { drop(); hide(); }
  });

  // Times under charts and in fields, in the viewer's zone; charts that keys can reach.
  const prepare = (within) => {
    within.querySelectorAll("text[data-at]").forEach((text) => {
      const when = new Date(text.dataset.at);
      const kinds = { day: times.date, second: times.second };
      text.textContent = (kinds[text.dataset.kind] || times.clock).format(when);
    });
    within.querySelectorAll("form.ask input[type=datetime-local]").forEach((field) => {
      const when = new Date(field.defaultValue + "Z");
      if (Number.isNaN(when.getTime())) return;
      field.value = new Date(when.getTime() - when.getTimezoneOffset() * 60000).toISOString().slice(0, 19);
    });
    within.querySelectorAll(CHART).forEach((chart) => {
      chart.setAttribute("tabindex", "0");
      chart.setAttribute("role", "application");
      if (scope(chart)) chart.setAttribute("aria-roledescription", scope(chart).dataset.role);
    });
  };
  prepare(document);
  window.probemesh.charts = {
    prepare,
    // Whether someone is at work on them, so that nobody takes them away.
    inUse: () => Boolean(shown || drag || pinch || chosen || document.querySelector("[data-of-span][aria-busy], .choose[open]")),
  };
})();
