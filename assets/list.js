// Lists: what happened that belongs in one draws it anew by the server, and so do the spans that go on. One that is being worked in stays as it is.
(() => {
  "use strict";
  const { localise, events } = window.probemesh;
  const box = document.querySelector("[data-fresh]");
  const busy = () => document.hidden || document.querySelector("dialog[open]")
    || box.contains(document.activeElement) && document.activeElement.matches("input, textarea, select, button")
    || box.querySelector("details.move[open], .column.may") || !getSelection().isCollapsed && box.contains(getSelection().anchorNode);
  let dirty = false;
  let working = false;
  const draw = async () => {
    if (!dirty || working || busy()) return;
    dirty = false;
    working = true;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" }, credentials: "same-origin" });
      if (answer.redirected) { location.reload(); return; }
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.getElementById(box.id);
      if (answer.ok && fresh && !busy()) {
        const focused = box.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
        box.replaceChildren(...fresh.childNodes);
        localise(box);
        document.dispatchEvent(new CustomEvent("drawn"));
        const again = focused && [...box.querySelectorAll("a")].find((link) => link.getAttribute("href") === focused);
        if (again) again.focus({ preventScroll: true });
      }
    } catch { dirty = true; }
    working = false;
  };
  const stream = events("kinds=" + box.dataset.fresh);
  for (const kind of box.dataset.fresh.split(",")) stream.addEventListener(kind, () => { dirty = true; });
  setInterval(draw, 2000);
  setInterval(() => { dirty = true; }, 15000);
})();
