// The page of one service: a check now with its result, and parts drawn anew by the server when something happened.
(() => {
  "use strict";
  const { part, localise, charts } = window.probemesh;
  const page = document.querySelector("[data-service]");
  const id = page.dataset.service;

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
  let age = 0;
  setInterval(() => {
    const every = Number(document.querySelector(".window").dataset.refresh);
    age += 1;
    if (!every || age < every || document.hidden) return;
    age = 0;
    put("charts");
  }, 1000);
  const stream = new EventSource("/api/v1/events?service=" + id);
  for (const name of ["result", "verdict", "incident", "finding"]) stream.addEventListener(name, () => { dirty = true; });
})();
