// Parts of the system's pages, drawn anew by the server while one looks. A part that is being read or marked stays as it is.
(() => {
  "use strict";
  const { part, localise } = window.probemesh;
  document.querySelectorAll("[data-live]").forEach((box) => {
    const busy = () => document.hidden || box.contains(document.activeElement) || !getSelection().isCollapsed && box.contains(getSelection().anchorNode);
    const draw = async () => {
      if (!busy()) {
        const html = await part(box.dataset.live);
        if (html !== null && !busy()) {
          const tops = [...box.querySelectorAll(".scroll, .log")].map((one) => [one.scrollTop, one.scrollLeft]);
          box.innerHTML = html;
          box.querySelectorAll(".scroll, .log").forEach((one, place) => { if (tops[place]) [one.scrollTop, one.scrollLeft] = tops[place]; });
          localise(box);
          document.querySelectorAll(".fresh").forEach((one) => one.classList.add("live"));
        }
      }
      setTimeout(draw, Number(box.dataset.every));
    };
    setTimeout(draw, Number(box.dataset.every));
  });
})();
