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
  const chips = (want) => head.querySelectorAll("[data-filter]").forEach((chip) => {
    if (chip.dataset.filter === want.verdict) chip.setAttribute("aria-current", "true");
    else chip.removeAttribute("aria-current");
  });
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
    chips(want);
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

  // Live. What happened marks rows; rows in sight are drawn anew, together, every two seconds, and sooner where a verdict changed.
  const dirty = new Set();
  const inSight = new Set();
  const byId = new Map(rows().map((row) => [row.dataset.id, row]));
  let headDirty = false;
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const id = entry.target.dataset.id;
      if (entry.isIntersecting) inSight.add(id); else inSight.delete(id);
    }
  });
  byId.forEach((row) => watcher.observe(row));

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
    chips(wanted());
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
    const answered = new Set([...made.content.children].map((row) => row.dataset.id));
    for (const id of ids.filter((id) => !answered.has(id))) {
      const old = byId.get(id);
      watcher.unobserve(old);
      byId.delete(id);
      inSight.delete(id);
      if (old === at) at = null;
      old.remove();
    }
    if (answered.size < ids.length) apply();
    for (const fresh of [...made.content.children]) {
      const old = byId.get(fresh.dataset.id);
      if (!old) continue;
      const focused = old.contains(document.activeElement);
      watcher.unobserve(old);
      byId.set(fresh.dataset.id, fresh);
      fresh.hidden = !fits(fresh, want);
      if (old === at) { at = fresh; fresh.classList.add("at"); }
      old.replaceWith(fresh);
      watcher.observe(fresh);
      if (focused) fresh.querySelector("a").focus({ preventScroll: true });
    }
  };
  // A service that came, as the server puts it into the list; not oftener than every ten seconds.
  let strange = false;
  let listed = 0;
  const refreshList = async () => {
    strange = false;
    listed = Date.now();
    const text = await part(location.pathname + location.search);
    const fresh = text === null ? null : new DOMParser().parseFromString(text, "text/html").getElementById("services");
    if (!fresh) { strange = text === null; return; }
    const held = list.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    const marked = at && at.dataset.id;
    list.replaceChildren(...fresh.childNodes);
    watcher.disconnect();
    inSight.clear();
    byId.clear();
    for (const row of rows()) {
      byId.set(row.dataset.id, row);
      watcher.observe(row);
    }
    at = byId.get(marked) || null;
    if (at) at.classList.add("at");
    localise(list);
    apply();
    const link = held && [...list.querySelectorAll("a")].find((one) => one.getAttribute("href") === held);
    if (link) link.focus({ preventScroll: true });
  };
  // One that went while the connection was away: what is in sight is asked for now and then.
  setInterval(() => inSight.forEach((id) => dirty.add(id)), 30000);
  let busy = false;
  const work = async () => {
    if (busy || document.hidden) return;
    busy = true;
    try {
      if (headDirty) await refreshHead();
      if (list && strange && Date.now() - listed > 10000) await refreshList();
      if (list) await refreshRows();
    } finally { busy = false; }
  };
  setInterval(work, 2000);
  let soon = 0;
  const hurry = () => { soon = soon || setTimeout(() => { soon = 0; work(); }, 300); };
  document.addEventListener("visibilitychange", () => { if (!document.hidden) { headDirty = true; work(); } });

  const stream = events("kinds=checked,verdict,incident,node,service");
  const turn = (event) => {
    const id = JSON.parse(event.data).service_id;
    if (id) dirty.add(String(id));
    headDirty = true;
    hurry();
  };
  let heard = 0;
  stream.addEventListener("checked", (event) => {
    for (const id of JSON.parse(event.data).services) {
      dirty.add(String(id));
      strange = strange || !byId.has(String(id));
    }
    // How fresh the newest result is, is told every ten seconds; the first result of all changes the page.
    if (Date.now() - heard > 10000) { heard = Date.now(); headDirty = true; }
    if (!list) location.reload();
  });
  for (const name of ["verdict", "incident", "node", "service"]) stream.addEventListener(name, turn);
  stream.addEventListener("lagged", () => { byId.forEach((row, id) => dirty.add(id)); headDirty = true; });
  stream.addEventListener("open", () => { document.body.classList.add("live"); byId.forEach((row, id) => dirty.add(id)); headDirty = true; });
  stream.addEventListener("error", () => document.body.classList.remove("live"));
})();
