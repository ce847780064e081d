// The board of issues: a card is dragged to the step it is to take. Every step goes by the form on the card, so that what may be
// done and what is said of it are the same as without this script.
(() => {
  "use strict";
  let dragged = null;
  // Where a card may go: "triaged", or "wont_do?" where it takes a word.
  const step = (card, status) => card.dataset.steps.split(" ").find((one) => one.replace("?", "") === status);
  const send = (card, status, reason) => {
    const form = card.querySelector("form");
    form.elements.reason.value = reason;
    form.requestSubmit(form.querySelector('button[value="' + status + '"]'));
  };
  const clear = () => document.querySelectorAll(".column").forEach((column) => column.classList.remove("may", "over"));
  const prepare = () => {
  document.querySelectorAll(".ticket").forEach((card) => {
    card.draggable = true;
    card.addEventListener("dragstart", (event) => {
      dragged = card;
      event.dataTransfer.effectAllowed = "move";
      event.dataTransfer.setData("text/plain", card.dataset.id);
      document.querySelectorAll(".column").forEach((column) => column.classList.toggle("may", Boolean(step(card, column.dataset.status))));
    });
    card.addEventListener("dragend", () => { dragged = null; clear(); });
  });
  document.querySelectorAll(".column").forEach((column) => {
    column.addEventListener("dragover", (event) => {
      if (!dragged || !step(dragged, column.dataset.status)) return;
      event.preventDefault();
      column.classList.add("over");
    });
    column.addEventListener("dragleave", (event) => { if (!column.contains(event.relatedTarget)) column.classList.remove("over"); });
    column.addEventListener("drop", (event) => {
      const card = dragged;
      const taken = card && step(card, column.dataset.status);
      if (!taken) return;
      event.preventDefault();
      clear();
      if (!taken.endsWith("?")) { send(card, column.dataset.status, ""); return; }
      const why = document.getElementById("why");
      const form = why.querySelector("form");
      form.reset();
      why.returnValue = "";
      why.onclose = () => { if (why.returnValue === "move") send(card, column.dataset.status, form.elements.reason.value); };
      why.showModal();
    });
  });
  };
  prepare();
  document.addEventListener("drawn", () => { if (!dragged) prepare(); });
})();
