// Digests: whoever asks for one sees that it is being written, and one that takes longer is led to when it is there.
(() => {
  "use strict";
  const form = document.getElementById("run");
  if (form) {
    form.addEventListener("submit", () => {
      const button = form.querySelector("button");
      button.querySelector("span").textContent = button.dataset.busy;
      // Sent is what the form held; a button that is disabled before would send nothing.
      setTimeout(() => { button.disabled = true; });
    });
    // Back from elsewhere, the form may be sent again.
    addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  }
  if (document.querySelector("[data-pending]")) setInterval(() => window.probemesh.part(location.href), 3000);
})();
