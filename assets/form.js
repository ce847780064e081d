// Forms: fields that belong to a choice are shown with it, and a file is read into its field.
(() => {
  "use strict";
  const choose = () => {
    for (const field of document.querySelectorAll("[data-when]")) {
      const [name, value] = field.dataset.when.split("=");
      const choice = document.querySelector('[name="' + name + '"]');
      field.hidden = choice.value !== value;
    }
  };
  document.addEventListener("change", (event) => {
    choose();
    const into = event.target.dataset && event.target.dataset.into;
    if (into && event.target.files.length) event.target.files[0].text().then((text) => { document.getElementById(into).value = text; });
  });
  choose();
  // What was tried or went wrong is seen at once.
  const first = document.querySelector('[aria-invalid="true"]') || document.getElementById("tried");
  if (first) {
    const fold = first.closest("details");
    if (fold) fold.open = true;
    first.scrollIntoView({ block: "center" });
    if (first.focus && first.id !== "tried") first.focus({ preventScroll: true });
  }
})();
