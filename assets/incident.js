// One incident: its text into the clipboard, and the page anew when something happened to it.
(() => {
  "use strict";
  const page = document.querySelector("[data-incident]");
  const copy = document.getElementById("copy");
  copy.addEventListener("click", async (event) => {
    event.preventDefault();
    try {
      const text = await (await fetch(copy.href)).text();
      await navigator.clipboard.writeText(text);
      const before = copy.textContent;
      copy.textContent = copy.dataset.done;
      setTimeout(() => { copy.textContent = before; }, 2000);
    } catch { location.href = copy.href; }
  });
  const stream = window.probemesh.events("kinds=incident&service=" + page.dataset.service);
  stream.addEventListener("incident", (event) => {
    const told = JSON.parse(event.data);
    const writing = document.querySelector(".note textarea");
    if (told.id === page.dataset.incident && !(writing && writing.value)) location.reload();
  });
})();
