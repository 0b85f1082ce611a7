"use strict";
const gallery = document.getElementById("cases");
const button = document.getElementById("uncover");
if (gallery && button) {
  button.hidden = false;
  button.addEventListener("click", () => {
    const open = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(open));
    button.textContent = open ? "Hide all" : "Show all";
    gallery.querySelectorAll("details.covered").forEach((box) => { box.open = open; });
    gallery.querySelectorAll(".cover input").forEach((box) => { box.checked = open; });
  });
}
