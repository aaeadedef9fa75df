// How files come into a room, and how far along they are.

import { make } from "./dom.js";

/** Files may be dropped anywhere while the room is open; `target` shows that they would be welcome. */
export function takeDrops(room, target, take) {
  const lit = (on) => target.classList.toggle("lit", on);
  const on = (name, react) => document.addEventListener(name, (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault(); // else the browser opens the file in place of the page, in any room
    if (!room.hidden) react(event);
  });
  on("dragover", () => lit(true));
  on("dragleave", (event) => event.relatedTarget || lit(false));
  on("drop", (event) => {
    lit(false);
    take([...event.dataTransfer.files]);
  });
}

/** A line with a bar that fills: `set(share, text)`; a share of null means that nobody knows. */
export function progressLine(name, ...actions) {
  const bar = make("progress", { max: 1, "aria-label": name });
  const text = make("p", { class: "hint" });
  const element = make("div", { class: "progress-line" },
    make("div", { class: "row" }, make("p", { class: "notice-title grow" }, name), ...actions),
    bar, text);
  const set = (share, said) => {
    if (share === null) bar.removeAttribute("value");
    else bar.value = share;
    text.textContent = said;
  };
  return { element, set };
}
