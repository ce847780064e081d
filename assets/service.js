// The page of one service: a check now that is watched while it runs, and parts drawn anew by the server when something happened.
(() => {
  "use strict";
  const { part, localise, charts, events } = window.probemesh;
  const page = document.querySelector("[data-service]");
  const id = page.dataset.service;

  // Check now: a row for each region with a stopwatch and its phases as they run, then what it saw.
  const SVG = "http://www.w3.org/2000/svg";
  const make = (name, kind, text) => {
    const one = document.createElement(name);
    one.className = kind;
    if (text) one.textContent = text;
    return one;
  };
  const icon = (name) => {
    const drawn = document.createElementNS(SVG, "svg");
    drawn.setAttribute("class", "i");
    drawn.setAttribute("aria-hidden", "true");
    drawn.append(document.createElementNS(SVG, "use"));
    drawn.firstChild.setAttribute("href", "#i-" + name);
    return drawn;
  };
  const checkNow = (form, checked) => {
    const words = checked.dataset;
    const rows = new Map();
    const card = make("section", "card checked");
    const title = make("h2", "", words.title);
    title.setAttribute("role", "status");
    const list = make("ul", "live-checks");
    let ticking = 0;
    const notice = (text) => {
      const said = make("p", "notice bad");
      said.setAttribute("role", "alert");
      const inner = make("span", "");
      inner.dir = "auto";
      inner.append(make("strong", "", words.not), " " + text);
      said.append(icon("down"), inner);
      card.append(said);
    };
    const draw = () => {
      const now = performance.now();
      const running = [...rows.values()].filter((row) => row.running);
      const longest = Math.max(200, ...running.map((row) => now - row.began));
      for (const row of running) {
        const elapsed = now - row.began;
        row.watch.textContent = (elapsed / 1000).toFixed(1) + " s";
        const parts = row.phases.map(([name, ms]) => [name, name === row.phase ? ms + now - row.told : ms]);
        const known = parts.reduce((sum, [, ms]) => sum + ms, 0);
        if (elapsed > known) parts.unshift(["waits", elapsed - known]);
        let x = 0;
        row.bar.replaceChildren(...parts.map(([name, ms]) => {
          const part = document.createElementNS(SVG, "rect");
          const width = ms / longest * 1000;
          part.setAttribute("class", "phase " + name);
          part.setAttribute("x", x.toFixed(0));
          part.setAttribute("width", width.toFixed(0));
          part.setAttribute("height", "10");
          x += width;
          return part;
        }));
      }
    };
    const row = (region) => {
      const item = make("li", "live-check");
      const watch = make("span", "stopwatch", "0.0 s");
      watch.setAttribute("aria-hidden", "true");
      const bar = document.createElementNS(SVG, "svg");
      for (const [name, value] of [["class", "phases"], ["viewBox", "0 0 1000 10"], ["preserveAspectRatio", "none"], ["aria-hidden", "true"]]) bar.setAttribute(name, value);
      const what = make("span", "what muted", words.asked);
      const where = make("bdi", "where", region);
      item.append(where, watch, bar, what);
      list.append(item);
      return { item, watch, bar, what, running: true, began: performance.now(), told: performance.now(), phase: null, phases: [] };
    };
    const end = (row, kind, shown) => {
      row.running = false;
      if (kind === "result") {
        row.item.className = "";
        row.item.innerHTML = shown;
        localise(row.item);
        return;
      }
      row.item.className = "live-check unknown";
      row.bar.replaceChildren();
      row.what.textContent = shown;
    };
    const take = (name, data) => {
      if (name === "asked") {
        for (const region of JSON.parse(data)) if (!rows.has(region)) rows.set(region, row(region));
        return;
      }
      const told = data ? JSON.parse(data) : {};
      const known = rows.get(told.region);
      if (!known) return;
      if (name === "step") {
        known.told = performance.now();
        known.began = known.told - told.elapsed_ms;
        known.phase = told.phase;
        known.phases = told.phases;
        known.what.textContent = told.word;
      } else if (name === "result") end(known, "result", told.shown);
      else if (name === "unanswered") {
        const text = document.createElement("span");
        text.innerHTML = told.shown;
        end(known, name, text.textContent);
      }
    };
    const read = async (answer) => {
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return false;
        rest += value;
        const blocks = rest.split("\n\n");
        rest = blocks.pop();
        for (const block of blocks) {
          let name = "";
          const data = [];
          for (const line of block.split("\n")) {
            if (line.startsWith("event:")) name = line.slice(6).trim();
            else if (line.startsWith("data:")) data.push(line.slice(5));
          }
          if (name === "done") return true;
          if (name) take(name, data.join("\n"));
        }
      }
    };
    const run = async () => {
      const answer = await fetch(form.action + "/live", {
        method: "POST", body: new URLSearchParams(new FormData(form)), headers: { Accept: "text/event-stream, application/json" }, redirect: "manual",
      });
      if (answer.type === "opaqueredirect" || answer.status === 401) return notice(words.out);
      if (!answer.ok) {
        if (answer.status === 404) document.dispatchEvent(new CustomEvent("probemesh-gone"));
        const problem = await answer.json().catch(() => ({}));
        return notice(problem.detail || problem.title || String(answer.status));
      }
      const whole = await read(answer);
      if (!whole) throw new Error("broke off");
      if (!rows.size) notice(words.nobody);
    };
    card.append(title, list);
    checked.replaceChildren(card);
    ticking = setInterval(draw, 100);
    let broken = false;
    return run().catch(() => {
      broken = true;
      for (const one of rows.values()) if (one.running) end(one, "unanswered", words.cut);
      notice(words.away);
    }).finally(() => {
      clearInterval(ticking);
      title.textContent = words.done;
      if (broken || !rows.size) title.remove();
    });
  };
  const form = document.getElementById("check-now");
  if (form) {
    const button = form.querySelector("button");
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (button.getAttribute("aria-disabled") === "true") return;
      button.setAttribute("aria-disabled", "true");
      await checkNow(form, document.getElementById("checked"));
      button.removeAttribute("aria-disabled");
    });
  }

  // Live.
  const open = () => new Set([...document.querySelectorAll("#checks details[open]")].map((one) => one.dataset.id));
  const put = async (name) => {
    const place = document.getElementById(name);
    const taken = () => !place || place.contains(document.activeElement) && document.activeElement.matches(":focus-visible") || name === "charts" && charts.inUse();
    if (taken()) return;
    const query = name === "charts" ? location.search : "";
    const text = await part("/services/" + id + "/" + name + query);
    if (text === null || taken() || name === "charts" && query !== location.search) return;
    const kept = open();
    place.innerHTML = text;
    if (name === "checks") place.querySelectorAll("details").forEach((one) => { one.open = kept.has(one.dataset.id); });
    localise(place);
    if (name === "charts") charts.prepare(place);
  };
  let gone = false;
  document.addEventListener("probemesh-gone", () => { gone = true; document.getElementById("gone").hidden = false; });
  let dirty = false;
  let busy = false;
  // What was deleted while the connection was away told nobody here.
  setInterval(() => { dirty = true; }, 30000);
  setInterval(async () => {
    if (gone) return;
    if (!dirty || busy || document.hidden) return;
    dirty = false;
    busy = true;
    await put("now");
    await put("checks");
    busy = false;
  }, 2000);
  let age = 0;
  setInterval(() => {
    const every = Number(document.querySelector(".window").dataset.refresh);
    age += 1;
    if (!every || age < every || document.hidden || gone) return;
    age = 0;
    put("charts");
  }, 1000);
  const stream = events("kinds=checked,verdict,incident,finding,service&service=" + id);
  stream.addEventListener("service", () => document.dispatchEvent(new CustomEvent("probemesh-gone")));
  for (const name of ["checked", "verdict", "incident", "finding"]) stream.addEventListener(name, () => { dirty = true; });
})();
