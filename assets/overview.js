// The overview, live: search as one types, filters, keys, and rows drawn anew by the server when something happened.
(() => {
  "use strict";
  const { part, localise, events } = window.probemesh;
  const list = document.getElementById("services");
  const head = document.getElementById("head");
  const form = document.getElementById("filters");
  const none = document.getElementById("none");
  const rows = () => (list ? [...list.querySelectorAll(".rows .row")] : []);

  // Filters.
  const wanted = () => (form ? Object.fromEntries(new FormData(form)) : {});
  const fits = (row, want) => {
    const name = row.querySelector("a");
    const text = (name.textContent + " " + row.dataset.t + " " + row.dataset.g + " " + name.title).toLowerCase();
    return (want.q || "").toLowerCase().split(/\s+/).every((word) => text.includes(word))
      && (!want.verdict || row.dataset.v === want.verdict)
      && (!want.group || row.dataset.g === want.group)
      && (!want.tag || row.dataset.t.split(",").includes(want.tag))
      && (!want.region || row.dataset.r.split(", ").some((place) => place.split(" ")[0] === want.region));
  };
  const apply = () => {
    if (!form) return;
    const want = wanted();
    let shown = 0;
    for (const row of rows()) {
      row.hidden = !fits(row, want);
      shown += row.hidden ? 0 : 1;
    }
    list.querySelectorAll(".group").forEach((group) => { group.hidden = !group.querySelector(".row:not([hidden])"); });
    none.hidden = shown > 0;
    head.querySelectorAll("[data-filter]").forEach((chip) => {
      if (chip.dataset.filter === want.verdict) chip.setAttribute("aria-current", "true");
      else chip.removeAttribute("aria-current");
    });
    const query = new URLSearchParams(Object.entries(want).filter(([, value]) => value));
    const address = query.size ? "/?" + query : "/";
    history.replaceState(null, "", address);
    document.querySelectorAll('input[name="back"]').forEach((back) => { back.value = address; });
  };
  if (form) {
    form.addEventListener("input", apply);
    form.addEventListener("submit", (event) => { if (!event.submitter || event.submitter.form === form) { event.preventDefault(); apply(); } });
    head.addEventListener("click", (event) => {
      const chip = event.target.closest("[data-filter]");
      if (!chip || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      form.elements.verdict.value = form.elements.verdict.value === chip.dataset.filter ? "" : chip.dataset.filter;
      apply();
    });
    apply();
  }

  // Keys.
  let at = null;
  const go = (row) => {
    if (!row) return;
    if (at) at.classList.remove("at");
    at = row;
    row.classList.add("at");
    row.querySelector("a").focus({ preventScroll: true });
    row.scrollIntoView({ block: "nearest" });
  };
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
    if (event.key === "Escape" && form) {
      if (document.querySelector("dialog[open]")) return;
      form.elements.q.value = "";
      for (const name of ["verdict", "group", "tag", "region"]) if (form.elements[name]) form.elements[name].value = "";
      form.elements.q.blur();
      apply();
      return;
    }
    if (typing && event.target.id === "q" && event.key === "Enter") { event.preventDefault(); go(rows().find((row) => !row.hidden)); return; }
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const seen = rows().filter((row) => !row.hidden);
    const place = seen.indexOf(at);
    if (event.key === "/" && form) { event.preventDefault(); form.elements.q.focus(); form.elements.q.select(); }
    else if (event.key === "j") go(seen[Math.min(place + 1, seen.length - 1)]);
    else if (event.key === "k") go(seen[Math.max(place - 1, 0)]);
    else if (event.key === "?") document.getElementById("keys").showModal();
  });

  // Live. What happened marks rows; rows in sight are drawn anew, together, at most every two seconds.
  const dirty = new Set();
  const inSight = new Set();
  let headDirty = false;
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const id = entry.target.dataset.id;
      if (entry.isIntersecting) inSight.add(id); else inSight.delete(id);
    }
  });
  rows().forEach((row) => watcher.observe(row));

  const refreshHead = async () => {
    headDirty = false;
    const text = await part("/overview/head");
    if (text === null) { headDirty = true; return; }
    const focused = head.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    head.innerHTML = text;
    if (focused !== null) {
      const again = [...head.querySelectorAll("a")].find((link) => link.getAttribute("href") === focused);
      if (again) again.focus({ preventScroll: true });
    }
    // Who listens to the page hears the sentence when it is another one, and not each time it is drawn.
    const told = head.querySelector(".sentence").textContent.trim();
    const voice = document.getElementById("voice");
    if (voice.textContent !== told) voice.textContent = told;
    localise(head);
    apply();
  };
  const refreshRows = async () => {
    const ids = [...dirty].filter((id) => inSight.has(id)).slice(0, 120);
    if (!ids.length) return;
    ids.forEach((id) => dirty.delete(id));
    const text = await part("/overview/rows?ids=" + ids.join(","));
    if (text === null) { ids.forEach((id) => dirty.add(id)); return; }
    const made = document.createElement("template");
    made.innerHTML = text;
    const want = wanted();
    for (const fresh of [...made.content.children]) {
      const old = list.querySelector('.row[data-id="' + fresh.dataset.id + '"]');
      if (!old) continue;
      const focused = old.contains(document.activeElement);
      watcher.unobserve(old);
      fresh.hidden = !fits(fresh, want);
      if (old === at) { at = fresh; fresh.classList.add("at"); }
      old.replaceWith(fresh);
      watcher.observe(fresh);
      if (focused) fresh.querySelector("a").focus({ preventScroll: true });
    }
  };
  let busy = false;
  const work = async () => {
    if (busy || document.hidden) return;
    busy = true;
    try {
      if (headDirty) await refreshHead();
      if (list) await refreshRows();
    } finally { busy = false; }
  };
  setInterval(work, 2000);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) { headDirty = true; work(); } });

  const stream = events();
  const mark = (event) => {
    const id = /"service_id":(\d+)/.exec(event.data);
    if (id) dirty.add(id[1]);
  };
  const turn = (event) => { mark(event); headDirty = true; setTimeout(work, 150); };
  let heard = 0;
  stream.addEventListener("result", (event) => {
    mark(event);
    // How fresh the newest result is, is told every ten seconds; the first result of all changes the page.
    if (Date.now() - heard > 10000) { heard = Date.now(); headDirty = true; }
    if (!list) location.reload();
  });
  for (const name of ["verdict", "incident", "node"]) stream.addEventListener(name, turn);
  stream.addEventListener("lagged", () => { rows().forEach((row) => dirty.add(row.dataset.id)); headDirty = true; });
  stream.addEventListener("open", () => { document.body.classList.add("live"); headDirty = true; });
  stream.addEventListener("error", () => document.body.classList.remove("live"));
})();
