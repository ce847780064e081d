// The page of one service: words and a line on hover over charts, a check now with its result, and parts drawn anew by the
// server when something happened.
(() => {
  "use strict";
  const { part, localise, say, times } = window.probemesh;
  const page = document.querySelector("[data-service]");
  const id = page.dataset.service;

  // Times under charts, in the viewer's zone.
  const ticks = (within) => within.querySelectorAll("text[data-at]").forEach((text) => {
    const at = new Date(text.dataset.at);
    text.textContent = text.dataset.kind === "day" ? at.toLocaleDateString(undefined, { month: "short", day: "numeric" }) : times.clock.format(at);
  });
  ticks(document);

  // Charts say what is under the pointer.
  const bucket = (picture, x) => {
    const box = picture.getBoundingClientRect();
    const count = picture.tips ? picture.tips.length : picture.viewBox.baseVal.width / 6;
    const place = Math.min(count - 1, Math.max(0, Math.floor((x - box.left) / box.width * count)));
    const from = Number(picture.dataset.from) + place * Number(picture.dataset.step);
    return { place, count, span: times.day.format(from) + " – " + times.clock.format(from + Number(picture.dataset.step)) };
  };
  let crossed = null;
  document.addEventListener("pointermove", (event) => {
    const chart = event.target.closest && event.target.closest("svg.chart");
    if (crossed && crossed !== chart) { crossed.querySelector(".cross").setAttribute("visibility", "hidden"); crossed = null; say(""); }
    if (!chart) return;
    if (event.target.classList.contains("spot")) return;
    chart.tips = chart.tips || JSON.parse(chart.dataset.tips);
    const { place, count, span } = bucket(chart, event.clientX);
    const line = chart.querySelector(".cross");
    const x = (place + .5) / count * 100 + "%";
    line.setAttribute("x1", x);
    line.setAttribute("x2", x);
    line.setAttribute("visibility", "visible");
    crossed = chart;
    say(span + "\n" + chart.tips[place], event.clientX, chart.getBoundingClientRect().top + 24);
  });

  // Check now.
  const form = document.getElementById("check-now");
  if (form) {
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const button = form.querySelector("button");
      const checked = document.getElementById("checked");
      button.disabled = true;
      try {
        const answer = await fetch(form.action + "?part=true", { method: "POST", body: new URLSearchParams(new FormData(form)), headers: { Accept: "text/html" } });
        checked.innerHTML = answer.ok ? await answer.text() : "";
        if (!answer.ok) location.reload();
        localise(checked);
      } catch { checked.textContent = ""; }
      button.disabled = false;
    });
  }

  // Live.
  const open = () => new Set([...document.querySelectorAll("#checks details[open]")].map((one) => one.dataset.id));
  const put = async (name) => {
    const place = document.getElementById(name);
    if (!place || place.contains(document.activeElement)) return;
    const query = name === "charts" ? "?range=" + (new URLSearchParams(location.search).get("range") || "24h") : "";
    const text = await part("/services/" + id + "/" + name + query);
    if (text === null) return;
    const kept = open();
    place.innerHTML = text;
    if (name === "checks") place.querySelectorAll("details").forEach((one) => { one.open = kept.has(one.dataset.id); });
    localise(place);
    ticks(place);
  };
  let dirty = false;
  let busy = false;
  setInterval(async () => {
    if (!dirty || busy || document.hidden) return;
    dirty = false;
    busy = true;
    await put("now");
    await put("checks");
    busy = false;
  }, 2000);
  setInterval(() => { if (!document.hidden) put("charts"); }, Number(page.dataset.refresh) * 1000);
  const stream = new EventSource("/api/v1/events?service=" + id);
  for (const name of ["result", "verdict", "incident", "finding"]) stream.addEventListener(name, () => { dirty = true; });
})();
