// How files come into a room, and how far along they are.

import { make } from "./dom.js";

/** Files may be dropped anywhere in the room; `target` shows that they would be welcome. */
export function takeDrops(room, target, take) {
  const lit = (on) => target.classList.toggle("lit", on);
  room.addEventListener("dragover", (event) => {
    event.preventDefault();
    lit(true);
  });
  room.addEventListener("dragleave", (event) => !room.contains(event.relatedTarget) && lit(false));
  room.addEventListener("drop", (event) => {
    event.preventDefault();
    lit(false);
    take([...event.dataTransfer.files]);
  });
}

/** A line with a bar that fills: `set(share, text)`; a share of null means that nobody knows. */
export function progressLine(name, ...actions) {
  const bar = make("progress", { max: 1, "aria-label": name });
  const text = make("p", { class: "hint" });
  const element = make("div", { class: "progress-line" },
    make("p", { class: "notice-title" }, name), bar, text,
    actions.length ? make("div", { class: "row" }, ...actions) : null);
  const set = (share, said) => {
    if (share === null) bar.removeAttribute("value");
    else bar.value = share;
    text.textContent = said;
  };
  return { element, set };
}
